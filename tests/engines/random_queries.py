"""Runs random queries on changing logs in every engine, and compares the results with DuckDB's for the raw lines.

    random_queries.py --program ALB2PARQUET [--queries 200] [--seed N] [--rows 12500] [--engines NAME,...]
                      [--trino DIRECTORY]... [--profiles NAME,...]

The logs come from `changing_logs.py`. For each profile, the program writes four datasets: with and without Bloom
filters, in both layouts. Each engine runs --queries queries per profile, divided equally among the four datasets. The
queries compute counts, sums, min and max, with filters on one to three random columns. If a result differs, the script
reduces the query to the fewest filters, aggregates and constants that still fail, and prints it with both results.
--trino adds a Trino server that `scripts/trino` assembled. Trino before 436 loses rows from files with page indexes
(trino#20267). The queries must detect this loss, and must find no loss with `parquet_use_column_index=false`. Exits
with 1 if any other result differs.
"""

import argparse
import bisect
import dataclasses
import datetime
import functools
import itertools
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

import pyarrow.parquet

import adapters
import changing_logs
import trino
from queries import COLUMNS, KINDS, PARTITION, ROWS, Query, differences, plain

BLOOM = "conn_trace_id,trace_id,client_ip,user_agent"
VARIANTS = [(layout, bloom) for layout in ("hive", "plain") for bloom in (False, True)]
# Maximum number of attempts to minimize a query.
ATTEMPTS = 120
# Number of failing queries that are minimized and printed for each engine.
SHOWN = 2
# The first Trino version without the bug.
MENDED = 436
# At least 2 % of all queries detect the loss. If a run has 200 queries or more and none of them detects it, the script
# runs up to three times as many more.
ENOUGH = 200
NUMBERS = [name for name in COLUMNS if KINDS.get(name) in ("int32", "int64")]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset that contains the logs."""

    name: str
    place: pathlib.Path
    layout: str
    has_page_index: bool


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--program", type=pathlib.Path, required=True)
    arguments.add_argument("--queries", type=int, default=200, help="number of queries for each engine and profile")
    arguments.add_argument("--seed", type=int, help="seed of a run to repeat [default: random]")
    arguments.add_argument("--rows", type=int, default=12500, help="number of rows in each object of the first day")
    arguments.add_argument("--engines", default=",".join(ENGINES))
    arguments.add_argument("--trino", type=pathlib.Path, action="append", default=[])
    arguments.add_argument("--profiles", help="values of `convert --profile` [default: all]")
    arguments = arguments.parse_args()
    program = arguments.program.resolve()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    print(f"random queries: seed {seed}", flush=True)

    with tempfile.TemporaryDirectory(prefix="random-queries-") as scratch:
        scratch = pathlib.Path(scratch)
        profiles = arguments.profiles.split(",") if arguments.profiles else profiles_of(program)
        changing_logs.write(scratch / "logs", seed, arguments.rows)
        oracle = Oracle(scratch / "logs")
        datasets = {profile: list(convert(program, scratch, profile)) for profile in profiles}
        queries = make_queries(oracle, random.Random(seed), 4 * arguments.queries)
        sheet = Sheet(oracle, queries[:arguments.queries], queries[arguments.queries:], program)
        engines = [(name, ENGINES[name]) for name in arguments.engines.split(",") if name]
        for name, make in itertools.chain(engines, trinos(arguments.trino)):
            with_engine(name, make, sheet, datasets, scratch)
        return sheet.report()


def profiles_of(program):
    """Returns the profiles that the program can write, or a single nameless one if it has no profiles."""
    text = subprocess.run([program, "convert", "--help"], check=True, capture_output=True, text=True).stdout
    return ["portable", "compact"] if "--profile" in text else [None]


def convert(program, scratch, profile):
    for layout, bloom in VARIANTS:
        name = "_".join(filter(None, [profile or "files", layout, "bloom" if bloom else None]))
        more = ["--profile", profile] if profile else []
        more += ["--bloom-filter", BLOOM] if bloom else []
        subprocess.run(
            [program, "convert", scratch / "logs", "--out", scratch / name, "--to", "2099-12-31", "--layout", layout,
             "--quiet", *more],
            check=True,
        )
        files = sorted((scratch / name / ROWS).rglob("*.parquet"))
        footers = [pyarrow.parquet.ParquetFile(path).metadata for path in files]
        has_index = any(footer.row_group(0).column(0).has_column_index for footer in footers)
        groups = sum(footer.num_row_groups for footer in footers)
        print(f"{name}: {len(files)} files of {groups} row groups, {sum(path.stat().st_size for path in files):,} bytes, "
              f"{'with' if has_index else 'without'} page indexes", flush=True)
        yield Dataset(name, scratch / name, layout, has_index)


# Queries.


class Oracle(adapters.Sql):
    """Runs queries on the raw lines. If `rounded`, times are in milliseconds, for engines with that precision."""

    def __init__(self, logs):
        self.session = changing_logs.oracle(logs, COLUMNS + PARTITION)
        self.answers = {}

    def run(self, sql):
        return self.session.sql(sql).fetchall()

    def answer(self, query, rounded=False):
        query = dataclasses.replace(query, table="rounded" if rounded else "lines", name="")
        if query not in self.answers:
            self.answers[query] = [tuple(map(plain, row)) for row in self.ask(query)]
        return self.answers[query]

    def sample(self):
        """Returns a few thousand rows as dictionaries."""
        names = ", ".join(map(self.name_of, COLUMNS))
        rows = self.run(f"SELECT {names} FROM lines USING SAMPLE reservoir(4000 ROWS) REPEATABLE (1)")
        return [dict(zip(COLUMNS, row)) for row in rows]


def make_queries(oracle, chance, count):
    rows = oracle.sample()
    values = {column: sorted(row[column] for row in rows if row[column] is not None) for column in COLUMNS}
    values = {column: some for column, some in values.items() if len(set(some)) > 1}
    # Number and time columns are chosen twice as often, because readers prune by them.
    columns = [*values, *(column for column in values if KINDS.get(column, "string") != "string")]
    queries = []
    while len(queries) < count:
        chosen = []
        for _ in range(chance.choice([1, 2, 2, 2, 2, 3, 3])):
            chosen.append(chance.choice([column for column in columns if column not in chosen]))
        # Most filters match at least this row.
        row = chance.choice(rows) if chance.random() < 0.75 else {}
        where = [predicate(chance, column, values[column], row) for column in chosen]
        if chance.random() < 0.3:
            where.append(("day", "=", chance.choice(["01", "01", "01", "02"])))
        aggregates = [("count", None)]
        if len(queries) % 10 == 0:
            aggregates += [(function, column) for column in values for function in ("min", "max")]
        else:
            some = [(function, column) for column in values for function in ("min", "max", "count")]
            some += [("sum", column) for column in NUMBERS if column in values]
            aggregates += chance.sample(some, 5)
        queries.append(Query(str(len(queries) + 1), tuple(aggregates), tuple(where)))
    return queries


def predicate(chance, column, values, row):
    """Returns a filter on a column, which matches `row` if given. `values` are the column's sorted values."""
    value = row.get(column, chance.choice(values))
    if value is None:
        return column, "null", None
    how = chance.choice(["=", "=", "<", "between", "between", "between", "in", "starts"] + ["null"] * (not row))
    if how == "starts":
        # Characters that have no special meaning in LIKE.
        prefix = re.match(r"[A-Za-z0-9./:-]*", value)[0] if isinstance(value, str) else ""
        if prefix:
            return column, "starts", prefix[:chance.randrange(1, len(prefix) + 1)]
        how = "between"
    if how == "=":
        return column, "=", constant(value)
    if how == "in":
        others = {chance.choice(values) for _ in range(chance.randrange(3))}
        return column, "in", tuple(sorted(map(constant, others | {value})))
    if how == "null":
        return column, "null", None
    place = bisect.bisect_left(values, value)
    if how == "<":
        above = place + 1 + int(chance.random() ** 2 * (len(values) - place))
        return column, "<", constant(values[min(above, len(values) - 1)])
    width = int(chance.choice([0.02, 0.05, 0.08, 0.15, 0.3]) * len(values))
    first = max(place - chance.randrange(width + 1), 0)
    return column, "between", (constant(values[first]), constant(values[min(first + width, len(values) - 1)]))


def constant(value):
    """Converts a value for use in queries. Times are in whole milliseconds, the precision of some engines."""
    if isinstance(value, datetime.datetime):
        return value.replace(microsecond=value.microsecond // 1000 * 1000, tzinfo=datetime.timezone.utc)
    return value


def smaller(query):
    """Yields simpler queries, with one fewer filter or aggregate or with simpler constants."""
    replaced = lambda place, each: dataclasses.replace(
        query, where=query.where[:place] + each + query.where[place + 1:])
    if len(query.aggregates) > 1:
        yield dataclasses.replace(query, aggregates=query.aggregates[:1])
        for place in range(len(query.aggregates)):
            yield dataclasses.replace(query, aggregates=query.aggregates[:place] + query.aggregates[place + 1:])
    for place in range(len(query.where)):
        yield replaced(place, ())
    for place, (column, how, value) in enumerate(query.where):
        if how == "in" and len(value) > 1:
            for each in value:
                yield replaced(place, ((column, "in", tuple(other for other in value if other != each)),))
        if how == "in" and len(value) == 1:
            yield replaced(place, ((column, "=", value[0]),))
        if how == "between" and value[0] != value[1]:
            for end in value:
                yield replaced(place, ((column, "=", end),))
            low, high = value
            if not isinstance(low, str):
                middle = low + (high - low) // 2 if not isinstance(low, float) else (low + high) / 2
                if isinstance(middle, datetime.datetime):
                    middle = constant(middle)
                if middle not in value:
                    yield replaced(place, ((column, "between", (low, middle)),))
                    yield replaced(place, ((column, "between", (middle, high)),))


# Engines. Each can open a dataset as a table, and run queries on the table.


def ddl(program, dataset, dialect, *more):
    return adapters.ddl(program, dataset.place, ROWS, dialect, "--name", dataset.name, *more)


class DuckDb(adapters.DuckDb):
    def __init__(self, scratch):
        import duckdb

        self.session = duckdb.connect()
        self.session.execute("SET TimeZone = 'UTC'")

    def open(self, program, dataset):
        self.session.execute(ddl(program, dataset, "duckdb"))


class DataFusion(adapters.Sql):
    name = "DataFusion"

    def __init__(self, scratch):
        import datafusion

        self.context = datafusion.SessionContext(datafusion.SessionConfig({
            "datafusion.execution.collect_statistics": "true",
            "datafusion.execution.listing_table_ignore_subdirectory": "false",
            "datafusion.execution.parquet.pushdown_filters": "true",
            "datafusion.execution.time_zone": "UTC",
        }))

    def open(self, program, dataset):
        partition = [(name, pyarrow.string()) for name in PARTITION] if dataset.layout == "hive" else []
        self.context.register_parquet(dataset.name, f"{dataset.place}/{ROWS}/", table_partition_cols=partition)

    def run(self, sql):
        return [tuple(row.values()) for row in self.context.sql(sql).to_arrow_table().to_pylist()]

    def aggregate(self, function, column):
        # Result columns must have unique names.
        return f'{super().aggregate(function, column)} AS "{function}_{column}"'


class ClickHouse(adapters.ClickHouse):
    def __init__(self, scratch):
        import chdb.session

        self.session = chdb.session.Session(str(scratch / "clickhouse"))

    def open(self, program, dataset):
        text = adapters.documented(self.name, "sql", dataset.place, ROWS)
        if dataset.layout == "plain":
            files = re.search(r"FROM (file\(.*?\))", text)[1]
            text = f"CREATE VIEW {ROWS} AS SELECT * FROM {files}"
        self.session.query(text.replace(f"VIEW {ROWS}", f"VIEW {dataset.name}"))


class Polars(adapters.Polars):
    def __init__(self, scratch):
        import polars

        self.polars, self.tables = polars, {}

    def open(self, program, dataset):
        names = {"polars": self.polars}
        if dataset.layout == "hive":
            exec(adapters.documented(self.name, "python", dataset.place, ROWS), names)
            self.tables[dataset.name] = names["logs"]
        else:
            self.tables[dataset.name] = self.polars.scan_parquet(f"{dataset.place}/{ROWS}/", hive_partitioning=False)


class PyArrow(adapters.PyArrow):
    def __init__(self, scratch):
        import pyarrow.compute
        import pyarrow.dataset

        self.pyarrow, self.compute, self.tables = pyarrow, pyarrow.compute, {}

    def open(self, program, dataset):
        names = {"pyarrow": self.pyarrow}
        if dataset.layout == "hive":
            exec(adapters.documented(self.name, "python", dataset.place, ROWS), names)
            self.tables[dataset.name] = names["logs"]
        else:
            self.tables[dataset.name] = self.pyarrow.dataset.dataset(dataset.place / ROWS, format="parquet")


class Spark(adapters.Spark):
    def __init__(self, scratch):
        self.session = adapters.spark_session(scratch)

    def open(self, program, dataset):
        self.script(ddl(program, dataset, "spark"))


class Trino(adapters.Trino):
    """A Trino server. `properties` are the session properties for queries."""

    def __init__(self, installation, scratch, properties):
        self.version = version = trino.version_of(installation)
        self.properties = properties
        self.name = f"Trino {version}{', ' + properties if properties else ''}"
        directory = scratch / f"trino-{version}-{len(properties)}"
        directory.mkdir()
        catalog, self.scheme = trino.local_files(installation, directory)
        self.server = trino.Server(installation, directory, {
            "hive": catalog | {"hive.allow-register-partition-procedure": "true"},
        })
        self.session = {"catalog": "hive", "schema": "default"}
        self.server.query("CREATE SCHEMA hive.default")
        self.session["properties"] = f"hive.{properties}" if properties else ""

    def open(self, program, dataset):
        text = ddl(program, dataset, "trino", "--no-projection")
        self.server.run(text.replace("'file:///", f"'{self.scheme}:///"), catalog="hive", schema="default")

    def close(self):
        self.server.close()


ENGINES = {
    "duckdb": DuckDb, "datafusion": DataFusion, "clickhouse": ClickHouse, "polars": Polars, "pyarrow": PyArrow,
    "spark": Spark,
}
# Engines that find partitions only through directory names.
HIVE_ONLY = (DataFusion, ClickHouse, Polars, PyArrow)


def trinos(installations):
    """Yields the servers to query. Trino versions with the bug run both with and without page indexes."""
    for installation in installations:
        version = trino.version_of(installation)
        for properties in [""] if version >= MENDED else ["", "parquet_use_column_index=false"]:
            # A lambda would see changed loop variables, because callers start the servers later.
            yield f"Trino {version}", functools.partial(Trino, installation, properties=properties)


def loses_rows(engine, dataset):
    """Returns whether an engine is known to lose rows from a dataset."""
    return (
        isinstance(engine, Trino) and not engine.properties
        and engine.version < MENDED and dataset.has_page_index
    )


# Comparing results.


def with_engine(name, make, sheet, datasets, scratch):
    try:
        engine = make(scratch)
    except Exception as error:
        sheet.failed.append(f"{name} does not start: {str(error)[:1000]}")
        return
    try:
        for profile, some in datasets.items():
            # Without page indexes, the property has no effect.
            if not getattr(engine, "properties", "") or any(each.has_page_index for each in some):
                sheet.fill(engine, profile, some)
    finally:
        engine.close()


class Sheet:
    """The engines' results."""

    def __init__(self, oracle, queries, spare, program):
        self.oracle, self.queries, self.spare, self.program = oracle, queries, spare, program
        self.failed = []
        self.lines = []

    def fill(self, engine, profile, datasets):
        began, wrong, with_rows = time.monotonic(), [], 0
        for dataset in datasets:
            engine.open(self.program, dataset)
        # The queries are distributed evenly among the datasets.
        known = any(loses_rows(engine, dataset) for dataset in datasets)
        asked = 0
        for query, dataset in zip(self.queries + self.spare, itertools.cycle(datasets)):
            if asked >= len(self.queries) and (wrong or not known or asked < ENOUGH):
                break
            asked += 1
            query = self.of(engine, query, dataset)
            with_rows += self.expected(engine, query)[0][0] > 0
            if problem := self.problem(engine, query):
                wrong.append((dataset, query, problem))
        for dataset, query, problem in wrong[:SHOWN]:
            self.show(engine, dataset, query, problem)
        line = (
            f"{engine.name}, {profile or 'files of this version'}: {asked - len(wrong)} of {asked} "
            f"results agree with the lines; {with_rows} queries have rows [{time.monotonic() - began:.0f} s]"
        )
        state = "ok"
        if known and len(self.queries) >= ENOUGH and not wrong:
            state = "FAILED"
            line += "; trino#20267 loses rows here, and no query found it"
        elif known and any(self.is_other(engine, query) for _, query, _ in wrong):
            state = "FAILED"
        elif known:
            line += f"; trino#20267 was found {len(wrong)} times, as expected"
        elif wrong:
            state = "FAILED"
        self.lines.append(f"{state:6} {line}")
        print(self.lines[-1], flush=True)
        if state == "FAILED":
            self.failed.append(line)

    def of(self, engine, query, dataset):
        """Adapts a query to a dataset's table. Drops filters on partition columns that the engine does not provide."""
        where = query.where
        if dataset.layout == "plain" and isinstance(engine, HIVE_ONLY):
            where = tuple(each for each in where if each[0] not in PARTITION)
        return dataclasses.replace(query, table=dataset.name, where=where)

    def expected(self, engine, query):
        return self.oracle.answer(query, rounded=isinstance(engine, Trino))

    def problem(self, engine, query):
        """Returns how an engine's result differs from DuckDB's for the raw lines, or an empty value if they agree."""
        try:
            return differences(self.expected(engine, query), engine.ask(query))
        except Exception as error:  # The engines have no common error type.
            return f"{type(error).__name__}: {str(error)[:500]}"

    def is_other(self, engine, query):
        """Returns whether a wrong result has a cause other than missing rows."""
        count = dataclasses.replace(query, aggregates=(("count", None),))
        try:
            return engine.ask(count)[0][0] >= self.expected(engine, count)[0][0]
        except Exception:
            return True

    def show(self, engine, dataset, query, problem):
        """Minimizes a failing query and prints it."""
        attempts = ATTEMPTS
        reduced = True
        while reduced and attempts > 0:
            reduced = False
            for each in smaller(query):
                attempts -= 1
                # An error does not count as reproducing a wrong result.
                differs = self.problem(engine, each)
                if differs and is_error(differs) == is_error(problem):
                    query, reduced = each, True
                    break
                if attempts <= 0:
                    break
        print(f"       query {query.name} of {dataset.name} differs: {engine.name}", flush=True)
        print(f"         {adapters.Sql.translate(self.oracle, query)}")
        print(f"         expected {self.expected(engine, query)}")
        try:
            print(f"         actual   {[tuple(map(plain, row)) for row in engine.ask(query)]}", flush=True)
        except Exception as error:
            print(f"         actual   {type(error).__name__}: {str(error)[:500]}", flush=True)

    def report(self):
        print()
        print(*self.lines, sep="\n")
        for line in self.failed:
            print(f"FAILED {line}")
        return 1 if self.failed else 0


def is_error(problem):
    return bool(re.match(r"\w*(Error|Exception)\b", problem))


if __name__ == "__main__":
    sys.exit(main())
