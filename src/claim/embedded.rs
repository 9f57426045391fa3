//! What a claim says of its objects, kept in the claim's own files, so that a claim that is lost can be rebuilt.
//!
//! It lies between the last row group and the rest of the footer, where no column chunk is: readers of Parquet
//! never fetch it, however many objects there are. The footer's metadata says where it begins and how long it is.
//! It depends on the objects alone, as all bytes of a file do: it names neither the run nor the place of a source.

use std::io;

use crate::claim::Claim;

/// Key of the footer's metadata: offset and length in bytes, separated by a plus sign.
pub const KEY: &str = "alb2parquet.objects_at";

/// Zstandard's level: the names of objects repeat each other almost entirely.
const LEVEL: i32 = 3;
/// Largest size of what is decompressed, in bytes: far more than the objects of a file take up.
const MAX_SIZE: usize = 1 << 30;

/// Encodes what a claim says of its objects, whose keys are given in their order.
pub fn encode<'k>(claim: &Claim, keys: impl Iterator<Item = &'k str>) -> Vec<u8> {
    let mut own = Claim {
        version: claim.version.clone(),
        settings: claim.settings.clone(),
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
