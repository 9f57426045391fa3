//! The statistics of pages and column chunks: minimum and maximum.

use arrow::datatypes::{
    ArrowPrimitiveType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use parquet::data_type::ByteArray;
use parquet::file::statistics::{Statistics, ValueStatistics};

use crate::encode::format::Content;

/// Maximum length of a text bound, in bytes. Longer bounds are truncated.
const MAX_BOUND: usize = 64;

/// A minimum or maximum, in the encoding of the column index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) bytes: Vec<u8>,
    /// Whether the value was truncated, in which case no row has the value `bytes`.
    pub(super) cut: bool,
}

/// The minimum and the maximum of a page or a column chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MinMax {
    pub(super) min: Bound,
    pub(super) max: Bound,
}

impl MinMax {
    /// Returns the minimum and maximum of a text column, truncated to a length that is sufficient for pruning.
    pub(super) fn of_text(min: &str, max: &str) -> Self {
        Self { min: lower(min), max: upper(max) }
    }

    /// Returns the combined minimum and maximum.
    ///
    /// If two bounds have the same bytes, keeps the untruncated one, which is the exact extreme of both.
    pub(super) fn and(self, other: &Self) -> Self {
        let Self { mut min, mut max } = self;
        if (&other.min.bytes, other.min.cut) < (&min.bytes, min.cut) {
            min.clone_from(&other.min);
        }
        if (&other.max.bytes, !other.max.cut) > (&max.bytes, !max.cut) {
            max.clone_from(&other.max);
        }
        Self { min, max }
    }
}

/// An Arrow number type that is stored as a Parquet physical type.
pub(super) trait Physical: ArrowPrimitiveType<Native: Plain> {
    /// Kind of content in pages without a dictionary.
    const CONTENT: Content = Content::Integers;
    /// Minimum average number of occurrences per distinct number that makes a dictionary worth the time.
    const WORTH: usize = 4;
}

impl Physical for Int32Type {}
impl Physical for Int64Type {}
impl Physical for Float64Type {
    const CONTENT: Content = Content::Doubles;
    const WORTH: usize = 2;
}
impl Physical for TimestampMicrosecondType {}

/// A number in PLAIN encoding.
pub(super) trait Plain: Copy + Default + Send {
    /// Appends the bytes of the number in little-endian order.
    fn push(self, out: &mut Vec<u8>);
    /// Returns the bit pattern of the number: equal bit patterns mean equal numbers.
    fn bits(self) -> u64;
    /// Returns the statistics of a chunk of numbers.
    fn statistics(min_max: Option<(Self, Self)>, nulls: u64) -> Statistics;
    /// Returns the lesser of two values.
    fn least(self, other: Self) -> Self;
    /// Returns the greater of two values.
    fn greatest(self, other: Self) -> Self;
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

            fn statistics(min_max: Option<(Self, Self)>, nulls: u64) -> Statistics {
                let (min, max) = min_max.unzip();
                Statistics::$statistics(ValueStatistics::new(min, max, None, Some(nulls), false))
            }

            fn least(self, other: Self) -> Self {
                self.min(other)
            }

            fn greatest(self, other: Self) -> Self {
                self.max(other)
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

    /// Sets the number of NaNs, which is required for every column of doubles. It is 0, because the decoder rejects
    /// NaN.
    fn statistics(min_max: Option<(Self, Self)>, nulls: u64) -> Statistics {
        let (min, max) = min_max.unzip();
        let statistics = ValueStatistics::new(min, max, None, Some(nulls), false);
        Statistics::Double(statistics.with_nan_count(Some(0)))
    }

    // Zeros keep their signs, and -0.0 is less than +0.0. The specification
    // (<https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>, `ColumnOrder`)
    // recommends -0.0 for every minimum of zero and +0.0 for every maximum, because a writer that compares with `<`
    // cannot distinguish the zeros. It also asks readers to expect -0.0 below a minimum of +0.0. But engines answer
    // `min()` and `max()` from the footer: DuckDB and DataFusion returned -0.0 when all rows were 0. This encoder knows
    // the exact extremes, and they are valid bounds in either order of the zeros.
    fn least(self, other: Self) -> Self {
        if self.total_cmp(&other).is_le() { self } else { other }
    }

    fn greatest(self, other: Self) -> Self {
        if self.total_cmp(&other).is_ge() { self } else { other }
    }
}

/// Returns the least and the greatest string, or `None` if there are no strings.
pub(super) fn extremes<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Option<(&'a [u8], &'a [u8])> {
    // Compares the first sixteen bytes as big-endian integers. If these differ, they order the strings, so few strings
    // have to be compared in full.
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

/// Returns the statistics of a chunk of text.
pub(super) fn text_statistics(min_max: Option<MinMax>, nulls: u64) -> Statistics {
    let (min, max) = min_max.map(|both| (both.min, both.max)).unzip();
    let exact = |bound: &Option<Bound>| bound.as_ref().is_some_and(|bound| !bound.cut);
    let (min_exact, max_exact) = (exact(&min), exact(&max));
    let bytes = |bound: Option<Bound>| bound.map(|bound| ByteArray::from(bound.bytes));
    let statistics = ValueStatistics::new(bytes(min), bytes(max), None, Some(nulls), false);
    Statistics::ByteArray(statistics.with_min_is_exact(min_exact).with_max_is_exact(max_exact))
}

/// Returns a prefix of at most [`MAX_BOUND`] bytes. A prefix never compares greater than the text.
fn lower(text: &str) -> Bound {
    let prefix = &text[..text.floor_char_boundary(MAX_BOUND)];
    Bound { bytes: prefix.as_bytes().to_vec(), cut: prefix.len() < text.len() }
}

/// Returns the text if it is short. Otherwise, returns a prefix with the last character replaced by its successor, so
/// that the bound is greater than the text.
fn upper(text: &str) -> Bound {
    let end = text.floor_char_boundary(MAX_BOUND);
    if end < text.len() {
        for (at, last) in text[..end].char_indices().rev() {
            let next = (last..=char::MAX).nth(1);
            // A longer character could make the bound exceed its limit.
            if let Some(next) = next.filter(|next| next.len_utf8() == last.len_utf8()) {
                return Bound { bytes: format!("{}{next}", &text[..at]).into_bytes(), cut: true };
            }
        }
    }
    // There is no shorter bound: the text is short, or each character of its prefix is the greatest of its length.
    Bound { bytes: text.as_bytes().to_vec(), cut: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_cut_only_if_they_are_too_long() {
        for length in 0..=MAX_BOUND {
            let text = "x".repeat(length);
            let bound = Bound { bytes: text.clone().into_bytes(), cut: false };
            assert_eq!(MinMax::of_text(&text, &text), MinMax { min: bound.clone(), max: bound });
        }
        let bounds = MinMax::of_text(&"x".repeat(MAX_BOUND + 1), &"x".repeat(MAX_BOUND + 1));
        assert!(bounds.min.cut && bounds.max.cut);
    }

    /// The length of a bound does not reveal whether it is truncated: the bound in this test is truncated, but shorter
    /// than the limit.
    #[test]
    fn a_bound_that_is_cut_between_characters_is_not_exact() {
        let text = format!("{}\u{20ac}", "x".repeat(MAX_BOUND - 1));
        let MinMax { min, max } = MinMax::of_text(&text, &text);
        assert_eq!((min.bytes.len(), min.cut), (MAX_BOUND - 1, true));
        assert_eq!((max.bytes.len(), max.cut), (MAX_BOUND - 1, true));
        assert!(min.bytes.as_slice() < text.as_bytes() && max.bytes.as_slice() > text.as_bytes());
    }

    #[test]
    fn the_next_character_is_a_character_of_the_same_length() {
        let of = |last: &str| upper(&format!("a{}{last}{last}", "b".repeat(63 - last.len())));
        let last = |bound: Bound| String::from_utf8(bound.bytes).unwrap().pop().unwrap();
        assert_eq!(last(of("y")), 'z');
        assert_eq!(last(of("\u{d7ff}")), '\u{e000}', "surrogates are not characters");
        for greatest in ["\u{7f}", "\u{7ff}", "\u{ffff}", "\u{10ffff}"] {
            assert_eq!(last(of(greatest)), 'c', "{greatest:?} has no next character of its length");
        }
    }

    #[test]
    fn text_that_has_no_shorter_bound_is_kept() {
        let text = "\u{10ffff}".repeat(40);
        assert_eq!(upper(&text), Bound { bytes: text.into_bytes(), cut: false });
    }

    #[test]
    fn an_untruncated_bound_wins_over_an_equal_truncated_one() {
        let [short, long] = ["x".repeat(64), "x".repeat(65)];
        let [short, long] = [&short, &long].map(|text| MinMax::of_text(text, text));
        for (a, b) in [(&short, &long), (&long, &short)] {
            assert_eq!(a.clone().and(b), MinMax { min: short.min.clone(), max: long.max.clone() });
        }
        let next =
            MinMax::of_text(&format!("{}y", "x".repeat(63)), &format!("{}y", "x".repeat(63)));
        assert_eq!(next.max.bytes, long.max.bytes);
        for (a, b) in [(&next, &long), (&long, &next)] {
            assert_eq!(a.clone().and(b), MinMax { min: long.min.clone(), max: next.max.clone() });
        }
    }

    proptest::proptest! {
        #[test]
        fn extremes_equal_those_of_the_standard_library(
            texts in proptest::collection::vec("[a\\x00\u{e9}]{0,20}", 0..20),
        ) {
            let texts = || texts.iter().map(String::as_bytes);
            let expected = texts().min().zip(texts().max());
            proptest::prop_assert_eq!(extremes(texts()), expected);
        }
    }

    #[test]
    fn zeros_keep_their_signs() {
        for (a, b) in [(0.0, -0.0), (-0.0, 0.0)] {
            assert!(f64::least(a, b).is_sign_negative() && f64::greatest(a, b).is_sign_positive());
        }
        assert!(f64::least(0.0, 0.0).is_sign_positive());
        assert!(f64::greatest(-0.0, -0.0).is_sign_negative());
    }
}
