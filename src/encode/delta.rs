//! Delta encodings for integers and times, and for strings that share a prefix with the preceding string.
//!
//! DELTA_BINARY_PACKED and DELTA_BYTE_ARRAY: <https://parquet.apache.org/docs/file-format/data-pages/encodings/#delta-encoding-delta_binary_packed--5>

use crate::encode::LENGTH;
use crate::encode::rle::varint;
use crate::encode::text_values::clear;

/// Number of deltas in a block. Each block stores its smallest delta once.
const BLOCK: usize = 128;
/// Number of deltas that share a bit width.
const MINIBLOCK: usize = 32;

/// Appends the DELTA_BINARY_PACKED encoding of integers with `bits` bits.
///
/// Deltas wrap on overflow, as do the sums that readers compute, so the deltas of 32-bit integers need at most 32 bits.
pub(super) fn integers(
    mut values: impl ExactSizeIterator<Item = i64>,
    bits: u32,
    out: &mut Vec<u8>,
) {
    let unused = i64::BITS - bits;
    varint(BLOCK as u64, out);
    varint((BLOCK / MINIBLOCK) as u64, out);
    varint(values.len() as u64, out);
    let mut last = values.next().unwrap_or_default();
    varint(zigzag(last), out);
    let mut deltas = [0; BLOCK];
    while values.len() > 0 {
        let count = values.len().min(BLOCK);
        for (delta, value) in deltas.iter_mut().zip(values.by_ref().take(count)) {
            *delta = value.wrapping_sub(last) << unused >> unused;
            last = value;
        }
        block(&deltas[..count], out);
    }
}

fn block(deltas: &[i64], out: &mut Vec<u8>) {
    let least = deltas.iter().copied().min().unwrap_or_default();
    varint(zigzag(least), out);
    let widths = out.len();
    out.extend_from_slice(&[0; BLOCK / MINIBLOCK]);
    for (index, deltas) in deltas.chunks(MINIBLOCK).enumerate() {
        // The last miniblock is padded with zeros.
        let mut values = [0; MINIBLOCK];
        for (value, delta) in values.iter_mut().zip(deltas) {
            *value = delta.wrapping_sub(least).cast_unsigned();
        }
        let width = u64::BITS - values.iter().fold(0, |all, value| all | value).leading_zeros();
        out[widths + index] = width as u8;
        pack(&values, width, out);
    }
}

fn pack(values: &[u64; MINIBLOCK], width: u32, out: &mut Vec<u8>) {
    match width {
        0 => {}
        // The pending bits (fewer than 32) and the next value fit in one word.
        1..=32 => {
            let (mut bits, mut held) = (0, 0);
            for &value in values {
                bits |= value << held;
                held += width;
                if held >= u32::BITS {
                    out.extend_from_slice(&(bits as u32).to_le_bytes());
                    bits >>= u32::BITS;
                    held -= u32::BITS;
                }
            }
        }
        _ => {
            let (mut bits, mut held) = (0_u128, 0);
            for &value in values {
                bits |= u128::from(value) << held;
                held += width;
                if held >= u64::BITS {
                    out.extend_from_slice(&(bits as u64).to_le_bytes());
                    bits >>= u64::BITS;
                    held -= u64::BITS;
                }
            }
            out.extend_from_slice(&(bits as u64).to_le_bytes()[..held as usize / 8]);
        }
    }
}

/// Zigzag encoding: maps integers close to zero to small unsigned integers.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// The strings in a page, for DELTA_BYTE_ARRAY encoding: the length of the prefix that each string shares with the
/// preceding one, and each string's suffix.
#[derive(Default)]
pub(super) struct DeltaTexts {
    shared: Vec<u32>,
    lengths: Vec<u32>,
    rests: Vec<u8>,
    /// The last string appended.
    last: Vec<u8>,
    size: usize,
}

impl DeltaTexts {
    /// Appends strings. Copies only their suffixes, and the entire last string.
    pub(super) fn extend<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]>) {
        let mut last = self.last.as_slice();
        for text in texts {
            let common = common_prefix(last, text);
            let rest = &text[common..];
            self.shared.push(common as u32);
            self.lengths.push(rest.len() as u32);
            self.rests.extend_from_slice(rest);
            self.size += text.len() + LENGTH;
            last = text;
        }
        self.last = last.to_vec();
    }

    /// Returns the size in bytes of the strings in PLAIN encoding.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Appends the encoded strings to `out`, and clears the buffer.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>) {
        for numbers in [&mut self.shared, &mut self.lengths] {
            integers(numbers.drain(..).map(i64::from), i32::BITS, out);
        }
        out.extend_from_slice(&self.rests);
        clear(&mut self.rests);
        self.last.clear();
        self.size = 0;
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const WORD: usize = size_of::<u64>();
    let (words_a, words_b) = (a.as_chunks::<WORD>().0, b.as_chunks::<WORD>().0);
    let mut at = 0;
    for (a, b) in words_a.iter().zip(words_b) {
        let different = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if different != 0 {
            return at + different.trailing_zeros() as usize / 8;
        }
        at += WORD;
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy;

    use super::*;

    fn read_varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (&byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    fn unzigzag(value: u64) -> i64 {
        (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
    }

    /// Decodes integers exactly as specified. Does not consume the bytes that follow them.
    fn decode(bytes: &mut &[u8]) -> Vec<i64> {
        let block = read_varint(bytes) as usize;
        let miniblocks = read_varint(bytes) as usize;
        let count = read_varint(bytes) as usize;
        let mut values = vec![unzigzag(read_varint(bytes))];
        while values.len() < count {
            let least = unzigzag(read_varint(bytes));
            let (widths, rest) = bytes.split_at(miniblocks);
            *bytes = rest;
            for &width in widths {
                if values.len() >= count {
                    break;
                }
                let (packed, rest) = bytes.split_at(block / miniblocks * usize::from(width) / 8);
                *bytes = rest;
                let bit = |at: usize| u64::from(packed[at / 8] >> (at % 8) & 1);
                for index in 0..block / miniblocks {
                    let first = index * usize::from(width);
                    let delta: u64 = (0..usize::from(width)).map(|i| bit(first + i) << i).sum();
                    let last = *values.last().unwrap();
                    values.push(last.wrapping_add(least).wrapping_add(delta.cast_signed()));
                }
            }
        }
        values.truncate(count);
        values
    }

    proptest::proptest! {
        #[test]
        fn integers_survive_a_round_trip(
            values in proptest::collection::vec(
                proptest::prop_oneof![0_i64..1000, proptest::num::i64::ANY], 1..400,
            ),
        ) {
            let mut bytes = Vec::new();
            integers(values.iter().copied(), i64::BITS, &mut bytes);
            let mut rest = bytes.as_slice();
            proptest::prop_assert_eq!(decode(&mut rest), values);
            proptest::prop_assert!(rest.is_empty());
        }

        #[test]
        fn deltas_of_32_bit_integers_need_at_most_32_bits(
            values in proptest::collection::vec(
                proptest::prop_oneof![proptest::num::i32::ANY, proptest::bool::ANY.prop_map(|max| {
                    if max { i32::MAX } else { i32::MIN }
                })],
                1..400,
            ),
        ) {
            let mut bytes = Vec::new();
            integers(values.iter().copied().map(i64::from), i32::BITS, &mut bytes);
            proptest::prop_assert!(bytes.len() <= 20 + (values.len() / BLOCK + 1) * (9 + 4 * BLOCK));
            // A reader of 32-bit integers keeps the lower 32 bits of each sum.
            let read: Vec<i32> = decode(&mut bytes.as_slice()).iter().map(|&v| v as i32).collect();
            proptest::prop_assert_eq!(read, values);
        }

        #[test]
        fn texts_survive_a_round_trip(values in proptest::collection::vec("[ab]{0,20}", 1..300)) {
            let mut bytes = Vec::new();
            let mut texts = DeltaTexts::default();
            // The shared prefixes do not depend on how many strings are appended per call.
            for values in values.chunks(7) {
                texts.extend(values.iter().map(String::as_bytes));
            }
            texts.encode(&mut bytes);
            let mut rest = bytes.as_slice();
            let shared = decode(&mut rest);
            let lengths = decode(&mut rest);
            let mut last = String::new();
            for ((shared, length), value) in shared.into_iter().zip(lengths).zip(values) {
                let (text, after) = rest.split_at(length as usize);
                rest = after;
                last.truncate(shared as usize);
                last.push_str(str::from_utf8(text).unwrap());
                proptest::prop_assert_eq!(&last, &value);
            }
            proptest::prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn evenly_spaced_times_take_little_space() {
        let mut bytes = Vec::new();
        integers(
            (0..20_000_i32).map(|row| 1_751_328_000_000_000 + i64::from(row) * 1000),
            i64::BITS,
            &mut bytes,
        );
        assert!(bytes.len() < 1200, "{} bytes", bytes.len());
    }
}
