import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.schema.GroupType;
import org.apache.parquet.schema.Type;

/** Reads files with the record reader of parquet-java. */
public final class ReadParquet {
    private ReadParquet() {}

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
        Checksums found = new Checksums(file.names);
        ParquetReader.Builder<Group> builder = ParquetReader.builder(new GroupReadSupport(), new Path(file.path));
        try (ParquetReader<Group> reader = builder.withConf(new Configuration()).build()) {
            for (Group row = reader.read(); row != null; row = reader.read()) {
                GroupType type = row.getType();
                List<String> names = new ArrayList<>();
                for (Type field : type.getFields()) {
                    names.add(field.getName());
                }
                if (!names.equals(file.names)) {
                    throw new IllegalStateException("the columns are " + names);
                }
                for (int column = 0; column < names.size(); column++) {
                    found.add(row.getFieldRepetitionCount(column) == 0 ? null : value(row, column, file.types.get(column)));
                }
            }
        }
        return found;
    }

    private static Object value(Group row, int column, String type) {
        switch (type) {
            case "int32": return row.getInteger(column, 0);
            case "int64": return row.getLong(column, 0);
            case "double": return row.getDouble(column, 0);
            case "timestamp": return Instant.EPOCH.plus(row.getLong(column, 0), ChronoUnit.MICROS);
            default: return row.getBinary(column, 0).getBytes();
        }
    }
}
