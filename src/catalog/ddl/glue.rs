//! JSON for the AWS Glue Data Catalog.

use serde_json::{Map, Value, json};

use crate::catalog::ddl::hive::type_name;
use crate::catalog::ddl::{Dialect, External, projection};
use crate::logs::key::PartitionValues;

/// Maximum number of partitions per `BatchCreatePartition` call.
const PARTITIONS: usize = 100;

/// Returns the argument for `aws glue create-table --table-input`.
pub(super) fn table_input(table: &External) -> String {
    let column = |name: &str, kind: &str, comment: &str| json!({ "Name": name, "Type": kind, "Comment": comment });
    let columns = table
        .columns
        .iter()
        .map(|each| column(&each.name, type_name(&each.data_type), &each.description));
    let keys = table.partition_columns(table.projection);
    let keys = keys.map(|(name, comment)| column(name, "string", &comment));
    let mut parameters = Map::new();
    let properties = if table.projection { projection::properties(table) } else { Vec::new() };
    for (name, value) in [("EXTERNAL", "TRUE"), ("classification", "parquet")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .chain(properties)
    {
        parameters.insert(name, value.into());
    }
    // The database is a separate argument of the call.
    let name = table.name.rsplit('.').next().unwrap_or(&table.name);
    let input = json!({
        "Name": name,
        "Description": table.comment(Dialect::Glue),
        "TableType": "EXTERNAL_TABLE",
        "PartitionKeys": keys,
        "Parameters": parameters,
        "StorageDescriptor": storage(&columns.collect::<Vec<_>>(), &table.location),
    });
    format!("{input:#}\n")
}

/// Returns the arguments for `aws glue batch-create-partition --partition-input-list`, one line per call.
pub(super) fn partition_inputs(table: &External, partitions: &[PartitionValues]) -> String {
    let columns = table.columns.iter();
    let columns =
        columns.map(|each| json!({ "Name": each.name, "Type": type_name(&each.data_type) }));
    let columns: Vec<Value> = columns.collect();
    let input = |values: &PartitionValues| {
        let storage = storage(&columns, &table.directory(values));
        json!({ "Values": values, "StorageDescriptor": storage })
    };
    let calls = partitions.chunks(PARTITIONS);
    let calls = calls.map(|some| some.iter().map(input).collect::<Value>().to_string() + "\n");
    calls.collect()
}

/// Returns the storage descriptor of a table or partition.
fn storage(columns: &[Value], location: &str) -> Value {
    json!({
        "Columns": columns,
        "Location": location,
        "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
        "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
        // -1 means that the rows are not bucketed. Trino fails without this value.
        "NumberOfBuckets": -1,
        "SerdeInfo": {
            "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
            "Parameters": { "serialization.format": "1" },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::key::Partition;
    use crate::logs::schema::LogType;

    #[test]
    fn a_call_has_at_most_a_hundred_partitions() {
        let day = chrono::NaiveDate::from_ymd_opt(2025, 7, 19).unwrap();
        let log_type = LogType::Access;
        let partition = |day| {
            let (account, region) = ("012345678901".into(), "r".into());
            Partition { log_type, account, region, day }.values()
        };
        let partitions: Vec<_> = day.iter_days().take(101).map(partition).collect();
        let table =
            External { location: "s3://b/t/".into(), ..External::rows(LogType::Access.table()) };
        let text = partition_inputs(&table, &partitions);
        let calls: Vec<Vec<Value>> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [100, 1]);
        assert_eq!(
            calls[0][0]["StorageDescriptor"]["Location"],
            "s3://b/t/account=012345678901/region=r/year=2025/month=07/day=19/"
        );
    }
}
