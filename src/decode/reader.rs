//! One object, or any stream of log lines, read as Arrow record batches.
//!
//! This is the part of the library that is useful without a dataset: no threads, no files of its own, memory for a few
//! megabytes of text whatever the size of the object.
//!
//! ```
//! use std::fs::File;
//!
//! use alb2parquet::decode::reader::Reader;
//! use alb2parquet::logs::schema::LogType;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = concat!(
//! #     "tests/data/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2016/09/14/",
//! #     "123456789012_elasticloadbalancing_eu-west-1_app.archive.75d2b90a6705c041_",
//! #     "20160914T1005Z_203.0.113.40_8567f577.log.gz",
//! # );
//! let mut reader = Reader::new(LogType::Access, path, File::open(path)?)?;
//! for batch in &mut reader {
//!     let batch = batch?;
//!     println!("{} rows of {} columns", batch.num_rows(), batch.num_columns());
//! }
//! let counts = reader.counts();
//! assert!(counts.rows > 0);
//! assert_eq!(counts.lines, counts.rows + counts.rejects);
//! # Ok(())
//! # }
//! ```
//!
//! Text that repeats comes as dictionaries. [`arrow::compute::cast`] makes plain strings of it, and
//! [`fault::place`](crate::decode::locate::place) tells where in a rejected line the fault stands:
//!
//! ```
//! use alb2parquet::decode::locate;
//! use alb2parquet::decode::reader::Reader;
//! use alb2parquet::logs::schema::LogType;
//! use arrow::array::AsArray;
//! use arrow::compute::cast;
//! use arrow::datatypes::DataType;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = "\
//! http 2025-11-24T10:00:00.000000Z 0.0012 192.0.2.1:80 web PASS 200 -
//! http 2025-11-24T10:00:05.000000Z 0.0012 192.0.2.1:80 web FAIL five Target.ResponseCodeMismatch
//! ";
//! let mut reader = Reader::of_text(LogType::HealthCheck, "typed by hand", text.as_bytes());
//! let batch = reader.next().expect("there is text")?;
//! let targets = cast(&batch["target_addr"], &DataType::Utf8)?;
//! assert_eq!(targets.as_string::<i32>().value(0), "192.0.2.1:80");
//!
//! let rejects = reader.take_rejects();
//! assert_eq!(rejects[0].line_number, 2);
//! assert_eq!(rejects[0].column.as_deref(), Some("status_code"));
//! let place = fault::place(LogType::HealthCheck.table(), &rejects[0]).expect("a value has a place");
//! assert_eq!(&rejects[0].raw[place], b"five");
//! # Ok(())
//! # }
//! ```
//!
//! A [`Reader`] is a [`RecordBatchReader`], so that whatever takes one takes it:
//!
//! ```
//! use alb2parquet::decode::reader::Reader;
//! use alb2parquet::logs::schema::LogType;
//! use arrow::array::RecordBatchReader;
//!
//! fn count(batches: impl RecordBatchReader) -> usize {
//!     batches.map(|batch| batch.expect("is readable").num_rows()).sum()
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let nothing = Reader::new(LogType::Connection, "an empty object", std::io::empty())?;
//! assert_eq!(nothing.schema().fields().len(), LogType::Connection.table().columns().count() + 2);
//! assert_eq!(count(nothing), 0);
//! # Ok(())
//! # }
//! ```

use std::io::{self, Read};
use std::mem;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::decode::decoder::Decoder;
use crate::decode::gzip::{Decompressed, Note, Stream};
use crate::logs::reject::Reject;
use crate::logs::schema::LogType;

/// Reads log lines as record batches of the table of their log.
///
/// It is an iterator of batches, one for each few megabytes of text. A batch without rows is no end: all of its lines may
/// be rejects. Lines that cannot become rows are no errors, nor is damaged gzip data: see
/// [`Reader::take_rejects`]. An error is a stream that cannot be read on; it is the last item then.
pub struct Reader {
    schema: SchemaRef,
    decoder: Decoder,
    stream: Stream,
    /// The text that is left to decode.
    decompressed: Decompressed,
    source_key: String,
    counts: Counts,
    notes: Vec<Note>,
    rejects: Vec<Reject>,
    ended: bool,
}

/// What was read so far, and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines read: `rows + rejects`. The unreadable tail of an object counts as one.
    pub lines: u64,
    /// Lines of text that were joined to the line before them, because a quoted field contains a line feed. They are
    /// not counted in `lines`.
    pub joined_lines: u64,
    /// Lines that became rows.
    pub rows: u64,
    /// The others.
    pub rejects: u64,
    /// Bytes read, compressed unless the stream is not.
    pub bytes_in: u64,
    /// Bytes of text in them.
    pub bytes_decompressed: u64,
    /// Gzip members begun.
    pub members: u64,
}

impl Reader {
    /// Starts reading an object as a conversion does: gzip of any number of members, or plain text. `source_key` is
    /// the value of that column in its rows.
    ///
    /// # Errors
    ///
    /// Fails when the first bytes cannot be read. An object that is neither gzip nor text is a reject, not an error.
    pub fn new(
        log_type: LogType,
        source_key: impl Into<String>,
        reader: impl Read + Send + 'static,
    ) -> io::Result<Self> {
        let stream = Stream::of_unknown_size(0, Box::new(reader))?;
        Ok(Self::over(log_type, source_key.into(), stream))
    }

    /// Begins to read lines that are not compressed.
    pub fn of_text(
        log_type: LogType,
        source_key: impl Into<String>,
        reader: impl Read + Send + 'static,
    ) -> Self {
        Self::over(log_type, source_key.into(), Stream::of_text(0, Box::new(reader)))
    }

    fn over(log_type: LogType, source_key: String, stream: Stream) -> Self {
        let table = log_type.table();
        Self {
            schema: table.batch_schema(),
            decoder: Decoder::new(table),
            stream,
            decompressed: Decompressed::default(),
            source_key,
            counts: Counts::default(),
            notes: Vec::new(),
            rejects: Vec::new(),
            ended: false,
        }
    }

    /// Returns what was read so far, and what became of it.
    pub fn counts(&self) -> Counts {
        Counts { members: self.stream.members(), ..self.counts }
    }

    /// Returns the notes about the object so far.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns the rejects since it was called last, with line numbers and byte offsets of the whole stream.
    ///
    /// They are held until they are taken: of a stream that may be all rejects, take them after each batch.
    pub fn take_rejects(&mut self) -> Vec<Reject> {
        mem::take(&mut self.rejects)
    }

    /// Reads the next batch, and lets `look` see a text before the first batch of it is decoded.
    pub(crate) fn read(
        &mut self,
        look: impl FnOnce(&Decompressed),
    ) -> io::Result<Option<RecordBatch>> {
        if self.decompressed.segments.is_empty() {
            let Some(decompressed) = self.stream.next(mem::take(&mut self.decompressed.text))?
            else {
                return Ok(None);
            };
            look(&decompressed);
            self.decompressed = decompressed;
        }
        let key = self.source_key.as_str();
        let decoded = self.decoder.decode(&mut self.decompressed, |_| key);
        for segment in decoded.segments {
            let Counts { lines, joined_lines, bytes_decompressed, .. } = self.counts;
            self.notes.extend(segment.notes);
            self.rejects.extend(segment.rejects.into_iter().map(|reject| Reject {
                line_number: lines + joined_lines + reject.line_number,
                byte_offset: bytes_decompressed + reject.byte_offset,
                ..reject
            }));
            self.counts.lines += segment.lines;
            self.counts.joined_lines += segment.joined_lines;
            self.counts.rows += segment.rows;
            self.counts.rejects += segment.lines - segment.rows;
            self.counts.bytes_in += segment.gzip_bytes;
            self.counts.bytes_decompressed += segment.bytes;
        }
        Ok(Some(decoded.batch))
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read(|_| {}).map_err(ArrowError::from).transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl RecordBatchReader for Reader {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}
