//! Converts the footer of a data file to the file's entry in a manifest: counts, NULLs, sizes and bounds of each column.

use std::collections::{BTreeMap, HashMap};
use std::str;

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, PrimitiveType, Schema,
    Struct, Type,
};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;

use crate::catalog::iceberg::bounds;

/// The metrics of a column, added up over row groups.
struct Column {
    size: u64,
    values: u64,
    /// `None` if unknown.
    nulls: Option<u64>,
    /// `None` if unknown.
    nans: Option<u64>,
    /// The bounds; `None` if unknown or if there are no values.
    lower: Option<Datum>,
    upper: Option<Datum>,
    /// Whether a row group has values without known bounds.
    unbounded: (bool, bool),
}

/// A data file whose footer has been read.
pub(super) struct Footer<'a> {
    /// URL of the file.
    pub(super) url: &'a str,
    /// Size in bytes.
    pub(super) size: u64,
    /// The footer.
    pub(super) metadata: &'a ParquetMetaData,
}

impl Footer<'_> {
    /// Returns the number of rows in the file.
    pub(super) fn rows(&self) -> u64 {
        self.metadata.file_metadata().num_rows().try_into().unwrap_or_default()
    }

    /// Returns the file's entry in a manifest.
    ///
    /// # Errors
    ///
    /// Returns the reason if a column of the file is nested or not in the schema.
    pub(super) fn entry(
        &self,
        schema: &Schema,
        spec_id: i32,
        partition: Struct,
    ) -> Result<DataFile, String> {
        let mut columns: BTreeMap<i32, Column> = BTreeMap::new();
        let mut offsets = Vec::new();
        for group in self.metadata.row_groups() {
            offsets.extend(group.columns().iter().map(start).min());
            for chunk in group.columns() {
                let name = chunk.column_path().string();
                let field = schema.field_by_name(&name).ok_or_else(|| {
                    format!(
                        "has the column {name}, which this version of the program does not know"
                    )
                })?;
                let Type::Primitive(kind) = &*field.field_type else {
                    return Err(format!("has the column {name}, which is nested in the table"));
                };
                let of_chunk = Column::of(chunk, kind);
                match columns.remove(&field.id) {
                    None => columns.insert(field.id, of_chunk),
                    Some(column) => columns.insert(field.id, column.and(of_chunk)),
                };
            }
        }
        offsets.sort_unstable();
        let mut builder = DataFileBuilder::default();
        builder
            .content(DataContentType::Data)
            .file_path(self.url.to_owned())
            .file_format(DataFileFormat::Parquet)
            .partition(partition)
            .partition_spec_id(spec_id)
            .record_count(self.rows())
            .file_size_in_bytes(self.size)
            .split_offsets(Some(offsets));
        let (mut sizes, mut values) = (HashMap::new(), HashMap::new());
        let (mut nulls, mut nans) = (HashMap::new(), HashMap::new());
        let (mut lower, mut upper) = (HashMap::new(), HashMap::new());
        for (id, column) in columns {
            sizes.insert(id, column.size);
            values.insert(id, column.values);
            nulls.extend(column.nulls.map(|count| (id, count)));
            nans.extend(column.nans.map(|count| (id, count)));
            lower.extend(column.lower.filter(|_| !column.unbounded.0).map(|bound| (id, bound)));
            upper.extend(column.upper.filter(|_| !column.unbounded.1).map(|bound| (id, bound)));
        }
        builder
            .column_sizes(sizes)
            .value_counts(values)
            .null_value_counts(nulls)
            .nan_value_counts(nans)
            .lower_bounds(lower)
            .upper_bounds(upper);
        builder.build().map_err(|error| error.to_string())
    }
}

/// Returns the offset of the first page of a column chunk.
fn start(chunk: &ColumnChunkMetaData) -> i64 {
    chunk.dictionary_page_offset().unwrap_or(i64::MAX).min(chunk.data_page_offset())
}

impl Column {
    fn of(chunk: &ColumnChunkMetaData, kind: &PrimitiveType) -> Self {
        let count = |count: i64| count.try_into().unwrap_or_default();
        let statistics = chunk.statistics();
        let nulls = statistics.and_then(Statistics::null_count_opt);
        let values = count(chunk.num_values());
        let nans = (*kind == PrimitiveType::Double)
            .then(|| statistics.and_then(Statistics::nan_count_opt))
            .flatten();
        let (lower, upper) =
            statistics.map_or((None, None), |statistics| bounds_of(statistics, kind));
        let has_values = nulls.is_none_or(|nulls| nulls < values);
        // A NaN is outside of any bounds.
        let is_unknown = *kind == PrimitiveType::Double && nans != Some(0);
        let unbounded = (
            has_values && (is_unknown || lower.is_none()),
            has_values && (is_unknown || upper.is_none()),
        );
        Self { size: count(chunk.compressed_size()), values, nulls, nans, lower, upper, unbounded }
    }

    fn and(self, other: Self) -> Self {
        let both = |one: Option<u64>, other: Option<u64>| Some(one? + other?);
        let extreme = |one: Option<Datum>, other: Option<Datum>, least: bool| match (one, other) {
            (Some(one), Some(other)) => Some(if (one < other) == least { one } else { other }),
            (one, other) => one.or(other),
        };
        Self {
            size: self.size + other.size,
            values: self.values + other.values,
            nulls: both(self.nulls, other.nulls),
            nans: both(self.nans, other.nans),
            lower: extreme(self.lower, other.lower, true),
            upper: extreme(self.upper, other.upper, false),
            unbounded: (
                self.unbounded.0 || other.unbounded.0,
                self.unbounded.1 || other.unbounded.1,
            ),
        }
    }
}

/// Returns the bounds in the statistics of a column chunk. Statistics whose type differs from the column's are ignored.
fn bounds_of(statistics: &Statistics, kind: &PrimitiveType) -> (Option<Datum>, Option<Datum>) {
    match (statistics, kind) {
        (Statistics::Int32(values), PrimitiveType::Int) => (
            values.min_opt().map(|value| Datum::int(*value)),
            values.max_opt().map(|value| Datum::int(*value)),
        ),
        (Statistics::Int64(values), PrimitiveType::Long) => (
            values.min_opt().map(|value| Datum::long(*value)),
            values.max_opt().map(|value| Datum::long(*value)),
        ),
        (Statistics::Int64(values), PrimitiveType::Timestamptz) => (
            values.min_opt().map(|value| Datum::timestamptz_micros(*value)),
            values.max_opt().map(|value| Datum::timestamptz_micros(*value)),
        ),
        (Statistics::Double(values), PrimitiveType::Double) => (
            values.min_opt().map(|value| Datum::double(*value)),
            values.max_opt().map(|value| Datum::double(*value)),
        ),
        (Statistics::ByteArray(values), PrimitiveType::String) => {
            // Truncated statistics are bounds, too.
            let text = |bytes: Option<&parquet::data_type::ByteArray>| {
                bytes.and_then(|bytes| str::from_utf8(bytes.data()).ok().map(ToOwned::to_owned))
            };
            let (min, max) = (text(values.min_opt()), text(values.max_opt()));
            (
                min.map(|min| Datum::string(bounds::lower(&min))),
                max.and_then(|max| bounds::upper(&max)).map(Datum::string),
            )
        }
        _ => (None, None),
    }
}
