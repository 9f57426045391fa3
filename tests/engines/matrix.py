"""Reads every column of a dataset with many engines, each in several versions. Compares values with the raw lines.

    matrix.py SOURCE... --dataset PROFILE=DATASET... --snappy DATASET --program ALB2PARQUET [--only NAME,...] [--update]

Prints the table for docs/engines.md. Exits with 1 if an engine cannot read the first profile or returns wrong values
for it, or if the table on the page is out of date. --update writes the table to the page. Engines that cannot be
installed are reported as skipped.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import checksums
import matrix_engines
from checksums import DATE, PARTITION, Checksums

PAGE = matrix_engines.ROOT / "docs/engines.md"
TABLE = re.compile(r"(<!-- engines: [^\n]*-->\n)(.*?)(<!-- end -->)", re.DOTALL)
SNAPPY = "snappy"
LONGEST_MESSAGE = 160
LISTED = [(engine.name, engine.version, reader) for engine in matrix_engines.ENGINES for reader in engine.readers]
RIGHT, REFUSED, WRONG, SKIPPED = "correct", "refused", "wrong", "skipped"
# The result if the engine did not start, or if its process ended before it read anything. The page omits these
# results, because the files did not cause them.
FAILED = "failed"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("sources", type=pathlib.Path, nargs="+")
    arguments.add_argument("--dataset", action="append", required=True, help="a profile and its dataset; the first is the default")
    arguments.add_argument("--snappy", type=pathlib.Path, required=True, help="the dataset of the first profile, compressed with Snappy")
    arguments.add_argument("--program", type=pathlib.Path, required=True)
    arguments.add_argument("--only", default="", help="comma-separated engine names, or parts of names")
    arguments.add_argument("--update", action="store_true")
    arguments = arguments.parse_args()
    datasets = {name: pathlib.Path(place).resolve() for name, place in (each.split("=", 1) for each in arguments.dataset)}
    engines = [
        engine for engine in matrix_engines.ENGINES
        if any(part.lower() in f"{engine.name} {engine.version}".lower() for part in arguments.only.split(","))
    ]

    prove_that_faults_are_seen()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="matrix-") as scratch:
        expected = checksums.kept(arguments.sources, pathlib.Path(scratch), matrix_engines.MADE / "expected.json")
    matrix = Matrix(datasets, arguments.snappy.resolve(), expected)
    rows = sum(place.rows for place in matrix.expected.values())
    print(f"{rows:,} rows of {len(matrix.expected)} partitions in the oracle [{time.monotonic() - began:.0f} s]", flush=True)
    for engine in engines:
        matrix.read(engine, arguments.program.resolve())
        if arguments.update:
            matrix.write()
    return matrix.report(update=arguments.update, whole=len(engines) == len(matrix_engines.ENGINES))


class Matrix:
    def __init__(self, datasets, snappy, expected):
        self.profiles = list(datasets)
        self.snappy, self.expected = snappy, expected
        self.datasets = datasets
        self.rows = []  # table cells: engine, version, reader, and one result per profile
        self.problems, self.skipped = [], []

    def read(self, engine, program):
        """Reads all datasets with an engine, and adds the engine's rows to the table."""
        began = time.monotonic()
        datasets = self.datasets | ({} if engine.zstandard else {SNAPPY: self.snappy})
        files = [file for name, place in datasets.items() for file in data_files(name, place)]
        name = f"{engine.name} {engine.version}"
        try:
            found = engine.read(files, datasets, program)
        except matrix_engines.Skipped as reason:
            self.skipped.append(f"{name}: SKIPPED, {reason}")
            cells = {(reader, dataset): f"{SKIPPED}: {reason}" for reader in engine.readers for dataset in datasets}
        except (OSError, subprocess.TimeoutExpired, matrix_engines.trino.TrinoError) as error:
            cells = {(reader, dataset): f"{FAILED}: `{message(str(error), {})}`" for reader in engine.readers for dataset in datasets}
        else:
            cells = {
                (reader, dataset): self.verdict(engine, files, found, reader, dataset)
                for reader in engine.readers for dataset in datasets
            }
        for reader in engine.readers:
            self.rows.append([engine.name, engine.version, reader, *self.row(engine, name, reader, cells)])
        print(f"{time.monotonic() - began:6.1f} s  {name}", flush=True)
        for row in self.rows[-len(engine.readers):]:
            print(f"          {' | '.join(row[2:])}", flush=True)

    def row(self, engine, name, reader, cells):
        """Returns the profile cells of a row. Adds a problem if the first profile is not read correctly."""
        row = [cells[reader, profile] for profile in self.profiles]
        if not engine.zstandard and row[0].startswith(REFUSED):
            row[0] += f"; {RIGHT} with `--compression snappy`" if cells[reader, SNAPPY] == RIGHT else f"; Snappy: {cells[reader, SNAPPY]}"
            right = cells[reader, SNAPPY] == RIGHT
        else:
            right = row[0] == RIGHT
        if not right and not row[0].startswith(SKIPPED):
            self.problems.append(f"{name} {reader}".strip() + f", {self.profiles[0]}: {row[0]}")
        return row

    def verdict(self, engine, files, found, reader, dataset):
        """Returns the table cell with the result that one of an engine's readers returned for a dataset."""
        for each in found:
            if each["reader"] is None:
                return f"{FAILED}: `{message(each['error'], {})}`"
        found = {each["name"]: each for each in found if each["reader"] == reader}
        wrong, errors = set(), collections.Counter()
        for expected, names in self.places(engine, files, dataset):
            read = [found.get(name, {"error": "no result"}) for name in names]
            failed = [each["error"] for each in read if "error" in each]
            errors.update(message(error, self.datasets | {SNAPPY: self.snappy}) for error in failed)
            wrong |= differences(read, expected, partial=bool(failed))
        parts = []
        if wrong:
            shown = sorted(wrong)
            parts.append(f"{WRONG}: {', '.join(shown[:4])}{f' and {len(shown) - 4} more' if len(shown) > 4 else ''}")
        if errors:
            most = min(errors, key=lambda error: (-errors[error], error))
            parts.append(f"{REFUSED}: `{most}`")
        return "; ".join(parts) or RIGHT

    def places(self, engine, files, dataset):
        """Yields each partition's or table's expected checksums, and the names under which the engine reports it."""
        files = [file for file in files if file.dataset == dataset]
        if engine.tables:
            for table in checksums.schemas():
                whole = Checksums()
                for place, expected in self.expected.items():
                    if place[0] == table:
                        whole.add(expected)
                yield of_table(whole, engine.partition), [f"{dataset}/{table}"]
            return
        places = collections.defaultdict(list)
        for file in files:
            places[file.table, *file.partition].append(str(file.path))
        if places.keys() != self.expected.keys():
            sys.exit(f"{dataset} and the sources have different partitions: {places.keys() ^ self.expected.keys()}")
        for place, names in places.items():
            yield of_table(self.expected[place], ()), names

    @property
    def head(self):
        return ["engine", "version", "reader", *self.profiles]

    def read_rows(self):
        """Returns the profile cells of the rows with results, by engine, version and reader."""
        return {tuple(row[:3]): row[3:] for row in self.rows if not row[3].startswith((SKIPPED, FAILED))}

    def page(self):
        """Returns the match of `TABLE` in the page, and the table's cells by engine, version and reader."""
        place = TABLE.search(PAGE.read_text())
        if not place:
            sys.exit(f"{PAGE} has no table of engines")
        return place, parse(place[2], self.head)

    def write(self):
        """Writes the rows so far to the page. Rows for engines that this run did not test stay unchanged."""
        place, old = self.page()
        known = {tuple(row[:3]): row[3:] for row in self.rows if not row[3].startswith(FAILED)} | old | self.read_rows()
        text = markdown(self.head, [[*key, *known[key]] for key in LISTED if key in known])
        PAGE.write_text(place.string[:place.start(2)] + text + place.string[place.end(2):])

    def report(self, update, whole):
        """Prints the table, and compares it with the page unless the page was updated. Returns the exit code."""
        print(f"\n{markdown(self.head, self.rows)}")
        if not update:
            self.problems += stale(self.page()[1], self.read_rows(), LISTED if whole else [])
        for problem in self.problems:
            print(f"FAILED  {problem}")
        for each in self.skipped:
            print(each)
        print(f"{len(self.read_rows())} of {len(self.rows)} rows were read, {len(self.skipped)} engines skipped; {len(self.problems)} problems")
        return 1 if self.problems else 0


def data_files(dataset, place):
    """Returns the data files of a dataset in the hive layout."""
    for table in checksums.schemas():
        for path in sorted((place / table).rglob("*.parquet")):
            partition = dict(part.split("=", 1) for part in path.parent.relative_to(place / table).parts)
            yield matrix_engines.File(path, dataset, table, tuple(partition[name] for name in PARTITION))


def of_table(expected, partition):
    """Returns a table's expected checksums, including those of the partition columns that the engine returns."""
    columns = {name: value for name, value in expected.columns.items() if name not in (*PARTITION, DATE)}
    for name in partition:
        # Iceberg tables have dates instead of days.
        columns[name] = expected.columns[DATE if name == "day" and "year" not in partition else name]
    return Checksums(expected.rows, expected.sum, columns)


def differences(read, expected, partial):
    """Returns the names of columns with wrong values, and descriptions of other errors in the rows."""
    found = Checksums()
    for each in read:
        found.add(Checksums(each.get("rows", 0), each.get("sum", 0), each.get("columns", {})))
    if partial:
        common = [name for name in expected.columns if all(name in each.get("columns", {}) for each in read)]
        return {f"`{name}`" for name in common if found.columns[name] != expected.columns[name]}
    names = found.columns.keys() | expected.columns.keys()
    wrong = {f"`{name}`" for name in names if found.columns.get(name) != expected.columns.get(name)}
    if found.rows != expected.rows:
        wrong.add("number of rows")
    elif found.sum != expected.sum and not wrong:
        wrong.add("values in the wrong rows")
    return wrong


def prove_that_faults_are_seen():
    """Checks that wrong values change the checksums."""
    right = {"text": ["a", "", None, "b"], "number": [1, 2, 3, None], "double": [0.0, -1.0, 0.5, 0.5], "time": [1, 1 << 40, 7, 8]}
    expected = checksums.of_columns(right)
    faults = {
        "NULL for empty text": {"text": ["a", None, None, "b"]},
        "empty text for NULL": {"text": ["a", "", "", "b"]},
        "values in other rows": {"text": ["b", "", None, "a"]},
        "a NULL in another row": {"text": ["a", "", "b", None]},
        "the other zero": {"double": [-0.0, -1.0, 0.5, 0.5]},
        "a double that was rounded": {"double": [0.0, -1.0, 0.5, 0.49999999999999994]},
        "a time that lost its high bits": {"time": [1, 0, 7, 8]},
        "a time that lost microseconds": {"time": [1, 1 << 40, 7, 0]},
        "a row fewer": {name: values[:3] for name, values in right.items()},
        "a row twice": {name: [*values, values[0]] for name, values in right.items()},
        "columns exchanged": {"number": right["time"], "time": right["number"]},
    }
    for name, fault in faults.items():
        read = checksums.of_columns(right | fault)
        if not differences([vars(read)], expected, partial=False):
            sys.exit(f"the checksums do not detect {name}")


def message(error, datasets):
    """Formats an error as a single line without paths."""
    for place in datasets.values():
        error = re.sub(rf"(file:/*)?{re.escape(str(place))}\S*", "…", error)
    error = " ".join(error.split()).replace("`", "'").replace("|", "/")
    return error if len(error) <= LONGEST_MESSAGE else f"{error[:LONGEST_MESSAGE]}…"


def markdown(head, rows):
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def parse(text, head):
    """Returns a table's cells by engine, version and reader. Returns nothing if the table has different columns."""
    first, *rows = [[cell.strip() for cell in line.strip()[1:-1].split(" | ")] for line in text.splitlines()] or [[]]
    return {tuple(row[:3]): row[3:] for row in rows[1:]} if first == head else {}


def stale(page, read, listed):
    """Yields a problem for each row on the page that differs from the results or names an unknown engine."""
    for key, cells in read.items():
        if page.get(key) != cells:
            yield f"{PAGE.name} has {page.get(key)} for {' '.join(key).strip()}, but the result is {cells}; run scripts/engines-matrix --update"
    for key in page.keys() - listed if listed else []:
        yield f"{PAGE.name} has a row for {' '.join(key).strip()}, which is not in the list of engines"


if __name__ == "__main__":
    sys.exit(main())
