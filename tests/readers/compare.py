"""Checks that independent Parquet readers return exactly the rows and rejects that the source contains.

    scripts/python-env, then: target/python/bin/python tests/readers/compare.py SOURCE DATASET

Two parsers that share no code with alb2parquet read the objects in SOURCE:

* `reference.py`, a slow and simple parser, written from the documented rules for lines. It returns every row and every
  reject that the dataset must contain.
* DuckDB's CSV reader, for all lines that are regular enough for CSV. At least 90 % of the lines must be regular; the
  remaining lines are counted by reason.

pyarrow, DuckDB and Polars read the dataset with its partition columns. Every column of every row and reject is
compared: NULL differs from the empty string, doubles are compared bit by bit, and timestamps to the microsecond.
pyarrow must find statistics for every double column. Exits with 1 if anything differs.
"""

import argparse
import collections
import concurrent.futures
import itertools
import os
import pathlib
import sys
import tempfile
import time

import duckdb
import polars
import pyarrow
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet

import reference

PARTITION = pyarrow.schema([(name, pyarrow.string()) for name in reference.PARTITION_NAMES])
REQUIRED_COVERAGE = 0.90
EXAMPLES = 5


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("source", type=pathlib.Path)
    arguments.add_argument("dataset", type=pathlib.Path)
    arguments = arguments.parse_args()

    began = time.monotonic()
    checks = Checks()
    rejects = []
    for log in reference.LOGS:
        with tempfile.TemporaryDirectory(prefix="compare-") as scratch:
            expected = read_source(log, arguments.source, pathlib.Path(scratch))
            print(
                f"{log.name}: {expected.objects} objects, {expected.lines} lines: "
                f"{expected.rows.num_rows} rows, {expected.rejects.num_rows} rejects "
                f"[{time.monotonic() - began:.1f} s]"
            )
            checks.add("AWS's column names", log.differences_from_documentation())
            checks.add("lines = rows + rejects", expected.imbalance())
            rejects.append(expected.rejects)
            rows = arguments.dataset / log.table
            for name, reader in READERS.items():
                checks.add(*compare(f"{name}, rows", expected.rows, reader, rows))
            if expected.objects:
                by_csv = read_source_as_csv(expected, checks)
                checks.add("read by DuckDB's CSV reader", [])
                checks.add(*compare("DuckDB, rows by its CSV reader", by_csv, read_with_duckdb, rows))
    rejects = pyarrow.concat_tables(rejects)
    print(f"rejects: {rejects.num_rows}")
    for name, reader in READERS.items():
        checks.add(*compare(f"{name}, rejects", rejects, reader, arguments.dataset / "elb_rejects"))

    checks.add("pyarrow, statistics of doubles", list(without_statistics(arguments.dataset)))

    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


class Checks:
    """Counts checks, and prints a line for each check, followed by any problems."""

    def __init__(self):
        self.passed = self.failed = 0
        self.began = time.monotonic()

    def add(self, name, problems, note=""):
        seconds = time.monotonic() - self.began
        print(f"{'FAILED' if problems else 'ok':6} {name}{note} [{seconds:.1f} s]")
        for problem in problems:
            print(f"       {problem}")
        self.passed += not problems
        self.failed += bool(problems)
        self.began = time.monotonic()


# The source: the expected contents of the dataset.


class Expected:
    """The reference parser's result for all objects of a log type in a source."""

    def __init__(self, log, parsed, scratch):
        self.log = log
        self.scratch = scratch
        self.parsed = parsed
        self.objects = len(parsed)
        self.lines = sum(each.lines for each in parsed)
        self.rows = pyarrow.Table.from_batches((each.rows for each in parsed), log.schema())
        self.rejects = pyarrow.Table.from_batches(
            (each.rejects for each in parsed), reference.reject_schema()
        )
        # For each row in `rows`, whether its line cannot be expressed in CSV.
        self.irregular = pyarrow.array(
            itertools.chain.from_iterable(each.irregular for each in parsed), pyarrow.bool_()
        )

    def imbalance(self):
        found = self.rows.num_rows + self.rejects.num_rows
        return [] if found == self.lines else [f"{self.lines} lines, but {found} rows and rejects"]


def read_source(log, source, scratch):
    """Parses every object of a log type in `source` with the reference parser."""
    jobs = [(path, key, scratch) for path, key in reference.objects(source, log)]
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        return Expected(log, list(pool.map(reference.parse_object, jobs, chunksize=4)), scratch)


def read_source_as_csv(expected, checks):
    """Returns the rows of the source, as read by DuckDB's CSV reader.

    DuckDB reads the objects, or the reference parser's copies without irregular lines. The rows of irregular lines come
    from the reference parser, so the result is comparable with the entire dataset.
    """
    left_out = collections.Counter()
    for each in expected.parsed:
        left_out.update(each.left_out)
    covered = expected.lines - left_out.total()
    share = covered / max(expected.lines, 1)
    print(f"DuckDB's CSV reader reads {covered} of {expected.lines} lines ({share:.1%})")
    for reason, lines in sorted(left_out.items()):
        keys = [each.key for each in expected.parsed if reason in each.left_out]
        print(f"       without {lines} lines in {len(keys)} objects: {reason}")
        print(f"           as in {keys[0].rpartition('/')[2]}")
    enough = share >= REQUIRED_COVERAGE
    checks.add("coverage by CSV", [] if enough else [f"less than {REQUIRED_COVERAGE:.0%}"])

    regular = [str(each.csv) for each in expected.parsed if each.csv]
    keys = pyarrow.table({
        "filename": pyarrow.array(regular, pyarrow.string()),
        "key": pyarrow.array([each.key for each in expected.parsed if each.csv], pyarrow.string()),
    })
    parts = [expected.rows.filter(expected.irregular)]
    if regular:
        session = duckdb_session()
        session.register("keys", keys)
        parts.append(session.sql(reference.csv_query(expected.log), params=[regular]).to_arrow_table())
    return pyarrow.concat_tables(
        [part.select(expected.rows.schema.names).cast(expected.rows.schema) for part in parts]
    )


# The dataset: three readers, each of which reads the directory of a table.


def read_with_pyarrow(directory):
    partitioning = pyarrow.dataset.partitioning(PARTITION, flavor="hive")
    dataset = pyarrow.dataset.dataset(directory, format="parquet", partitioning=partitioning)
    return dataset.to_table()


def read_with_duckdb(directory):
    types = ", ".join(f"{name}: VARCHAR" for name in PARTITION.names)
    query = (
        "SELECT * FROM read_parquet(?, union_by_name = true, hive_partitioning = true, "
        f"hive_types = {{{types}}})"
    )
    files = f"{directory}/**/*.parquet"
    return duckdb_session().sql(query, params=[files]).to_arrow_table()


def read_with_polars(directory):
    partition = {name: polars.String for name in PARTITION.names}
    files = polars.scan_parquet(
        directory / "**" / "*.parquet", hive_partitioning=True, hive_schema=partition
    )
    return files.collect().to_arrow()


def without_statistics(dataset):
    """Yields the double column chunks for which pyarrow returns no minimum and maximum.

    pyarrow ignores statistics whose column order it does not know.
    """
    for file in sorted(dataset.glob("[!_]*/**/*.parquet")):
        footer = pyarrow.parquet.ParquetFile(file).metadata
        groups = map(footer.row_group, range(footer.num_row_groups))
        for chunk in (group.column(place) for group in groups for place in range(footer.num_columns)):
            found = chunk.statistics
            present = found is not None and (found.has_min_max or found.null_count == chunk.num_values)
            if chunk.physical_type == "DOUBLE" and not present:
                yield f"{chunk.path_in_schema} of {file}"


READERS = {
    "pyarrow": read_with_pyarrow,
    "DuckDB": read_with_duckdb,
    "Polars": read_with_polars,
}


def duckdb_session():
    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    return session


# The comparison.


def compare(name, expected, reader, directory):
    """Compares a reader's rows with the expected rows, regardless of their order.

    Returns the check's name, its problems and a note.
    """
    try:
        # A table without rows has no files, and its directory may not exist.
        has_files = any(directory.rglob("*.parquet"))
        actual = reader(directory) if has_files else expected.schema.empty_table()
    except Exception as error:  # The readers have no common error type.
        return name, [f"{type(error).__name__}: {error}"], ": unreadable"
    note = f": {actual.num_rows} of {expected.num_rows}, {actual.num_columns} columns"
    # Readers differ in where they put the partition columns.
    columns = [column for column in actual.column_names if column not in PARTITION.names]
    partition = [column for column in PARTITION.names if column in actual.column_names]
    if columns + partition != expected.column_names:
        wanted = [name for name in expected.column_names if name not in actual.column_names]
        surplus = [name for name in actual.column_names if name not in expected.column_names]
        return name, [f"columns: missing {wanted}, surplus {surplus}, or another order"], note
    actual = actual.select(expected.column_names)
    problems = [
        f"column {field.name}: type {actual.schema.field(field.name).type}, not {field.type}"
        for field in expected.schema
        if family(actual.schema.field(field.name).type) != field.type
    ]
    if problems:
        return name, problems, note

    expected, actual = exactly(expected), exactly(actual.cast(expected.schema))
    # The rows of an object are usually in the order of its lines, which makes the comparison fast.
    if by_object(expected).equals(by_object(actual)):
        return name, [], note
    session = duckdb_session()
    session.register("expected", expected)
    session.register("actual", actual)
    missing, surplus = differences(session, "*")
    if not missing and not surplus:
        return name, [], note
    rows = " UNION ALL ".join(
        f"SELECT source_key, {expected} AS expected, {actual} AS actual FROM {table}"
        for table, expected, actual in [("expected", 1, 0), ("actual", 0, 1)]
    )
    uneven = session.sql(
        f"SELECT source_key, sum(expected), sum(actual) FROM ({rows}) GROUP BY ALL "
        f"HAVING sum(expected) <> sum(actual) ORDER BY ALL LIMIT {EXAMPLES}"
    ).fetchall()
    if uneven:
        problems = [f"{found} instead of {wanted} rows of {key}" for key, wanted, found in uneven]
        return name, problems + missing + surplus, note
    for column in expected.column_names:
        if column == "source_key":
            continue
        lacks, has = differences(session, f'source_key, "{column}"')
        problems += [f"column {column}:", *lacks, *has] if lacks or has else []
    if not problems:
        problems = ["each column is correct by itself, but values are in wrong rows"]
        problems += missing + surplus
    return name, problems, note


def differences(session, columns):
    """Describes the rows that exist only in the expected table, and the rows that exist only in the actual table.

    Each result consists of lines of text: the number of rows and a few examples.
    """
    found = []
    for what, left, right in [("missing", "expected", "actual"), ("surplus", "actual", "expected")]:
        rows = session.sql(
            f"SELECT *, count(*) OVER () FROM (SELECT {columns} FROM {left} "
            f"EXCEPT ALL SELECT {columns} FROM {right}) LIMIT {EXAMPLES}"
        ).fetchall()
        lines = [f"  {shortened(row[:-1])}" for row in rows]
        found.append([f"{rows[0][-1]} {what}, such as", *lines] if rows else [])
    return found


def shortened(row, longest=2000):
    text = ", ".join(str(value) for value in row)
    return text if len(text) <= longest else text[:longest] + "…"


def family(type):
    """Normalizes a type: maps all Arrow text types to one type, and all binary types to another."""
    if pyarrow.types.is_large_string(type) or pyarrow.types.is_string_view(type):
        return pyarrow.string()
    if pyarrow.types.is_large_binary(type) or pyarrow.types.is_binary_view(type):
        return pyarrow.binary()
    if type == pyarrow.timestamp("us", "Etc/UTC"):
        return pyarrow.timestamp("us", "UTC")
    return type


def exactly(table):
    """Replaces doubles with their bits, so that -0.0 and 0.0 differ and nothing is rounded."""
    for index, field in enumerate(table.schema):
        if pyarrow.types.is_floating(field.type):
            bits = [chunk.view(pyarrow.int64()) for chunk in table.column(index).chunks]
            table = table.set_column(index, field.name, pyarrow.chunked_array(bits, pyarrow.int64()))
    return table


def by_object(table):
    """Returns the rows grouped by object, in a stable order."""
    return table.take(pyarrow.compute.sort_indices(table, [("source_key", "ascending")]))


if __name__ == "__main__":
    sys.exit(main())
