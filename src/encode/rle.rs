//! The hybrid of run-length encoding and bit packing, for dictionary indices and definition levels:
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/#run-length-encoding--bit-packing-hybrid-rle--3>

/// Number of values in a bit-packed group. Eight values of any width fill a whole number of bytes.
const GROUP: usize = 8;

/// Returns the bit width of values up to `max`. Like other writers, returns at least 1.
pub(super) fn bit_width(max: u32) -> u8 {
    (u32::BITS - max.leading_zeros()).max(1) as u8
}

/// Appends the encoded `values`, each of which fits in `width` bits.
///
/// A run can start only where a group would start. Runs that are shorter than a group are bit-packed.
pub(super) fn encode(values: &[u32], width: u8, out: &mut Vec<u8>) {
    let mut packed_from = 0;
    let mut at = 0;
    while let Some(group) = values[at..].first_chunk::<GROUP>() {
        let value = group[0];
        if group.iter().all(|&next| next == value) {
            let more = values[at + GROUP..].iter().take_while(|&&next| next == value).count();
            pack(&values[packed_from..at], width, out);
            repeat(value, GROUP + more, width, out);
            at += more;
            packed_from = at + GROUP;
        }
        at += GROUP;
    }
    pack(&values[packed_from..], width, out);
}

/// Appends a run of `count` equal values.
pub(super) fn repeat(value: u32, count: usize, width: u8, out: &mut Vec<u8>) {
    varint((count as u64) << 1, out);
    let bytes = usize::from(width).div_ceil(8);
    out.extend_from_slice(&value.to_le_bytes()[..bytes]);
}

/// Appends one-bit levels that are already bit-packed.
pub(super) fn packed_bits(bits: &[u8], out: &mut Vec<u8>) {
    varint((bits.len() as u64) << 1 | 1, out);
    out.extend_from_slice(bits);
}

fn pack(values: &[u32], width: u8, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let (whole, rest) = values.as_chunks::<GROUP>();
    let mut last = [0; GROUP];
    last[..rest.len()].copy_from_slice(rest);
    // The last group is padded with zeros.
    let groups = whole.iter().chain((!rest.is_empty()).then_some(&last));
    varint((values.len().div_ceil(GROUP) as u64) << 1 | 1, out);
    for group in groups {
        pack_group(group, u32::from(width), out);
    }
}

/// Appends a group of values, each of which fits in `width` bits.
#[inline]
fn pack_group(group: &[u32; GROUP], width: u32, out: &mut Vec<u8>) {
    // Concatenates the bits of values; the first value occupies the lowest bits.
    let word = |values: &[u32]| {
        values.iter().rev().fold(0_u64, |bits, &value| bits << width | u64::from(value))
    };
    let bytes = width as usize;
    if width <= u64::BITS / 8 {
        out.extend_from_slice(&word(group).to_le_bytes()[..bytes]);
        return;
    }
    // Four values fill a whole number of half bytes, and at most sixteen bytes.
    let four = |values: &[u32]| {
        u128::from(word(&values[..2])) | u128::from(word(&values[2..])) << (2 * width)
    };
    let (low, high) = (four(&group[..4]), four(&group[4..]));
    let shift = 4 * width;
    if shift <= u64::BITS {
        out.extend_from_slice(&(low | high << shift).to_le_bytes()[..bytes]);
        return;
    }
    // The two halves together occupy more than sixteen bytes.
    let carried = if shift == u128::BITS { 0 } else { high << shift };
    let first = low | carried;
    let rest = high >> (u128::BITS - shift);
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&rest.to_le_bytes()[..bytes - 16]);
}

/// Appends an unsigned integer as a varint: seven bits in each byte, the lowest first.
pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes values exactly as specified, one at a time.
    fn decode(mut bytes: &[u8], width: u8, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        while values.len() < count {
            let mut header = 0_u64;
            for shift in (0..).step_by(7) {
                let (&byte, rest) = bytes.split_first().unwrap();
                bytes = rest;
                header |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let (value, rest) = bytes.split_at(usize::from(width).div_ceil(8));
                bytes = rest;
                let value = value.iter().rev().fold(0, |all, &byte| all << 8 | u32::from(byte));
                values.extend(std::iter::repeat_n(value, (header >> 1) as usize));
            } else {
                let (packed, rest) = bytes.split_at((header >> 1) as usize * usize::from(width));
                bytes = rest;
                let bit = |at: usize| u32::from(packed[at / 8] >> (at % 8) & 1);
                for first in (0..packed.len() * 8).step_by(usize::from(width)) {
                    values.push((0..usize::from(width)).map(|i| bit(first + i) << i).sum());
                }
            }
        }
        assert!(bytes.is_empty());
        assert!(values[count..].iter().all(|&value| value == 0) && values.len() - count < 8);
        values.truncate(count);
        values
    }

    proptest::proptest! {
        #[test]
        fn values_survive_a_round_trip(
            runs in proptest::collection::vec((0_u32..70_000, 1_usize..40), 0..60),
            spare in 0_u8..3,
        ) {
            let values: Vec<u32> =
                runs.iter().flat_map(|&(value, count)| std::iter::repeat_n(value, count)).collect();
            let width = bit_width(values.iter().copied().max().unwrap_or(0)) + spare;
            let mut bytes = Vec::new();
            encode(&values, width, &mut bytes);
            proptest::prop_assert_eq!(decode(&bytes, width, values.len()), values);
        }
    }

    #[test]
    fn long_runs_take_few_bytes() {
        let mut bytes = Vec::new();
        encode(&vec![5; 20_000], 3, &mut bytes);
        assert_eq!(bytes.len(), 4);
    }

    #[test]
    fn widths() {
        assert_eq!([0, 1, 2, 3, 4, 255, 256, u32::MAX].map(bit_width), [1, 1, 2, 2, 3, 8, 9, 32]);
    }
}
