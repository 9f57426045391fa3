//! Escapes untrusted text for terminals: keys, paths, values, URLs, error messages from stores, and log lines.
//!
//! Control characters, invisible characters and bytes that are not UTF-8 are escaped, so no name can move the cursor,
//! change colors, reverse the text or start a new line. Backslashes are not escaped.

use std::fmt::Write as _;

/// Converts bytes to text that is safe to print on a terminal. This conversion is idempotent.
pub fn printable(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    let mut text = String::with_capacity(bytes.len());
    pieces(bytes, |_, piece| text += piece);
    text
}

/// Makes multi-line text safe to print on a terminal. Escapes the same characters as [`printable`], except newlines.
pub(crate) fn printable_lines(text: &str) -> String {
    let lines = text.split('\n').map(printable);
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns equivalent JSON that is safe to print on a terminal.
///
/// JSON already escapes control characters below U+0020. This function escapes all other characters that [`printable`]
/// escapes.
pub fn printable_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || is_displayed(c) {
            text.push(c);
        } else {
            // In JSON, these characters occur only inside strings, where `\u` escapes are valid.
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(text, "\\u{unit:04x}").expect("writing to a string cannot fail");
            }
        }
    }
    text
}

/// Calls `each` with the position and the printable form of each character, or of each byte that is not UTF-8.
pub(crate) fn pieces(bytes: &[u8], mut each: impl FnMut(usize, &str)) {
    let mut at = 0;
    let mut piece = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            piece.clear();
            if is_displayed(c) {
                piece.push(c);
            } else if c.is_ascii() {
                write_byte(&mut piece, c as u8);
            } else {
                piece.extend(c.escape_unicode());
            }
            each(at, &piece);
            at += c.len_utf8();
        }
        for &byte in chunk.invalid() {
            piece.clear();
            write_byte(&mut piece, byte);
            each(at, &piece);
            at += 1;
        }
    }
}

fn write_byte(text: &mut String, byte: u8) {
    write!(text, "\\x{byte:02x}").expect("writing to a string cannot fail");
}

/// Returns whether a terminal displays a character instead of interpreting it.
fn is_displayed(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // `escape_debug` escapes characters that are not printable. It also escapes a combining mark at the start of a
    // string, so this code puts a letter before the character.
    let mut pair = [b'a'; 5];
    let end = 1 + c.encode_utf8(&mut pair[1..]).len();
    str::from_utf8(&pair[..end]).is_ok_and(|pair| pair.escape_debug().nth(1) == Some(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_are_escaped() {
        assert_eq!(printable("GET /ä \"x\" \\x22 'y'"), "GET /ä \"x\" \\x22 'y'");
        assert_eq!(
            printable("\u{1b}[31mred\x07\r\n\0\t\x7f"),
            "\\x1b[31mred\\x07\\x0d\\x0a\\x00\\x09\\x7f"
        );
        assert_eq!(
            printable("a\u{202e}b\u{9b}31m\u{200b}\u{2028}\u{feff}\u{e0041}"),
            "a\\u{202e}b\\u{9b}31m\\u{200b}\\u{2028}\\u{feff}\\u{e0041}"
        );
        assert_eq!(printable(b"a\xff\xe2\x82b"), "a\\xff\\xe2\\x82b");
    }

    #[test]
    fn printable_text_of_all_languages_is_unchanged() {
        // Text with combining marks, which occur in file names on macOS and in Hindi and Thai.
        for text in
            ["grün", "gru\u{308}n", "日本語", "हिन्दी", "ภาษาไทย", "עברית", "\u{1f600}", "…─"]
        {
            assert_eq!(printable(text), text);
        }
    }

    /// Escapes the characters that Unicode defines as control characters (Cc) or bidirectional control characters.
    #[test]
    fn control_characters_are_escaped() {
        let directions = ['\u{61c}', '\u{200e}', '\u{200f}']
            .into_iter()
            .chain('\u{202a}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}');
        let controls = ('\0'..='\u{ffff}').filter(|c| c.is_control());
        let mut count = 0;
        for c in directions.chain(controls) {
            assert!(printable(c.to_string()).is_ascii(), "{c:?}");
            assert!(printable_json(&c.to_string()).is_ascii(), "{c:?}");
            count += 1;
        }
        assert_eq!(count, 12 + 65);
    }

    #[test]
    fn escaped_json_is_equivalent() {
        let text = "a\u{202e}\u{9b}\x7f\u{e0041}\x1b\n\"日本\\";
        let json = printable_json(&serde_json::to_string(text).unwrap());
        assert_eq!(json, "\"a\\u202e\\u009b\\u007f\\udb40\\udc41\\u001b\\n\\\"日本\\\\\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    proptest::proptest! {
        #[test]
        fn escaping_is_idempotent(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let text = printable(&bytes);
            proptest::prop_assert!(!text.contains(char::is_control));
            proptest::prop_assert_eq!(printable(&text), text);
        }
    }
}
