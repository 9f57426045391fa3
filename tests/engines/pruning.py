"""Measures how much DuckDB and Trino read from this program's files and from DuckDB's partitioned export.

    pruning.py LOGS DAY COMPACT IDS FILTERED --program ALB2PARQUET --trino DIRECTORY [--update]

DAY is the dataset converted from LOGS, one day of logs from several load balancers. COMPACT contains the same rows in
the `compact` profile. IDS and FILTERED have many files and contain the same rows; FILTERED has Bloom filters. Byte, row
and row group counts come from DuckDB's profile and Trino's query statistics. Prints the tables for docs/athena.md.
Exits with 1 if a claim on the page is false or a number differs from the page. --update writes the tables to the
page.
"""

import argparse
import datetime
import json
import pathlib
import re
import sys
import tempfile

import duckdb
import pyarrow.parquet

import adapters
from queries import PARTITION, ROWS
from trino import Server

DOCUMENTATION = pathlib.Path(__file__).parents[2] / "docs" / "athena.md"
COLUMNS = ["elb", "time", "sent_bytes"]
# Maximum ratio between documented and measured numbers. Compressed sizes vary between library versions.
NEAR = 1.1


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("logs", "day", "compact", "ids", "filtered"):
        arguments.add_argument(name, type=pathlib.Path)
    arguments.add_argument("--program", type=pathlib.Path, required=True)
    arguments.add_argument("--trino", type=pathlib.Path, required=True)
    arguments.add_argument("--update", action="store_true")
    arguments = arguments.parse_args()
    for name in ("day", "compact", "ids", "filtered", "program"):
        setattr(arguments, name, getattr(arguments, name).resolve())

    with tempfile.TemporaryDirectory(prefix="pruning-") as scratch:
        scratch = pathlib.Path(scratch)
        server = start(arguments.trino, scratch)
        try:
            tables = measure(arguments, scratch, server)
        finally:
            server.close()
    return compare(tables, arguments.update)


def start(trino, scratch):
    (scratch / "server").mkdir()
    return Server(trino, scratch / "server", {"hive": {
        "connector.name": "hive",
        "hive.metastore": "file",
        "hive.metastore.catalog.dir": f"file://{scratch}/metastore",
    }})


def measure(arguments, scratch, server):
    """Runs the queries in both engines, checks the documented claims, and returns the page's tables by name."""
    server.query("CREATE SCHEMA hive.local")
    ours, export, shuffled = arguments.day, scratch / "export", scratch / "shuffled"
    # A single thread keeps the row order, which is the best one for this query.
    write_export(ours, export, threads=1)
    write_export(ours, shuffled, threads=4)

    elb, first = one(ours, f"SELECT min(elb), min(time) FROM {files(ours)}")
    begin = first.replace(minute=0, second=0, microsecond=0) + datetime.timedelta(hours=12)
    end = begin + datetime.timedelta(hours=1)
    hour = (
        "SELECT count(*), sum(sent_bytes) FROM {files} WHERE elb = '" + elb + "' "
        f"AND time >= TIMESTAMP{{zone}} '{begin:%Y-%m-%d %H:%M:%S}' "
        f"AND time < TIMESTAMP{{zone}} '{end:%Y-%m-%d %H:%M:%S}'"
    )
    ours, compact, export, shuffled = (
        Read(arguments, server, place, hour) for place in (ours, arguments.compact, export, shuffled)
    )
    agree(ours.answers | compact.answers | export.answers | shuffled.answers)
    ((rows, _),) = ours.answers

    delivered = sum(path.stat().st_size for path in arguments.logs.rglob("*.log.gz"))
    every, _ = one(arguments.day, f"SELECT count(*), 0 FROM {files(arguments.day)}")
    claim("portable is at most 5 % larger than compact", ours.size < 1.05 * compact.size)
    claim("Trino reads at most twice as much from portable", ours.trino_bytes <= 2 * compact.trino_bytes)
    claim("DuckDB reads at most twice as much from portable", ours.duckdb_bytes <= 2 * compact.duckdb_bytes)
    claim("a day's columns are a tenth of its gzip", ours.columns * 10 < delivered)
    claim("an hour in Trino is a hundredth of the day's gzip", ours.trino_bytes * 100 < delivered)
    claim("Trino reads less than from the export", ours.trino_bytes < 0.7 * export.trino_bytes)
    claim("Trino reads fewer rows", ours.trino_rows < 0.6 * export.trino_rows)
    claim("DuckDB reads less than from the export", ours.duckdb_bytes < 0.7 * export.duckdb_bytes)
    claim("DuckDB skips row groups", 4 * ours.scanned < ours.groups)
    claim("the order of rows matters", export.duckdb_bytes < shuffled.duckdb_bytes)
    claim("the file is smaller than the export", ours.size < export.size)
    tables = {
        "cost": table(
            ["read", "bytes", ""],
            [f"AWS's table: all objects of the day, gzip ({every:,} requests)", f"{delivered:,}", ""],
            ["this table: the columns `elb`, `time` and `sent_bytes` of the day", f"{ours.columns:,}",
             f"{delivered / ours.columns:.0f} times less"],
            ["this table: one hour of one load balancer, in Trino", f"{ours.trino_bytes:,}",
             f"{delivered / ours.trino_bytes:.0f} times less"],
        ),
        "pruning": table(
            [f"one hour of one load balancer, {rows:,} of {every:,} rows", "portable", "compact",
             "DuckDB's export, by one thread", "by four threads, for example"],
            *compared([ours, compact, export, shuffled]),
        ),
    }

    (needle, _) = one(arguments.ids, f"SELECT median(conn_trace_id), 0 FROM {files(arguments.ids)}")
    search = "SELECT count(*), sum(sent_bytes) FROM {files} WHERE conn_trace_id = '" + needle + "'"
    bare, filtered = (Read(arguments, server, place, search) for place in (arguments.ids, arguments.filtered))
    agree(bare.answers | filtered.answers)
    every, _ = one(arguments.ids, f"SELECT count(*), 0 FROM {files(arguments.ids)}")
    claim("filters cost less than a tenth", bare.size < filtered.size < 1.1 * bare.size)
    claim("Trino reads a fifth with filters", filtered.trino_bytes * 5 < bare.trino_bytes)
    claim("DuckDB reads a third with filters", filtered.duckdb_bytes * 3 < bare.duckdb_bytes)
    claim("DuckDB skips row groups with filters", filtered.scanned * 4 < bare.scanned == bare.groups)
    tables["bloom"] = table(
        [f"one `conn_trace_id` among {every:,} rows", "without filters", "with filters on both ids"],
        *compared([bare, filtered]),
    )
    return tables


def compared(reads):
    yield ["size", *(f"{read.size:,}" for read in reads)]
    yield ["bytes that Trino read", *(f"{read.trino_bytes:,}" for read in reads)]
    yield ["rows that Trino read", *(f"{read.trino_rows:,}" for read in reads)]
    yield ["bytes that DuckDB read", *(f"{read.duckdb_bytes:,}" for read in reads)]
    yield ["row groups that DuckDB scanned", *(f"{read.scanned} of {read.groups}" for read in reads)]


class Read:
    """Measures how much each engine reads from a dataset's table to answer a query."""

    def __init__(self, arguments, server, dataset, query):
        paths = sorted((dataset / ROWS).rglob("*.parquet"))
        self.size = sum(path.stat().st_size for path in paths)
        self.columns = sum(map(column_bytes, paths))
        self.duckdb(dataset, query)
        self.trino(arguments.program, server, dataset, query)

    def duckdb(self, dataset, query):
        # A new session has no cached data about the files.
        session = connect()
        with tempfile.NamedTemporaryFile(suffix=".json") as profile:
            session.execute("SET enable_profiling = 'json'")
            session.execute("SET profiling_mode = 'detailed'")
            session.execute(f"SET profile_output = '{profile.name}'")
            answer = session.sql(query.format(files=files(dataset), zone="TZ")).fetchall()
            session.close()
            said = json.load(profile)
        self.answers = {tuple(map(int, row)) for row in answer}
        self.duckdb_bytes = said["io"]["total_bytes_read"]
        self.scanned = said["query"]["total_row_groups_scanned"]
        self.groups = said["query"]["total_row_groups_to_scan"]

    def trino(self, program, server, dataset, query):
        name = "local." + re.sub(r"\W", "_", dataset.name).lower()
        text = adapters.bare_ddl(program, ROWS, "trino", "--location", str(dataset), "--name", name,
                                "--no-projection")
        server.run(text)
        answer = server.query(query.format(files=name, zone=""))
        self.answers |= set(answer.rows)
        self.trino_bytes = answer.stats["physicalInputBytes"]
        self.trino_rows = answer.stats["processedRows"]


def write_export(dataset, place, threads):
    """Writes the same rows with DuckDB's defaults, but with the same compression as this program."""
    place.mkdir()
    connect(threads).execute(
        f"COPY (SELECT * FROM {files(dataset)}) TO '{place / ROWS}' "
        f"(FORMAT parquet, COMPRESSION zstd, PARTITION_BY ({', '.join(PARTITION)}))"
    )


def connect(threads=1):
    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    session.execute(f"SET threads = {threads}")
    return session


def files(dataset):
    types = ", ".join(f"'{column}': VARCHAR" for column in PARTITION)
    return (
        f"read_parquet('{dataset}/{ROWS}/**/*.parquet', hive_partitioning = true, "
        f"hive_types = {{{types}}})"
    )


def one(dataset, query):
    return connect().sql(query).fetchall()[0]


def column_bytes(path):
    metadata = pyarrow.parquet.ParquetFile(path).metadata
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    columns = (group.column(place) for group in groups for place in range(group.num_columns))
    return sum(each.total_compressed_size for each in columns if each.path_in_schema in COLUMNS)


def agree(answers):
    if len(answers) != 1 or not min(answers)[0]:
        sys.exit(f"the answers differ, or are empty: {answers}")


FALSE = []


def claim(what, is_so):
    print(f"{'ok' if is_so else 'FAILED':6} {what}", flush=True)
    if not is_so:
        FALSE.append(what)


def table(head, *rows):
    rows = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def compare(tables, update):
    text = DOCUMENTATION.read_text()
    stale = []
    for name, fresh in tables.items():
        print(f"\n{fresh}", end="")
        found = re.search(rf"(<!-- {name}: [^\n]*-->\n)(.*?)(<!-- end -->)", text, re.DOTALL)
        if not found:
            sys.exit(f"{DOCUMENTATION} has no table {name}")
        if not alike(found[2], fresh):
            stale.append(name)
        text = text[:found.start(2)] + fresh + text[found.end(2):]
    print()
    if update:
        DOCUMENTATION.write_text(text)
    elif stale:
        print(f"{DOCUMENTATION.name} is stale: {', '.join(stale)}; run scripts/pruning --update")
    if FALSE:
        print(f"false claims: {'; '.join(FALSE)}")
    return 1 if FALSE or stale and not update else 0


def alike(stands, fresh):
    """Returns whether two tables contain the same words and similar numbers."""
    number = r"[\d,.]*\d"
    if re.sub(number, "0", stands) != re.sub(number, "0", fresh):
        return False
    for left, right in zip(stands.splitlines(), fresh.splitlines()):
        # The last column depends on the order in which several threads write rows, so it differs between runs.
        left, right = ("|".join(line.split("|")[:5]) for line in (left, right))
        for old, new in zip(*(re.findall(number, text) for text in (left, right))):
            old, new = (float(text.replace(",", "")) for text in (old, new))
            if abs(old - new) > 1 and not new / NEAR <= old <= new * NEAR:
                return False
    return True


if __name__ == "__main__":
    sys.exit(main())
