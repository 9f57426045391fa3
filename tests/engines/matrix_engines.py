"""The engines that `matrix.py` tests: how each version is installed in target/matrix, and how it reads files.

Reading returns one dictionary per file and reader. The dictionary contains `name` (the file or the table), `reader` if
the engine has several, and either `error` or the checksums that `checksums.py` defines. An engine that cannot be
installed raises `Skipped`.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import adapters
import checksums
import trino

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = pathlib.Path(__file__).parent / "programs"
MADE = ROOT / "target/matrix"
INSTALL_SECONDS = READ_SECONDS = 3600
HADOOP = ("org.apache.hadoop:hadoop-client-api:3.3.6", "org.apache.hadoop:hadoop-client-runtime:3.3.6")
VECTORIZED = ("vectorized", "not vectorized")
# Java packages that must be opened for Spark to run on Java 17.
OPENED = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util",
                    "java.util.concurrent", "java.util.concurrent.atomic", "sun.nio.ch", "sun.nio.cs", "sun.security.action",
                    "sun.util.calendar")
]


class Skipped(Exception):
    """Raised if an engine cannot be installed here. Contains the reason."""


@dataclasses.dataclass(frozen=True)
class File:
    """A data file: its path, its dataset and table, and the partition values."""

    path: pathlib.Path
    dataset: str
    table: str
    partition: tuple

    def line(self):
        """Returns the file's line in the list that the programs read."""
        account, region, *day = self.partition
        columns = ",".join(f"{name}:{kind}" for name, kind in checksums.schemas()[self.table].items())
        return "\t".join([str(self.path), columns, f"{self.dataset}/{self.table}", account, region, "-".join(day)])


@dataclasses.dataclass(frozen=True)
class Engine:
    name: str
    version: str
    readers: tuple = ("",)
    # Whether the engine supports Zstandard. If not, it reads the same data compressed with Snappy.
    zstandard: bool = True
    # Whether the engine reads all files of a table together. Subclasses set the partition columns that the engine
    # returns.
    tables = False
    partition = ()

    def read(self, files, datasets, program):
        """Installs the engine, and reads the files of the given datasets."""
        command = self.install()
        with tempfile.TemporaryDirectory(prefix="matrix-") as scratch:
            listed = pathlib.Path(scratch, "files.tsv")
            listed.write_text("".join(f"{file.line()}\n" for file in files))
            return self.output([*command, listed, *self.more(scratch)])

    def more(self, scratch):
        """Returns the program's arguments, except for the list of files."""
        return []

    def slug(self):
        return re.sub(r"[^a-z0-9.]+", "-", f"{self.name} {self.version}".lower())

    def output(self, command):
        log = MADE / "log" / self.slug()
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"TZ": "UTC"}
        with log.open("w") as errors:
            done = subprocess.run(
                [str(each) for each in command], stdout=subprocess.PIPE, stderr=errors, text=True, cwd=MADE, env=environment,
                timeout=READ_SECONDS,
            )
        found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')]
        if done.returncode:
            found.append({"reader": None, "name": None, "error": f"exit code {done.returncode}: {log.read_text()[-1000:]}"})
        return found


def run(command, **more):
    """Runs an installation command. The engine is skipped if the command fails."""
    if not shutil.which(command[0]):
        raise Skipped(f"there is no {command[0]}")
    done = subprocess.run(
        [str(each) for each in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=INSTALL_SECONDS, **more
    )
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if "ERROR" in line] or done.stdout.splitlines() or [""]
        raise Skipped(f"{command[0]}: {lines[0].strip()[:300]}")
    return done.stdout


# Java.


@dataclasses.dataclass(frozen=True)
class Java(Engine):
    """A Java program with libraries from Maven Central: group:artifact:version, with `:alone` to exclude dependencies."""

    program: str = ""
    libraries: tuple = ()
    sources: tuple = ()

    def install(self):
        # engines-matrix and iceberg-test can run at the same time.
        MADE.mkdir(parents=True, exist_ok=True)
        with (MADE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            classpath = self.classpath()
        classes = MADE / "classes" / self.program / self.slug()
        shutil.rmtree(classes, ignore_errors=True)
        classes.mkdir(parents=True)
        sources = [PROGRAMS / "java" / f"{name}.java" for name in ("Checksums", "ListedFile", *self.sources, self.program)]
        # An error here is not a reason to skip the engine.
        subprocess.run(["javac", "-nowarn", "-d", classes, "-cp", classpath, *sources], check=True)
        return ["java", "-Xmx1500M", "-Duser.timezone=UTC", *OPENED, "-cp", f"{classes}:{classpath}", self.program]

    def classpath(self):
        """Returns the paths of the libraries and their dependencies. Fetches them with Maven unless they are cached."""
        pom = project(self.libraries)
        place = MADE / "libraries" / self.slug()
        kept, made = place / "pom.xml", place / "classpath"
        if not made.exists() or kept.read_text() != pom:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            kept.write_text(pom)
            run(["mvn", "--batch-mode", "--quiet", "--file", kept, f"-Dmaven.repo.local={MADE}/repository", "-DincludeScope=runtime",
                 f"-Dmdep.outputFile={made}", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath"])
        return made.read_text().strip()


def project(libraries):
    """Returns a Maven project that depends on the given libraries."""
    dependencies = ""
    for library in libraries:
        group, artifact, version, *alone = library.split(":")
        without = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>" if alone else ""
        dependencies += (
            f"    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version>{without}</dependency>\n"
        )
    return f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>alb2parquet</groupId>
  <artifactId>engine</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
{dependencies}  </dependencies>
</project>
"""


def parquet_java(version, **more):
    return Java("parquet-java", version, program="ReadParquet", libraries=(f"org.apache.parquet:parquet-hadoop:{version}", *HADOOP), **more)


def hive(version, **more):
    libraries = (
        f"org.apache.hive:hive-exec:{version}:alone", *HADOOP, "commons-lang:commons-lang:2.6", "com.google.guava:guava:19.0:alone",
        "org.slf4j:slf4j-api:1.7.36", "com.github.luben:zstd-jni:1.5.6-3", "org.xerial.snappy:snappy-java:1.1.10.5",
        "org.apache.logging.log4j:log4j-1.2-api:2.18.0", "org.apache.logging.log4j:log4j-core:2.18.0",
    )
    return Java("Hive", version, program="ReadHive", libraries=libraries, **more)


class Spark(Java):
    tables = True


def spark(version, scala):
    return Spark("Spark", version, VECTORIZED, program="ReadSpark", libraries=(f"org.apache.spark:spark-sql_{scala}:{version}",))


class Bundled(Spark):
    """The version of Spark that pip installed with the other Python engines."""

    def classpath(self):
        pythons = python("target/engines-python", "scripts/requirements-engines.txt").parents[1]
        return str(next(pythons.glob("lib/python*/site-packages/pyspark/jars"))) + "/*"


class Iceberg(Java):
    tables = True
    partition = ("account", "region", "day")

    def more(self, scratch):
        return [pathlib.Path(scratch, "tables")]


def iceberg(version, spark="3.5.7", scala="2.12", program="ReadIceberg"):
    runtime = f"iceberg-spark-runtime-{spark.rpartition('.')[0]}_{scala}"
    libraries = (f"org.apache.iceberg:{runtime}:{version}", f"org.apache.spark:spark-sql_{scala}:{spark}")
    return Iceberg(f"Iceberg (Spark {spark})", version, VECTORIZED, program=program, libraries=libraries, sources=("ReadSpark",))


# Go, JavaScript and Python.


class Go(Engine):
    def install(self):
        program = self.name.removesuffix("-go")
        built = MADE / "go" / program
        run(["go", "build", "-o", built, f"./{program}"], cwd=PROGRAMS / "go")
        return [built]

    @staticmethod
    def version_of(module):
        """Returns the module's version from go.mod."""
        return next(line.split()[1][1:] for line in (PROGRAMS / "go/go.mod").read_text().splitlines() if module in line)


class JavaScript(Engine):
    def install(self):
        place = MADE / "js"
        place.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PROGRAMS / "js" / name, place)
        run(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=place)
        if not run(["node", "--eval", "console.log(typeof require('zlib').crc32)"]).startswith("function"):
            raise Skipped("node is older than 20.15")
        return ["node", "--max-old-space-size=2500", PROGRAMS / "js/hyparquet.mjs"]

    def more(self, scratch):
        return [MADE / "js"]


def python(directory, requirements):
    return pathlib.Path(run([ROOT / "scripts/python-env", directory, requirements]).splitlines()[-1])


@dataclasses.dataclass(frozen=True)
class Python(Engine):
    program: str = ""
    requirements: str = "engines"

    def install(self):
        interpreter = python(f"target/{self.requirements}-python", f"scripts/requirements-{self.requirements}.txt")
        return [interpreter, "-B", PROGRAMS / "read.py", self.program]


def pinned(package, requirements="engines"):
    """Returns the pinned version of a package from a requirements file."""
    lines = (ROOT / f"scripts/requirements-{requirements}.txt").read_text().splitlines()
    return next(line.split("==")[1] for line in lines if line.startswith(f"{package}=="))


# Trino.


class Trino(Engine):
    tables = True
    partition = checksums.PARTITION

    def read(self, files, datasets, program):
        installation = self.install()
        with tempfile.TemporaryDirectory(prefix="matrix-") as scratch:
            scratch = pathlib.Path(scratch)
            (scratch / "server").mkdir()
            properties, scheme = trino.local_files(installation, scratch)
            server = trino.Server(installation, scratch / "server", {"hive": {**properties, "hive.timestamp-precision": "MICROSECONDS"}})
            with contextlib.closing(server):
                return [
                    self.table(server, scheme, program, dataset, place, table)
                    for dataset, place in datasets.items() for table in checksums.schemas()
                ]

    def install(self):
        done = subprocess.run([ROOT / "scripts/trino", self.version], capture_output=True, text=True, timeout=INSTALL_SECONDS)
        if done.returncode:
            raise Skipped((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
        return done.stdout.strip()

    def table(self, server, scheme, program, dataset, place, table):
        found = {"reader": "", "name": f"{dataset}/{table}"}
        schema = f"hive.{dataset.replace('-', '_')}"
        try:
            server.query(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            name = f"{schema.removeprefix('hive.')}.{table}"
            text = adapters.ddl(program, place, table, "trino", "--no-projection", "--name", name)
            server.run(text.replace("timestamp(3)", "timestamp(6)").replace("file://", f"{scheme}://"))
            types = checksums.schemas()[table] | {column: "string" for column in self.partition}
            checked = trino.read_checksums(server, name, types, outside=self.partition)
            return found | {"rows": checked.rows, "sum": checked.sum, "columns": checked.columns}
        except trino.TrinoError as error:
            return found | {"error": str(error)}


ENGINES = [
    Trino("Trino", "411"),
    Trino("Trino", "483"),
    spark("3.2.4", "2.12"),
    spark("3.3.4", "2.12"),
    spark("3.5.7", "2.12"),
    spark("4.0.1", "2.13"),
    Bundled("Spark", pinned("pyspark"), VECTORIZED, program="ReadSpark"),
    # Spark 3.5.4 and later free the vectors after each batch (SPARK-50235). Iceberg 1.7.1 writes the next batch to the
    # freed vectors, so the JVM crashes on every file with more than one batch, whichever program wrote the file.
    iceberg("1.7.1", spark="3.5.3"),
    iceberg("1.10.1"),
    iceberg("1.12.0"),
    hive("3.1.3", zstandard=False),
    hive("4.0.1"),
    parquet_java("1.10.1", zstandard=False),
    parquet_java("1.11.2", zstandard=False),
    parquet_java("1.12.3"),
    parquet_java("1.13.1"),
    parquet_java("1.14.4"),
    parquet_java("1.15.2"),
    Go("arrow-go", Go.version_of("apache/arrow-go")),
    Go("parquet-go", Go.version_of("parquet-go/parquet-go")),
    JavaScript("hyparquet", json.loads((PROGRAMS / "js/package.json").read_text())["dependencies"]["hyparquet"]),
    Python("pyarrow", pinned("pyarrow"), program="pyarrow"),
    Python("pandas", pinned("pandas"), program="pandas"),
    Python("fastparquet", pinned("fastparquet"), program="fastparquet"),
    Python("DuckDB", pinned("duckdb"), program="duckdb"),
    Python("Polars", pinned("polars"), ("in memory", "streaming"), program="polars"),
    Python("DataFusion", pinned("datafusion"), program="datafusion"),
    Python("Daft", pinned("daft", "daft"), program="daft", requirements="daft"),
    Python("ClickHouse (chdb)", pinned("chdb-core"), program="chdb"),
]
