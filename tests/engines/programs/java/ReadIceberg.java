import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.AppendFiles;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.DataFiles;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.MetricsConfig;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Table;
import org.apache.iceberg.hadoop.HadoopTables;
import org.apache.iceberg.io.InputFile;
import org.apache.iceberg.mapping.MappingUtil;
import org.apache.iceberg.mapping.NameMapping;
import org.apache.iceberg.mapping.NameMappingParser;
import org.apache.iceberg.parquet.ParquetUtil;
import org.apache.iceberg.types.Type;
import org.apache.iceberg.types.Types;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * Reads Iceberg tables with Spark, with and without vectorization. The tables reference the original files, with their
 * partition values. Because the files have no field IDs, a name mapping identifies the columns.
 */
public final class ReadIceberg {
    private static final List<String> PARTITION = List.of("account", "region", "day");

    private ReadIceberg() {}

    /** The arguments are the path of the file list and a directory for table metadata. */
    public static void main(String[] arguments) throws Exception {
        SparkSession spark = ReadSpark.session();
        // Tables are named by path. The default catalog would be a Hive catalog, which does not exist here.
        spark.conf().set("spark.sql.catalog.default_iceberg", "org.apache.iceberg.spark.SparkCatalog");
        spark.conf().set("spark.sql.catalog.default_iceberg.type", "hadoop");
        spark.conf().set("spark.sql.catalog.default_iceberg.warehouse", arguments[1]);
        for (Map.Entry<String, List<ListedFile>> table : ListedFile.tables(arguments[0]).entrySet()) {
            String location = arguments[1] + "/" + table.getKey();
            for (boolean vectorized : new boolean[] {true, false}) {
                String reader = vectorized ? "vectorized" : "not vectorized";
                try {
                    if (vectorized) {
                        create(location, table.getValue());
                    }
                    Dataset<Row> rows = spark.read().format("iceberg").option("vectorization-enabled", vectorized).load(location);
                    ReadSpark.checksums(rows, rows.columns().length - PARTITION.size()).print(reader, table.getKey());
                } catch (Throwable error) {
                    Checksums.print(reader, table.getKey(), error);
                }
            }
        }
        spark.stop();
    }

    private static void create(String location, List<ListedFile> files) {
        Schema schema = schema(files.get(0));
        PartitionSpec.Builder spec = PartitionSpec.builderFor(schema);
        PARTITION.forEach(spec::identity);
        NameMapping mapping = MappingUtil.create(schema);
        Map<String, String> properties = Map.of("schema.name-mapping.default", NameMappingParser.toJson(mapping));
        Table table = new HadoopTables(new Configuration()).create(schema, spec.build(), properties, location);
        AppendFiles append = table.newFastAppend();
        for (ListedFile file : files) {
            InputFile input = table.io().newInputFile(file.path);
            DataFile data = DataFiles.builder(table.spec())
                .withInputFile(input)
                .withFormat(FileFormat.PARQUET)
                .withMetrics(ParquetUtil.fileMetrics(input, MetricsConfig.forTable(table), mapping))
                .withPartitionValues(file.partition)
                .build();
            append.appendFile(data);
        }
        append.commit();
    }

    private static Schema schema(ListedFile file) {
        List<Types.NestedField> fields = new ArrayList<>();
        for (int column = 0; column < file.names.size(); column++) {
            fields.add(Types.NestedField.optional(column + 1, file.names.get(column), type(file.types.get(column))));
        }
        for (String name : PARTITION) {
            Type type = name.equals("day") ? Types.DateType.get() : Types.StringType.get();
            fields.add(Types.NestedField.optional(fields.size() + 1, name, type));
        }
        return new Schema(fields);
    }

    private static Type type(String name) {
        switch (name) {
            case "int32": return Types.IntegerType.get();
            case "int64": return Types.LongType.get();
            case "double": return Types.DoubleType.get();
            case "timestamp": return Types.TimestampType.withZone();
            case "binary": return Types.BinaryType.get();
            default: return Types.StringType.get();
        }
    }
}
