//! Inspection: one object as a person asks about it.
//!
//! It is read as a conversion reads it, and what is noticed on the way is kept: what its key and its first bytes
//! say, how many fields its lines have, the first rows and the first rejects.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use serde::Serialize;

use crate::decode::gzip::{Decompressed, HEAD, Note, Stream, is_gzip, is_text};
use crate::decode::reader::{Counts, Reader};
use crate::decode::sniff::{self, Foreign};
use crate::decode::text_buffer::Text;
use crate::decode::tokenizer::Fields;
use crate::logs::key::{self, Key, Name};
use crate::logs::reject::Reject;
use crate::logs::schema::{LogType, Table};

/// Lines of which the log type is guessed.
const FIRST: usize = 8;
/// Binary formats by their first bytes. There is no line to look for in them.
const BINARY: [(&[u8], &str); 6] = [
    (b"PAR1", "Parquet"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\0", "xz data"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x89PNG", "a PNG image"),
];

/// An object that is about to be inspected, and what is known before it is read.
pub struct Inspection {
    /// What is known.
    pub about: About,
    object: Box<dyn Read + Send>,
}

/// What is known of an object from its key and its first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its key, or as much of it as is known; empty of a stream.
    pub key: String,
    /// What the key says, or the name alone.
    pub named: Option<Named>,
    /// Why the key is none of a log object.
    pub mismatch: Option<String>,
    /// What the object is.
    pub format: ObjectFormat,
    /// The log that its lines are read as.
    pub log_type: LogType,
    /// How that is known.
    pub determined_by: DeterminedBy,
}

/// How much of an object is kept to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows.
    pub rows: usize,
    /// Rejects.
    pub rejects: usize,
}

/// What was found.
#[derive(Debug)]
pub struct Inspected {
    /// What was known before.
    pub about: About,
    /// What the object holds instead of lines of its log.
    pub foreign: Option<Foreign>,
    /// What was read.
    pub counts: Counts,
    /// Rejects by reason.
    pub rejects: BTreeMap<&'static str, u64>,
    /// Notes about the object.
    pub notes: Vec<Note>,
    /// Whether its gzip data is damaged, or it is neither gzip nor text and has no lines.
    pub is_damaged: bool,
    /// Lines by their number of fields, as far as quotes let them be told apart; more than are known count as one
    /// more.
    pub fields: BTreeMap<usize, u64>,
    /// The first rows.
    pub first_rows: RecordBatch,
    /// The first rejects.
    pub first_rejects: Vec<Reject>,
}

/// What a key or a name says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// The log type.
    pub log_type: LogType,
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// Day of the partition; `None` if `convert` skips the object.
    pub day: Option<String>,
    /// The load balancer, `app/<name>/<id>`.
    pub load_balancer: String,
    /// End of the five minutes that the object covers, `yyyy-mm-ddThh:mmZ`.
    pub end_time: String,
    /// Address of the load balancer node; vended logs have none in their names.
    pub node: Option<String>,
}

/// How the log type is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeterminedBy {
    /// It was said.
    Argument,
    /// The name of the object tells it.
    Name,
    /// Its first lines do.
    Lines,
    /// Nothing tells it.
    Default,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectFormat {
    /// Gzip, as load balancers deliver it.
    Gzip,
    /// Uncompressed text.
    Text,
    /// Nothing at all, which is what a conversion takes it for.
    Empty,
    /// Something that has no lines.
    Binary(&'static str),
}

impl Inspection {
    /// Looks at the first bytes of an object. Which log its lines are of is told from its name or from them, unless
    /// it is said.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be read.
    pub fn begin(
        key: &str,
        mut object: impl Read + Send + 'static,
        log_type: Option<LogType>,
    ) -> io::Result<Self> {
        let mut head = Vec::new();
        object.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
        let named = Named::of(key);
        let format = ObjectFormat::of(&head);
        let (log_type, determined_by) = if let Some(said) = log_type {
            (said, DeterminedBy::Argument)
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

    /// Reads the object to its end.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be read on. Whatever stands in it is no error.
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
            // As in a conversion, only an object whose first batch has no row is inspected.
            if found.counts.lines == 0 && batch.num_rows() == 0 {
                found.foreign = sniff::recognise(log_type, &rejects);
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

/// Counts lines by their number of fields.
fn count_fields(table: &Table, decompressed: &Decompressed, counts: &mut BTreeMap<usize, u64>) {
    for segment in &decompressed.segments {
        let text = &decompressed.text[segment.range.clone()];
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let mut fields = Fields::of(line, table.fields.len());
            if let Ok(count) = fields.try_fold(0, |count, field| field.map(|_| count + 1)) {
                *counts.entry(count).or_default() += 1;
            }
        }
    }
}

/// Tells the log type from the first lines.
fn log_type_of(head: &[u8]) -> Option<LogType> {
    // If the rest of the object is missing, the lines before it are kept and a damage follows.
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
