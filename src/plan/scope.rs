//! Selects the objects that a source's name refers to.
//!
//! A SOURCE can be a single file or a pattern, such as `logs/**/*.log.gz`. The program opens the parent directory, and
//! the scope selects objects in it.

use glob::Pattern;

use crate::logs::key::Name;
use crate::store::{Place, has_secret};

/// Characters that turn a name into a pattern.
const SPECIAL: [char; 3] = ['*', '?', '['];

/// The selected objects of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scope {
    /// All objects.
    #[default]
    All,
    /// The objects with these names, in the directory itself.
    Names(Vec<String>),
    /// The objects whose paths relative to the directory match a pattern.
    Matching(Matching),
}

/// A path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matching {
    /// Prefix of the directory in its bucket.
    prefix: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `**`: any number of directories.
    Any,
    One(Pattern),
}

/// A name is not a valid pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SOURCE {name} is not a pattern: {why}")]
pub struct ScopeError {
    /// The source as the user specified it.
    name: String,
    /// The reason.
    why: String,
}

impl Scope {
    /// Splits the name of a source into the directory or prefix to open, and the scope. A URL with credentials is never
    /// a pattern: [`Place::parse`] refuses such a URL without including it in the error.
    ///
    /// # Errors
    ///
    /// Fails if the name is a malformed pattern.
    pub fn split(name: &str) -> Result<(String, Self), ScopeError> {
        let (scheme, path) = match name.split_once("://") {
            Some((scheme, path)) => (Some(scheme), path),
            None => (None, name),
        };
        let is_local = scheme.is_none_or(|scheme| scheme == "file");
        let local = std::path::Path::new(path);
        let whole = || Ok((name.to_owned(), Self::All));
        if has_secret(name) || is_local && local.is_dir() {
            return whole();
        }
        let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
        // In a bucket, only the name indicates whether this is an object or a prefix.
        let is_file = if is_local { local.is_file() } else { Name::parse(last).is_some() };
        if is_file && (is_local || !above.is_empty()) {
            return Ok((base(scheme, above, path), Self::Names(vec![last.to_owned()])));
        }
        let Some(at) = path.find(SPECIAL) else { return whole() };
        let (above, pattern) = match path[..at].rfind('/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => ("", path),
        };
        let failed = |why: &str| ScopeError { name: name.to_owned(), why: why.to_owned() };
        if !is_local && above.is_empty() {
            return Err(failed("a bucket must be named in full"));
        }
        let part = |part: &str| match part {
            "**" => Ok(Part::Any),
            part => Pattern::new(part).map(Part::One).map_err(|error| failed(error.msg)),
        };
        let parts = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").map(part);
        let parts = parts.collect::<Result<_, _>>()?;
        let base = base(scheme, above, path);
        let prefix = match Place::parse(&base) {
            Ok(Place::Bucket(prefix)) => prefix.path.to_string(),
            _ => String::new(),
        };
        Ok((base, Self::Matching(Matching { prefix, parts })))
    }
}

/// Returns the name of the parent directory.
fn base(scheme: Option<&str>, above: &str, path: &str) -> String {
    let above = match above {
        "" if path.starts_with('/') => "/",
        "" => ".",
        above => above,
    };
    scheme.map_or_else(|| above.to_owned(), |scheme| format!("{scheme}://{above}"))
}

impl Matching {
    /// Returns whether an object is in scope, given its path relative to the directory.
    pub fn holds(&self, below: &str) -> bool {
        let path: Vec<&str> = below.split('/').collect();
        matches(&self.parts, &path)
    }

    /// Returns whether a directory in the bucket can contain objects in scope.
    pub fn leads_to(&self, directory: &str) -> bool {
        let Some(below) = directory.strip_prefix(self.prefix.as_str()) else { return true };
        let path: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
        leads(&self.parts, &path)
    }
}

fn matches(parts: &[Part], path: &[&str]) -> bool {
    match (parts.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((Part::Any, rest)), below) => {
            matches(rest, path) || below.is_some_and(|(_, below)| matches(parts, below))
        }
        (Some((Part::One(one), rest)), Some((first, below))) => {
            one.matches(first) && matches(rest, below)
        }
        _ => false,
    }
}

/// Returns whether anything below a path can match.
fn leads(parts: &[Part], path: &[&str]) -> bool {
    match (parts.split_first(), path.split_first()) {
        (None, _) => false,
        (_, None) | (Some((Part::Any, _)), _) => true,
        (Some((Part::One(one), rest)), Some((first, below))) => {
            one.matches(first) && leads(rest, below)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(name: &str) -> (String, Matching) {
        match Scope::split(name) {
            Ok((base, Scope::Matching(matching))) => (base, matching),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn a_pattern_is_opened_at_the_directory_above_it() {
        for (name, base) in [
            ("logs/**/*.log.gz", "logs"),
            ("*.log.gz", "."),
            ("/*/x", "/"),
            ("a/b[12]/c", "a"),
            ("s3://b/p/2025/*/x*.log.gz", "s3://b/p/2025"),
            ("s3://b/*", "s3://b"),
            ("file:///mnt/logs/*.gz", "file:///mnt/logs"),
        ] {
            assert_eq!(matching(name).0, base, "{name}");
        }
        for (name, words) in [
            ("s3://b*/p", "bucket must be named in full"),
            ("logs/a**/b", "single path component"),
            ("logs/[a", "invalid range"),
        ] {
            let error = Scope::split(name).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(Scope::split("s3://b/p/"), Ok(("s3://b/p/".to_owned(), Scope::All)));
    }

    #[test]
    fn patterns_match_whole_components() {
        for (pattern, yes, no) in [
            ("s3://b/*/x*.gz", &["1/x.gz", "1/xyz.gz"][..], &["x.gz", "1/2/x.gz", "1/y.gz"][..]),
            ("s3://b/**/*.gz", &["x.gz", "1/x.gz", "1/2/3/x.gz"], &["x.log", "x.gz/y"]),
            ("s3://b/a?/**", &["a1/x", "a1/b/c"], &["a/x", "b1/x"]),
            ("s3://b/**/19/*", &["19/x", "2025/07/19/x"], &["19/a/x", "20/x"]),
        ] {
            let (_, matching) = matching(pattern);
            for path in yes {
                assert!(matching.holds(path), "{pattern} {path}");
            }
            for path in no {
                assert!(!matching.holds(path), "{pattern} {path}");
            }
        }
    }

    proptest::proptest! {
        /// Checks that a listing never skips a directory with objects in scope.
        #[test]
        fn directories_of_matching_paths_are_not_skipped(
            pattern in proptest::collection::vec(proptest::sample::select(vec!["**", "*", "a", "b*", "?"]), 1..5),
            path in proptest::collection::vec(proptest::sample::select(vec!["a", "b", "bc"]), 1..6),
        ) {
            let (_, matching) = matching(&format!("s3://b/p/{}/*", pattern.join("/")));
            let below = path.join("/");
            if matching.holds(&below) {
                for (at, _) in below.match_indices('/') {
                    let directory = format!("{}/{}", matching.prefix, &below[..at]);
                    proptest::prop_assert!(matching.leads_to(&directory), "{directory}");
                }
                proptest::prop_assert!(matching.leads_to(&matching.prefix));
            }
        }
    }
}
