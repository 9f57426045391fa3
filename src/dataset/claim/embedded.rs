//! The object list of a claim, embedded in the claim's own files so that a lost claim can be rebuilt.
//!
//! The list is stored between row groups or before the footer, outside all column chunks, so Parquet readers never
//! fetch it. The footer metadata records its offset and length. Like all other bytes of the file, the list depends only
//! on the objects: it contains neither the name of the run nor the location of a source.

use std::io;

use crate::dataset::claim::Claim;

/// Key in the footer metadata. The value is the offset and the length in bytes, separated by a plus sign.
pub const KEY: &str = "alb2parquet.claim_byte_range";

/// Zstandard level. A low level suffices because object names are very similar.
const LEVEL: i32 = 3;
/// Maximum decompressed size in bytes, far more than the object list of any file needs.
const MAX_SIZE: usize = 1 << 30;
/// Maximum compression ratio. Real claims have a ratio of at most about 20, because each object's entry contains random
/// letters and a checksum.
const MAX_RATIO: usize = 100;
/// Decompressed size in bytes up to which the ratio is not checked.
const SMALL: usize = 1 << 20;

/// Encodes the objects of a claim. The keys must be in the same order as the objects.
pub fn encode<'k>(claim: &Claim, keys: impl Iterator<Item = &'k str>) -> Vec<u8> {
    let mut own = Claim {
        version: claim.version.clone(),
        settings: claim.settings.clone(),
        profile: claim.profile,
        lines: claim.lines,
        rows: claim.rows,
        joined_lines: claim.joined_lines,
        rejects: claim.rejects.clone(),
        fields: claim.fields,
        originals: claim.originals,
        ..Claim::default()
    };
    for (object, key) in claim.objects.iter().zip(keys) {
        let mut object = object.clone();
        object.directory = own.directory_of(key);
        object.e_tag = None;
        own.objects.push(object);
    }
    let text = serde_json::to_vec(&own).expect("plain values");
    zstd::bulk::compress(&text, LEVEL).expect("compression in memory does not fail")
}

/// Decodes a claim. The decoded claim has no outputs.
///
/// # Errors
///
/// Fails when the bytes are not an encoded claim.
pub fn decode(bytes: &[u8]) -> io::Result<Claim> {
    // The whole buffer is allocated up front, so a forged size must not determine its length.
    let limit = bytes.len().saturating_mul(MAX_RATIO).clamp(SMALL, MAX_SIZE);
    let text = zstd::bulk::decompress(bytes, limit)?;
    let claim: Claim = serde_json::from_slice(&text)?;
    if claim.is_excessive() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its counts are impossible"));
    }
    Ok(claim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bytes_cannot_claim_a_gibibyte() {
        let bomb = zstd::bulk::compress(&vec![b' '; 64 << 20], LEVEL).unwrap();
        assert!(bomb.len() < 64 << 10);
        let error = decode(&bomb).unwrap_err().to_string();
        assert!(error.contains("too small"), "{error}");
    }

    #[test]
    fn many_objects_are_within_the_ratio() {
        let mut claim = Claim::default();
        for number in 0..50_000_u64 {
            let listed = format!("{:08x}.log.gz", number.wrapping_mul(0x9e37_79b9));
            claim.objects.push(serde_json::from_value(serde_json::json!({
                "directory": 0, "name": listed, "size": 20, "lines": 0, "crc32": "00000000", "uncompressed_size": 0,
            })).unwrap());
        }
        let keys: Vec<String> =
            claim.objects.iter().map(|object| format!("a/{}", object.name)).collect();
        let encoded = encode(&claim, keys.iter().map(String::as_str));
        assert_eq!(decode(&encoded).unwrap().objects.len(), 50_000);
    }

    #[test]
    fn impossible_counts_are_refused() {
        for (lines, is_possible) in [(1 << 48, true), ((1 << 48) + 1, false), (u64::MAX, false)] {
            let claim = Claim { lines, ..Claim::default() };
            assert_eq!(decode(&encode(&claim, [].into_iter())).is_ok(), is_possible, "{lines}");
        }
    }
}
