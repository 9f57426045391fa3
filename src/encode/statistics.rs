//! Smallest and largest values of pages and column chunks.

use arrow::datatypes::{
    ArrowPrimitiveType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use parquet::basic::Encoding;
use parquet::data_type::ByteArray;
use parquet::file::statistics::{Statistics, ValueStatistics};

/// Bytes of text that a bound keeps.
const MAX_BOUND: usize = 64;

/// Smallest and largest value, in the encoding of the column index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) min: Vec<u8>,
    pub(super) max: Vec<u8>,
}

/// A number as Parquet stores it.
pub(super) trait Physical: ArrowPrimitiveType<Native: Plain> {
    /// How values are stored that no dictionary holds. Differences of integers need few bits even where the
    /// integers are in no order, and Zstandard then finds hardly anything to do.
    const ENCODING: Encoding = Encoding::DELTA_BINARY_PACKED;
    /// How often a number must come, on average, for a dictionary to be worth its time.
    const WORTH: usize = 4;
}

impl Physical for Int32Type {}
impl Physical for Int64Type {}
impl Physical for Float64Type {
    const ENCODING: Encoding = Encoding::PLAIN;
    const WORTH: usize = 2;
}
impl Physical for TimestampMicrosecondType {}

/// A number in PLAIN encoding.
pub(super) trait Plain: Copy + PartialOrd + Default + Send {
    /// Appends its bytes, the lowest first.
    fn push(self, out: &mut Vec<u8>);
    /// Its bits, by which equal numbers are found.
    fn bits(self) -> u64;
    /// The statistics of a chunk of such numbers.
    fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics;
    /// The bounds as they are to be written.
    fn bounds(min: Self, max: Self) -> (Self, Self) {
        (min, max)
    }
}

macro_rules! plain_integer {
    ($native:ty, $statistics:ident) => {
        impl Plain for $native {
            fn push(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn bits(self) -> u64 {
                i64::from(self).cast_unsigned()
            }

            fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics {
                let (min, max) = bounds.unzip();
                Statistics::$statistics(ValueStatistics::new(min, max, None, Some(nulls), false))
            }
        }
    };
}

plain_integer!(i32, Int32);
plain_integer!(i64, Int64);

impl Plain for f64 {
    fn push(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn bits(self) -> u64 {
        self.to_bits()
    }

    fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics {
        let (min, max) = bounds.unzip();
        Statistics::Double(ValueStatistics::new(min, max, None, Some(nulls), false))
    }

    /// Zeros are of either sign: a smallest zero is written as -0, a largest as +0
    /// (<https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>, `ColumnOrder`).
    fn bounds(min: Self, max: Self) -> (Self, Self) {
        (if min == 0.0 { -0.0 } else { min }, if max == 0.0 { 0.0 } else { max })
    }
}

/// Returns the bounds of text, cut to a length that serves to prune.
pub(super) fn text_bounds(min: &str, max: &str) -> Bounds {
    Bounds { min: lower(min).as_bytes().to_vec(), max: upper(max).into_bytes() }
}

/// Returns the smallest and the largest text, both `None` where there is none.
pub(super) fn extremes<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Option<(&'a [u8], &'a [u8])> {
    // Where the beginnings of texts, taken as numbers, differ, the texts are in the same order: so few
    // are looked at whole.
    let keyed = texts.map(|text| (beginning(text), text));
    let extremes = keyed.map(|keyed| (keyed, keyed)).reduce(|(min, max), (keyed, _)| {
        (if keyed < min { keyed } else { min }, if keyed > max { keyed } else { max })
    });
    extremes.map(|((_, min), (_, max))| (min, max))
}

#[inline]
fn beginning(text: &[u8]) -> u128 {
    let bytes = text.first_chunk().copied().unwrap_or_else(|| {
        let mut bytes = [0; size_of::<u128>()];
        bytes[..text.len()].copy_from_slice(text);
        bytes
    });
    u128::from_be_bytes(bytes)
}

/// Returns the statistics of a chunk of text whose bounds are given as they are to be written.
pub(super) fn text_statistics(bounds: Option<Bounds>, nulls: u64) -> Statistics {
    let exact = |bound: &Vec<u8>| bound.len() < MAX_BOUND;
    let exact = bounds.as_ref().map(|bounds| (exact(&bounds.min), exact(&bounds.max)));
    let (min, max) = bounds.map(|bounds| (bounds.min.into(), bounds.max.into())).unzip();
    let statistics = ValueStatistics::<ByteArray>::new(min, max, None, Some(nulls), false);
    Statistics::ByteArray(match exact {
        Some((min, max)) => statistics.with_min_is_exact(min).with_max_is_exact(max),
        None => statistics,
    })
}

/// A prefix of at most [`MAX_BOUND`] bytes is never greater than the whole.
fn lower(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_BOUND)]
}

/// A prefix whose last character is replaced by a greater one is greater than the whole.
fn upper(text: &str) -> String {
    let mut prefix = lower(text).to_owned();
    if prefix.len() == text.len() {
        return prefix;
    }
    while let Some(last) = prefix.pop() {
        let next = char::from_u32(u32::from(last) + 1);
        if let Some(next) = next.filter(|next| next.len_utf8() == last.len_utf8()) {
            prefix.push(next);
            return prefix;
        }
    }
    // Nothing but the very last characters of Unicode: no shorter bound exists.
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_short_text_are_exact() {
        let bounds = text_bounds("a", "b");
        assert_eq!((bounds.min.as_slice(), bounds.max.as_slice()), (&b"a"[..], &b"b"[..]));
    }

    #[test]
    fn bounds_of_long_text_enclose_it() {
        for text in [
            "x".repeat(100),
            "é".repeat(50),
            format!("{}\u{10ffff}zz", "y".repeat(60)),
            "\u{10ffff}".repeat(40),
        ] {
            let bounds = text_bounds(&text, &text);
            assert!(bounds.min.as_slice() <= text.as_bytes(), "{text}");
            assert!(bounds.max.as_slice() >= text.as_bytes(), "{text}");
            assert!(bounds.min.len() <= MAX_BOUND);
            assert!(str::from_utf8(&bounds.max).is_ok());
        }
    }

    proptest::proptest! {
        #[test]
        fn extremes_are_those_of_the_standard_library(
            texts in proptest::collection::vec("[a\\x00\u{e9}]{0,20}", 0..20),
        ) {
            let texts = || texts.iter().map(String::as_bytes);
            let expected = texts().min().zip(texts().max());
            proptest::prop_assert_eq!(extremes(texts()), expected);
        }
    }

    #[test]
    fn zeros_have_signs() {
        let (min, max) = <f64 as Plain>::bounds(0.0, -0.0);
        assert!(min.is_sign_negative() && max.is_sign_positive());
    }
}
