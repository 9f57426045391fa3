//! Bounds of text columns, truncated as Iceberg truncates them by default
//! (<https://iceberg.apache.org/docs/latest/configuration/>, `write.metadata.metrics.default`).

/// Maximum length of a text bound, in characters.
const MAX_BOUND: usize = 16;

/// Returns a prefix of at most [`MAX_BOUND`] characters. A prefix never compares greater than the text.
pub(super) fn lower(text: &str) -> &str {
    prefix(text)
}

/// Returns the text if it is short. Otherwise, returns a prefix with a character replaced by its successor, which
/// compares greater than the text. Returns `None` if no character of the prefix has a successor.
pub(super) fn upper(text: &str) -> Option<String> {
    let prefix = prefix(text);
    if prefix.len() == text.len() {
        return Some(text.to_owned());
    }
    prefix.char_indices().rev().find_map(|(at, last)| {
        let next = (last..=char::MAX).nth(1)?;
        Some(format!("{}{next}", &prefix[..at]))
    })
}

fn prefix(text: &str) -> &str {
    text.char_indices().nth(MAX_BOUND).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_text_is_its_own_bound() {
        for text in ["", "GET", "sixteen letters.", "ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ"] {
            assert_eq!((lower(text), upper(text).as_deref()), (text, Some(text)));
        }
    }

    #[test]
    fn the_last_character_with_a_successor_is_increased() {
        let last = char::MAX;
        assert_eq!(upper("sixteen letters. and more").unwrap(), "sixteen letters/");
        assert_eq!(upper(&format!("fifteen letters{last}x")).unwrap(), "fifteen lettert");
        // The characters between U+D7FF and U+E000 are surrogates.
        assert_eq!(upper("fifteen letters\u{d7ff}x").unwrap(), "fifteen letters\u{e000}");
        assert_eq!(upper(&last.to_string().repeat(17)), None);
        assert_eq!(upper(&last.to_string().repeat(16)), Some(last.to_string().repeat(16)));
    }

    proptest! {
        #[test]
        fn bounds_enclose_the_text(text in "[ab\u{7f}\u{7ff}\u{d7ff}\u{ffff}\u{10ffff}]{0,24}|.{0,40}") {
            prop_assert!(lower(&text) <= text.as_str());
            prop_assert!(lower(&text).chars().count() <= MAX_BOUND);
            match upper(&text) {
                Some(bound) => {
                    prop_assert!(bound >= text, "{bound:?}");
                    prop_assert!(bound.chars().count() <= MAX_BOUND);
                }
                None => prop_assert!(text.chars().take(MAX_BOUND).all(|c| c == char::MAX)),
            }
        }
    }
}
