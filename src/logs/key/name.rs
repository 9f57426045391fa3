//! Parses the name of a log file, independently of its directory.

use std::ops::Range;

use chrono::NaiveDate;

use crate::logs::key::{SERVICE, is_account, is_region, is_word};
use crate::logs::schema::{LoadBalancerType, LogType};

/// The parts of a log file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    /// Log type.
    pub log_type: LogType,
    /// AWS account: twelve digits.
    pub account: &'a str,
    /// AWS region.
    pub region: &'a str,
    /// Resource ID of the load balancer, with dots instead of slashes: `app.<name>.<id>` or `net.<name>.<id>`. The name
    /// of a Classic Load Balancer.
    pub balancer: &'a str,
    /// End of the window that the file covers, `yyyymmddThhmmZ`.
    pub end_time: &'a str,
    /// Address of the load balancer node; `None` for vended logs, whose names do not contain it.
    pub node: Option<&'a str>,
    /// Random part that makes the name unique.
    pub random: &'a str,
}

/// The form of a log file, from the most to the least preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// The original, as AWS delivers it: `.log.gz`, or `.log` for Classic Load Balancers.
    Delivered,
    /// A renamed copy, such as `.LOG.GZ`, `.log.gz.1` or ` (1).log.gz`.
    Copy,
    /// A decompressed copy or, if AWS delivers uncompressed text, a compressed copy.
    Converted,
}

impl<'a> Name<'a> {
    /// Parses `[prefix]<account>_elasticloadbalancing_<region>_<load balancer>_<end>[_<ip>]_<random>.log.gz`, or a
    /// name with another ending that [`Form::of`] supports.
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let (parsed, ending) = Self::split(name)?;
        is_compressed(ending).map(|_| parsed)
    }

    /// Parses a name with any ending, and returns the ending.
    pub(super) fn split(name: &'a str) -> Option<(Self, &'a str)> {
        let (prefix, rest) = split_prefix(name);
        let mut parts = rest.splitn(6, '_');
        let account = parts.next().filter(|part| is_account(part))?;
        parts.next().filter(|part| *part == SERVICE)?;
        let region = parts.next().filter(|part| is_region(part))?;
        let balancer = parts.next()?;
        let log_type = log_type(prefix, load_balancer_type(balancer)?)?;
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
    /// Returns the form of a file according to its name; `None` if the name or its ending is not supported.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let (parsed, ending) = Name::split(name)?;
        let compressed = is_compressed(ending)?;
        let delivered = parsed.log_type.table().load_balancer.delivered_ending();
        Some(if ending == delivered {
            Self::Delivered
        } else if is_compressed(delivered) == Some(compressed) {
            Self::Copy
        } else {
            Self::Converted
        })
    }
}

/// Returns whether two files of the same log must have the same size. This is true if both are compressed or both are
/// text.
pub(crate) fn has_size_of(one: &str, other: &str) -> bool {
    let is_compressed = |name: &str| is_compressed(&name[identity(name).len()..]);
    is_compressed(one) == is_compressed(other)
}

/// Returns whether a log file is uncompressed text, according to its name.
pub(crate) fn is_text(name: &str) -> bool {
    is_compressed(&name[identity(name).len()..]) == Some(false)
}

/// Returns whether a file with this ending is compressed; `None` if the ending is not supported.
fn is_compressed(ending: &str) -> Option<bool> {
    // Nearly all names have one of these endings.
    match ending {
        ".log.gz" => return Some(true),
        ".log" => return Some(false),
        _ => {}
    }
    let ending = ending.to_ascii_lowercase();
    let rest = without_copy_number(&ending).strip_prefix(".log")?;
    let rest = without_copy_number(rest);
    let (is_compressed, rest) = match rest.strip_prefix(".gz") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    // `wget` and `logrotate` number the copies of a file.
    let rest = without_copy_number(rest);
    let number = rest.strip_prefix('.').unwrap_or(rest);
    let is_numbered = number.len() < rest.len()
        && (1..=3).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit());
    (rest.is_empty() || is_numbered).then_some(is_compressed)
}

/// Returns the identity of an object: its file name up to and including the random part, which is unique. So
/// `X.log.gz`, `X.LOG.GZ`, `X.log.gz.1` and the decompressed `X.log` are one object.
pub fn identity(name: &str) -> &str {
    // No supported ending contains an underscore.
    let Some(at) = name.rfind('_') else { return name };
    &name[..at + 1 + word_length(&name[at + 1..])]
}

/// Splits a name into the longest matching log type prefix, which may be empty, and the rest.
pub(super) fn split_prefix(name: &str) -> (&str, &str) {
    let prefixes = LogType::ALL.into_iter().flat_map(|log_type| &log_type.table().object_prefixes);
    let longest = prefixes.filter(|prefix| name.starts_with(*prefix)).map(String::len).max();
    name.split_at(longest.unwrap_or(0))
}

/// Returns the log type that load balancers of this type deliver under names with this prefix.
pub(super) fn log_type(prefix: &str, load_balancer: LoadBalancerType) -> Option<LogType> {
    LogType::ALL.into_iter().find(|log_type| {
        let table = log_type.table();
        table.load_balancer == load_balancer && table.object_prefixes.iter().any(|p| p == prefix)
    })
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

/// Returns the type of a load balancer from the form of its resource ID, or `None` if the ID is invalid.
pub(super) fn load_balancer_type(text: &str) -> Option<LoadBalancerType> {
    let Some((prefix, rest)) = text.split_once('.') else {
        return is_word(text, "-").then_some(LoadBalancerType::Classic);
    };
    let (name, id) = rest.rsplit_once('.')?;
    match prefix {
        _ if !is_word(name, "-") || !is_word(id, "") => None,
        "app" => Some(LoadBalancerType::Application),
        "net" => Some(LoadBalancerType::Network),
        _ => None,
    }
}

pub(super) fn is_end_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 14
        && bytes[8] == b'T'
        && bytes[13] == b'Z'
        && bytes[..8].iter().chain(&bytes[9..13]).all(u8::is_ascii_digit)
}

/// Returns whether a part of a name is a node address. The part is not parsed as an IP address, because the example in
/// AWS's documentation is zero-padded.
pub(super) fn is_node(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_hexdigit() || ".:-".contains(c);
    text.chars().all(allowed) && text.contains(['.', ':', '-'])
}

/// Returns the number of letters and digits at the start of the text.
fn word_length(text: &str) -> usize {
    text.bytes().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEM: &str = "012345678901_elasticloadbalancing_eu-west-1_app.my-lb.50dc6c495c0c9188_20250719T1405Z_10.0.0.1_39xza92o";

    /// Load balancers of each type, with their log types.
    const BALANCERS: [(&str, LogType); 3] = [
        ("app.my-lb.50dc6c495c0c9188", LogType::Access),
        ("net.my-lb.50dc6c495c0c9188", LogType::NlbTls),
        ("my-lb", LogType::Classic),
    ];

    /// Returns [`STEM`] for another load balancer, with or without the address of a node.
    fn stem_of(balancer: &str, has_node: bool) -> String {
        let stem = STEM.replace(BALANCERS[0].0, balancer);
        if has_node { stem } else { stem.replace("_10.0.0.1", "") }
    }

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
            (".log", Form::Converted),
            (".LOG", Form::Converted),
            (".log.2", Form::Converted),
            (" (1).log", Form::Converted),
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
    fn text_is_the_delivered_form_of_classic_logs() {
        let stem = STEM.replace("app.my-lb.50dc6c495c0c9188", "my-lb");
        let cases = [
            (".log", Form::Delivered),
            (".LOG", Form::Copy),
            (".log.1", Form::Copy),
            (".log.gz", Form::Converted),
        ];
        for (ending, form) in cases {
            assert_eq!(Form::of(&format!("{stem}{ending}")), Some(form), "{ending}");
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
            balancer in proptest::sample::select(BALANCERS.map(|(balancer, _)| balancer).to_vec()),
            has_node: bool,
        ) {
            const ENDINGS: [&str; 8] =
                [".log.gz", ".LOG.GZ", ".log", " (1).log.gz", "(1).log.gz", ".log.gz.1", ".log.gz.md5", ".Log"];
            let stem = stem_of(balancer, has_node);
            let stem = stem.rsplit_once('_').unwrap().0;
            let name = |(at, ending): (usize, &usize)| {
                format!("{stem}_{}{}", random[at % random.len()], ENDINGS[*ending])
            };
            let mut names: Vec<String> = endings.iter().enumerate().map(name).collect();
            names.sort();
            proptest::prop_assert!(names.is_sorted_by_key(|name| identity(name)), "{names:?}");
        }

        /// Every load balancer name determines the log type and is returned unchanged.
        #[test]
        fn a_load_balancer_of_any_name_determines_the_log_type(
            name in "[0-9A-Za-z][0-9A-Za-z-]{0,31}",
            id in "[0-9a-f]{16}",
            random in "[0-9A-Za-z]{1,8}",
            has_node: bool,
        ) {
            for (balancer, log_type) in [
                (format!("app.{name}.{id}"), LogType::Access),
                (format!("net.{name}.{id}"), LogType::NlbTls),
                (name, LogType::Classic),
            ] {
                let stem = stem_of(&balancer, has_node);
                let stem = format!("{}_{random}", stem.rsplit_once('_').unwrap().0);
                for ending in [".log", ".log.gz"] {
                    let name = format!("{stem}{ending}");
                    let parsed = Name::parse(&name).unwrap();
                    proptest::prop_assert_eq!(parsed.log_type, log_type);
                    proptest::prop_assert_eq!(parsed.balancer, balancer.as_str());
                    proptest::prop_assert_eq!(parsed.random, random.as_str());
                    proptest::prop_assert_eq!(parsed.node.is_some(), has_node);
                    proptest::prop_assert_eq!(identity(&name), stem.as_str());
                    let text = log_type.table().load_balancer.delivered_ending();
                    let form = if ending == text { Form::Delivered } else { Form::Converted };
                    proptest::prop_assert_eq!(Form::of(&name), Some(form));
                }
            }
        }
    }
}
