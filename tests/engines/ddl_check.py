"""Runs the statements that `ddl --check` prints in several engines, on correct and on corrupted data.

    ddl_check.py --program ALB2PARQUET [--seed 1] [--rows 12500] [--engines duckdb,spark] [--trino DIRECTORY]...
                 [--profiles NAME,...]

For each profile, the program prints the statements for a dataset of logs from `changing_logs.py`. Each engine runs them
on that dataset, where they must return no rows. It also runs them on two corrupted copies, where they must return rows:
one copy has a missing file, and the other a changed value. Trino before 436 loses rows from files with page indexes
(trino#20267). The statements must detect this loss, and must return no rows with `parquet_use_column_index=false`.
Exits with 1 if any result is different.
"""

import argparse
import dataclasses
import functools
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pyarrow
import pyarrow.parquet

import changing_logs
import random_queries
from queries import ROWS

TABLE = "checked_table"
DIALECTS = {"DuckDB": "duckdb", "Spark": "spark", "Trino": "trino"}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--program", type=pathlib.Path, required=True)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--rows", type=int, default=12500)
    arguments.add_argument("--engines", default="duckdb,spark")
    arguments.add_argument("--trino", type=pathlib.Path, action="append", default=[])
    arguments.add_argument("--profiles")
    arguments = arguments.parse_args()
    program = arguments.program.resolve()

    with tempfile.TemporaryDirectory(prefix="ddl-check-") as scratch:
        scratch = pathlib.Path(scratch)
        changing_logs.write(scratch / "logs", arguments.seed, arguments.rows)
        profiles = arguments.profiles.split(",") if arguments.profiles else random_queries.profiles_of(program)
        cases = [case for profile in profiles for case in make_cases(program, scratch, profile)]
        engines = [(name, random_queries.ENGINES[name]) for name in arguments.engines.split(",") if name]
        wrong = 0
        for _, make in [*engines, *random_queries.trinos(arguments.trino)]:
            engine = make(scratch)
            try:
                wrong += sum(not run(engine, program, case, arguments.seed) for case in cases)
            finally:
                engine.close()
        return 1 if wrong else 0


@dataclasses.dataclass(frozen=True)
class Case:
    """A dataset to query, the dataset that the statements are printed for, and the problem that they must detect."""

    what: str
    dataset: random_queries.Dataset
    expected: random_queries.Dataset
    finds: tuple


def make_cases(program, scratch, profile):
    right = next(iter(random_queries.convert(program, scratch, profile)))
    yield Case("correct data", right, right, ())
    lost = copy(right, "without_a_file")
    min(parquet_files(lost), key=lambda path: path.stat().st_size).unlink()
    yield Case("a file was deleted", lost, right, ("rows of the table", "rows of account=", "count(time)", "min(time)"))
    changed = copy(right, "with_another_value")
    change(max(parquet_files(changed), key=lambda path: path.stat().st_size))
    yield Case("a value was changed", changed, right, ("sum(sent_bytes)",))


def copy(dataset, name):
    place = dataset.place.with_name(f"{dataset.name}_{name}")
    shutil.copytree(dataset.place, place)
    return dataclasses.replace(dataset, name=place.name, place=place)


def parquet_files(dataset):
    return (dataset.place / ROWS).rglob("*.parquet")


def change(path):
    """Adds 1 to `sent_bytes` in one row to simulate a decoding error."""
    table = pyarrow.parquet.ParquetFile(path).read()
    place = table.schema.get_field_index("sent_bytes")
    values = table.column(place).to_pylist()
    values[len(values) // 2] += 1
    table = table.set_column(place, table.schema.field(place), pyarrow.array(values, table.schema.field(place).type))
    pyarrow.parquet.write_table(table, path, compression="zstd", row_group_size=125_000, write_page_index=False)


@functools.cache
def checks(program, dataset, dialect, seed):
    """Returns the statements for a dataset and a table named TABLE."""
    command = [program, "ddl", f"--check={seed}", "--from-dataset", dataset, "--dialect", dialect, "--name", TABLE]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def run(engine, program, case, seed):
    """Runs the statements and prints their results. Returns whether the results are as expected."""
    engine.open(program, case.dataset)
    dialect = DIALECTS[engine.name.split()[0]]
    text = checks(program, case.expected.place, dialect, seed).replace(TABLE, case.dataset.name)
    statements = [part for part in text.split(";\n") if "SELECT" in part]
    try:
        found = [row for statement in statements for row in engine.run(statement)]
    except Exception as error:
        print(f"FAILED {engine.name}, {case.dataset.name}: {type(error).__name__}: {str(error)[:1500]}", flush=True)
        return False
    loses = random_queries.loses_rows(engine, case.dataset)
    names = [row[0] for row in found]
    filters = sum(name.startswith("filter") for name in names)
    if case.finds:
        good = all(any(name.startswith(wanted) for name in names) for wanted in case.finds)
    elif loses:
        good = filters > 0 and filters == len(names) and all(int(row[2]) < int(row[1]) for row in found)
    else:
        good = not found
    known = ", the loss of trino#20267" if loses and not case.finds else ""
    print(
        f"{'ok' if good else 'FAILED':6} {engine.name}, {case.dataset.name}, {case.what}: {len(statements)} statements "
        f"returned {len(found)} rows{known}", flush=True,
    )
    for row in found if not good else found[:2]:
        print(f"         {row[0]}: expected {row[1]}, seen {row[2]}", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
