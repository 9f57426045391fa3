"""Readers of Iceberg tables for `iceberg.py`. Each one returns checksums of all columns of a table."""

import datetime
import os
import subprocess
import sys

import pyarrow
import pyarrow.compute
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import EqualTo, GreaterThanOrEqual, IsNull, LessThan

import checksums

OPERATORS = {
    "equal": pyarrow.compute.equal,
    "less": pyarrow.compute.less,
    "greater or equal": pyarrow.compute.greater_equal,
}
EXPRESSIONS = {"equal": EqualTo, "less": LessThan, "greater or equal": GreaterThanOrEqual}
# Columns that are not part of the row checksum.
OUTSIDE = ["account", "region", "day"]


class Skipped(Exception):
    """A reader cannot run here."""


def all_of(catalog, namespace):
    """Returns pyiceberg, and the readers that find the tables with it."""
    pyiceberg = PyIceberg(catalog, namespace)
    return [pyiceberg, Polars(pyiceberg), DuckDb(pyiceberg), Chdb(pyiceberg)]


def properties(catalog):
    """Returns the properties with which pyiceberg opens a catalog, as `--catalog` names it."""
    kind, _, rest = catalog.partition(":")
    if kind == "sql":
        return {"type": "sql", "uri": rest}
    if kind == "rest":
        return {"type": "rest", "uri": rest}
    region, endpoint = os.environ["AWS_REGION"], os.environ["AWS_ENDPOINT_URL"]
    return {
        "type": "glue",
        "glue.region": region,
        "glue.endpoint": endpoint,
        "s3.region": region,
        "s3.endpoint": endpoint,
        "s3.access-key-id": os.environ["AWS_ACCESS_KEY_ID"],
        "s3.secret-access-key": os.environ["AWS_SECRET_ACCESS_KEY"],
    }


def of_arrow(rows):
    """Returns the checksums of an Arrow table."""
    columns = {name: checksums.values(rows[name]) for name in rows.column_names}
    return checksums.of_columns(columns, outside=OUTSIDE)


def some_of(filters, choose):
    """Returns some filters of partition columns, and some of other columns. All of them would take minutes."""
    partition = [each for each in filters if each[1] in OUTSIDE]
    others = [each for each in filters if each[1] not in OUTSIDE]
    return choose.sample(partition, min(10, len(partition))) + choose.sample(others, min(30, len(others)))


class PyIceberg:
    name = "pyiceberg"

    def __init__(self, catalog, namespace):
        self.catalog, self.namespace = load_catalog("default", **properties(catalog)), namespace
        self.is_local = not catalog.startswith("glue")

    def table(self, table):
        return self.catalog.load_table(f"{self.namespace}.{table}")

    def arrow(self, table):
        return self.table(table).scan().to_arrow()

    def checksums(self, table):
        return of_arrow(self.arrow(table))

    def choose(self, filters, choose):
        """Returns all filters if the dataset is on this machine, and some if each filter sends requests."""
        return filters if self.is_local else some_of(filters, choose)

    def count(self, table, operator, name, value):
        """Returns the number of rows that match a filter."""
        if operator == "null":
            expression = IsNull(name)
        else:
            value = value.as_py()
            if isinstance(value, datetime.datetime):
                value = value.isoformat(timespec="microseconds")
            elif isinstance(value, datetime.date):
                value = value.isoformat()
            expression = EXPRESSIONS[operator](name, value)
        return self.table(table).scan(row_filter=expression, selected_fields=(name,)).to_arrow().num_rows


class Polars:
    name = "polars"

    def __init__(self, pyiceberg):
        self.pyiceberg = pyiceberg

    def checksums(self, table):
        import polars

        # Planning with pyiceberg is slower, but it needs no other package.
        os.environ["POLARS_ICEBERG_PLANNER"] = "pyiceberg"
        frame = polars.scan_iceberg(self.pyiceberg.table(table), reader_override="native").collect()
        return of_arrow(frame.to_arrow())


class DuckDb:
    name = "duckdb"

    def __init__(self, pyiceberg):
        self.pyiceberg = pyiceberg

    def checksums(self, table):
        import duckdb

        connection = duckdb.connect()
        try:
            connection.execute("INSTALL iceberg; LOAD iceberg; SET TimeZone = 'UTC'")
        except duckdb.Error as error:
            raise Skipped(f"its extension cannot be installed: {str(error).splitlines()[0]}") from error
        location = self.pyiceberg.table(table).metadata_location
        return of_arrow(connection.execute("SELECT * FROM iceberg_scan(?)", [location]).arrow().read_all())


class Chdb:
    name = "chdb"

    def __init__(self, pyiceberg):
        self.pyiceberg = pyiceberg

    def checksums(self, table):
        loaded = self.pyiceberg.table(table)
        location, root = loaded.location(), loaded.properties["alb2parquet.location"]
        if not location.startswith("file://"):
            raise Skipped("it is tested with local tables only")
        # chdb only reads files below the directory in which it is started.
        query = f"SELECT * FROM icebergLocal('{location.removeprefix('file://')}') SETTINGS session_timezone = 'UTC'"
        done = subprocess.run([sys.executable, "-c", CHDB, query], cwd=root.removeprefix("file://"), capture_output=True)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        rows = pyarrow.ipc.open_stream(done.stdout).read_all()
        return of_arrow(plain(rows, loaded.schema().as_arrow()))


CHDB = "import chdb, sys; sys.stdout.buffer.write(chdb.query(sys.argv[1], 'ArrowStream').bytes())"


def plain(rows, schema):
    """Casts the columns that an engine returns as other types."""
    return pyarrow.table({field.name: rows[field.name].cast(unlarge(field.type)) for field in schema})


def unlarge(type_):
    """Returns a type with 32-bit offsets."""
    if type_ == pyarrow.large_string():
        return pyarrow.string()
    return pyarrow.binary() if type_ == pyarrow.large_binary() else type_
