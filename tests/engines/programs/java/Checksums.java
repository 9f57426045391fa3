import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.LocalDate;
import java.util.List;
import java.util.zip.CRC32;

/** The checksums of a file's columns and rows, as checksums.py defines them. */
final class Checksums {
    private final List<String> names;
    private final int inRow;
    private final long[] values;
    private final long[] sums;
    private final ByteArrayOutputStream row = new ByteArrayOutputStream();
    private final CRC32 crc = new CRC32();
    private int column;
    private long rows;
    private long sum;

    /** Only the first {@code inRow} columns are part of the row checksum. */
    Checksums(List<String> names, int inRow) {
        this.names = names;
        this.inRow = inRow;
        values = new long[names.size()];
        sums = new long[names.size()];
    }

    Checksums(List<String> names) {
        this(names, names.size());
    }

    /** Adds the value of the next column, and ends the row after the last column. */
    void add(Object value) {
        byte[] text = text(value);
        if (text != null) {
            values[column]++;
            sums[column] += crc(text);
        }
        if (column < inRow) {
            row.writeBytes(text == null ? new byte[] {'-'} : (text.length + ":").getBytes(StandardCharsets.US_ASCII));
            if (text != null) {
                row.writeBytes(text);
            }
        }
        column++;
        if (column == names.size()) {
            rows++;
            sum += crc(row.toByteArray());
            row.reset();
            column = 0;
        }
    }

    /** Encodes a value as checksums.py defines, or returns null for NULL. */
    private static byte[] text(Object value) {
        if (value == null) {
            return null;
        } else if (value instanceof byte[]) {
            return (byte[]) value;
        } else if (value instanceof Double) {
            return String.format("%016x", Double.doubleToRawLongBits((Double) value)).getBytes(StandardCharsets.US_ASCII);
        } else if (value instanceof Instant) {
            Instant time = (Instant) value;
            long micros = Math.addExact(Math.multiplyExact(time.getEpochSecond(), 1_000_000L), time.getNano() / 1000);
            return Long.toString(micros).getBytes(StandardCharsets.US_ASCII);
        } else if (value instanceof String || value instanceof Integer || value instanceof Long || value instanceof LocalDate) {
            return value.toString().getBytes(StandardCharsets.UTF_8);
        }
        throw new IllegalArgumentException("a value of " + value.getClass());
    }

    private long crc(byte[] text) {
        crc.reset();
        crc.update(text);
        return crc.getValue();
    }

    /** Prints the checksums of a file or a table. */
    void print(String reader, String name) {
        StringBuilder columns = new StringBuilder();
        for (int each = 0; each < names.size(); each++) {
            columns.append(each == 0 ? "" : ",").append(quoted(names.get(each)))
                .append(":[").append(values[each]).append(",").append(sums[each]).append("]");
        }
        print(reader, name, "\"rows\":" + rows + ",\"sum\":" + sum + ",\"columns\":{" + columns + "}");
    }

    /** Prints the error that occurred while reading a file or a table. */
    static void print(String reader, String name, Throwable error) {
        Throwable cause = error;
        while (cause.getCause() != null && cause.getCause() != cause) {
            cause = cause.getCause();
        }
        error.printStackTrace();
        print(reader, name, "\"error\":" + quoted(cause.getClass().getSimpleName() + ": " + cause.getMessage()));
    }

    private static void print(String reader, String name, String rest) {
        System.out.println("{\"reader\":" + quoted(reader) + ",\"name\":" + quoted(name) + "," + rest + "}");
        System.out.flush();
    }

    private static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char each : text.toCharArray()) {
            if (each < ' ' || each == '"' || each == '\\') {
                quoted.append(String.format("\\u%04x", (int) each));
            } else {
                quoted.append(each);
            }
        }
        return quoted.append('"').toString();
    }
}
