"""Publishes a dataset as Iceberg tables, reads them with several engines, and compares all values with the raw lines.

    iceberg.py SOURCE... --program ALB2PARQUET --dataset DATASET --catalog CATALOG [--only READER,...]

Every reader computes the checksums of `checksums.py` for every column, including `account`, `region` and `day`, which
only the manifests contain. pyiceberg, Spark and Trino also run random filters, which are compared with the unfiltered
rows: a bound or a partition value that is wrong would hide rows. Then a day is removed, and the tables are published
and read again. Exits with 1 if anything differs. Readers that cannot be installed are reported as skipped.
"""

import argparse
import collections
import contextlib
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import pyarrow
import pyarrow.compute

import checksums
import iceberg_engines
import iceberg_readers
import trino
from checksums import DATE, PARTITION, Checksums

NAMESPACE = "logs"
FILTERS_PER_COLUMN = 3


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("sources", type=pathlib.Path, nargs="+")
    arguments.add_argument("--program", type=pathlib.Path, required=True)
    arguments.add_argument("--dataset", required=True)
    arguments.add_argument("--catalog", required=True)
    arguments.add_argument("--warehouse", help="the URL of the metadata, if it is not in the dataset")
    arguments.add_argument("--only", default="", help="comma-separated names of readers, or parts of names")
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="iceberg-") as scratch:
        places = checksums.expected(arguments.sources, pathlib.Path(scratch))
    program = Program(arguments)
    pyiceberg, *others = iceberg_readers.all_of(arguments.catalog, NAMESPACE)
    engines = [
        engine for engine in iceberg_engines.all_of(arguments.catalog, NAMESPACE) if chosen(engine, arguments.only)
    ]
    readers = [pyiceberg, *(other for other in others if chosen(other, arguments.only)), *engines]
    with contextlib.ExitStack() as running:
        for engine in engines:
            running.enter_context(contextlib.closing(engine))
        test(program, arguments, places, readers)


def chosen(reader, only):
    """Returns whether a reader's name contains any of the comma-separated parts."""
    return any(part.lower() in reader.name.lower() for part in only.split(","))


def test(program, arguments, places, readers):
    """Publishes, reads, removes and reads again."""
    first = program.publish()
    check("files are added once", sum(table["added_files"] for table in first["tables"]) > 0, first)
    again = program.publish()
    check("a rerun changes nothing", all(not changes(table) for table in again["tables"]), again)
    compare_all(readers, places)
    filter_randomly(readers[0], readers, places)

    days = sorted({tuple(place[3:6]) for place in places})
    day = "-".join(days[len(days) // 2])
    program.run("remove", "--out", arguments.dataset, "--from", day, "--to", day, "--yes")
    removed = program.publish()
    check("files are removed", sum(table["removed_files"] for table in removed["tables"]) > 0, removed)
    left = {place: sums for place, sums in places.items() if "-".join(place[3:6]) != day}
    compare_all(readers, left)
    filter_randomly(readers[0], readers[1:], left)
    program.run("convert", *map(str, arguments.sources), "--out", arguments.dataset, "--to", "2099-12-31", "--quiet")
    program.publish()
    compare_all(readers[:1], places)
    print("all equal")


def check(name, holds, detail=""):
    print(f"{'ok' if holds else 'FAILED':6} {name}", flush=True)
    if not holds:
        sys.exit(f"       {detail}")


def changes(table):
    return table["created"] or table["added_files"] or table["removed_files"] or table["added_columns"] or table["failures"]


class Program:
    """Runs alb2parquet."""

    def __init__(self, arguments):
        self.path, self.arguments = arguments.program.resolve(), arguments

    def run(self, *arguments):
        done = subprocess.run([self.path, *arguments], capture_output=True, text=True)
        if done.returncode not in (0, 2):
            sys.exit(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def publish(self):
        where = ["--warehouse", self.arguments.warehouse] if self.arguments.warehouse else []
        began = time.monotonic()
        text = self.run("iceberg", "publish", self.arguments.dataset, "--catalog", self.arguments.catalog,
                        "--namespace", NAMESPACE, "--json", *where)
        result = json.loads(text)
        print(f"published {result['claims']} claims [{time.monotonic() - began:.1f} s]", flush=True)
        check("the publication is complete", not result["unreadable"], result)
        return result


def tables_of(places):
    """Adds up the checksums of each table's partitions, and renames the columns as in Iceberg."""
    tables = collections.defaultdict(Checksums)
    for place, sums in places.items():
        columns = {name: value for name, value in sums.columns.items() if name not in PARTITION[2:]}
        columns["day"] = columns.pop(DATE)
        tables[place[0]].add(Checksums(sums.rows, sums.sum, columns))
    return tables


def compare_all(readers, places):
    """Compares all values of all tables. Removes the readers that cannot run here."""
    expected = tables_of(places)
    for reader in list(readers):
        for table, sums in expected.items():
            began = time.monotonic()
            try:
                found = reader.checksums(table)
            except iceberg_readers.Skipped as reason:
                print(f"{reader.name}: SKIPPED, {reason}", flush=True)
                readers.remove(reader)
                break
            except (RuntimeError, trino.TrinoError) as error:
                check(f"{reader.name}: {table}", False, error)
            wrong = [
                f"{name}: {found.columns.get(name)} instead of {value}"
                for name, value in sums.columns.items() if found.columns.get(name) != value
            ]
            if found.rows != sums.rows:
                wrong.append(f"{found.rows} rows instead of {sums.rows}")
            if found.sum != sums.sum and not wrong:
                wrong.append("values in the wrong rows")
            seconds = time.monotonic() - began
            check(f"{reader.name}: {table}, {sums.rows} rows of {len(sums.columns)} columns [{seconds:.1f} s]",
                  not wrong, "; ".join(wrong))


def filter_randomly(pyiceberg, readers, places):
    """Compares the results of filters, which use the bounds in manifests, with those of filtering all rows."""
    readers = [reader for reader in readers if hasattr(reader, "count")]
    for table in sorted({place[0] for place in places}) if readers else ():
        filters = filters_of(pyiceberg.arrow(table), random.Random(table))
        for reader in readers:
            began = time.monotonic()
            selected = reader.choose(filters, random.Random(f"{reader.name} {table}"))
            for operator, name, value, expected in selected:
                found = reader.count(table, operator, name, value)
                if found != expected:
                    check(f"{reader.name}: {table}: {name} {operator} {value}", False, f"{found} rows instead of {expected}")
            check(f"{reader.name}: {table}: {len(selected)} filters [{time.monotonic() - began:.1f} s]", len(selected) > 0)


def filters_of(rows, choose):
    """Returns filters, and the number of rows that match: operator, column, value, rows."""
    filters = []
    for name in rows.column_names:
        column = rows[name]
        if pyarrow.types.is_binary(column.type):
            continue
        values = pyarrow.compute.drop_null(column.unique())
        for index in choose.sample(range(len(values)), min(FILTERS_PER_COLUMN, len(values))):
            for operator, compute in iceberg_readers.OPERATORS.items():
                matching = pyarrow.compute.sum(compute(column, values[index])).as_py() or 0
                filters.append((operator, name, values[index], matching))
        filters.append(("null", name, None, column.null_count))
    return filters


if __name__ == "__main__":
    main()
