//! The definition of each table: columns, partition fields and name mapping.
//!
//! The data files have no field IDs. Engines find their columns through the table's name mapping
//! (<https://iceberg.apache.org/spec/#column-projection>). The columns `account`, `region` and `day` are not in the
//! files: engines fill them in from the partition values in the manifests.

use std::sync::Arc;

use arrow::datatypes::DataType;
use iceberg::spec::{
    FormatVersion, Literal, MappedField, NameMapping, NestedField, NestedFieldRef, PrimitiveType,
    Schema, SortOrder, Struct, TableMetadata, TableMetadataBuilder, Transform, Type,
    UnboundPartitionSpec,
};

use crate::catalog::ddl::{Column, External};
use crate::catalog::iceberg::{Detail, IcebergError};
use crate::logs::key::Partition;
use crate::logs::schema::LogType;

/// Names, types and descriptions of the partition columns, in the order of the partition fields.
const PARTITION_COLUMNS: [(&str, PrimitiveType, &str); 3] = [
    ("account", PrimitiveType::String, "Account of the load balancer, 12 digits"),
    ("region", PrimitiveType::String, "Region of the load balancer"),
    ("day", PrimitiveType::Date, "Day of delivery (UTC)"),
];

/// Property that contains the name mapping.
pub(super) const NAME_MAPPING: &str = "schema.name-mapping.default";

/// Property without which engines may delete data files: those that expired snapshots or a dropped table refer to.
pub(super) const GC_ENABLED: &str = "gc.enabled";

/// The definition of a table.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    /// Name of the table, which is also its directory in the dataset.
    pub(super) name: String,
    description: String,
    columns: Vec<Column>,
}

/// Returns the definitions of all tables: one for each log type, and the rejects table.
pub(super) fn definitions() -> Vec<Definition> {
    let rows = LogType::ALL.map(|log_type| External::rows(log_type.table()));
    rows.into_iter().chain([External::rejects()]).map(Definition::of).collect()
}

impl Definition {
    fn of(External { name, description, columns, .. }: External) -> Self {
        Self { name, description, columns }
    }

    /// Returns the metadata of a new table without data.
    ///
    /// # Errors
    ///
    /// Fails if the Iceberg crate rejects the definition.
    pub(super) fn create(
        &self,
        location: &str,
        properties: impl IntoIterator<Item = (String, String)>,
    ) -> Result<TableMetadata, IcebergError> {
        let of_table = || format!("table {}", self.name);
        let schema = Schema::builder().with_fields(fields(self.columns())).build();
        let schema = schema.detail(of_table)?;
        let own = [
            ("comment".to_owned(), self.description.clone()),
            // Engines must not delete data files: the dataset owns them.
            (GC_ENABLED.to_owned(), "false".to_owned()),
            mapping(&schema),
        ];
        TableMetadataBuilder::new(
            schema,
            UnboundPartitionSpec::builder()
                .add_partition_fields(PARTITION_COLUMNS.iter().enumerate().map(|(at, column)| {
                    let id = (self.columns.len() + at + 1) as i32;
                    iceberg::spec::UnboundPartitionField {
                        source_id: id,
                        field_id: None,
                        name: column.0.to_owned(),
                        transform: Transform::Identity,
                    }
                }))
                .detail(of_table)?
                .build(),
            // Rows are in the order of their objects, which is not the order of any column.
            SortOrder::unsorted_order(),
            location.to_owned(),
            FormatVersion::V2,
            own.into_iter().chain(properties).collect(),
        )
        .and_then(TableMetadataBuilder::build)
        .map(|built| built.metadata)
        .detail(of_table)
    }

    /// Returns the current schema of a table with all missing columns appended, or `None` if no column is missing.
    ///
    /// # Errors
    ///
    /// Fails if a column has another type, or if the partition fields differ.
    pub(super) fn evolve(&self, table: &TableMetadata) -> Result<Option<Schema>, IcebergError> {
        let current = table.current_schema();
        let differs = |why: String| IcebergError::Differs { table: self.name.clone(), why };
        let mut missing = Vec::new();
        for (name, kind, description) in self.columns() {
            match current.field_by_name(name) {
                None => missing.push((name, kind, description)),
                Some(field) if *field.field_type == Type::Primitive(kind.clone()) => {}
                Some(field) => {
                    let found = &field.field_type;
                    return Err(differs(format!("column {name} is {found} instead of {kind}")));
                }
            }
        }
        let spec = table.default_partition_spec().fields();
        let is_own = |(name, _, _): &(&str, _, _), at: usize| {
            spec.get(at).is_some_and(|field| {
                field.transform == Transform::Identity
                    && current.name_by_field_id(field.source_id) == Some(*name)
            })
        };
        let same = PARTITION_COLUMNS.iter().enumerate().all(|(at, column)| is_own(column, at));
        if !same || spec.len() != PARTITION_COLUMNS.len() {
            return Err(differs("its partition fields are not account, region and day".to_owned()));
        }
        if missing.is_empty() {
            return Ok(None);
        }
        let next = table.last_column_id() + 1;
        let appended = fields_from(next, missing.into_iter());
        let fields = current.as_struct().fields().iter().cloned().chain(appended);
        let schema = Schema::builder().with_fields(fields).build();
        schema.map(Some).detail(|| format!("table {}", self.name))
    }

    /// Returns the names, types and descriptions of all columns.
    fn columns(&self) -> impl Iterator<Item = (&str, PrimitiveType, &str)> {
        let of_files = self.columns.iter().map(|column| {
            (column.name.as_str(), type_of(&column.data_type), column.description.as_str())
        });
        of_files.chain(PARTITION_COLUMNS.iter().cloned())
    }
}

/// Returns the property that maps the names of columns in data files to field IDs.
pub(super) fn mapping(schema: &Schema) -> (String, String) {
    let fields = schema.as_struct().fields().iter();
    let mapped = |field: &NestedFieldRef| {
        MappedField::new(Some(field.id), vec![field.name.clone()], Vec::new())
    };
    let mapping = NameMapping::new(fields.map(mapped).collect());
    (NAME_MAPPING.to_owned(), serde_json::to_string(&mapping).expect("plain values"))
}

/// Returns the partition values of a data file.
pub(super) fn values(partition: &Partition) -> Struct {
    let days = partition.day.signed_duration_since(chrono::NaiveDate::default()).num_days();
    let text = |text: &String| Some(Literal::string(text));
    [text(&partition.account), text(&partition.region), Some(Literal::date(days as i32))]
        .into_iter()
        .collect()
}

fn fields<'a>(
    columns: impl Iterator<Item = (&'a str, PrimitiveType, &'a str)>,
) -> Vec<NestedFieldRef> {
    fields_from(1, columns)
}

/// Returns a field for each column, with consecutive IDs.
fn fields_from<'a>(
    first: i32,
    columns: impl Iterator<Item = (&'a str, PrimitiveType, &'a str)>,
) -> Vec<NestedFieldRef> {
    let field = |(id, (name, kind, description)): (i32, (&str, PrimitiveType, &str))| {
        Arc::new(NestedField::optional(id, name, Type::Primitive(kind)).with_doc(description))
    };
    (first..).zip(columns).map(field).collect()
}

/// Returns the Iceberg type of a column in the data files.
fn type_of(data_type: &DataType) -> PrimitiveType {
    match data_type {
        DataType::Int32 => PrimitiveType::Int,
        DataType::Int64 => PrimitiveType::Long,
        DataType::Float64 => PrimitiveType::Double,
        DataType::Timestamp(..) => PrimitiveType::Timestamptz,
        DataType::Binary => PrimitiveType::Binary,
        _ => PrimitiveType::String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_table_has_the_columns_of_its_files_and_three_more() {
        for definition in definitions() {
            let table = definition.create("s3://b/t", []).unwrap();
            let schema = table.current_schema();
            let names: Vec<&str> =
                schema.as_struct().fields().iter().map(|field| field.name.as_str()).collect();
            assert_eq!(names[names.len() - 3..], ["account", "region", "day"]);
            assert_eq!(names.len(), definition.columns.len() + 3, "{}", definition.name);
            let mapping: NameMapping =
                serde_json::from_str(&table.properties()[NAME_MAPPING]).unwrap();
            assert_eq!(mapping.fields().len(), names.len());
            assert!(definition.evolve(&table).unwrap().is_none(), "{}", definition.name);
        }
    }

    #[test]
    fn missing_columns_are_appended_and_never_reordered() {
        let new = definitions().remove(0);
        let mut old = new.clone();
        let removed = [old.columns.remove(7), old.columns.remove(3)];
        let table = old.create("s3://b/t", []).unwrap();
        let evolved = new.evolve(&table).unwrap().unwrap();
        let before = table.current_schema().as_struct().fields();
        let after = evolved.as_struct().fields();
        assert_eq!(before, &after[..before.len()]);
        let appended: Vec<_> =
            after[before.len()..].iter().map(|field| (field.id, &field.name)).collect();
        let last = table.last_column_id();
        assert_eq!(appended, [(last + 1, &removed[1].name), (last + 2, &removed[0].name)]);
    }

    #[test]
    fn a_column_of_another_type_is_an_error() {
        let new = definitions().remove(0);
        let mut old = new.clone();
        old.columns[4].data_type = DataType::Float64;
        let error = new.evolve(&old.create("s3://b/t", []).unwrap()).unwrap_err().to_string();
        assert!(error.contains(&old.columns[4].name) && error.contains("double"), "{error}");
    }
}
