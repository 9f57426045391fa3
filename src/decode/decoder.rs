//! Decodes whole lines of text into a record batch and rejects.
//!
//! This module does no I/O. A [`Decoded`] depends only on the [`Decompressed`] that it was decoded from.

use std::mem;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::decode::columns::string::DictionaryBuilder;
use crate::decode::columns::{self, ColumnBuilder, Found};
use crate::decode::forms::{self, Forms, Written, WrittenLines};
use crate::decode::gzip::{Decompressed, Note};
use crate::decode::text_buffer::Text;
use crate::decode::tokenizer::{Bounds, Fields, Grammar, MAX_LINE, Span, Tile};
use crate::logs::reject::{MAX_RAW, Reason, Reject};
use crate::logs::schema::Table;

/// Number of rejects at which [`Decoder::decode`] stops. Without a limit, rejects could need far more memory than their
/// text: a two-byte line can become a reject of a hundred bytes. The last tile may exceed the limit.
pub const MAX_REJECTS: usize = 16 << 10;
/// Total size of rejected lines and original lines, in bytes, at which [`Decoder::decode`] stops. Decoding stops at the
/// end of a tile, so the total may be larger.
const MAX_REJECT_BYTES: usize = 4 << 20;
/// Number of rows at which [`Decoder::decode`] stops. Without a limit, a batch of short lines could be several times as
/// large as its text.
const MAX_ROWS: usize = 100_000;

/// Decodes text into record batches of one table.
pub struct Decoder {
    schema: SchemaRef,
    grammar: Grammar,
    tile: Tile,
    /// All columns except the last, in schema order.
    columns: Vec<FieldColumn>,
    source_key: DictionaryBuilder,
    rows: usize,
    forms: Forms,
    /// Whether the load balancers compress their logs. If so, uncompressed text gets a note.
    delivers_gzip: bool,
}

/// A column whose values are read from a field of the line.
pub(super) struct FieldColumn {
    name: Arc<str>,
    /// Index of the field.
    field: usize,
    pub(super) builder: Box<dyn ColumnBuilder>,
}

/// A record batch, and the rejected lines.
#[derive(Debug)]
pub struct Decoded {
    /// The rows of all segments, in order.
    pub batch: RecordBatch,
    /// The counts and rejects of each segment, in order.
    pub segments: Vec<DecodedSegment>,
}

/// The counts and rejects of a segment.
#[derive(Debug)]
pub struct DecodedSegment {
    /// Index of the object in its batch.
    pub object: usize,
    /// Compressed bytes.
    pub gzip_bytes: u64,
    /// Bytes of decompressed text.
    pub bytes: u64,
    /// Lines read; the unreadable tail of an object counts as one.
    pub lines: u64,
    /// Lines of text that were joined to the preceding line. They are not counted in `lines`.
    pub joined_lines: u64,
    /// Lines that became rows.
    pub rows: u64,
    /// Lines that were rejected. Their line numbers and byte offsets are relative to the segment.
    pub rejects: Vec<Reject>,
    /// How the lines are written.
    pub written: Vec<WrittenLines>,
    /// Whether this is the object's last segment and the object does not end with a line feed.
    pub unterminated: bool,
    /// CRC-32 of all decompressed bytes of the object; see [`Segment`](crate::decode::gzip::Segment).
    pub crc32: Option<u32>,
    /// Notes about the object from this segment.
    pub notes: Vec<Note>,
}

/// Number of rejects, and the total size of rejects and originals, from one call to [`Decoder::decode`].
#[derive(Default)]
struct KeptSize {
    rejects: usize,
    bytes: usize,
}

impl KeptSize {
    fn add(&mut self, rejects: &[Reject], written: &[WrittenLines]) {
        self.rejects += rejects.len();
        self.bytes += rejects.iter().map(|reject| reject.raw.len()).sum::<usize>();
        self.bytes += written.iter().map(WrittenLines::size).sum::<usize>();
    }

    fn is_full(&self) -> bool {
        self.rejects >= MAX_REJECTS || self.bytes >= MAX_REJECT_BYTES
    }
}

impl Decoded {
    /// Returns the size in memory of the record batch and the rejected lines.
    pub fn bytes(&self) -> usize {
        self.batch.get_array_memory_size() + self.kept_bytes()
    }

    /// Returns the size in memory of the rejected lines and of the lines in unusual forms.
    pub fn kept_bytes(&self) -> usize {
        let rejects = self.segments.iter().flat_map(|segment| &segment.rejects);
        let written = self.segments.iter().flat_map(|segment| &segment.written);
        written.map(WrittenLines::size).sum::<usize>()
            + rejects.map(|reject| size_of_val(reject) + reject.raw.len()).sum::<usize>()
    }
}

impl Decoder {
    /// Returns a decoder for a table's lines.
    pub fn new(table: &Table) -> Self {
        let known = table.fields.len();
        let columns = table.columns().map(|(field, column)| FieldColumn {
            name: column.name.as_str().into(),
            field,
            builder: columns::builder(&table.fields[field], column),
        });
        let extra = FieldColumn {
            name: crate::logs::schema::EXTRA_FIELDS.into(),
            field: known,
            builder: Box::new(DictionaryBuilder::verbatim()),
        };
        Self {
            schema: table.batch_schema(),
            grammar: Grammar::of(table),
            tile: Tile::default(),
            columns: columns.chain([extra]).collect(),
            source_key: DictionaryBuilder::verbatim(),
            rows: 0,
            forms: Forms::new(table),
            delivers_gzip: table.load_balancer.delivers_gzip(),
        }
    }

    /// Decodes text. `key` returns the key of the object with a given index.
    ///
    /// Stops after 100,000 rows or [`MAX_REJECTS`] rejects (fewer if they are long). The remaining segments stay in
    /// `decompressed`: call this method again until none remain.
    pub fn decode<'k>(
        &mut self,
        decompressed: &mut Decompressed,
        key: impl Fn(usize) -> &'k str,
    ) -> Decoded {
        let Decompressed { text, segments } = decompressed;
        let mut decoded = Vec::with_capacity(segments.len());
        let mut held = KeptSize::default();
        let mut done = 0;
        for segment in segments.iter_mut() {
            if held.is_full() || self.rows >= MAX_ROWS {
                break;
            }
            let key = key(segment.object);
            let mut notes = mem::take(&mut segment.notes);
            notes.retain(|note| self.delivers_gzip || *note != Note::PlainText);
            let mut outcome = DecodedSegment {
                object: segment.object,
                gzip_bytes: mem::take(&mut segment.gzip_bytes),
                bytes: segment.bytes,
                lines: 0,
                joined_lines: 0,
                rows: 0,
                rejects: Vec::new(),
                written: Vec::new(),
                unterminated: false,
                crc32: segment.crc32,
                notes,
            };
            let whole = text.len();
            let mut at = segment.range.start;
            let mut own = KeptSize::default();
            // An object is refused only if all of its first lines are rejected, so their number must not depend on other
            // objects.
            let may_continue = |held: &KeptSize, own: &KeptSize, outcome: &DecodedSegment| {
                !held.is_full() || outcome.rows == 0 && !own.is_full()
            };
            while at < segment.range.end
                && self.rows < MAX_ROWS
                && may_continue(&held, &own, &outcome)
            {
                let Self { tile, columns, grammar, .. } = self;
                at = tile.read(text, at, segment.range.end, *grammar, |line| {
                    is_row(columns, *grammar, line)
                });
                let before = (outcome.rejects.len(), outcome.written.len());
                self.append_tile(text, segment.range.start, key, &mut outcome);
                for size in [&mut held, &mut own] {
                    size.add(&outcome.rejects[before.0..], &outcome.written[before.1..]);
                }
                text.truncate(whole);
            }
            if at < segment.range.end {
                outcome.bytes = (at - segment.range.start) as u64;
                outcome.crc32 = None;
                segment.bytes -= outcome.bytes;
                segment.range.start = at;
                decoded.push(outcome);
                break;
            }
            let line_number = outcome.lines + outcome.joined_lines + 1;
            if !segment.long_line.is_empty() {
                let written = Written::Bytes(mem::take(&mut segment.long_line));
                forms::push(&mut outcome.written, line_number, 1, written);
            }
            outcome.unterminated = segment.unterminated;
            let mut blank_number = line_number;
            for (line, count) in segment.blank.runs() {
                let form = Written::Form(line.into());
                forms::push(&mut outcome.written, blank_number, count, form);
                blank_number += count;
            }
            if let Some(reject) = segment.reject.take() {
                outcome.lines += 1;
                outcome.rejects.push(Reject {
                    line_number: outcome.lines + outcome.joined_lines,
                    byte_offset: segment.range.len() as u64,
                    reason: reject.reason,
                    column: None,
                    raw_length: reject.raw_length,
                    raw: reject.raw,
                });
                held.add(&outcome.rejects[outcome.rejects.len() - 1..], &[]);
            }
            decoded.push(outcome);
            done += 1;
        }
        segments.drain(..done);
        Decoded { batch: self.finish(), segments: decoded }
    }

    /// Returns whether a line would become a row. `line` does not include the line ending.
    pub fn is_row(&mut self, line: &[u8]) -> bool {
        is_row(&mut self.columns, self.grammar, line)
    }

    /// Returns whether all columns derived from a field would accept the field's value. `index` is the position of the
    /// field in the line, starting at 0.
    pub fn accepts(&mut self, index: usize, line: &[u8], field: Span) -> bool {
        let mut columns = self.columns.iter_mut().filter(|column| column.field == index);
        columns.all(|column| column.builder.accepts(line, field))
    }

    /// Appends the tile's rows to the columns.
    fn append_tile(
        &mut self,
        text: &Text,
        part_start: usize,
        key: &str,
        outcome: &mut DecodedSegment,
    ) {
        // Line numbers of rejects refer to the text, in which joined lines count separately.
        let base = outcome.lines + outcome.joined_lines;
        outcome.lines += self.tile.line_count() as u64;
        outcome.joined_lines += self.tile.joined;
        let mut found = Found::default();
        let rejected = self.append_checked(text, &mut found);
        let mut removed = Vec::new();
        if !rejected.is_empty() {
            for column in self.columns.iter_mut().filter(|column| column.builder.may_reject()) {
                column.builder.truncate(self.rows);
            }
            removed = self.remove_rejected(&rejected, text, part_start, base, outcome);
            found.unusual.clear();
            let again = self.append_checked(text, &mut found);
            debug_assert!(again.is_empty(), "a value that was accepted once is accepted again");
        }
        for (bounds, reason) in &self.tile.invalid {
            outcome.rejects.push(reject(text, *bounds, part_start, base, *reason, None));
            removed.push(*bounds);
        }
        if !rejected.is_empty() && !self.tile.invalid.is_empty() {
            outcome.rejects.sort_by_key(|reject| reject.line_number);
            removed.sort_unstable_by_key(|bounds| bounds.number);
        }
        for column in self.columns.iter_mut().filter(|column| !column.builder.may_reject()) {
            column.builder.append(text, self.tile.spans(column.field), &mut found);
        }
        removed.retain(|bounds| !is_kept_whole(text, *bounds));
        self.find_forms(text, base, found.unusual, &removed, outcome);
        let rows = self.tile.lines().len();
        self.source_key.repeat(key, rows);
        self.rows += rows;
        outcome.rows += rows as u64;
    }

    /// Appends the tile to the columns that can reject values. Returns the index of each rejected line with the index
    /// of the first column that rejected it, sorted by line.
    fn append_checked(&mut self, text: &Text, found: &mut Found) -> Vec<(usize, usize)> {
        let mut rejected = Vec::new();
        for (index, column) in self.columns.iter_mut().enumerate() {
            if column.builder.may_reject() {
                column.builder.append(text, self.tile.spans(column.field), found);
                rejected.extend(found.rejected.drain(..).map(|line| (line, index)));
            }
        }
        rejected.sort_unstable();
        rejected.dedup_by_key(|(line, _)| *line);
        rejected
    }

    /// Adds the forms of the tile's lines to `outcome`. `unusual` contains the indices of lines that may not have the
    /// usual form. `removed` contains the rejected lines that cannot be restored from their rejects.
    fn find_forms(
        &mut self,
        text: &Text,
        base: u64,
        mut unusual: Vec<usize>,
        removed: &[Bounds],
        outcome: &mut DecodedSegment,
    ) {
        let Self { tile, columns, forms, rows, .. } = self;
        let number = |bounds: Bounds| base + u64::from(bounds.number) + 1;
        let lines = tile.lines();
        let written = &mut outcome.written;
        if let (Some(fields), [first, ..], [], true) =
            (tile.field_count(), lines, removed, unusual.is_empty())
        {
            forms::push(written, number(first.bounds), lines.len() as u64, Written::Usual(fields));
            return;
        }
        unusual.sort_unstable();
        let mut removed = removed.iter().peekable();
        let mut keep = |before: u32, written: &mut Vec<WrittenLines>| {
            while let Some(bounds) = removed.next_if(|bounds| bounds.number < before) {
                let bytes = Written::Bytes(with_ending(text, *bounds).to_vec());
                forms::push(written, number(*bounds), 1, bytes);
            }
        };
        for (index, line) in lines.iter().enumerate() {
            keep(line.bounds.number, written);
            let how = if line.is_copy() || unusual.binary_search(&index).is_ok() {
                forms.find(with_ending(text, line.bounds), columns, *rows + index)
            } else {
                Written::Usual(tile.field_count_of(line))
            };
            forms::push(written, number(line.bounds), 1, how);
        }
        keep(u32::MAX, written);
    }

    /// Removes rejected lines from the tile, and adds them to the rejects. Returns their positions.
    #[cold]
    fn remove_rejected(
        &mut self,
        rejected: &[(usize, usize)],
        text: &Text,
        part_start: usize,
        base: u64,
        outcome: &mut DecodedSegment,
    ) -> Vec<Bounds> {
        let mut removed = Vec::new();
        for &(line, column) in rejected {
            let bounds = self.tile.lines()[line].bounds;
            let column = Some(self.columns[column].name.clone());
            let reason = Reason::InvalidValue;
            outcome.rejects.push(reject(text, bounds, part_start, base, reason, column));
            removed.push(bounds);
        }
        self.tile.retain(|index| rejected.binary_search_by_key(&index, |(line, _)| *line).is_err());
        removed
    }

    fn finish(&mut self) -> RecordBatch {
        self.rows = 0;
        let mut arrays: Vec<_> =
            self.columns.iter_mut().map(|column| column.builder.finish()).collect();
        arrays.push(self.source_key.finish());
        RecordBatch::try_new(self.schema.clone(), arrays)
            .expect("builders and schema are those of the same table")
    }
}

/// Returns whether a line would become a row, without appending anything to the columns.
fn is_row(columns: &mut [FieldColumn], grammar: Grammar, line: &[u8]) -> bool {
    if line.len() > MAX_LINE {
        return false;
    }
    let fields: Result<Vec<Span>, _> = Fields::of(line, grammar).collect();
    let Some(fields) = fields.ok().filter(|fields| fields.len() >= grammar.required) else {
        return false;
    };
    let mut fit = columns.iter_mut().map(|column| {
        let field = fields.get(column.field).copied().unwrap_or_default();
        column.builder.accepts(line, field)
    });
    std::str::from_utf8(line).is_ok() && fit.all(|fits| fits)
}

/// Returns the bytes of a line, including its line ending.
fn with_ending(text: &Text, bounds: Bounds) -> &[u8] {
    let end = bounds.end as usize;
    let ending = if text[end] == b'\r' { 2 } else { 1 };
    &text[bounds.start as usize..end + ending]
}

/// Returns whether a reject contains the complete line, and the line ends with LF rather than CRLF.
fn is_kept_whole(text: &Text, bounds: Bounds) -> bool {
    (bounds.end - bounds.start) as usize <= MAX_RAW && text[bounds.end as usize] == b'\n'
}

fn reject(
    text: &Text,
    bounds: Bounds,
    part_start: usize,
    base: u64,
    reason: Reason,
    column: Option<Arc<str>>,
) -> Reject {
    let raw = &text[bounds.start as usize..bounds.end as usize];
    Reject {
        line_number: base + u64::from(bounds.number) + 1,
        byte_offset: (bounds.start as usize - part_start) as u64,
        reason,
        column,
        raw_length: raw.len() as u64,
        raw: raw[..raw.len().min(MAX_RAW)].to_vec(),
    }
}
