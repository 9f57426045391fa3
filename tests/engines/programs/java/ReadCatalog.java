import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * Reads the tables of an Iceberg REST catalog with Spark's vectorized reader.
 *
 * <p>Each line of the standard input is a request: the name of a table, or the name, a tab and a filter. The program
 * prints the table's checksums, or the number of rows that match the filter.
 */
public final class ReadCatalog {
    /** The number of columns at the end of a table that the files do not contain: the account, region and day. */
    private static final int PARTITION = 3;

    private ReadCatalog() {}

    /** The argument is the URL of the catalog. */
    public static void main(String[] arguments) throws Exception {
        SparkSession spark = ReadSpark.session();
        spark.conf().set("spark.sql.catalog.lake", "org.apache.iceberg.spark.SparkCatalog");
        spark.conf().set("spark.sql.catalog.lake.type", "rest");
        spark.conf().set("spark.sql.catalog.lake.uri", arguments[0]);
        // A cached table would not show later publications.
        spark.conf().set("spark.sql.catalog.lake.cache-enabled", false);
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String request = requests.readLine(); request != null; request = requests.readLine()) {
            String[] fields = request.split("\t", 2);
            try {
                Dataset<Row> rows = spark.table("lake." + fields[0]);
                if (fields.length == 2) {
                    System.out.println("{\"rows\":" + rows.where(fields[1]).count() + "}");
                } else {
                    checksums(rows).print("vectorized", fields[0]);
                }
            } catch (Throwable error) {
                Checksums.print("vectorized", fields[0], error);
            }
            System.out.flush();
        }
        spark.stop();
    }

    private static Checksums checksums(Dataset<Row> rows) {
        // Only a vectorized reader returns columns, which Spark then converts to rows.
        if (!rows.queryExecution().executedPlan().toString().contains("ColumnarToRow")) {
            throw new IllegalStateException("the vectorized reader is not in use");
        }
        return ReadSpark.checksums(rows, rows.columns().length - PARTITION);
    }
}
