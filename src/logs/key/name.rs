//! Parses the name of a log file, independently of its directory.

use std::ops::Range;

use chrono::NaiveDate;

use crate::logs::key::{SERVICE, digits, is_account, is_region, is_word};
use crate::logs::schema::LogType;

/// The ending of a file as AWS delivers it.
const DELIVERED: &str = ".log.gz";

/// The parts of a log file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    /// Log type.
    pub log_type: LogType,
    /// AWS account: twelve digits.
    pub account: &'a str,
    /// AWS region.
    pub region: &'a str,
    /// Resource ID of the load balancer, with dots instead of slashes: `app.<name>.<id>`.
    pub balancer: &'a str,
    /// End of the five-minute window that the file covers, `yyyymmddThhmmZ`.
    pub end_time: &'a str,
    /// Address of the load balancer node; `None` for vended logs, whose names do not contain it.
    pub node: Option<&'a str>,
    /// Random part that makes the name unique.
    pub random: &'a str,
}

/// The form of a log file, from the most to the least preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// The original with the ending `.log.gz`, as AWS delivers it.
    Delivered,
    /// A compressed copy, such as `.LOG.GZ`, `.log.gz.1` or ` (1).log.gz`.
    Copy,
    /// Decompressed, such as `.log`.
    Text,
}

impl<'a> Name<'a> {
    /// Parses `[prefix]<account>_elasticloadbalancing_<region>_app.<name>.<id>_<end>[_<ip>]_<random>.log.gz`, or a
    /// name with another ending that [`Form::of`] supports.
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let (parsed, ending) = Self::split(name)?;
        Form::of_ending(ending).map(|_| parsed)
    }

    /// Parses a name with any ending, and returns the ending.
    pub(super) fn split(name: &'a str) -> Option<(Self, &'a str)> {
        let (log_type, rest) = log_type_of(name);
        let mut parts = rest.splitn(6, '_');
        let account = parts.next().filter(|part| is_account(part))?;
        parts.next().filter(|part| *part == SERVICE)?;
        let region = parts.next().filter(|part| is_region(part))?;
        let balancer = parts.next().filter(|part| is_balancer(part))?;
        let end_time = parts.next().filter(|part| is_end_time(part))?;
        let rest = parts.next()?;
        let (node, rest) = match rest.split_once('_') {
            Some((node, rest)) if is_node(node) => (Some(node), rest),
            _ => (None, rest),
        };
        let (random, ending) = rest.split_at(word_length(rest));
        let name = Self { log_type, account, region, balancer, end_time, node, random };
        (!random.is_empty()).then_some((name, ending))
    }

    /// Returns the day of the end time in UTC, if that day exists.
    pub(crate) fn end_day(&self) -> Option<NaiveDate> {
        let number = |range: Range<usize>| self.end_time.get(range)?.parse::<u32>().ok();
        let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
        NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)
    }
}

impl Form {
    /// Returns the form of a file according to its name; `None` if the ending is not supported.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::of_ending(&name[identity(name).len()..])
    }

    fn of_ending(ending: &str) -> Option<Self> {
        if ending == DELIVERED {
            return Some(Self::Delivered);
        }
        let ending = ending.to_ascii_lowercase();
        let rest = without_copy_number(&ending).strip_prefix(".log")?;
        let rest = without_copy_number(rest);
        let (form, rest) = match rest.strip_prefix(".gz") {
            Some(rest) => (Self::Copy, rest),
            None => (Self::Text, rest),
        };
        // `wget` and `logrotate` number the copies of a file.
        let rest = without_copy_number(rest);
        let number = rest.strip_prefix('.').unwrap_or(rest);
        let is_numbered = number.len() < rest.len()
            && (1..=3).contains(&number.len())
            && number.bytes().all(|b| b.is_ascii_digit());
        (rest.is_empty() || is_numbered).then_some(form)
    }

    /// Returns whether two files of the same log must have the same size: both are compressed, or both are text.
    pub(crate) fn has_size_of(one: &str, other: &str) -> bool {
        let is_text = |name| Self::of(name) == Some(Self::Text);
        is_text(one) == is_text(other)
    }
}

/// Returns the identity of an object: its file name up to and including the random part, which is unique. So
/// `X.log.gz`, `X.LOG.GZ`, `X.log.gz.1` and the decompressed `X.log` are one object.
pub fn identity(name: &str) -> &str {
    // No supported ending contains an underscore.
    let Some(at) = name.rfind('_') else { return name };
    &name[..at + 1 + word_length(&name[at + 1..])]
}

/// Returns the log type of an object from the prefix of its name, and the rest of the name.
pub(super) fn log_type_of(name: &str) -> (LogType, &str) {
    let prefixes = |log_type: LogType| {
        let prefixes = log_type.table().object_prefixes.iter();
        prefixes.filter_map(move |prefix| Some((log_type, name.strip_prefix(prefix.as_str())?)))
    };
    let matches = LogType::ALL.into_iter().flat_map(prefixes);
    // Access logs have an empty prefix, which matches every name.
    matches.min_by_key(|(_, rest)| rest.len()).unwrap_or((LogType::Access, name))
}

/// Removes the number that browsers append to a repeated download: ` (1)` or `(1)`.
fn without_copy_number(text: &str) -> &str {
    let number = text.strip_prefix(' ').unwrap_or(text);
    let rest = number.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    match rest {
        Some((number, rest))
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            rest
        }
        _ => text,
    }
}

pub(super) fn is_balancer(text: &str) -> bool {
    text.strip_prefix("app.")
        .and_then(|rest| rest.rsplit_once('.'))
        .is_some_and(|(name, id)| is_word(name, "-") && is_word(id, ""))
}

pub(super) fn is_end_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 14
        && bytes[8] == b'T'
        && bytes[13] == b'Z'
        && bytes[..8].iter().chain(&bytes[9..13]).all(u8::is_ascii_digit)
}

/// Returns whether a part is the address of a node. It is not parsed as an IP address, because the example in AWS's
/// documentation is zero-padded.
pub(super) fn is_node(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_hexdigit() || ".:-".contains(c);
    text.chars().all(allowed) && text.contains(['.', ':', '-'])
}

/// Returns the number of letters and digits at the start of `text`.
fn word_length(text: &str) -> usize {
    text.bytes().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(text.len())
}

/// Returns the load balancer and the text after it, if `rest` begins like the name of a load balancer log.
pub(super) fn balancer_part(rest: &str) -> Option<(&str, &str)> {
    let mut parts = rest.splitn(5, '_');
    parts.next().filter(|part| digits(part, 12).is_some())?;
    parts.next().filter(|part| *part == SERVICE)?;
    parts.next().filter(|part| is_region(part))?;
    Some((parts.next()?, parts.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEM: &str = "012345678901_elasticloadbalancing_eu-west-1_app.my-lb.50dc6c495c0c9188_20250719T1405Z_10.0.0.1_39xza92o";

    #[test]
    fn a_name_is_parsed_without_a_path() {
        for prefix in ["", "conn_log_", "health_check_log_"] {
            let name = format!("{prefix}{STEM}.log.gz");
            let Name { balancer, end_time, node, random, .. } = Name::parse(&name).unwrap();
            assert_eq!((balancer, end_time), ("app.my-lb.50dc6c495c0c9188", "20250719T1405Z"));
            assert_eq!((node, random), (Some("10.0.0.1"), "39xza92o"));
        }
        assert_eq!(Name::parse("README.txt"), None);
    }

    #[test]
    fn a_vended_name_has_no_node() {
        let name = format!("{}.log.gz", STEM.replace("_10.0.0.1", ""));
        let parsed = Name::parse(&name).unwrap();
        assert_eq!((parsed.node, parsed.random), (None, "39xza92o"));
    }

    #[test]
    fn supported_endings_do_not_change_the_identity() {
        let cases = [
            (".log.gz", Form::Delivered),
            (".LOG.GZ", Form::Copy),
            (".Log.gz", Form::Copy),
            (".log.gz.1", Form::Copy),
            (" (1).log.gz", Form::Copy),
            ("(2).log.gz", Form::Copy),
            (".log (1).gz", Form::Copy),
            (".log.gz (3)", Form::Copy),
            (".log", Form::Text),
            (".LOG", Form::Text),
            (".log.2", Form::Text),
            (" (1).log", Form::Text),
        ];
        for stem in [STEM.to_owned(), STEM.replace("_10.0.0.1", "")] {
            for (ending, form) in cases {
                let name = format!("{stem}{ending}");
                assert!(Name::parse(&name).is_some(), "{name}");
                assert_eq!(
                    (Form::of(&name), identity(&name)),
                    (Some(form), stem.as_str()),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn endings_of_possibly_incomplete_logs_are_not_supported() {
        for ending in [
            "",
            ".gz",
            ".log.gz.part",
            ".log.gz.crdownload",
            ".log.gz.6eF2a1B9",
            ".log.gz~",
            ".log.gz.",
            ".log.gz.1234",
            ".log.bz2",
            ".log.zst",
            ".log.gz.md5",
            ".txt",
            ".log.gz_old",
            "_x.log.gz",
            "_old.log.gz",
            " ().log.gz",
            " (1.log.gz",
            ".log.gz.gz",
            ".log.log.gz",
        ] {
            for stem in [STEM.to_owned(), STEM.replace("_10.0.0.1", "")] {
                assert_eq!(Name::parse(&format!("{stem}{ending}")), None, "{ending}");
            }
        }
    }

    proptest::proptest! {
        /// Files of the same object are adjacent when sorted by name. The search for copies relies on this.
        #[test]
        fn names_of_an_object_are_adjacent(
            random in proptest::collection::vec("[0-9A-Za-z]{1,3}", 1..8),
            endings in proptest::collection::vec(0_usize..8, 1..24),
        ) {
            const ENDINGS: [&str; 8] =
                [".log.gz", ".LOG.GZ", ".log", " (1).log.gz", "(1).log.gz", ".log.gz.1", ".log.gz.md5", ".Log"];
            let stem = STEM.rsplit_once('_').unwrap().0;
            let name = |(at, ending): (usize, &usize)| {
                format!("{stem}_{}{}", random[at % random.len()], ENDINGS[*ending])
            };
            let mut names: Vec<String> = endings.iter().enumerate().map(name).collect();
            names.sort();
            proptest::prop_assert!(names.is_sorted_by_key(|name| identity(name)), "{names:?}");
        }
    }
}
