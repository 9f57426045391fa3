"""Spark and Trino as readers of a local Iceberg REST catalog, for `iceberg.py`.

`matrix_engines.py` installs them. Each one runs until the tests end, so that it reads every state of the tables.
"""

import contextlib
import datetime
import json
import pathlib
import subprocess
import tempfile

import checksums
import matrix_engines
import trino
from iceberg_readers import OUTSIDE, Skipped, some_of

# Iceberg 1.7.1 does not support Spark 3.5.4 and later; see docs/engines.md.
SPARKS = [
    matrix_engines.iceberg(version, spark, scala, program="ReadCatalog")
    for version, spark, scala in [
        ("1.7.1", "3.5.3", "2.12"),
        ("1.10.1", "3.5.7", "2.12"),
        ("1.12.0", "3.5.7", "2.12"),
        ("1.10.1", "4.0.1", "2.13"),
        ("1.12.0", "4.0.1", "2.13"),
    ]
]
TRINO = "483"
SYMBOLS = {"equal": "=", "less": "<", "greater or equal": ">="}


def all_of(catalog, namespace):
    """Returns Spark with each version of Iceberg, and Trino."""
    return [Spark(engine, catalog, namespace) for engine in SPARKS] + [Trino(catalog, namespace)]


class Engine:
    """An engine that starts when it is used first. Subclasses start it, and run queries."""

    def __init__(self, name, catalog, namespace):
        self.name, self.namespace = name, namespace
        self.kind, _, self.url = catalog.partition(":")
        self.running = contextlib.ExitStack()
        self.engine = None

    def started(self):
        """Returns the running engine."""
        if self.kind != "rest":
            raise Skipped("it is tested with a REST catalog only")
        if not self.engine:
            try:
                self.engine = self.start()
            except matrix_engines.Skipped as reason:
                raise Skipped(f"it cannot be installed: {reason}") from reason
        return self.engine

    def close(self):
        self.running.close()

    @staticmethod
    def choose(filters, choose):
        """Returns the filters that it runs."""
        return some_of(filters, choose)

    def condition(self, operator, name, value):
        """Returns a filter in SQL."""
        if operator == "null":
            return f"{self.quoted(name)} IS NULL"
        return f"{self.quoted(name)} {SYMBOLS[operator]} {self.literal(value.as_py())}"

    def literal(self, value):
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, float):
            return f"CAST('{value!r}' AS DOUBLE)"
        if isinstance(value, datetime.datetime):
            return f"TIMESTAMP '{value.replace(tzinfo=None).isoformat(' ', 'microseconds')} UTC'"
        return f"DATE '{value}'" if isinstance(value, datetime.date) else str(value)


class Spark(Engine):
    """A process of `ReadCatalog.java`."""

    def __init__(self, engine, catalog, namespace):
        super().__init__(f"{engine.name} {engine.version}", catalog, namespace)
        self.installed = engine

    def start(self):
        command = self.installed.install()
        self.log = matrix_engines.MADE / "log" / f"catalog-{self.installed.slug()}"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        errors = self.running.enter_context(self.log.open("w"))
        # Leaving the context closes the standard input, at which the process ends, and waits for the process.
        return self.running.enter_context(subprocess.Popen(
            [*map(str, command), self.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ))

    def ask(self, request):
        process = self.started()
        process.stdin.write(f"{request}\n")
        process.stdin.flush()
        for line in process.stdout:
            if line.startswith('{"'):
                answer = json.loads(line)
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer
        raise RuntimeError(f"Spark ended with exit code {process.wait()}: {self.log.read_text()[-1000:]}")

    def checksums(self, table):
        answer = self.ask(f"{self.namespace}.{table}")
        return checksums.Checksums(answer["rows"], answer["sum"], answer["columns"])

    def count(self, table, operator, name, value):
        return self.ask(f"{self.namespace}.{table}\t{self.condition(operator, name, value)}")["rows"]

    @staticmethod
    def quoted(name):
        return f"`{name}`"

    @staticmethod
    def text(value):
        # Spark accepts double quotes and the escapes of JSON.
        return json.dumps(value)


class Trino(Engine):
    """A server with the Iceberg connector."""

    def __init__(self, catalog, namespace):
        super().__init__(f"Trino {TRINO}", catalog, namespace)

    def start(self):
        installation = matrix_engines.Trino("Trino", TRINO).install()
        directory = pathlib.Path(self.running.enter_context(tempfile.TemporaryDirectory(prefix="iceberg-")))
        catalog = {
            "connector.name": "iceberg", "iceberg.catalog.type": "rest", "iceberg.rest-catalog.uri": self.url, **trino.NATIVE_LOCAL
        }
        server = trino.Server(installation, directory, {"lake": catalog})
        return self.running.enter_context(contextlib.closing(server))

    def session(self):
        return {"catalog": "lake", "schema": self.namespace}

    def checksums(self, table):
        types = checksums.schemas()[table] | dict.fromkeys(OUTSIDE, "string")
        return trino.read_checksums(self.started(), table, types, OUTSIDE, **self.session())

    def count(self, table, operator, name, value):
        sql = f"SELECT count(*) FROM {table} WHERE {self.condition(operator, name, value)}"
        return self.started().query(sql, **self.session()).rows[0][0]

    @staticmethod
    def quoted(name):
        return f'"{name}"'

    @staticmethod
    def text(value):
        return "'" + value.replace("'", "''") + "'"
