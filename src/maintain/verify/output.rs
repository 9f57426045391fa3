//! A published file against its claim: size, footer and, on demand, bytes.

use parquet::file::metadata::ParquetMetaData;

use crate::dataset::claim::{Claim, Output};
use crate::dataset::file::PublishedFile;
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::reject;

/// Says what is wrong with an output that should stand, if anything is.
pub(super) fn check(
    dataset: &Dataset,
    claim: &Claim,
    output: &Output,
    whole: bool,
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
        return Ok(Some("has other bytes than were written".to_owned()));
    }
    Ok(match file.footer() {
        Ok(metadata) => contradiction(&metadata, claim, output),
        Err(error) => Some(format!("is not a Parquet file: {error}")),
    })
}

/// Says where a footer contradicts the claim, if it does.
fn contradiction(metadata: &ParquetMetaData, claim: &Claim, output: &Output) -> Option<String> {
    let file = metadata.file_metadata();
    let rows = file.num_rows().cast_unsigned();
    if rows != output.rows {
        return Some(format!("has {rows} rows instead of {}", output.rows));
    }
    if output.table == reject::TABLE {
        return None;
    }
    let facts = file.key_value_metadata()?;
    let rejects: u64 = claim.rejects.values().sum();
    for (name, expected) in [("lines", claim.lines), ("rows", claim.rows), ("rejects", rejects)] {
        let key = format!("alb2parquet.{name}");
        let fact = facts.iter().find(|fact| fact.key == key).and_then(|fact| fact.value.as_deref());
        if fact != Some(&expected.to_string()) {
            let found = fact.unwrap_or("nothing");
            return Some(format!("says {found} of its {name} in its footer, the claim {expected}"));
        }
    }
    None
}
