//! Compares a published file with its claim: size, footer and, optionally, bytes.

use parquet::file::metadata::ParquetMetaData;

use crate::dataset::claim::{Claim, Output, embedded};
use crate::dataset::file::PublishedFile;
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::reject;
use crate::logs::schema::LogType;

/// Returns the problem with a published file of a claim, if any. If `whole` is set, also compares the SHA-256 of all
/// bytes.
pub(super) fn check(
    dataset: &Dataset,
    claim: &Claim,
    output: &Output,
    whole: bool,
) -> Result<Option<String>, DatasetError> {
    check_with(dataset, output, whole, |footer| contradiction(footer, dataset, claim, output))
}

/// Checks the size and, with `contradiction`, the footer of a published file. If `whole` is set, also compares the SHA-256
/// of all bytes. Returns the problem, if there is one.
pub(super) fn check_with(
    dataset: &Dataset,
    output: &Output,
    whole: bool,
    contradiction: impl FnOnce(&ParquetMetaData) -> Option<String>,
) -> Result<Option<String>, DatasetError> {
    let (key, size) = (&output.file.key, output.file.size);
    match dataset.target().size(key)? {
        None => return Ok(Some("is gone".to_owned())),
        Some(found) if found != size => {
            return Ok(Some(format!("has {found} bytes instead of {size}")));
        }
        Some(_) => {}
    }
    let file = PublishedFile::new(dataset, output);
    if whole && file.sha256()? != output.file.sha256 {
        return Ok(Some("does not match the SHA-256 in its claim or rewrite".to_owned()));
    }
    Ok(match file.footer() {
        Ok(footer) => contradiction(&footer),
        Err(error) => Some(format!("is not a Parquet file: {error}")),
    })
}

/// Describes how a footer contradicts the claim, or names an entry that the footer lacks even though this program
/// always writes it. Returns `None` if the footer is valid.
fn contradiction(
    footer: &ParquetMetaData,
    dataset: &Dataset,
    claim: &Claim,
    output: &Output,
) -> Option<String> {
    let file = footer.file_metadata();
    let rows = file.num_rows().cast_unsigned();
    if rows != output.rows {
        return Some(format!("has {rows} rows instead of {}", output.rows));
    }
    let fact = |key: &str| {
        let facts = file.key_value_metadata().into_iter().flatten();
        facts.into_iter().find(|fact| fact.key == key).and_then(|fact| fact.value.as_deref())
    };
    if fact(embedded::KEY).is_none() {
        return Some("has no embedded claim, from which a lost claim can be rebuilt".to_owned());
    }
    if output.has_originals() || output.table == reject::TABLE {
        return None;
    }
    let log_type = LogType::ALL.into_iter().find(|each| each.table().name == output.table)?;
    let rejects: u64 = claim.rejects.values().sum();
    // Only comparing the rows can show whether the values are actually redacted.
    if !dataset.redaction().is_empty() && fact("alb2parquet.redaction").is_none() {
        return Some("does not state its redaction in its footer".to_owned());
    }
    let expected = [
        ("log_type", log_type.to_string()),
        ("objects", claim.objects.len().to_string()),
        ("lines", claim.lines.to_string()),
        ("joined_lines", claim.joined_lines.to_string()),
        ("rows", claim.rows.to_string()),
        ("rejects", rejects.to_string()),
    ];
    expected.into_iter().find_map(|(name, expected)| {
        let found = fact(&format!("alb2parquet.{name}"));
        let stated = found.unwrap_or("nothing");
        (found != Some(&expected))
            .then(|| format!("has {name} = {stated} in its footer, but {expected} in its claim"))
    })
}
