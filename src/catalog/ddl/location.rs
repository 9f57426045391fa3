//! Determines the location of a table. Rejects locations that an engine would interpret as a different directory.
//!
//! `DuckDB` 2.0, Spark 4.3 and Trino 411 were tested with each character (`tests/engines/locations.py`). Athena could
//! not be tested. For Athena and Glue, a location must not contain characters that the documentation of Athena or
//! Amazon S3 (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>) advises against.

use crate::catalog::ddl::{DdlError, Dialect};
use crate::store::Place;
use crate::util::escape::printable;

/// Why wildcards are rejected for Athena and Glue.
const WILDCARD: &str = "which Athena's documentation excludes as a wildcard";
/// Why characters without a documented meaning are rejected for Athena and Glue.
const UNDOCUMENTED: &str = "and AWS does not document how Athena reads it in a location";
/// Why a location is rejected for a table whose partitions the engine computes.
const PLACEHOLDER: &str = "which starts a column reference in the template of computed partitions: move the \
    dataset, or keep the partitions in the catalog";
/// Why a backslash is rejected for `DuckDB`.
const SEPARATOR: &str = "which no DuckDB pattern matches";
/// Why a URL is rejected for `DuckDB`: `?` starts the URL parameters, and how patterns work in buckets depends on an
/// extension.
const PATTERN: &str = "which DuckDB reads as a pattern or a parameter in a URL";

/// Returns the location of a table's directory in a dataset, in the form that the dialect's engine expects.
///
/// # Errors
///
/// Fails if `dataset` is not a valid URL or path, or cannot be printed in a statement.
pub(crate) fn locate(dataset: &str, directory: &str, dialect: Dialect) -> Result<String, DdlError> {
    let place = match Place::parse(dataset)? {
        Place::Local(path) => {
            let absolute = std::path::absolute(&path);
            let path = absolute
                .map_err(|source| DdlError::Path { path: path.display().to_string(), source })?;
            let path = path.to_str().ok_or(DdlError::NotText)?;
            if dialect == Dialect::DuckDb { path.to_owned() } else { format!("file://{path}") }
        }
        Place::Bucket(_) => match dataset.strip_prefix("s3a://") {
            // Only Hadoop supports this scheme.
            Some(rest) if dialect != Dialect::Spark => format!("s3://{rest}"),
            _ => dataset.to_owned(),
        },
    };
    if printable(&place) != place {
        return Err(DdlError::Invisible(place));
    }
    Ok(format!("{}/{directory}", place.trim_end_matches('/')))
}

/// Rejects a location that the engine would misinterpret and that cannot be escaped.
pub(super) fn check(location: &str, dialect: Dialect, projection: bool) -> Result<(), DdlError> {
    let refuse = |what: &str, reason| {
        let (location, what) = (location.to_owned(), what.to_owned());
        Err(DdlError::Location { location, what, reason })
    };
    let projected = matches!(dialect, Dialect::Athena | Dialect::Glue | Dialect::Trino);
    if projected && projection && location.contains("${") {
        return refuse("${", PLACEHOLDER);
    }
    let reason = |c: char| match dialect {
        Dialect::Athena | Dialect::Glue => match c {
            '*' | '?' | '[' | ']' | '{' | '}' => Some(WILDCARD),
            '\\' | '"' | '`' | ';' | '#' | '%' | '^' | '|' | '<' | '>' => Some(UNDOCUMENTED),
            _ if c.is_control() => Some(UNDOCUMENTED),
            _ => None,
        },
        Dialect::DuckDb if c == '\\' => Some(SEPARATOR),
        Dialect::DuckDb if location.contains("://") && "*?[".contains(c) => Some(PATTERN),
        Dialect::DuckDb | Dialect::Spark | Dialect::Trino => None,
    };
    match location.chars().find_map(|c| reason(c).map(|reason| (c, reason))) {
        Some((c, reason)) => refuse(c.encode_utf8(&mut [0; 4]), reason),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(location: &str, dialect: Dialect, projection: bool) -> Option<String> {
        check(location, dialect, projection).err().map(|error| error.to_string())
    }

    #[test]
    fn a_location_that_an_engine_misinterprets_is_rejected() {
        let error = refused("s3://lake/a*b/", Dialect::Athena, true).unwrap();
        assert_eq!(
            error,
            "the location \"s3://lake/a*b/\" cannot be used: it contains \"*\", which Athena's documentation \
             excludes as a wildcard"
        );
        for (location, dialect, what) in [
            ("s3://lake/${year}/", Dialect::Trino, "${"),
            ("s3://lake/${year}/", Dialect::Glue, "${"),
            ("s3://lake/a?b/", Dialect::Glue, "?"),
            ("s3://lake/a;b/", Dialect::Athena, ";"),
            ("s3://lake/a\nb/", Dialect::Athena, "\\n"),
            ("s3://lake/a?b/", Dialect::DuckDb, "?"),
            ("s3://lake/a[b/", Dialect::DuckDb, "["),
            ("/lake/a\\b/", Dialect::DuckDb, "\\\\"),
        ] {
            let error = refused(location, dialect, true).unwrap_or_default();
            assert!(error.contains(&format!("it contains \"{what}\", ")), "{location}: {error}");
            assert!(!error.chars().any(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn a_location_that_an_engine_interprets_correctly_is_accepted() {
        let odd = "/lake/a*?[b]{c}'\"`;\n%20#+ ä$1";
        assert_eq!(refused(odd, Dialect::DuckDb, false), None);
        for dialect in [Dialect::Spark, Dialect::Trino] {
            assert_eq!(refused(&format!("file://{odd}\\"), dialect, true), None);
            assert_eq!(refused("file:///lake/${year}/", dialect, false), None);
        }
        for dialect in [Dialect::Athena, Dialect::Glue] {
            assert_eq!(
                refused("s3://lake/year=1999/o'neil (1) ä+b,$&@:!-_.~/", dialect, true),
                None
            );
        }
    }
}
