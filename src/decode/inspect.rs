//! Inspects one object in detail.
//!
//! Reads the object as a conversion would. Collects properties of its key and its first bytes, field counts, the first
//! rows and the first rejects.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use serde::Serialize;

use crate::decode::gzip::{Decompressed, HEAD, Note, Stream, is_gzip, is_text};
use crate::decode::reader::{Counts, Reader};
use crate::decode::sniff::{self, Foreign};
use crate::decode::text_buffer::Text;
use crate::decode::tokenizer::{Fields, Grammar};
use crate::logs::key::{self, Key, Name};
use crate::logs::reject::Reject;
use crate::logs::schema::{LogType, Table};

/// Number of lines from which to detect the log type.
const FIRST: usize = 8;
/// Binary formats and their first bytes. Objects in these formats contain no lines.
const BINARY: [(&[u8], &str); 6] = [
    (b"PAR1", "Parquet"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\0", "xz data"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x89PNG", "a PNG image"),
];

/// An inspection of an object. [`Inspection::begin`] reads only the first bytes, and [`Inspection::run`] reads the
/// rest.
pub struct Inspection {
    /// Properties that are known before the object is read.
    pub about: About,
    object: Box<dyn Read + Send>,
}

/// Properties of an object that are derived from its key and its first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Key of the object, or the known part of the key; empty for a stream.
    pub key: String,
    /// Parts of the key or, if only the name is known, of the name. `None` if it is not the name of a log.
    pub named: Option<Named>,
    /// Why the key is not a valid log key.
    pub mismatch: Option<String>,
    /// Format of the object.
    pub format: ObjectFormat,
    /// Log type that the lines are decoded as.
    pub log_type: LogType,
    /// How the log type was determined.
    pub determined_by: DeterminedBy,
}

/// Limits on the number of rows and rejects to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of rows.
    pub rows: usize,
    /// Maximum number of rejects.
    pub rejects: usize,
}

/// The result of an inspection.
#[derive(Debug)]
pub struct Inspected {
    /// Properties that were known before the object was read.
    pub about: About,
    /// What the object contains instead of lines of its log type, if that was recognized.
    pub foreign: Option<Foreign>,
    /// Counts of the lines, rows and bytes that were read.
    pub counts: Counts,
    /// Number of rejects by reason code.
    pub rejects: BTreeMap<&'static str, u64>,
    /// Notes about the object.
    pub notes: Vec<Note>,
    /// Whether the object is corrupt, or is neither gzip nor text.
    pub is_damaged: bool,
    /// Number of lines for each distinct field count, excluding lines with invalid quotes. All unknown fields of a line
    /// count as one field.
    pub fields: BTreeMap<usize, u64>,
    /// The first rows.
    pub first_rows: RecordBatch,
    /// The first rejects.
    pub first_rejects: Vec<Reject>,
}

/// The parts of a log's key or name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Log type.
    pub log_type: LogType,
    /// AWS account.
    pub account: String,
    /// AWS region.
    pub region: String,
    /// Day of the partition; `None` if `convert` skips the object.
    pub day: Option<String>,
    /// Resource ID of the load balancer, such as `app/<name>/<id>`, or the name of a Classic Load Balancer.
    pub load_balancer: String,
    /// End of the window that the object covers, `yyyy-mm-ddThh:mmZ`.
    pub end_time: String,
    /// Address of the load balancer node; `None` for vended logs, whose names do not contain it.
    pub node: Option<String>,
}

/// How the log type was determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeterminedBy {
    /// From the caller.
    Argument,
    /// From the name of the object.
    Name,
    /// From the first lines.
    Lines,
    /// The default: access logs, because the type could not be detected.
    Default,
}

/// The format of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectFormat {
    /// Gzip, as Application and Network Load Balancers deliver it.
    Gzip,
    /// Uncompressed text, as Classic Load Balancers deliver it.
    Text,
    /// An object of zero bytes. A conversion accepts it as a log without lines.
    Empty,
    /// A binary format with this name. The object has no lines.
    Binary(&'static str),
}

impl Inspection {
    /// Reads the first bytes of an object. If `log_type` is `None`, the log type is determined from the name or,
    /// failing that, from the first lines.
    ///
    /// # Errors
    ///
    /// Fails if the object cannot be read.
    pub fn begin(
        key: &str,
        mut object: impl Read + Send + 'static,
        log_type: Option<LogType>,
    ) -> io::Result<Self> {
        let mut head = Vec::new();
        object.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
        let named = Named::of(key);
        let format = ObjectFormat::of(&head);
        let (log_type, determined_by) = if let Some(specified) = log_type {
            (specified, DeterminedBy::Argument)
        } else if let Some(named) = &named {
            (named.log_type, DeterminedBy::Name)
        } else if let Some(found) = log_type_of(&head) {
            (found, DeterminedBy::Lines)
        } else {
            (LogType::Access, DeterminedBy::Default)
        };
        let mismatch = Some(key).filter(|key| !key.is_empty()).and_then(key::mismatch);
        let key = key.to_owned();
        let about = About { key, named, mismatch, format, log_type, determined_by };
        Ok(Self { about, object: Box::new(Cursor::new(head).chain(object)) })
    }

    /// Reads the entire object.
    ///
    /// # Errors
    ///
    /// Fails if the object cannot be read. Invalid content is not an error.
    pub fn run(self, limits: Limits) -> io::Result<Inspected> {
        let Self { about, object } = self;
        let (log_type, key) = (about.log_type, about.key.as_str());
        let mut reader = Reader::new(log_type, key, object)?;
        let table = log_type.table();
        let mut found = Inspected {
            about,
            foreign: None,
            counts: Counts::default(),
            rejects: BTreeMap::new(),
            notes: Vec::new(),
            is_damaged: false,
            fields: BTreeMap::new(),
            first_rows: RecordBatch::new_empty(table.batch_schema()),
            first_rejects: Vec::new(),
        };
        let fields = &mut found.fields;
        while let Some(batch) =
            reader.read(|decompressed| count_fields(table, decompressed, fields))?
        {
            let rejects = reader.take_rejects();
            // As in a conversion, only an object whose first batch has no rows is checked for other content.
            if found.counts.lines == 0 && batch.num_rows() == 0 {
                found.foreign = sniff::recognize(log_type, &rejects);
            }
            found.counts = reader.counts();
            let wanted = batch.num_rows().min(limits.rows - found.first_rows.num_rows());
            if wanted > 0 {
                let rows = [&found.first_rows, &batch.slice(0, wanted)];
                let rows = concat_batches(&table.batch_schema(), rows);
                found.first_rows = rows.map_err(io::Error::other)?;
            }
            for reject in rejects {
                *found.rejects.entry(reject.reason.code()).or_default() += 1;
                found.is_damaged |= reject.reason.is_damage();
                if found.first_rejects.len() < limits.rejects {
                    found.first_rejects.push(reject);
                }
            }
        }
        found.counts = reader.counts();
        found.notes = reader.notes().to_vec();
        Ok(found)
    }
}

/// Counts the lines by their number of fields.
fn count_fields(table: &Table, decompressed: &Decompressed, counts: &mut BTreeMap<usize, u64>) {
    for segment in &decompressed.segments {
        let text = &decompressed.text[segment.range.clone()];
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let mut fields = Fields::of(line, Grammar::of(table));
            if let Ok(count) = fields.try_fold(0, |count, field| field.map(|_| count + 1)) {
                *counts.entry(count).or_default() += 1;
            }
        }
    }
}

/// Detects the log type from the first lines.
fn log_type_of(head: &[u8]) -> Option<LogType> {
    // The head of a longer object is truncated gzip data. The stream still returns the lines before the truncation.
    let object = Box::new(Cursor::new(head.to_vec()));
    let mut stream = Stream::of_unknown_size(0, object).ok()?;
    let text = stream.next(Text::default()).ok()??.text;
    text.split(|&byte| byte == b'\n').take(FIRST).find_map(sniff::log_type_of)
}

impl Named {
    fn of(key: &str) -> Option<Self> {
        let path = key.rsplit('/').next().unwrap_or(key);
        let name = Name::parse(path)?;
        let day = Key::parse(key).ok().map(|key| key.partition.day.to_string());
        let (date, time) = (&name.end_time[..8], &name.end_time[9..13]);
        Some(Self {
            log_type: name.log_type,
            account: name.account.to_owned(),
            region: name.region.to_owned(),
            day,
            load_balancer: name.balancer.replace('.', "/"),
            end_time: format!(
                "{}-{}-{}T{}:{}Z",
                &date[..4],
                &date[4..6],
                &date[6..],
                &time[..2],
                &time[2..]
            ),
            node: name.node.map(ToOwned::to_owned),
        })
    }
}

impl ObjectFormat {
    fn of(head: &[u8]) -> Self {
        let binary = BINARY.iter().find(|(magic, _)| head.starts_with(magic));
        match binary {
            _ if head.is_empty() => Self::Empty,
            _ if is_gzip(head) => Self::Gzip,
            Some((_, name)) => Self::Binary(name),
            None if is_text(head) => Self::Text,
            None => Self::Binary("neither gzip nor text"),
        }
    }
}
