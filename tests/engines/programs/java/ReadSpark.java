import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/** Reads the files of each table with Spark's vectorized reader and with its row reader. */
public final class ReadSpark {
    private ReadSpark() {}

    public static void main(String[] arguments) throws Exception {
        SparkSession spark = session();
        for (boolean vectorized : new boolean[] {true, false}) {
            String reader = vectorized ? "vectorized" : "not vectorized";
            spark.conf().set("spark.sql.parquet.enableVectorizedReader", vectorized);
            for (Map.Entry<String, List<ListedFile>> table : ListedFile.tables(arguments[0]).entrySet()) {
                try {
                    Dataset<Row> rows = spark.read().parquet(table.getValue().stream().map(file -> file.path).toArray(String[]::new));
                    checksums(rows, rows.columns().length).print(reader, table.getKey());
                } catch (Throwable error) {
                    Checksums.print(reader, table.getKey(), error);
                }
            }
        }
        spark.stop();
    }

    static SparkSession session() {
        SparkSession spark = SparkSession.builder().master("local[1]").appName("engines")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.datetime.java8API.enabled", "true")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .getOrCreate();
        spark.sparkContext().setLogLevel("ERROR");
        return spark;
    }

    /** Returns the checksums of the given rows. The row checksum covers the first {@code inRow} columns. */
    static Checksums checksums(Dataset<Row> rows, int inRow) {
        List<String> names = List.of(rows.columns());
        Checksums found = new Checksums(new ArrayList<>(names), inRow);
        Iterator<Row> all = rows.toLocalIterator();
        while (all.hasNext()) {
            Row row = all.next();
            for (int column = 0; column < names.size(); column++) {
                found.add(row.get(column));
            }
        }
        return found;
    }
}
