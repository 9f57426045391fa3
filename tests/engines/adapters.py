"""Registers a dataset's tables in each engine, and runs the queries from `queries.py`.

For engines that `alb2parquet ddl` supports, the adapters run the statements that it prints. For other engines, they use
the calls in docs/athena.md. An adapter has a name and an `ask` method, which runs a query and returns rows as tuples.
"""

import datetime
import logging
import math
import os
import subprocess
import time

import documentation
from queries import JOIN, KINDS, LOGS, REJECTS

LOG_TYPES = {log.table: name for name, log in LOGS.items()} | {REJECTS: "rejects"}


def ddl(program, dataset, table, dialect, *more):
    """Returns the DDL for a table in a dataset."""
    return bare_ddl(program, table, dialect, "--from-dataset", str(dataset), *more)


def bare_ddl(program, table, dialect, *more):
    """Returns the DDL for a table, passing only the given arguments to `ddl`."""
    command = [program, "ddl", "--log-type", LOG_TYPES[table], "--dialect", dialect, *more]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def documented(engine, language, dataset, table):
    """Returns an engine's example from docs/athena.md, adapted to a table in a dataset."""
    text = documentation.block("docs/athena.md", f"**{engine}**", language)
    return documentation.of_dataset(text, dataset, table)


def used(query):
    """Returns the columns that a query uses."""
    columns = {*query.group, *(each[1] for each in query.aggregates), *(each[0] for each in query.where)}
    return columns - {None}


# Engines with SQL.


class Sql:
    """Translates queries to SQL. Subclasses run the SQL, and override methods where their dialect differs."""

    def ask(self, query):
        return self.run(self.translate(query))

    def translate(self, query):
        conditions = [self.condition(*each) for each in query.where]
        function, column, *share = query.aggregates[0]
        if function == "percentile":
            name = self.name_of(column)
            where = " AND ".join([*conditions, f"{name} IS NOT NULL"])
            return (
                f"SELECT max(x) FROM (SELECT {name} AS x, row_number() OVER (ORDER BY {name}) AS r, "
                f"count(*) OVER () AS n FROM {query.table} WHERE {where}) AS t "
                f"WHERE r <= ceil({share[0]} * n)"
            )
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        group = [self.name_of(column) for column in query.group]
        aggregates = [self.aggregate(*each) for each in query.aggregates]
        by = f" GROUP BY {', '.join(group)}" if group else ""
        return f"SELECT {', '.join(group + aggregates)} FROM {self.source(query)}{where}{by}"

    def source(self, query):
        if not query.joined:
            return query.table
        table, columns = query.joined
        taken = "".join(f", other.{self.name_of(column)} AS {self.name_of(column)}" for column in columns)
        own = ", ".join(
            f"own.{self.name_of(column)} AS {self.name_of(column)}"
            for column in sorted(used(query) - set(columns))
        )
        name = self.name_of(JOIN)
        return (
            f"(SELECT {own}{taken} FROM {query.table} own "
            f"JOIN {table} other ON own.{name} = other.{name}) AS both_of_them"
        )

    def aggregate(self, function, column):
        name = self.name_of(column) if column else "*"
        return {
            "nulls": f"count(*) - count({name})",
            "distinct": f"count(DISTINCT {name})",
        }.get(function, f"{function}({name})")

    def condition(self, column, how, value):
        name = self.name_of(column)
        if how in ("null", "notnull"):
            return f"{name} IS {'NOT ' if how == 'notnull' else ''}NULL"
        if how == "in":
            return f"{name} IN ({', '.join(map(self.literal, value))})"
        if how == "contains":
            return f"{self.position}({name}, {self.literal(value)}) > 0"
        if how == "between":
            return f"{name} BETWEEN {self.literal(value[0])} AND {self.literal(value[1])}"
        if how == "starts":
            return f"{name} LIKE {self.literal(value + '%')}"
        return f"{name} {how} {self.literal(value)}"

    position = "strpos"

    def name_of(self, column):
        return f'"{column}"'

    def literal(self, value):
        if isinstance(value, datetime.datetime):
            return self.time(f"{value:%Y-%m-%d %H:%M:%S.%f}")
        if isinstance(value, str):
            return self.text(value)
        return str(value)

    def text(self, text):
        return "'" + text.replace("'", "''") + "'"

    def time(self, text):
        return f"TIMESTAMP '{text}'"

    def close(self):
        pass


class DuckDb(Sql):
    name = "DuckDB"

    def __init__(self, program, dataset, scratch):
        import duckdb

        self.session = duckdb.connect()
        self.session.execute("SET TimeZone = 'UTC'")
        for table in LOG_TYPES:
            self.session.execute(ddl(program, dataset, table, "duckdb"))

    def run(self, sql):
        return self.session.sql(sql).fetchall()

    def time(self, text):
        return f"TIMESTAMPTZ '{text}+00'"


class ClickHouse(Sql):
    name = "ClickHouse"
    position = "position"

    def __init__(self, program, dataset, scratch):
        import chdb.session

        self.session = chdb.session.Session(str(scratch / "clickhouse"))
        for table in LOG_TYPES:
            self.session.query(documented(self.name, "sql", dataset, table))

    def run(self, sql):
        import pyarrow

        answer = self.session.query(sql, "Arrow").bytes()
        table = pyarrow.ipc.open_file(pyarrow.BufferReader(answer)).read_all()
        return [tuple(map(text_of, row.values())) for row in table.to_pylist()]

    def text(self, text):
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def time(self, text):
        return f"toDateTime64('{text}', 6, 'UTC')"

    def close(self):
        self.session.close()


def text_of(value):
    return value.decode() if isinstance(value, bytes) else value


def spark_session(scratch):
    """A Spark session with an in-memory metastore."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("engines")
    for name, value in {
        "spark.sql.warehouse.dir": scratch / "warehouse",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.driver.memory": "1g",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={scratch}",
        "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:ms;create=true",
    }.items():
        builder = builder.config(name, str(value))
    session = builder.enableHiveSupport().getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    # Silence Spark's own error messages: the tests either expect an error or report it in one line.
    logging.disable(logging.ERROR)
    return session


class Spark(Sql):
    name = "Spark"
    position = "instr"

    def __init__(self, program, dataset, scratch):
        self.session = spark_session(scratch)
        self.program, self.dataset = program, dataset
        for table in LOG_TYPES:
            self.script(ddl(program, dataset, table, "spark"))

    def script(self, text):
        for statement in text.split(";\n"):
            if statement.strip():
                self.session.sql(statement)

    def run(self, sql):
        return [tuple(row) for row in self.session.sql(sql).collect()]

    def name_of(self, column):
        return f"`{column}`"

    def text(self, text):
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def close(self):
        self.session.stop()


class Trino(Sql):
    name = "Trino"

    def __init__(self, server, schema, catalog="hive"):
        self.server, self.session = server, {"catalog": catalog, "schema": schema}

    def run(self, sql):
        return self.server.query(sql, **self.session).rows


# Engines with expressions.


class Polars:
    name = "Polars"

    def __init__(self, program, dataset, scratch):
        import polars

        self.polars = polars
        self.tables = {}
        for table in LOG_TYPES:
            names = {"polars": polars}
            exec(documented(self.name, "python", dataset, table), names)
            self.tables[table] = names["logs"]

    def ask(self, query):
        frame = self.tables[query.table]
        if query.joined:
            table, columns = query.joined
            own = sorted(used(query) - set(columns) | {JOIN})
            frame = frame.select(own).join(self.tables[table].select([JOIN, *columns]), on=JOIN)
        for each in query.where:
            frame = frame.filter(self.condition(*each))
        aggregates = [
            self.aggregate(*each).alias(str(place)) for place, each in enumerate(query.aggregates)
        ]
        if query.group:
            frame = frame.group_by(query.group).agg(aggregates)
        else:
            frame = frame.select(aggregates)
        return frame.collect().rows()

    def condition(self, column, how, value):
        column = self.polars.col(column)
        return {
            "null": lambda: column.is_null(), "notnull": lambda: column.is_not_null(),
            "in": lambda: column.is_in(value), "=": lambda: column == value,
            "<>": lambda: column != value, "<": lambda: column < value,
            "<=": lambda: column <= value, ">": lambda: column > value,
            ">=": lambda: column >= value,
            "contains": lambda: column.str.contains(value, literal=True),
            "between": lambda: (column >= value[0]) & (column <= value[1]),
            "starts": lambda: column.str.starts_with(value),
        }[how]()

    def aggregate(self, function, column, share=None):
        if column is None:
            return self.polars.len().cast(int)
        is_narrow = KINDS.get(column) == "int32"
        column = self.polars.col(column)
        # In Polars, the sum of 32-bit integers is a 32-bit integer.
        widened = column.cast(self.polars.Int64) if is_narrow else column
        values = column.drop_nulls()
        return {
            "count": lambda: column.count(), "nulls": lambda: column.null_count(),
            "distinct": lambda: values.n_unique(), "min": lambda: column.min(),
            "max": lambda: column.max(),
            # In Polars, the sum of no values is 0; in SQL, it is NULL.
            "sum": lambda: self.polars.when(column.count() > 0).then(widened.sum()),
            "percentile": lambda: values.sort().get(
                (self.polars.lit(share) * column.count()).ceil().cast(int) - 1),
        }[function]()

    def close(self):
        pass


class PyArrow:
    name = "pyarrow"

    def __init__(self, program, dataset, scratch):
        import pyarrow
        import pyarrow.compute
        import pyarrow.dataset

        self.pyarrow, self.compute = pyarrow, pyarrow.compute
        self.tables = {}
        for table in LOG_TYPES:
            names = {"pyarrow": pyarrow}
            exec(documented(self.name, "python", dataset, table), names)
            self.tables[table] = names["logs"]

    def ask(self, query):
        condition = None
        for each in query.where:
            each = self.condition(*each)
            condition = each if condition is None else condition & each
        other, taken = query.joined or (None, ())
        columns = used(query) - set(taken) | {"source_key"} | ({JOIN} if other else set())
        table = self.tables[query.table].to_table(columns=sorted(columns), filter=condition)
        if other:
            others = self.tables[other].to_table(columns=[JOIN, *taken])
            table = table.join(others, keys=JOIN, join_type="inner")
        if not query.group:
            return [tuple(self.whole(table, *each) for each in query.aggregates)]
        count = self.compute.CountOptions
        functions = {
            "count": ("count", count(mode="only_valid")),
            "nulls": ("count", count(mode="only_null")),
            "distinct": ("count_distinct", count(mode="only_valid")),
        }
        aggregates = [
            (column, *functions.get(function, (function, None))) if column
            else ("source_key", "count", count(mode="all"))
            for function, column in query.aggregates
        ]
        answer = table.group_by(list(query.group)).aggregate(aggregates)
        # Grouping columns come first, then aggregates.
        return list(zip(*(column.to_pylist() for column in answer.columns)))

    def condition(self, column, how, value):
        field = self.compute.field(column)
        return {
            "null": lambda: field.is_null(), "notnull": lambda: field.is_valid(),
            "in": lambda: field.isin(list(value)), "=": lambda: field == value,
            "<>": lambda: field != value, "<": lambda: field < value,
            "<=": lambda: field <= value, ">": lambda: field > value,
            ">=": lambda: field >= value,
            "contains": lambda: self.compute.match_substring(field, value),
            "between": lambda: (field >= value[0]) & (field <= value[1]),
            "starts": lambda: self.compute.starts_with(field, value),
        }[how]()

    def whole(self, table, function, column, share=None):
        if column is None:
            return table.num_rows
        values = table.column(column)
        if function == "percentile":
            values = values.drop_null().sort()
            return values[math.ceil(share * len(values)) - 1].as_py()
        if function in ("min", "max"):
            return self.compute.min_max(values)[function].as_py()
        return {
            "count": lambda: self.compute.count(values),
            "nulls": lambda: self.compute.count(values, mode="only_null"),
            "distinct": lambda: self.compute.count_distinct(values),
            "sum": lambda: self.compute.sum(values),
        }[function]().as_py()

    def close(self):
        pass
