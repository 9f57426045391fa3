//! Reads one object, or any stream of log lines, as Arrow record batches. No dataset is needed.

use std::io::{self, Read};
use std::mem;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::decode::decoder::Decoder;
use crate::decode::gzip::{Decompressed, Note, Stream};
use crate::logs::reject::Reject;
use crate::logs::schema::LogType;

/// Reads one object, or any stream of log lines, as Arrow record batches.
///
/// A `Reader` is an iterator over record batches, one for every few megabytes of text. It holds only one batch in
/// memory, regardless of the size of the object, and starts no threads. A batch is empty if all of its lines were
/// rejected. Invalid lines and corrupt gzip data are rejects, not errors: see [`Reader::take_rejects`]. If the stream
/// cannot be read, the last item is an error.
///
/// Text columns whose values repeat are dictionary-encoded. [`arrow::compute::cast`] converts them to plain strings.
/// [`fault_range`] finds the fault in a rejected line:
///
/// ```
/// use alb2parquet::arrow::array::AsArray;
/// use alb2parquet::arrow::compute::cast;
/// use alb2parquet::arrow::datatypes::DataType;
/// use alb2parquet::{LogType, Reader, fault_range};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = "\
/// http 2025-11-24T10:00:00.000000Z 0.0012 192.0.2.1:80 web PASS 200 -
/// http 2025-11-24T10:00:05.000000Z 0.0012 192.0.2.1:80 web FAIL five Target.ResponseCodeMismatch
/// ";
/// let mut reader = Reader::of_text(LogType::HealthCheck, "source_key", text.as_bytes());
/// let batch = reader.next().expect("there is text")?;
/// let targets = cast(&batch["target_addr"], &DataType::Utf8)?;
/// assert_eq!(targets.as_string::<i32>().value(0), "192.0.2.1:80");
///
/// let rejects = reader.take_rejects();
/// assert_eq!(rejects[0].line_number, 2);
/// assert_eq!(rejects[0].column.as_deref(), Some("status_code"));
/// let fault = fault_range(LogType::HealthCheck.table(), &rejects[0]).expect("the value is known");
/// assert_eq!(&rejects[0].raw[fault], b"five");
/// # Ok(())
/// # }
/// ```
///
/// [`fault_range`]: crate::fault_range
pub struct Reader {
    schema: SchemaRef,
    decoder: Decoder,
    stream: Stream,
    /// Text that is not decoded yet.
    decompressed: Decompressed,
    source_key: String,
    counts: Counts,
    notes: Vec<Note>,
    rejects: Vec<Reject>,
    ended: bool,
}

/// Counts of the lines, rows and bytes read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Lines read: `rows + rejects`. The unreadable tail of an object counts as one line.
    pub lines: u64,
    /// Lines of text that were joined to the preceding line because a quoted field contains a line feed. They are not
    /// counted in `lines`.
    pub joined_lines: u64,
    /// Lines that became rows.
    pub rows: u64,
    /// Lines that were rejected.
    pub rejects: u64,
    /// Bytes read, before decompression.
    pub bytes_in: u64,
    /// Bytes of text, after decompression.
    pub bytes_decompressed: u64,
    /// Gzip members started.
    pub members: u64,
}

impl Reader {
    /// Starts reading an object as a conversion does: gzip with any number of members, or plain text. `source_key` is
    /// the value of the `source_key` column in all rows.
    ///
    /// # Errors
    ///
    /// Fails if the first bytes cannot be read. An object that is neither gzip nor text is a reject, not an error.
    pub fn new(
        log_type: LogType,
        source_key: impl Into<String>,
        reader: impl Read + Send + 'static,
    ) -> io::Result<Self> {
        let stream = Stream::of_unknown_size(0, Box::new(reader))?;
        Ok(Self::over(log_type, source_key.into(), stream))
    }

    /// Starts reading uncompressed lines.
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

    /// Returns the counts of the lines, rows and bytes read so far.
    pub fn counts(&self) -> Counts {
        Counts { members: self.stream.members(), ..self.counts }
    }

    /// Returns the notes about the object that were collected so far.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns the rejects since the last call, with line numbers and byte offsets relative to the entire stream.
    ///
    /// The reader keeps rejects in memory until this method returns them. If many lines may be rejected, call this
    /// method after each batch.
    pub fn take_rejects(&mut self) -> Vec<Reject> {
        mem::take(&mut self.rejects)
    }

    /// Reads the next batch. Passes each piece of decompressed text to `observe` before decoding it.
    pub(crate) fn read(
        &mut self,
        observe: impl FnOnce(&Decompressed),
    ) -> io::Result<Option<RecordBatch>> {
        if self.decompressed.segments.is_empty() {
            let Some(decompressed) = self.stream.next(mem::take(&mut self.decompressed.text))?
            else {
                return Ok(None);
            };
            observe(&decompressed);
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
