//! The object list of a claim, embedded in the claim's own files so that a lost claim can be rebuilt.
//!
//! It lies between row groups or before the footer, outside all column chunks, so Parquet readers never fetch it.
//! The footer's metadata records its offset and length. Like all bytes of a file, it depends on the objects alone:
//! it names neither the run nor the location of a source.

use std::io;

use crate::claim::Claim;

/// Metadata key in the footer: offset and length in bytes, separated by a plus sign.
pub const KEY: &str = "alb2parquet.objects_at";

/// Zstandard level: object names are almost identical to each other.
const LEVEL: i32 = 3;
/// Maximum decompressed size in bytes, far more than the objects of a file need.
const MAX_SIZE: usize = 1 << 30;

/// Encodes the objects of a claim. The keys are in the order of the objects.
pub fn encode<'k>(claim: &Claim, keys: impl Iterator<Item = &'k str>) -> Vec<u8> {
    let mut own = Claim {
        version: claim.version.clone(),
        settings: claim.settings.clone(),
        profile: claim.profile,
        lines: claim.lines,
        rows: claim.rows,
        joined_lines: claim.joined_lines,
        rejects: claim.rejects.clone(),
        ..Claim::default()
    };
    for (object, key) in claim.objects.iter().zip(keys) {
        let mut object = object.clone();
        object.directory = own.directory_of(key);
        object.e_tag = None;
        own.objects.push(object);
    }
    let text = serde_json::to_vec(&own).expect("plain values");
    zstd::bulk::compress(&text, LEVEL).expect("memory takes everything")
}

/// Decodes a claim without outputs.
///
/// # Errors
///
/// Fails when the bytes are not what [`encode`] returns.
pub fn decode(bytes: &[u8]) -> io::Result<Claim> {
    let text = zstd::bulk::decompress(bytes, MAX_SIZE)?;
    Ok(serde_json::from_slice(&text)?)
}
