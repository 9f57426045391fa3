//! Restores the text of objects from the dataset, and proves that it can be restored.
//!
//! The rows, rejects and originals of a claim are read in lockstep, in line order. [`form`] and [`original`] define how
//! to reproduce the lines from them. The text of each object is compared with the CRC-32 and the length in its claim.
//! The files are untrusted: regardless of their contents, wrong text is never mistaken for the original.
//!
//! This module does not use the decoder, so it proves independently that the decoder lost nothing.
//!
//! [`form`]: crate::logs::form
//! [`original`]: crate::logs::original

mod cursor;
mod destination;
mod run;
mod text;

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::dataset::claim::{Claim, Claimed};
use crate::dataset::layout::Dataset;
use crate::decode::gzip::Note;
use crate::logs::form::{Form, Writer};
use crate::logs::key::{Partition, from_root};
use crate::logs::original::Original;
use crate::maintain::restore::cursor::{Column, Cursor, Originals, RejectedLines, RowOf};
use crate::maintain::restore::text::{Out, Text};
use crate::plan::PlanError;
use crate::store::split;

pub(crate) use crate::maintain::restore::run::{Failed, Restoration, Summary};

/// The UTF-8 byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Maximum number of bytes of blank lines that are written at a time.
const BLANK_BYTES: usize = 32 << 10;

/// Why an object cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unrestorable {
    /// The dataset is redacted.
    Redacted,
    /// The object was converted by a version that did not store originals.
    NoOriginals,
    /// The object was damaged, so its text is unknown.
    Damaged,
    /// The restored text differs from the original, or the dataset cannot be read.
    Faulty(String),
}

impl Unrestorable {
    /// Returns the reason's code, as used in JSON.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Redacted => "redacted",
            Self::NoOriginals => "no_originals",
            Self::Damaged => "damaged",
            Self::Faulty(_) => "faulty",
        }
    }
}

impl fmt::Display for Unrestorable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redacted => "its values are redacted",
            Self::NoOriginals => "it was converted by a version that did not store originals",
            Self::Damaged => "the object was damaged when it was converted, so its text is unknown",
            Self::Faulty(problem) => problem,
        })
    }
}

/// An object in a claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'a> {
    /// Index of the object in [`Claim::objects`].
    pub(crate) index: usize,
    /// Key of the object, as in its rows.
    pub(crate) key: &'a str,
    /// The claim's entry for the object.
    pub(crate) claimed: &'a Claimed,
}

/// Receives the objects of a claim, one after the other.
pub(crate) trait Sink {
    /// Begins an object. Returns whether to restore it; if `false`, no other method is called for the object.
    fn begin(&mut self, object: Object<'_>) -> bool;

    /// Receives the next bytes of the object's text, before they are verified.
    ///
    /// # Errors
    ///
    /// Fails if the sink does not need the rest of the object. The object's restoration then ends with this error.
    fn text(&mut self, text: &[u8]) -> Result<(), String>;

    /// Ends the object. The text is the original text only if the result is `Ok`.
    fn end(&mut self, object: Object<'_>, result: Result<(), Unrestorable>);
}

/// Restores the objects of a claim. The claim's files must be published.
///
/// # Errors
///
/// Fails if `stop` is set.
pub(crate) fn walk(
    dataset: &Dataset,
    partition: &Partition,
    claim: &Claim,
    sink: &mut dyn Sink,
    stop: &AtomicBool,
) -> Result<(), PlanError> {
    let table = partition.log_type.table();
    let (rows, writer) = cursor::rows(dataset, claim, table);
    let (rejects, originals) = (cursor::rejects(dataset, claim), cursor::originals(dataset, claim));
    let mut files = Files { rows, rejects, originals };
    let keys = files.keys(claim);
    let order = keys.iter().enumerate().map(|(index, key)| (key.as_str(), index)).collect();
    let lines = claim.fields.map(|fields| Lines::new(writer, fields));
    let (mut first_row, mut first_reject) = (0_u64, 0_u64);
    let mut buffer = Vec::new();
    for (index, (claimed, key)) in claim.objects.iter().zip(&keys).enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Err(PlanError::Interrupted);
        }
        let end_row = first_row.saturating_add(claimed.rows());
        let end_reject = first_reject.saturating_add(claimed.reject_count());
        let object = Object { index, key, claimed };
        if sink.begin(object) {
            let result = match (&lines, claimed.crc32) {
                _ if !dataset.redaction().is_empty() => Err(Unrestorable::Redacted),
                (_, None) => Err(Unrestorable::Damaged),
                (None, _) => Err(Unrestorable::NoOriginals),
                (Some(lines), Some(crc32)) => {
                    files.rows.seek(first_row);
                    files.rejects.seek(first_reject);
                    let mut restored = Restored {
                        files: &mut files,
                        lines,
                        object,
                        order: &order,
                        text: Text::new(claimed, mem::take(&mut buffer)),
                        line: 1,
                        original: None,
                        reject: None,
                        run: None,
                        end_row,
                        end_reject,
                        stop,
                    };
                    let mut out = |text: &[u8]| sink.text(text);
                    let written = restored.write(&mut out);
                    let text = restored.text;
                    let ended = written.and_then(|()| text.end(crc32, &mut out));
                    ended.map(|used| buffer = used).map_err(|problem| files.explain(problem))
                }
            };
            if stop.load(Ordering::Relaxed) && result.is_err() {
                return Err(PlanError::Interrupted);
            }
            sink.end(object, result);
        }
        (first_row, first_reject) = (end_row, end_reject);
    }
    Ok(())
}

/// Restores the objects of a claim without writing them. Returns the index of each object in [`Claim::objects`], with
/// the reason if the object cannot be restored.
///
/// # Errors
///
/// Fails if `stop` is set.
#[allow(clippy::type_complexity)] // a result for each object
pub(crate) fn prove(
    dataset: &Dataset,
    partition: &Partition,
    claim: &Claim,
    stop: &AtomicBool,
) -> Result<Vec<(usize, Result<(), String>)>, PlanError> {
    let proved = proof(dataset, partition, claim, stop)?.into_iter().enumerate();
    Ok(proved.map(|(index, result)| (index, result.map_err(|why| why.to_string()))).collect())
}

/// Restores the objects of a claim without writing them. Returns a result for each object.
///
/// # Errors
///
/// Fails if `stop` is set.
pub(crate) fn proof(
    dataset: &Dataset,
    partition: &Partition,
    claim: &Claim,
    stop: &AtomicBool,
) -> Result<Vec<Result<(), Unrestorable>>, PlanError> {
    let mut results = Results(Vec::with_capacity(claim.objects.len()));
    walk(dataset, partition, claim, &mut results, stop)?;
    Ok(results.0)
}

struct Results(Vec<Result<(), Unrestorable>>);

impl Sink for Results {
    fn begin(&mut self, _: Object<'_>) -> bool {
        true
    }

    fn text(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn end(&mut self, _: Object<'_>, result: Result<(), Unrestorable>) {
        self.0.push(result);
    }
}

/// The files of a claim.
struct Files {
    rows: Cursor<Vec<Column>>,
    rejects: Cursor<RejectedLines>,
    originals: Cursor<Originals>,
}

impl Files {
    /// Returns the keys of the claim's objects, as in their rows.
    ///
    /// The claim contains URLs, and its files contain the keys. If no file contains them, for example because all
    /// objects are empty, the keys are derived from the URLs.
    fn keys(&self, claim: &Claim) -> Vec<String> {
        let files = [self.rows.groups(), self.rejects.groups(), self.originals.groups()];
        let embedded = files.into_iter().flatten().find_map(|groups| {
            let embedded = groups.file().embedded(groups.footer()).ok()?;
            let names = embedded.objects.iter().map(|object| &object.name);
            let is_same = names.eq(claim.objects.iter().map(|object| &object.name));
            is_same.then(|| embedded.objects.iter().map(|object| embedded.url(object)).collect())
        });
        embedded.unwrap_or_else(|| {
            let of = |object: &Claimed| {
                let url = claim.url(object);
                match split(&url) {
                    Some((_, _, key)) => key.to_owned(),
                    None => from_root(&url).unwrap_or(&object.name).to_owned(),
                }
            };
            claim.objects.iter().map(of).collect()
        })
    }

    /// Converts a problem to an error. If originals cannot be read, appends the reason, which probably caused the
    /// problem.
    fn explain(&self, problem: String) -> Unrestorable {
        Unrestorable::Faulty(match self.originals.problem() {
            Some(cause) => format!("{problem}; {cause}"),
            None => problem,
        })
    }
}

/// The writer of a claim's lines, and their usual form.
struct Lines {
    writer: Writer,
    usual: Form,
}

impl Lines {
    fn new(writer: Writer, fields: usize) -> Self {
        let usual = Form::parse(&writer.usual_form(fields), &writer).expect("checked by a test");
        Self { writer, usual }
    }
}

/// An object that is being restored.
struct Restored<'a> {
    files: &'a mut Files,
    lines: &'a Lines,
    object: Object<'a>,
    /// The index of each object, by key.
    order: &'a HashMap<&'a str, usize>,
    text: Text,
    /// Number of the next line.
    line: u64,
    /// Line number of the object's next original.
    original: Option<u64>,
    /// Line number of the object's next reject.
    reject: Option<u64>,
    /// The form of the next rows, and how many rows have it.
    run: Option<(Form, u64)>,
    /// Number of the first row after the object.
    end_row: u64,
    /// Number of the first reject after the object.
    end_reject: u64,
    stop: &'a AtomicBool,
}

impl Restored<'_> {
    /// Writes the text of the object.
    fn write(&mut self, out: Out<'_>) -> Result<(), String> {
        if self.object.claimed.notes.iter().any(|note| note == Note::ByteOrderMark.code()) {
            self.text.append(|text| text.extend(BYTE_ORDER_MARK), out)?;
        }
        self.find_original();
        self.find_reject()?;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err("interrupted".to_owned());
            }
            if self.original == Some(self.line) {
                self.write_original(out)?;
            } else if self.reject == Some(self.line) {
                let (rejects, row) = self.files.rejects.get();
                let line = rejects.line(row);
                let write = |text: &mut Vec<u8>| {
                    text.extend_from_slice(line);
                    text.push(b'\n');
                };
                self.line += self.text.push(write, out)?;
                self.files.rejects.advance(1);
                self.find_reject()?;
            } else if self.files.rows.row() < self.end_row {
                self.write_rows(out)?;
            } else {
                break;
            }
        }
        match (self.original, self.reject) {
            (Some(line), _) => {
                Err(format!("its originals contain line {line}, but no row follows"))
            }
            (None, Some(line)) => Err(format!("its reject of line {line} is out of order")),
            (None, None) => Ok(()),
        }
    }

    /// Writes the rows before the next original or reject.
    fn write_rows(&mut self, out: Out<'_>) -> Result<(), String> {
        let until = match (self.original, self.reject) {
            (None, None) => None,
            (original, reject) => {
                Some(original.unwrap_or(u64::MAX).min(reject.unwrap_or(u64::MAX)))
            }
        };
        while self.files.rows.row() < self.end_row {
            if !self.files.rows.load()? {
                return Err("the row file lacks some of its rows".to_owned());
            }
            let Lines { writer, usual } = self.lines;
            let (columns, rows) = self.files.rows.rest();
            let left = self.end_row - self.files.rows.row();
            let mut written = 0;
            for row in rows.take(usize::try_from(left).unwrap_or(usize::MAX)) {
                let form = match &mut self.run {
                    Some((form, rows)) if *rows > 0 => {
                        *rows -= 1;
                        &*form
                    }
                    _ => usual,
                };
                let row = RowOf { columns, row };
                let write = |text: &mut Vec<u8>| writer.write_line(form, &row, text);
                written += 1;
                let Some(until) = until else {
                    self.text.append(write, out)?;
                    continue;
                };
                self.line += self.text.push(write, out)?;
                // A row that spans several lines can skip past `until` if the original's line number is forged.
                if self.line >= until {
                    break;
                }
            }
            self.files.rows.advance(written);
            if until.is_some_and(|until| self.line >= until) || self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(())
    }

    /// Processes the next original: writes its line or blank lines, or uses its form for the next rows.
    fn write_original(&mut self, out: Out<'_>) -> Result<(), String> {
        let (originals, row) = self.files.originals.get();
        let (_, original) = &originals[row];
        let (number, lines) = (original.line_number, original.lines);
        match &original.original {
            Original::Bytes(_) => return self.write_line(number, out),
            Original::Form(form) => {
                let invalid = || format!("line {number} has an invalid form");
                let parsed = Form::parse(form, &self.lines.writer).ok_or_else(invalid)?;
                if parsed.fields() > 0 {
                    self.run = Some((parsed, lines));
                } else {
                    let line = (!form.is_empty()).then(|| form.clone()).ok_or_else(invalid)?;
                    self.write_blank(line.as_bytes(), lines, out)?;
                }
            }
        }
        self.files.originals.advance(1);
        self.find_original();
        Ok(())
    }

    /// Writes the line with this number, whose bytes are in one or more originals. Skips the line's reject or row.
    fn write_line(&mut self, number: u64, out: Out<'_>) -> Result<(), String> {
        let mut lines = 0;
        while self.original == Some(number) {
            let (originals, row) = self.files.originals.get();
            let Original::Bytes(bytes) = &originals[row].1.original else { break };
            lines += self.text.push(|text| text.extend_from_slice(bytes), out)?;
            self.files.originals.advance(1);
            self.find_original();
        }
        if self.reject == Some(number) {
            self.files.rejects.advance(1);
            self.find_reject()?;
        } else if self.files.rows.row() < self.end_row {
            self.files.rows.advance(1);
        }
        self.line += lines;
        Ok(())
    }

    /// Writes blank lines. `lines` is untrusted, so the length of the text limits how many are written.
    fn write_blank(&mut self, line: &[u8], mut lines: u64, out: Out<'_>) -> Result<(), String> {
        let at_once = (BLANK_BYTES / line.len()).max(1);
        let block = line.repeat(at_once);
        while lines > 0 && !self.stop.load(Ordering::Relaxed) {
            let some = lines.min(at_once as u64);
            let bytes = &block[..some as usize * line.len()];
            self.line += self.text.push(|text| text.extend_from_slice(bytes), out)?;
            lines -= some;
        }
        Ok(())
    }

    /// Finds the object's next original. If it cannot be read, the text will not match its checksum.
    fn find_original(&mut self) {
        self.original = None;
        let originals = &mut self.files.originals;
        loop {
            match originals.load() {
                Ok(true) => {}
                Err(_) if originals.skip_lost() => continue,
                Ok(false) | Err(_) => return,
            }
            let (batch, row) = originals.get();
            let (key, lines) = &batch[row];
            if key == self.object.key {
                self.original = Some(lines.line_number);
                return;
            }
            // Originals of earlier objects are left over if those objects were skipped or are faulty.
            if self.order.get(key.as_str()).is_some_and(|index| *index > self.object.index) {
                return;
            }
            originals.advance(1);
        }
    }

    /// Finds the object's next reject.
    fn find_reject(&mut self) -> Result<(), String> {
        self.reject = None;
        let rejects = &mut self.files.rejects;
        if rejects.row() < self.end_reject {
            if !rejects.load()? {
                return Err("the reject file lacks some of its rejects".to_owned());
            }
            let (batch, row) = rejects.get();
            let number = batch.number(row).ok_or("one of its rejects has no line number")?;
            self.reject = Some(number);
        }
        Ok(())
    }
}
