//! Compares rows in the dataset, as multisets, with rows read again from the source.
//!
//! A multiset is represented by its number of rows and the sum of their hashes (128 bits of SHA-256). This
//! representation has a constant size and does not depend on the order of the rows. Collisions are practically
//! impossible.

use std::collections::HashMap;

use anyhow::bail;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};

use crate::dataset::claim::{Claimed, Output};
use crate::dataset::file::PublishedFile;
use crate::dataset::layout::Dataset;
use crate::decode::decoder::Decoder;
use crate::decode::gzip::Stream;
use crate::decode::text_buffer::Text;
use crate::logs::reject;
use crate::logs::schema::Table;
use crate::plan::Object;
use crate::redact::Redaction;
use crate::store::Source;
use crate::util::corrupt::{self, contained};

/// Name of the column that contains the key of the row's object.
const SOURCE_KEY: &str = "source_key";

/// The rows and rejects of an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ObjectRows {
    rows: Multiset,
    rejects: Multiset,
    /// CRC-32 of the text of an object in the source, unless it is damaged.
    crc32: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Multiset {
    count: u64,
    sum: u128,
}

impl Multiset {
    fn add(&mut self, row: &[u8]) {
        let hash = Sha256::digest(row);
        let (half, _) = hash.split_first_chunk::<16>().expect("is longer");
        self.count += 1;
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(*half));
    }
}

impl ObjectRows {
    /// Describes how the checksum of the text that was read from the source differs from the one in a claim.
    pub(super) fn other_text(self, claimed: &Claimed) -> Option<String> {
        let (read, claimed) = (self.crc32?, claimed.crc32?);
        (read != claimed)
            .then(|| format!("has the CRC-32 {read:08x}, but its claim states {claimed:08x}"))
    }

    /// Describes how `self`, which was read from the source, differs from `written`, which was read from the dataset.
    /// Returns `None` if they are equal.
    pub(super) fn difference(self, written: Self) -> Option<String> {
        let of = |what: &str, read: Multiset, written: Multiset| {
            if read.count != written.count {
                let (read, written) = (read.count, written.count);
                Some(format!("has {read} {what}, but the dataset contains {written}"))
            } else if read.sum != written.sum {
                let count = read.count;
                Some(format!("has {count} {what}, but the dataset contains different ones"))
            } else {
                None
            }
        };
        of("rows", self.rows, written.rows).or_else(|| of("rejects", self.rejects, written.rejects))
    }
}

/// How to treat a column that a file lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// Fail.
    Error,
    /// Read it as NULL, as engines do.
    IsNull,
}

/// Converts the rows of a table to bytes for hashing. Equal rows have equal bytes.
struct Hasher {
    schema: SchemaRef,
    converter: RowConverter,
    absent: Absent,
}

impl Hasher {
    fn new(schema: SchemaRef, absent: Absent) -> anyhow::Result<Self> {
        let fields = schema.fields().iter().filter(|field| field.name() != SOURCE_KEY);
        let fields = fields.map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self { converter: RowConverter::new(fields)?, schema, absent })
    }

    /// Calls `each` for every row, with the name of the row's object and the row's bytes.
    fn rows(&self, batch: &RecordBatch, mut each: impl FnMut(&str, &[u8])) -> anyhow::Result<()> {
        let column = |name: &str, data_type: &DataType| -> anyhow::Result<ArrayRef> {
            match batch.column_by_name(name) {
                Some(column) => Ok(cast(column, data_type)?),
                None if self.absent == Absent::IsNull => {
                    Ok(new_null_array(data_type, batch.num_rows()))
                }
                None => bail!("has no column {name}"),
            }
        };
        let mut columns = Vec::new();
        for field in self.schema.fields() {
            if field.name() != SOURCE_KEY {
                columns.push(column(field.name(), field.data_type())?);
            }
        }
        let keys = column(SOURCE_KEY, &DataType::Utf8)?;
        let keys = keys.as_string::<i32>();
        let rows = self.converter.convert_columns(&columns)?;
        for (index, row) in rows.iter().enumerate() {
            let key = if keys.is_null(index) { "" } else { keys.value(index) };
            each(key.rsplit('/').next().unwrap_or(key), row.as_ref());
        }
        Ok(())
    }
}

/// Reads rows and rejects from files. Returns them keyed by object name. Ignores originals files.
pub(super) fn of_files(
    dataset: &Dataset,
    table: &Table,
    outputs: &[&Output],
    absent: Absent,
) -> anyhow::Result<HashMap<String, ObjectRows>> {
    let mut objects: HashMap<String, ObjectRows> = HashMap::new();
    for output in outputs.iter().filter(|output| !output.has_originals()) {
        let are_rejects = output.table == reject::TABLE;
        let schema = if are_rejects { reject::schema() } else { table.file_schema() };
        let hasher = Hasher::new(schema, absent)?;
        let file = PublishedFile::new(dataset, output);
        let reader = contained(|| ParquetRecordBatchReaderBuilder::try_new(file)?.build())?;
        for batch in corrupt::batches(reader) {
            hasher.rows(&batch?, |name, row| {
                if !objects.contains_key(name) {
                    objects.insert(name.to_owned(), ObjectRows::default());
                }
                let object = objects.get_mut(name).expect("was just made");
                let multiset = if are_rejects { &mut object.rejects } else { &mut object.rows };
                multiset.add(row);
            })?;
        }
    }
    Ok(objects)
}

/// Reads an object again from its source. Returns the rows and rejects that the dataset should contain.
pub(super) fn of_object(
    table: &Table,
    source: &Source,
    object: &Object,
    redaction: &Redaction,
) -> anyhow::Result<ObjectRows> {
    let hasher = |schema| Hasher::new(schema, Absent::Error);
    let (of_rows, of_rejects) = (hasher(table.file_schema())?, hasher(reject::schema())?);
    let key = object.listed.key();
    let mut read = ObjectRows::default();
    let (mut lines, mut bytes) = (0, 0);
    let mut decoder = Decoder::new(table);
    let mut stream = Stream::new(0, object.listed.size, source.reader(&object.listed)?)?;
    let mut text = Text::default();
    while let Some(mut decompressed) = stream.next(text)? {
        while !decompressed.segments.is_empty() {
            let decoded = decoder.decode(&mut decompressed, |_| &key);
            of_rows.rows(&redaction.apply(decoded.batch), |_, row| read.rows.add(row))?;
            for mut segment in decoded.segments {
                for reject in &mut segment.rejects {
                    reject.line_number += lines;
                    reject.byte_offset += bytes;
                }
                let rejects = segment.rejects.iter().map(|reject| (key.as_str(), reject));
                let batch = reject::batch(table.log_type, rejects, redaction.is_empty());
                of_rejects.rows(&batch, |_, row| read.rejects.add(row))?;
                lines += segment.lines + segment.joined_lines;
                bytes += segment.bytes;
                read.crc32 = segment.crc32;
            }
        }
        text = decompressed.text;
    }
    Ok(read)
}
