import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat;
import org.apache.hadoop.io.ArrayWritable;
import org.apache.hadoop.io.BytesWritable;
import org.apache.hadoop.io.DoubleWritable;
import org.apache.hadoop.io.IntWritable;
import org.apache.hadoop.io.LongWritable;
import org.apache.hadoop.io.NullWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.io.Writable;
import org.apache.hadoop.mapred.FileInputFormat;
import org.apache.hadoop.mapred.InputSplit;
import org.apache.hadoop.mapred.JobConf;
import org.apache.hadoop.mapred.RecordReader;
import org.apache.hadoop.mapred.Reporter;

/** Reads files with Hive's record reader for tables STORED AS PARQUET. */
public final class ReadHive {
    private ReadHive() {}

    public static void main(String[] arguments) throws Exception {
        for (ListedFile file : ListedFile.read(arguments[0])) {
            try {
                read(file).print("", file.path);
            } catch (Throwable error) {
                Checksums.print("", file.path, error);
            }
        }
    }

    private static Checksums read(ListedFile file) throws Exception {
        JobConf job = new JobConf();
        List<String> types = new ArrayList<>();
        file.types.forEach(type -> types.add(type(type)));
        job.set("columns", String.join(",", file.names));
        job.set("columns.types", String.join(":", types));
        job.set("hive.io.file.read.all.columns", "true");
        job.set("hive.vectorized.execution.enabled", "false");
        FileInputFormat.setInputPaths(job, new Path(file.path));
        MapredParquetInputFormat format = new MapredParquetInputFormat();
        Checksums found = new Checksums(file.names);
        for (InputSplit split : format.getSplits(job, 1)) {
            RecordReader<NullWritable, ArrayWritable> reader = format.getRecordReader(split, job, Reporter.NULL);
            NullWritable key = reader.createKey();
            ArrayWritable row = reader.createValue();
            while (reader.next(key, row)) {
                for (Writable value : row.get()) {
                    found.add(value(value));
                }
            }
            reader.close();
        }
        return found;
    }

    private static String type(String name) {
        switch (name) {
            case "int32": return "int";
            case "int64": return "bigint";
            default: return name;
        }
    }

    private static Object value(Writable value) throws Exception {
        if (value == null) {
            return null;
        } else if (value instanceof Text) {
            return ((Text) value).copyBytes();
        } else if (value instanceof BytesWritable) {
            return ((BytesWritable) value).copyBytes();
        } else if (value instanceof IntWritable) {
            return ((IntWritable) value).get();
        } else if (value instanceof LongWritable) {
            return ((LongWritable) value).get();
        } else if (value instanceof DoubleWritable) {
            return ((DoubleWritable) value).get();
        }
        // Hive 3 and 4 have different timestamp classes, but both have this method.
        Object time = value.getClass().getMethod("getTimestamp").invoke(value);
        if (time instanceof java.sql.Timestamp) {
            return ((java.sql.Timestamp) time).toInstant();
        }
        long seconds = (long) time.getClass().getMethod("toEpochSecond").invoke(time);
        int nanos = (int) time.getClass().getMethod("getNanos").invoke(time);
        return Instant.ofEpochSecond(seconds, nanos);
    }
}
