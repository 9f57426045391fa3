//! Defines rejects: lines that could not become rows, each with the reason and its bytes.

use std::fmt;
use std::sync::Arc;

use arrow::array::{BinaryBuilder, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::logs::schema::LogType;

/// Name of the rejects table, which all log types share, and of its directory in the dataset.
pub(crate) const TABLE: &str = "elb_rejects";

/// Returns the name of the reject file that belongs to a row file. The name begins with the log type, because all log
/// types share the reject directories.
pub(crate) fn file_name(log_type: LogType, of_rows: &str) -> String {
    format!("{log_type}-{of_rows}")
}

/// Returns the name of the row file that belongs to a reject file.
pub(crate) fn name_of_rows(name: &str) -> &str {
    name.split_once('-').map_or(name, |(_, of_rows)| of_rows)
}

/// Returns the log type in the name of a reject file.
pub(crate) fn log_type(name: &str) -> Option<LogType> {
    LogType::named(name.split_once('-')?.0)
}

/// Maximum number of bytes of a rejected line to store.
pub const MAX_RAW: usize = 64 << 10;

/// Why a line was rejected. The codes are part of the dataset format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The gzip data is corrupt from here on: an invalid block, an invalid header, or a wrong checksum.
    CorruptGzip,
    /// A field does not parse, or does not match the shape of its column. The reject names the column.
    InvalidValue,
    /// The line is not UTF-8.
    InvalidUtf8,
    /// The line is longer than 1 MiB.
    LineTooLong,
    /// A quote is inside an unquoted field, or another character directly follows the closing quote of a field.
    MisplacedQuote,
    /// The object has too many levels of nested gzip.
    NestedGzip,
    /// The object is neither gzip nor text.
    NotGzip,
    /// The line has fewer fields than the first version of the log.
    TooFewFields,
    /// Bytes that are neither gzip nor padding follow the gzip data.
    TrailingGarbage,
    /// The gzip data is truncated.
    TruncatedGzip,
    /// A quoted field is not closed before the end of the line.
    UnterminatedQuote,
}

impl Reason {
    /// All reasons, sorted by code.
    pub const ALL: [Self; 11] = [
        Self::CorruptGzip,
        Self::InvalidUtf8,
        Self::InvalidValue,
        Self::LineTooLong,
        Self::MisplacedQuote,
        Self::NestedGzip,
        Self::NotGzip,
        Self::TooFewFields,
        Self::TrailingGarbage,
        Self::TruncatedGzip,
        Self::UnterminatedQuote,
    ];

    /// Returns the code of the reason, as in the rejects table and in summaries.
    pub fn code(self) -> &'static str {
        match self {
            Self::CorruptGzip => "corrupt_gzip",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidValue => "invalid_value",
            Self::LineTooLong => "line_too_long",
            Self::MisplacedQuote => "misplaced_quote",
            Self::NestedGzip => "nested_gzip",
            Self::NotGzip => "not_gzip",
            Self::TooFewFields => "too_few_fields",
            Self::TrailingGarbage => "trailing_garbage",
            Self::TruncatedGzip => "truncated_gzip",
            Self::UnterminatedQuote => "unterminated_quote",
        }
    }

    /// Returns a description that completes a sentence about the line, such as "The line is not UTF-8".
    pub fn meaning(self) -> &'static str {
        match self {
            Self::CorruptGzip => "is the rest of an object after corrupt gzip data",
            Self::InvalidUtf8 => "is not UTF-8",
            Self::InvalidValue => "has a value that does not fit its column",
            Self::LineTooLong => "is longer than 1 MiB",
            Self::MisplacedQuote => {
                "has a quote inside an unquoted field, or text directly after a quoted field"
            }
            Self::NestedGzip => "is an entire object with more than four levels of gzip",
            Self::NotGzip => "is an entire object that is neither gzip nor text",
            Self::TooFewFields => "has fewer fields than load balancers have ever written",
            Self::TrailingGarbage => {
                "is the rest of an object after its gzip data, and is not gzip"
            }
            Self::TruncatedGzip => {
                "is the rest of an object that ends in the middle of its gzip data"
            }
            Self::UnterminatedQuote => "ends within a quoted field",
        }
    }

    /// Returns whether the reason is a corrupt object rather than an invalid line.
    pub fn is_damage(self) -> bool {
        matches!(
            self,
            Self::CorruptGzip
                | Self::NestedGzip
                | Self::NotGzip
                | Self::TrailingGarbage
                | Self::TruncatedGzip
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A rejected line, or the unreadable tail of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reject {
    /// Line number in the object, starting at 1.
    pub line_number: u64,
    /// Byte offset of the line in the decompressed object.
    pub byte_offset: u64,
    /// Why the line was rejected.
    pub reason: Reason,
    /// Column whose value was rejected, for [`Reason::InvalidValue`].
    pub column: Option<Arc<str>>,
    /// Length of the line in bytes, without the line ending.
    pub raw_length: u64,
    /// The first [`MAX_RAW`] bytes of the line.
    pub raw: Vec<u8>,
}

/// One-line descriptions of the columns in the rejects table, in the order of [`schema`].
pub const MEANINGS: [&str; 8] = [
    "Log type of the line",
    "Key of the object that contains the line",
    "Number of the line in its object, from 1",
    "Where the line begins in the decompressed object",
    "Why the line was rejected",
    "Column that rejected the value, for invalid_value",
    "Length of the line in bytes",
    "The line, as bytes, up to 64 KiB; NULL where rows are redacted",
];

/// Returns the schema of the rejects table.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("log_type", DataType::Utf8, true),
        Field::new("source_key", DataType::Utf8, true),
        Field::new("line_number", DataType::Int64, true),
        Field::new("byte_offset", DataType::Int64, true),
        Field::new("reason", DataType::Utf8, true),
        Field::new("column_name", DataType::Utf8, true),
        Field::new("raw_length", DataType::Int64, true),
        Field::new("raw_line", DataType::Binary, true),
    ]))
}

/// Returns a record batch of rejects, each with the key of its object. If `with_lines` is true, the batch includes
/// the bytes of the lines.
pub(crate) fn batch<'a>(
    log_type: LogType,
    rejects: impl IntoIterator<Item = (&'a str, &'a Reject)>,
    with_lines: bool,
) -> RecordBatch {
    let (mut log_types, mut keys) = (StringBuilder::new(), StringBuilder::new());
    let (mut numbers, mut offsets) = (Int64Builder::new(), Int64Builder::new());
    let (mut reasons, mut columns) = (StringBuilder::new(), StringBuilder::new());
    let (mut lengths, mut raws) = (Int64Builder::new(), BinaryBuilder::new());
    for (key, reject) in rejects {
        log_types.append_value(log_type.as_str());
        keys.append_value(key);
        numbers.append_value(reject.line_number.cast_signed());
        offsets.append_value(reject.byte_offset.cast_signed());
        reasons.append_value(reject.reason.code());
        columns.append_option(reject.column.as_deref());
        lengths.append_value(reject.raw_length.cast_signed());
        raws.append_option(with_lines.then_some(&reject.raw));
    }
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(log_types.finish()),
            Arc::new(keys.finish()),
            Arc::new(numbers.finish()),
            Arc::new(offsets.finish()),
            Arc::new(reasons.finish()),
            Arc::new(columns.finish()),
            Arc::new(lengths.finish()),
            Arc::new(raws.finish()),
        ],
    )
    .expect("the columns match the schema")
}
