//! Locations that an engine would not interpret as the directory that they name.
//!
//! `DuckDB` 2.0, Spark 4.3 and Trino 411 were tested with each character (`tests/engines/locations.py`). Athena
//! cannot be tested. For Athena and Glue, only characters are accepted that neither its documentation nor that of
//! Amazon S3 (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>) advises against.

use crate::catalog::ddl::{DdlError, Dialect};
use crate::store::Place;
use crate::util::escape::printable;

/// Why wildcards are refused for Athena and Glue.
const WILDCARD: &str = "which Athena's documentation excludes as a wildcard";
/// Why characters without documented meaning are refused for Athena and Glue.
const UNDOCUMENTED: &str = "and AWS does not document how Athena reads it in a location";
/// Why the location cannot hold a table with computed partitions.
const PLACEHOLDER: &str = "which starts a column reference in the template of computed partitions: move the \
    dataset, or keep the partitions in the catalog";
/// Why a path is refused for `DuckDB`.
const SEPARATOR: &str = "which no DuckDB pattern matches";
/// Why a URL is refused for `DuckDB`: `?` starts its parameters, and patterns in buckets depend on an extension.
const PATTERN: &str = "which DuckDB reads as a pattern or a parameter in a URL";

/// Returns the location of a table's directory in a dataset, as an engine reaches it.
///
/// # Errors
///
/// Fails if the dataset has no such location.
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
            // Only Hadoop knows that name.
            Some(rest) if dialect != Dialect::Spark => format!("s3://{rest}"),
            _ => dataset.to_owned(),
        },
    };
    if printable(&place) != place {
        return Err(DdlError::Invisible(place));
    }
    Ok(format!("{}/{directory}", place.trim_end_matches('/')))
}

/// Refuses a location that a dialect would misinterpret and that cannot be escaped.
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
    fn a_location_that_an_engine_reads_as_another_is_refused_by_character() {
        let said = refused("s3://lake/a*b/", Dialect::Athena, true).unwrap();
        assert_eq!(
            said,
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
            let said = refused(location, dialect, true).unwrap_or_default();
            assert!(said.contains(&format!("it contains \"{what}\", ")), "{location}: {said}");
            assert!(!said.chars().any(char::is_control), "{said:?}");
        }
    }

    #[test]
    fn a_location_that_an_engine_reads_right_is_taken() {
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
