//! Writes the files of a batch, one record batch at a time. The files are complete before the batch is claimed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem;
use std::ops::Range;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use parquet::errors::ParquetError;

use crate::convert::feed::Lost;
use crate::convert::tally::{ARCHIVED, Tally};
use crate::convert::{Conversion, ConvertError, Read};
use crate::dataset::claim::{Claim, embedded};
use crate::decode::decoder::Decoded;
use crate::decode::forms::Written;
use crate::decode::gzip::Note;
use crate::decode::sniff::{self, Foreign};
use crate::encode::{ArrowEncoder, TableEncoder};
use crate::logs::form::Writer;
use crate::logs::original::{self, Original, OriginalLines, OriginalsBuilder};
use crate::logs::reject::{self, Reason, Reject};
use crate::logs::schema::LogType;
use crate::plan::{Batch, Failure, Object};
use crate::store::{StoreError, TargetError, Writing};

/// The files of a batch while they are being written.
pub(super) struct Open<'a> {
    batch: &'a Batch,
    /// Keys of the objects.
    keys: &'a [String],
    /// The name that the batch's files share.
    name: String,
    table: TableEncoder<Writing>,
    /// Path of the row file, for error messages.
    staged: String,
    rejects: Option<(ArrowEncoder<Writing>, String)>,
    originals: Option<(ArrowEncoder<Writing>, String)>,
    /// Writes a line from the values in its row, to find the line's form.
    writer: Writer,
    /// Field count of the batch's usual form, taken from the first line that has a usual form.
    fields: Option<usize>,
    builder: OriginalsBuilder,
    tally: Tally,
    objects: Vec<Progress>,
    began: Instant,
}

/// A converted batch whose files are not visible to readers yet.
pub(super) struct StagedBatch {
    /// The claim, without its outputs.
    pub(super) claim: Claim,
    pub(super) outputs: Vec<StagedOutput>,
    pub(super) tally: Tally,
    pub(super) took: Duration,
}

/// A file of a converted batch.
pub(super) struct StagedOutput {
    pub(super) table: &'static str,
    pub(super) rows: u64,
    pub(super) writing: Writing,
}

/// The state of an object while it is being read.
#[derive(Default, Clone)]
struct Progress {
    begun: bool,
    lines: u64,
    joined_lines: u64,
    bytes: u64,
    /// CRC-32 of all the object's decompressed bytes; `None` until the object is read to its end.
    crc32: Option<u32>,
    /// Whether the text does not end with a line feed.
    unterminated: bool,
    notes: BTreeSet<Note>,
    rejects: BTreeMap<String, u64>,
    damage: Option<String>,
    /// What the object actually contains, if it is not a log of the type in its name. None of its lines are then kept.
    foreign: Option<Foreign>,
}

impl<'a> Open<'a> {
    pub(super) fn new(
        conversion: &Conversion,
        batch: &'a Batch,
        keys: &'a [String],
    ) -> Result<Self, ConvertError> {
        let name = conversion.file_name(batch);
        let table = batch.partition.log_type.table();
        let writing = conversion.begin(&table.name, batch, &name)?;
        let staged = writing.name();
        let table = TableEncoder::new(table, conversion.format, writing)
            .and_then(|table| table.with_bloom_filters(conversion.bloom_filters))
            .map_err(write_error(&staged))?;
        Ok(Self {
            batch,
            keys,
            name,
            table,
            staged,
            rejects: None,
            originals: None,
            writer: Writer::new(batch.partition.log_type.table()),
            fields: None,
            builder: OriginalsBuilder::default(),
            tally: Tally::default(),
            objects: vec![Progress::default(); batch.objects.len()],
            began: Instant::now(),
        })
    }

    /// Returns whether the conversion gave up on an object. It then keeps none of the object's lines, and need not read
    /// the rest.
    pub(super) fn is_given_up(&self, object: usize) -> bool {
        self.objects[object].foreign.is_some()
    }

    /// Returns the size in bytes of the encoded pages that are held in memory until their row group ends.
    pub(super) fn size(&self) -> usize {
        self.table.size()
    }

    /// Writes decoded rows and rejected lines.
    pub(super) fn write(
        &mut self,
        mut decoded: Decoded,
        conversion: &Conversion,
    ) -> Result<(), ConvertError> {
        let log_type = self.batch.partition.log_type;
        let (mut rejected, mut originals) = (Vec::new(), Vec::new());
        // Ranges of the rows of objects that the conversion did not give up on.
        let (mut kept, mut row) = (Vec::<Range<usize>>::new(), 0);
        for segment in &mut decoded.segments {
            let rows = row..row + segment.rows as usize;
            row = rows.end;
            let key = self.keys[segment.object].as_str();
            let progress = &mut self.objects[segment.object];
            conversion.observer.read(&Read {
                key,
                begins: !mem::replace(&mut progress.begun, true),
                bytes: segment.gzip_bytes,
                rejects: segment.rejects.len() as u64,
            });
            if progress.foreign.is_none() && progress.lines == 0 && segment.rows == 0 {
                progress.foreign = sniff::recognize(log_type, &segment.rejects);
            }
            if progress.foreign.is_some() {
                continue;
            }
            match kept.last_mut() {
                Some(last) if last.end == rows.start => last.end = rows.end,
                _ => kept.push(rows),
            }
            for reject in &mut segment.rejects {
                reject.line_number += progress.lines + progress.joined_lines;
                reject.byte_offset += progress.bytes;
                self.tally.reject(reject.reason);
                *progress.rejects.entry(reject.reason.code().to_owned()).or_default() += 1;
                if reject.reason.is_damage() {
                    progress.damage = Some(damage(reject));
                }
            }
            if conversion.redaction.is_empty() {
                let before = progress.lines + progress.joined_lines;
                let (fields, written) = (&mut self.fields, mem::take(&mut segment.written));
                let unusual = written.into_iter().filter_map(|lines| {
                    Some(OriginalLines {
                        line_number: before + lines.line_number,
                        lines: lines.lines,
                        original: original(lines.written, fields, &self.writer)?,
                    })
                });
                originals.extend(unusual.map(|original| (key, original)));
            }
            progress.lines += segment.lines;
            progress.joined_lines += segment.joined_lines;
            progress.bytes += segment.bytes;
            progress.crc32 = segment.crc32;
            progress.unterminated = segment.unterminated;
            progress.notes.extend(segment.notes.drain(..));
            self.tally.lines += segment.lines;
            self.tally.joined_lines += segment.joined_lines;
            self.tally.rows += segment.rows;
            self.tally.bytes_in += segment.gzip_bytes;
            self.tally.bytes_decompressed += segment.bytes;
            rejected.extend(segment.rejects.iter().map(|reject| (key, reject)));
        }
        if !rejected.is_empty() {
            self.write_rejects(&rejected, conversion)?;
        }
        if !originals.is_empty() {
            self.write_originals(originals, conversion)?;
        }
        kept.into_iter().try_for_each(|rows| {
            let rows = decoded.batch.slice(rows.start, rows.len());
            self.table.write(&rows).map_err(write_error(&self.staged))
        })
    }

    fn write_rejects(
        &mut self,
        rejects: &[(&str, &Reject)],
        conversion: &Conversion,
    ) -> Result<(), ConvertError> {
        if self.rejects.is_none() {
            self.rejects = Some(self.begin(reject::TABLE, reject::schema(), conversion)?);
        }
        let (encoder, staged) = self.rejects.as_mut().expect("was just created");
        let (log_type, rejects) = (self.batch.partition.log_type, rejects.iter().copied());
        let batch = reject::batch(log_type, rejects, conversion.redaction.is_empty());
        encoder.write(&batch).map_err(write_error(staged))
    }

    fn write_originals(
        &mut self,
        originals: Vec<(&str, OriginalLines)>,
        conversion: &Conversion,
    ) -> Result<(), ConvertError> {
        if self.originals.is_none() {
            self.originals = Some(self.begin(original::TABLE, original::schema(), conversion)?);
        }
        let (encoder, staged) = self.originals.as_mut().expect("was just created");
        for (key, lines) in originals {
            // The last part of a line ends with its line ending.
            let is_line =
                matches!(&lines.original, Original::Bytes(bytes) if bytes.ends_with(b"\n"));
            self.tally.verbatim_lines += u64::from(is_line);
            for part in lines.parts() {
                self.builder.append(key, &lines, part);
                if self.builder.is_full() {
                    encoder.write(&self.builder.finish()).map_err(write_error(staged))?;
                }
            }
        }
        encoder.write(&self.builder.finish()).map_err(write_error(staged))
    }

    /// Creates a file that only some batches need. Returns its encoder and its path.
    fn begin(
        &self,
        table: &str,
        schema: SchemaRef,
        conversion: &Conversion,
    ) -> Result<(ArrowEncoder<Writing>, String), ConvertError> {
        let name = reject::file_name(self.batch.partition.log_type, &self.name);
        let writing = conversion.begin(table, self.batch, &name)?;
        let staged = writing.name();
        let encoder =
            ArrowEncoder::new(schema, conversion.format, writing).map_err(write_error(&staged))?;
        Ok((encoder, staged))
    }

    /// Finishes the files. `lost` contains the objects that could not be read at all.
    pub(super) fn finish(
        mut self,
        lost: &[Lost],
        conversion: &Conversion,
    ) -> Result<StagedBatch, ConvertError> {
        let log_type = self.batch.partition.log_type;
        let foreign = self.objects.iter().filter(|object| object.foreign.is_some()).count();
        let kept = self.objects.len() - foreign - lost.len();
        let mut facts = vec![
            ("alb2parquet.log_type", log_type.to_string()),
            ("alb2parquet.objects", kept.to_string()),
            ("alb2parquet.lines", self.tally.lines.to_string()),
            ("alb2parquet.joined_lines", self.tally.joined_lines.to_string()),
            ("alb2parquet.rows", self.tally.rows.to_string()),
            ("alb2parquet.rejects", self.tally.reject_count().to_string()),
        ];
        if !conversion.redaction.is_empty() {
            facts.push(("alb2parquet.redaction", conversion.redaction.agreement().to_string()));
        }
        let mut claim = Claim {
            run: conversion.dataset.run().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: conversion.settings(self.batch),
            profile: conversion.format.profile,
            lines: self.tally.lines,
            joined_lines: self.tally.joined_lines,
            rows: self.tally.rows,
            rejects: self.tally.rejects.iter().map(|(code, n)| ((*code).to_owned(), *n)).collect(),
            fields: conversion.redaction.is_empty().then_some(self.fields.unwrap_or_default()),
            originals: self.builder.rows(),
            ..Claim::default()
        };
        let mut keys = Vec::new();
        let mut read: Vec<Option<Progress>> = self.objects.into_iter().map(Some).collect();
        for Lost { object, error } in lost {
            read[*object] = None;
            leave_out(&self.batch.objects[*object], error, &mut self.tally);
        }
        for ((object, key), progress) in self.batch.objects.iter().zip(self.keys).zip(read) {
            let Some(progress) = progress else { continue };
            if let Some(foreign) = progress.foreign {
                self.tally.objects.failed += 1;
                let (object, error) = (object.listed.key(), misnamed(log_type, foreign));
                self.tally.failures.push(Failure::new(object, error));
                continue;
            }
            keys.push(key.as_str());
            let url = conversion.sources[object.source].url(&object.listed);
            let damage = progress.damage.or_else(|| {
                let rejects: u64 = progress.rejects.values().sum();
                let is_text = progress.notes.contains(&Note::PlainText);
                (is_text && rejects > 0 && rejects == progress.lines).then(|| no_log(log_type))
            });
            let claimed = claim.add(&url, &object.listed, progress.lines, progress.rejects);
            claimed.crc32 = progress.crc32;
            claimed.uncompressed_size = progress.crc32.map(|_| progress.bytes);
            claimed.unterminated = progress.unterminated;
            claimed.notes = progress.notes.iter().map(|note| note.code().to_owned()).collect();
            for note in &progress.notes {
                *self.tally.notes.entry(note.code()).or_default() += 1;
            }
            match damage {
                None => self.tally.objects.converted += 1,
                Some(error) => {
                    self.tally.objects.failed += 1;
                    let object = object.listed.key();
                    self.tally.failures.push(Failure::new(object, error));
                }
            }
        }
        let objects = embedded::encode(&claim, keys.into_iter());
        let mut outputs = Vec::new();
        if let Some((mut encoder, staged)) = self.originals {
            encoder.embed(embedded::KEY, &objects).map_err(write_error(&staged))?;
            let writing = encoder.finish(&[]).map_err(write_error(&staged))?;
            outputs.push(StagedOutput {
                table: original::TABLE,
                rows: self.builder.rows(),
                writing,
            });
            self.tally.original_files = 1;
        }
        if let Some((mut encoder, staged)) = self.rejects {
            encoder.embed(embedded::KEY, &objects).map_err(write_error(&staged))?;
            let writing = encoder.finish(&[]).map_err(write_error(&staged))?;
            let rows = self.tally.reject_count();
            outputs.push(StagedOutput { table: reject::TABLE, rows, writing });
            self.tally.reject_files = 1;
        }
        if self.tally.rows > 0 {
            self.table.embed(embedded::KEY, &objects).map_err(write_error(&self.staged))?;
            let writing = self.table.finish(&facts).map_err(write_error(&self.staged))?;
            let (table, rows) = (log_type.table().name.as_str(), self.tally.rows);
            outputs.push(StagedOutput { table, rows, writing });
            self.tally.files = 1;
        }
        let took = self.began.elapsed();
        Ok(StagedBatch { claim, outputs, tally: self.tally, took })
    }
}

/// Returns the original to store for consecutive lines, or `None` if they have the batch's usual form.
fn original(written: Written, fields: &mut Option<usize>, writer: &Writer) -> Option<Original> {
    match written {
        Written::Usual(count) if count == *fields.get_or_insert(count) => None,
        Written::Usual(count) => Some(Original::Form(writer.usual_form(count).into())),
        Written::Form(form) => Some(Original::Form(form)),
        Written::Bytes(bytes) => Some(Original::Bytes(bytes)),
    }
}

fn write_error(staged: &str) -> impl Fn(ParquetError) -> ConvertError + use<> {
    let path = staged.to_owned();
    move |source| {
        let write = |source| ConvertError::Write { path: path.clone(), source };
        match source {
            ParquetError::External(error) => match error.downcast::<io::Error>() {
                Ok(error) => match TargetError::of_writing(&path, *error) {
                    Ok(refused) => refused.into(),
                    Err(error) => write(error.into()),
                },
                Err(error) => write(ParquetError::External(error)),
            },
            source => write(source),
        }
    }
}

/// Counts an unreadable object as archived or failed.
pub(super) fn leave_out(object: &Object, error: &StoreError, tally: &mut Tally) {
    if error.is_archived() {
        tally.skip(ARCHIVED, 1);
        tally.bytes_archived += object.listed.size;
    } else {
        let (object, error) = (object.listed.key(), error.to_string());
        tally.objects.failed += 1;
        tally.failures.push(Failure::new(object, error));
    }
}

/// Returns the error message for an object that contains something other than a log of the type in its name.
fn misnamed(named: LogType, foreign: Foreign) -> String {
    format!(
        "is named like an object of the {named} log, but contains {foreign}; none of it is converted. {}",
        foreign.remedy()
    )
}

/// Returns the error message for a plain-text object without rows.
fn no_log(log_type: LogType) -> String {
    format!("is not gzip, and contains no line of the {log_type} log")
}

/// Describes the damage to an object.
fn damage(reject: &Reject) -> String {
    let kept = reject.line_number - 1;
    let what = match reject.reason {
        Reason::NotGzip => return "is neither gzip nor text".to_owned(),
        Reason::NestedGzip => return "has more than four levels of gzip".to_owned(),
        Reason::TrailingGarbage => {
            let length = reject.raw_length;
            return format!(
                "{length} bytes that are not gzip follow its gzip data: the {kept} lines before them are kept, and \
                 the bytes are one reject"
            );
        }
        Reason::TruncatedGzip => "its gzip data is truncated",
        _ => "its gzip data is corrupt",
    };
    format!(
        "{what}: {kept} lines are kept, and the text from byte {} to the end is a reject",
        reject.byte_offset
    )
}
