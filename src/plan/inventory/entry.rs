//! Parses one line of a list: a key, a URL or a path, or an entry in the output of a tool.

use crate::logs::key::from_root;

/// Text in the key and name of every load balancer log.
const SERVICE: &str = "elasticloadbalancing";
const ROOT: &str = "AWSLogs";
/// Size units, as `aws s3 ls --human-readable` prints them.
const UNITS: [&str; 8] = ["Byte", "Bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// An object as a line describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Key, URL or path of the object.
    pub(super) key: &'a str,
    /// Compressed size in bytes.
    pub(super) size: Option<u64>,
    /// ETag of the object, with or without quotes.
    pub(super) e_tag: Option<&'a str>,
    /// Storage class of the object.
    pub(super) class: Option<&'a str>,
}

/// Returns whether a line is blank or a comment.
///
/// A comment begins with `#` and contains no log name, so a log key is never treated as a comment.
pub(super) fn is_nothing(line: &str) -> bool {
    let text = line.trim();
    text.is_empty() || (text.starts_with('#') && !text.contains(SERVICE))
}

/// Parses a line of `aws s3 ls`: `2025-07-19 14:05:10       1234 key`, in local time. Returns `None` for any other
/// line.
pub(super) fn aws_ls(line: &str) -> Option<Entry<'_>> {
    let (size, rest) = number(after_time(line, b'-')?)?;
    // Sizes with and without a unit end in the same column, so the column shows whether the next word is a unit.
    let rest = rest.strip_prefix(' ')?;
    let unit = UNITS.into_iter().find_map(|unit| {
        let key = rest.strip_prefix(unit)?.strip_prefix(' ')?;
        (size.contains('.') || line.len() - key.len() == 31).then_some(key)
    });
    let (size, key) = match unit {
        Some(key) => (None, key),
        None => (Some(size.parse().ok()?), rest),
    };
    (!key.is_empty()).then_some(Entry { key, size, ..Entry::default() })
}

/// Returns whether a line is part of the summary that `--summarize` prints.
pub(super) fn is_summary(line: &str) -> bool {
    ["Total Objects: ", "Total Size: "].iter().any(|name| line.trim_start().starts_with(name))
}

/// Parses a line of `s5cmd ls`: time, class, ETag (with `-e`), size, key. Returns `None` for any other line.
pub(super) fn s5cmd_ls(line: &str) -> Option<Entry<'_>> {
    let mut rest = after_time(line, b'/')?.trim_start_matches(' ');
    let mut e_tag = None;
    loop {
        let (word, after) = rest.split_once(' ')?;
        let after = after.trim_start_matches(' ');
        let is_hash = word.len() >= 32 && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if is_hash {
            e_tag = Some(word);
        } else if word.starts_with(|c: char| c.is_ascii_digit()) {
            let size = word.parse().ok();
            let humanized = word.len() < 12
                && word.trim_end_matches(char::is_alphabetic).len() + 2 >= word.len();
            let good = (size.is_some() || humanized) && !after.is_empty();
            return good.then_some(Entry { key: after, size, e_tag, class: None });
        } else if word.is_empty() || !word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') {
            return None;
        }
        rest = after;
    }
}

/// Returns the text after a time such as `2025-07-19 14:05:10` and one or more spaces.
fn after_time(line: &str, separator: u8) -> Option<&str> {
    let time = line.as_bytes().get(..20)?;
    let good = time.iter().enumerate().all(|(place, &byte)| match place {
        4 | 7 => byte == separator,
        10 | 19 => byte == b' ',
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    good.then(|| &line[20..])
}

/// Splits a number off the start of the text. The number can have leading spaces and a fraction.
fn number(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(' ');
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    (end > 0).then(|| text.split_at(end))
}

/// A line of `aws s3api … --output text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row<'a> {
    /// An object.
    Object(Entry<'a>),
    /// A line that does not describe a current object.
    Nothing,
}

/// Returns whether a line begins with the tag that `aws s3api` prints before objects.
pub(super) fn is_tagged(line: &str) -> bool {
    line.starts_with("CONTENTS\t") || line.starts_with("VERSIONS\t")
}

/// Parses a line of `aws s3api list-objects-v2 --output text`, whose columns are in alphabetical order: `CONTENTS`,
/// ETag, key, time, size, class. Also accepts `VERSIONS` lines. Returns `None` for any other line.
pub(super) fn tagged<'a>(line: &'a str) -> Option<Row<'a>> {
    let fields: Vec<&'a str> = line.split('\t').collect();
    if !is_tagged(line) {
        let tags =
            ["CHECKSUMALGORITHM", "OWNER", "RESTORESTATUS", "COMMONPREFIXES", "DELETEMARKERS"];
        let is_scalar = |field: &&str| matches!(*field, "None" | "True" | "False" | "requester");
        let known = tags.contains(&fields[0]) || fields.iter().any(is_scalar);
        return known.then_some(Row::Nothing);
    }
    let time = fields.iter().position(|field| is_time(field))?;
    let e_tag = fields[1..time].iter().copied().find(|field| is_quoted(field));
    // Some tools write the time before the key.
    let (key, size) = match fields[time - 1] {
        before if is_quoted(before) && fields.len() > time + 2 => (fields[time + 1], time + 2),
        key => (key, time + 1),
    };
    let is_version = fields[0] == "VERSIONS";
    if is_version && fields[1..time].contains(&"False") {
        return Some(Row::Nothing);
    }
    let size = Some(fields.get(size)?.parse().ok()?);
    let class = fields.get(time + 2).copied().filter(|class| is_class(class));
    Some(Row::Object(Entry { key, size, e_tag, class })).filter(|_| time > 1 && !key.is_empty())
}

/// Parses a line with fields in any order: one key and, optionally, a size, an ETag, a time and a class. Returns
/// `None` if the line has any other field.
pub(super) fn fields(line: &str) -> Option<Entry<'_>> {
    let mut entry = Entry::default();
    for field in line.split('\t') {
        if field.bytes().all(|b| b.is_ascii_digit()) && !field.is_empty() {
            entry.size = Some(field.parse().ok()?);
        } else if is_quoted(field) {
            entry.e_tag = Some(field);
        } else if is_class(field) {
            entry.class = Some(field);
        } else if is_time(field) || field == "None" {
        } else if entry.key.is_empty() {
            entry.key = field;
        } else {
            return None;
        }
    }
    (!entry.key.is_empty()).then_some(entry)
}

fn is_time(field: &str) -> bool {
    field.len() >= 20 && field.as_bytes()[10] == b'T' && {
        let spaced: Vec<u8> = field
            .bytes()
            .take(20)
            .enumerate()
            .map(|(i, b)| if i == 10 || i == 19 { b' ' } else { b })
            .collect();
        std::str::from_utf8(&spaced).is_ok_and(|text| after_time(text, b'-').is_some())
    }
}

fn is_quoted(field: &str) -> bool {
    field.len() > 2 && field.starts_with('"') && field.ends_with('"')
}

fn is_class(field: &str) -> bool {
    let classes = [
        "STANDARD",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "GLACIER_IR",
        "DEEP_ARCHIVE",
        "REDUCED_REDUNDANCY",
        "EXPRESS_ONEZONE",
        "OUTPOSTS",
        "SNOW",
    ];
    classes.contains(&field)
}

/// The reason for refusing a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Odd {
    /// The text cannot be a line of a list.
    Foreign,
    /// The text could be a line of a list, but is ambiguous.
    Because(&'static str),
}

/// Removes spaces and a carriage return that cannot be part of a key, and refuses text that is not a key.
///
/// Removes trailing spaces after a log name, and leading spaces before `AWSLogs/`, a log name, a URL or the source's
/// prefix. Any other space may be part of a key.
pub(super) fn key<'a>(line: &'a str, prefix: Option<&str>) -> Result<&'a str, Odd> {
    let text = line.strip_suffix('\r').unwrap_or(line);
    if text.chars().any(char::is_control) {
        return Err(Odd::Foreign);
    }
    let short = text.trim_end_matches(' ');
    let is_log = short.rsplit('/').next().is_some_and(|name| name.contains(SERVICE));
    let is_url = |text: &str| scheme(text).is_some() || text.starts_with("arn:");
    let text = if is_log { short } else { text };
    let begun = text.trim_start_matches(' ');
    let prefixed = prefix
        .is_some_and(|prefix| begun.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')));
    let whole = from_root(begun).is_some_and(|root| root.len() == begun.len());
    let flat = !begun.contains('/') && begun.contains(SERVICE);
    let relative = begun.starts_with("./");
    let text = if whole || flat || prefixed || relative || is_url(begun) { begun } else { text };
    if text.starts_with(' ') {
        return Err(Odd::Because("it begins with a space"));
    }
    if text.starts_with('#') && text.contains(SERVICE) {
        return Err(Odd::Because(
            "it begins with # like a comment, but names a log: delete the line, or write the key as a URL",
        ));
    }
    if aws_ls(text).is_some() || s5cmd_ls(text).is_some() {
        return Err(Odd::Because("it is a line of another list format"));
    }
    Ok(text)
}

/// Returns the scheme of a URL.
pub(super) fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (!scheme.is_empty() && scheme.chars().all(good)).then_some(scheme)
}

/// Returns whether a list of keys can begin with the given key. Only the first key must resemble a log key.
pub(super) fn can_be_first(text: &str) -> bool {
    if scheme(text).is_some() || text.starts_with("arn:") || text.starts_with('.') {
        return true;
    }
    let space = text.find(char::is_whitespace);
    let first = &text[..space.unwrap_or(text.len())];
    let is_size = space.is_some() && first.bytes().all(|b| b.is_ascii_digit());
    let is_mode = first.len() >= 10
        && first.starts_with(['-', 'd', 'l'])
        && first[1..].bytes().all(|b| b"rwxsStT-.+@".contains(&b));
    if is_size || is_mode || text.starts_with('<') {
        return false;
    }
    let root = text.find(&format!("{ROOT}/"));
    if let Some(root) = root {
        return root == 0 || text.as_bytes()[root - 1] == b'/';
    }
    match space {
        Some(_) => first.contains('/') || text.contains(SERVICE) && text.contains('/'),
        None => text.contains(['/', '.']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2025/07/19/n_elasticloadbalancing.log.gz";

    #[test]
    fn lines_of_aws_s3_ls_are_read() {
        let of = |line: &'static str| aws_ls(line).map(|entry| (entry.size, entry.key));
        assert_eq!(of("2025-07-19 14:05:10        362 a b.gz"), Some((Some(362), "a b.gz")));
        assert_eq!(of("2025-07-19 14:05:10        362  a"), Some((Some(362), " a")));
        assert_eq!(of("2025-07-19 14:05:10 12345678901 a"), Some((Some(12_345_678_901), "a")));
        assert_eq!(of("2025-07-19 14:05:10 1023 Bytes a"), Some((None, "a")));
        assert_eq!(of("2025-07-19 14:05:10     1 Byte a b"), Some((None, "a b")));
        assert_eq!(of("2025-07-19 14:05:10    1.2 MiB a"), Some((None, "a")));
        // A key can begin with the name of a unit.
        let bytes = "2025-07-19 14:05:10        362 Bytes a";
        assert_eq!(of(bytes), Some((Some(362), "Bytes a")));
        for other in [
            "2025-07-19 14:05:10",
            "2025-07-19 a",
            "                           PRE AWSLogs/",
            KEY,
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        assert!(is_summary("Total Objects: 3") && is_summary("   Total Size: 9 Bytes"));
    }

    #[test]
    fn lines_of_s5cmd_ls_are_read() {
        let of = |line: &'static str| s5cmd_ls(line).map(|e| (e.size, e.e_tag, e.key));
        let plain = "2025/07/19 14:05:10               362  a b.gz";
        assert_eq!(of(plain), Some((Some(362), None, "a b.gz")));
        let class = "2025/07/19 14:05:10 G              362 a";
        assert_eq!(of(class), Some((Some(362), None, "a")));
        let tagged = "2025/07/19 14:05:10   0123456789abcdef0123456789abcdef-2              362 a";
        assert_eq!(of(tagged), Some((Some(362), Some("0123456789abcdef0123456789abcdef-2"), "a")));
        let human = "2025/07/19 14:05:10              1.2K  a";
        assert_eq!(of(human), Some((None, None, "a")));
        for other in ["                                  DIR  AWSLogs/", KEY, ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn lines_of_aws_s3api_are_read() {
        let time = "2025-07-19T14:05:10.000Z";
        let entry =
            Entry { key: "a b", size: Some(3), e_tag: Some("\"0f\""), class: Some("GLACIER") };
        let good = [
            format!("CONTENTS\t\"0f\"\ta b\t{time}\t3\tGLACIER"),
            "CONTENTS\tFULL_OBJECT\t\"0f\"\ta b\t2025-07-19T14:05:10+00:00\t3\tGLACIER".to_owned(),
            format!("VERSIONS\t\"0f\"\tTrue\ta b\t{time}\t3\tGLACIER\tnull"),
        ];
        for line in &good {
            assert_eq!(tagged(line), Some(Row::Object(entry.clone())), "{line}");
        }
        let swapped = format!("CONTENTS\t\"0f\"\t{time}\ta b\t3\tSTANDARD");
        let Some(Row::Object(entry)) = tagged(&swapped) else { panic!("{swapped}") };
        assert_eq!((entry.key, entry.size), ("a b", Some(3)));
        for nothing in [
            &format!("VERSIONS\t\"0f\"\tFalse\ta b\t{time}\t3\tSTANDARD\tv"),
            "None\t\tNone",
            "CHECKSUMALGORITHM\tCRC32",
            "OWNER\tx\ty",
        ] {
            assert_eq!(tagged(nothing), Some(Row::Nothing), "{nothing}");
        }
        for bad in ["CONTENTS\t\"0f\"\ta b", "a\tb", "CONTENTS\ta\t2025\t3", ""] {
            assert_eq!(tagged(bad), None, "{bad}");
        }
        let row = fields("a b\t3\t\"0f\"\tSTANDARD").unwrap();
        assert_eq!((row.key, row.size, row.e_tag), ("a b", Some(3), Some("\"0f\"")));
        assert_eq!(fields("a\tb\t3"), None);
    }

    #[test]
    fn only_spaces_that_cannot_belong_to_a_key_are_removed() {
        let of = |line: &str, prefix| key(line, prefix).map(ToOwned::to_owned);
        assert_eq!(of(&format!("  {KEY}  \r"), None), Ok(KEY.to_owned()));
        assert_eq!(of("  own/x ", Some("own")), Ok("own/x ".to_owned()));
        assert_eq!(of("a b ", None), Ok("a b ".to_owned()));
        assert_eq!(of(" s3://b/k ", None), Ok("s3://b/k ".to_owned()));
        assert!(of(" a", None).is_err());
        assert_eq!(of("a\tb", None), Err(Odd::Foreign));
        assert!(of(&format!("#{KEY}"), None).is_err());
        assert!(is_nothing("# july") && is_nothing("  ") && !is_nothing(&format!("#{KEY}")));
    }

    #[test]
    fn a_list_of_keys_begins_like_one() {
        for good in [
            KEY,
            "own/x",
            "index.html",
            "my logs/AWSLogs/x",
            "s3://b/k",
            "./x",
            "/x",
            "reports/My file.pdf",
        ] {
            assert!(can_be_first(good), "{good}");
        }
        for bad in [
            "hello",
            "hello world",
            "    362 x",
            "362 AWSLogs/x",
            "-rw-r--r-- 1 root root 362 Jul 19 14:05 AWSLogs/x",
            "total 12",
            "<html>",
            "bucket,AWSLogs/x",
            "| AWSLogs/x |",
        ] {
            assert!(!can_be_first(bad.trim_start()), "{bad}");
        }
    }
}
