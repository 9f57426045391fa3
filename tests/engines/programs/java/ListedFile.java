import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A file in the list that the programs read: its path, its columns with their types, its table and its partition. */
final class ListedFile {
    final String path;
    final List<String> names = new ArrayList<>();
    final List<String> types = new ArrayList<>();
    final String table;
    final List<String> partition;

    private ListedFile(String line) {
        String[] fields = line.split("\t");
        path = fields[0];
        for (String column : fields[1].split(",")) {
            names.add(column.split(":")[0]);
            types.add(column.split(":")[1]);
        }
        table = fields[2];
        partition = List.of(fields[3], fields[4], fields[5]);
    }

    /** Returns the files in a list, by table. */
    static Map<String, List<ListedFile>> tables(String path) throws IOException {
        Map<String, List<ListedFile>> tables = new LinkedHashMap<>();
        for (ListedFile file : read(path)) {
            tables.computeIfAbsent(file.table, name -> new ArrayList<>()).add(file);
        }
        return tables;
    }

    static List<ListedFile> read(String path) throws IOException {
        List<ListedFile> files = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(path))) {
            files.add(new ListedFile(line));
        }
        return files;
    }
}
