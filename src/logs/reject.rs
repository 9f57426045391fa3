//! Rejects: lines that could not become rows, kept with their reason and their bytes.

use std::fmt;
use std::sync::Arc;

use arrow::array::{BinaryBuilder, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::logs::schema::LogType;

/// Name of the table of rejects of all log types, and of its directory in the dataset.
pub(crate) const TABLE: &str = "alb_rejects";

/// Returns the name of the reject file for a file of rows. It begins with the log type, because all log types share
/// the reject directories.
pub(crate) fn file_name(log_type: LogType, of_rows: &str) -> String {
    format!("{log_type}-{of_rows}")
}

/// Returns the log type of a reject file from its name.
pub(crate) fn log_type(name: &str) -> Option<LogType> {
    LogType::named(name.split_once('-')?.0)
}

/// Bytes of a rejected line that are kept.
pub const MAX_RAW: usize = 64 << 10;

/// Why a line is a reject. The codes are part of the dataset's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The gzip data is damaged from here on: a bad block, a bad header, or a wrong checksum.
    CorruptGzip,
    /// A field does not parse, or does not match the shape of its column. The reject names the column.
    InvalidValue,
    /// The line is not UTF-8.
    InvalidUtf8,
    /// The line is longer than 1 MiB.
    LineTooLong,
    /// A quote stands within a bare field, or right after a quoted one.
    MisplacedQuote,
    /// The object is gzip inside gzip with too many levels.
    NestedGzip,
    /// The object is neither gzip nor text.
    NotGzip,
    /// The line has fewer fields than any era wrote.
    TooFewFields,
    /// Bytes that are neither gzip nor padding follow the gzip data.
    TrailingGarbage,
    /// The gzip data ends in the middle.
    TruncatedGzip,
    /// A quoted field is not closed before the end of the line.
    UnterminatedQuote,
}

impl Reason {
    /// All reasons, by code.
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

    /// Returns the code that stands in the rejects table and in summaries.
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

    /// Returns what is wrong with the line, as the end of a sentence that begins with it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::CorruptGzip => "is the rest of an object after damaged gzip data",
            Self::InvalidUtf8 => "is not UTF-8",
            Self::InvalidValue => "has a value that does not fit its column",
            Self::LineTooLong => "is longer than 1 MiB",
            Self::MisplacedQuote => "has a quote inside a bare field or right behind a quoted one",
            Self::NestedGzip => "is an entire object with more than four levels of gzip",
            Self::NotGzip => "is an entire object that is neither gzip nor text",
            Self::TooFewFields => "has fewer fields than any era of its log wrote",
            Self::TrailingGarbage => "is the rest of an object after its gzip data, and not gzip",
            Self::TruncatedGzip => {
                "is the rest of an object that ends in the middle of its gzip data"
            }
            Self::UnterminatedQuote => "ends within a quoted field",
        }
    }

    /// Tells whether the reason is a damaged object rather than a bad line.
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

/// One rejected line, or the unreadable tail of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reject {
    /// Number of the line within its object, from 1.
    pub line_number: u64,
    /// Offset of its first byte in the decompressed object.
    pub byte_offset: u64,
    /// Why.
    pub reason: Reason,
    /// Column that rejected a value, for [`Reason::InvalidValue`].
    pub column: Option<Arc<str>>,
    /// Length of the line in bytes, without its line end.
    pub raw_length: u64,
    /// Its first [`MAX_RAW`] bytes.
    pub raw: Vec<u8>,
}

/// What the columns of the rejects table mean, in one line each, in the order of [`schema`].
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

/// Builds the record batch of some rejects, each with the key of its object, and with its bytes if they are wanted.
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
    .expect("the columns are built to the schema")
}
