"""A local Trino server, and a client that implements the part of Trino's protocol that the tests need.

Protocol documentation: https://trino.io/docs/current/develop/client-protocol.html
"""

import base64
import dataclasses
import datetime
import json
import pathlib
import socket
import subprocess
import time
import urllib.request

import checksums

MEMORY = "1500M"
STARTUP_SECONDS = 900
NODE_SECONDS = 60


# The first tested version with native file systems instead of Hadoop's.
NATIVE_FILES = 483
# Properties of a catalog that reads local files with a native file system.
NATIVE_LOCAL = {"fs.native-local.enabled": "true", "local.location": "/"}
# JVM options for Trino on Java 25.
MODERN = [
    "--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
]


def version_of(installation):
    """Returns the Trino version that `scripts/trino` assembled in a directory."""
    return int((pathlib.Path(installation) / "version").read_text().split()[0])


def local_files(installation, directory):
    """Returns the properties of a Hive catalog for local files, and its URL scheme."""
    properties = {"connector.name": "hive", "hive.metastore": "file"}
    scheme = "file"
    if version_of(installation) >= NATIVE_FILES:
        # With native file systems, a table at file:/// appears empty instead of causing an error.
        scheme = "local"
        properties |= NATIVE_LOCAL
    return properties | {"hive.metastore.catalog.dir": f"{scheme}://{directory}/metastore"}, scheme


class TrinoError(Exception):
    """Raised if a query fails or a server does not start."""


@dataclasses.dataclass
class Answer:
    """A query's result, and how much data the query read."""

    names: list
    rows: list
    stats: dict


class Server:
    """A server that runs until it is closed. `catalogs` maps catalog names to properties of their connectors."""

    def __init__(self, installation, directory, catalogs):
        self.directory, installation = pathlib.Path(directory), pathlib.Path(installation).resolve()
        self.url = f"http://127.0.0.1:{free_port()}"
        self.properties = self.configure(catalogs)
        command = [
            (installation / "java").read_text().strip(), f"-Xmx{MEMORY}", "-Duser.timezone=UTC",
            # Without the C2 compiler, the server starts faster. C2 would not pay off in short tests.
            "-XX:TieredStopAtLevel=1",
            # Without C2, the JVM reserves only 48 MiB for compiled code: too little for the queries over all tables.
            "-XX:ReservedCodeCacheSize=512M",
            *(MODERN if version_of(installation) >= NATIVE_FILES else ()), f"-Dconfig={self.properties}",
            "-cp", f"{installation}/classes/server:{installation}/lib/*",
            "Launcher", str(version_of(installation)),
        ]
        # The server loads all plugins in its working directory. It starts faster with only those that it needs.
        (self.directory / "plugin").mkdir()
        for connector in {properties["connector.name"] for properties in catalogs.values()}:
            (self.directory / "plugin" / connector).symlink_to(installation / "plugin" / connector)
        self.log = (self.directory / "server.log").open("w")
        self.process = subprocess.Popen(
            command, cwd=self.directory, stdout=self.log, stderr=subprocess.STDOUT
        )
        try:
            self.wait()
        except BaseException:
            self.close()
            raise

    def configure(self, catalogs):
        etc = self.directory / "etc"
        (etc / "catalog").mkdir(parents=True)
        for name, properties in catalogs.items():
            write_properties(etc / "catalog" / f"{name}.properties", properties)
        write_properties(etc / "config.properties", {
            "coordinator": "true",
            "node-scheduler.include-coordinator": "true",
            "node.environment": "test",
            "node.bind-ip": "127.0.0.1",
            "node.internal-address": "127.0.0.1",
            "http-server.http.port": self.url.rpartition(":")[2],
            "discovery.uri": self.url,
            "query.max-memory": "600MB",
            "query.max-memory-per-node": "600MB",
            "memory.heap-headroom-per-node": "300MB",
        })
        return etc / "config.properties"

    def wait(self):
        end = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise TrinoError(f"the server ended; its output: {self.output()}")
            try:
                if not self.get(f"{self.url}/v1/info")["starting"]:
                    self.query("SELECT 1")
                    return
            except (OSError, TrinoError):
                pass
            time.sleep(0.5)
        raise TrinoError(f"no start in {STARTUP_SECONDS} s; its output: {self.output()}")

    def output(self):
        return pathlib.Path(self.log.name).read_text()[-2000:]

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def get(self, url, data=None, headers=None):
        headers = {"X-Trino-User": "test", "X-Trino-Time-Zone": "UTC", **(headers or {})}
        request = urllib.request.Request(url, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)

    def query(self, sql, **session):
        """Runs a statement. If necessary, waits until the server accepts queries."""
        # The server reports that it has started several seconds before its only node becomes active.
        end = time.monotonic() + NODE_SECONDS
        while True:
            try:
                return self.ask(sql, **session)
            except TrinoError as error:
                if not str(error).startswith("NO_NODES_AVAILABLE") or time.monotonic() > end:
                    raise
                time.sleep(0.5)

    def ask(self, sql, catalog="hive", schema="default", properties=""):
        """Runs a statement once, with session properties: `name=value,…`."""
        headers = {"X-Trino-Catalog": catalog, "X-Trino-Schema": schema, "X-Trino-Session": properties}
        page = self.get(f"{self.url}/v1/statement", sql.strip().rstrip(";").encode(), headers)
        columns, rows = [], []
        while True:
            columns = page.get("columns", columns)
            rows += page.get("data", [])
            if error := page.get("error"):
                raise TrinoError(f"{error['errorName']}: {error['message']}")
            if "nextUri" not in page:
                break
            page = self.get(page["nextUri"])
        readers = [READERS.get(column["type"].partition("(")[0]) for column in columns]
        rows = [
            tuple(reader(value) if reader and value is not None else value
                  for reader, value in zip(readers, row))
            for row in rows
        ]
        return Answer([column["name"] for column in columns], rows, page["stats"])

    def run(self, script, **session):
        """Runs the statements of a script, which end with `;` and a newline."""
        for statement in script.split(";\n"):
            if statement.strip():
                self.query(statement, **session)


def read_checksums(server, table, types, outside, **session):
    """Returns the checksums of a table's columns. `types` maps their names to their types."""
    # The protocol has times only as text, and with three digits unless they are cast.
    selected = ", ".join(
        f'CAST(CAST("{name}" AS timestamp(6)) AS varchar)' if kind == "timestamp" else f'"{name}"'
        for name, kind in types.items()
    )
    rows = server.query(f"SELECT {selected} FROM {table}", **session).rows
    columns = dict(zip(types, zip(*rows))) if rows else {name: [] for name in types}
    for name, kind in types.items():
        if kind == "timestamp":
            columns[name] = [checksums.micros(value) for value in columns[name]]
    return checksums.of_columns(columns, outside)


READERS = {
    "timestamp": lambda text: datetime.datetime.fromisoformat(text),
    "varbinary": base64.b64decode,
    "double": float,
}


def write_properties(path, properties):
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
