"""Tests partition projection, S3 and Glue with Trino, on which Athena is based.

Trino runs the statements that `alb2parquet ddl` prints for Trino. It also reads the table definitions that `ddl` prints
for Glue. moto acts as the Glue catalog. The Glue tables have the same table properties that Athena reads.
"""

import json
import os
import re
import subprocess

import adapters
import documentation
import others
from queries import LOGS, ROWS
from trino import Server, TrinoError

# A query without a filter lists every possible partition, which is slow with moto.
MONTH = {"year": "2025", "month": "07"}
ACCESS = {
    "hive.s3.path-style-access": "true",
    "hive.s3.aws-access-key": "test",
    "hive.s3.aws-secret-key": "test",
}


def checks(arguments, dataset, scratch, oracle, sheet):
    """Adds Trino's results to the sheet, and yields the other checks."""
    moto = os.environ["MOTO"]
    common = {
        "connector.name": "hive",
        "hive.partition-projection-enabled": "true",
        "hive.allow-register-partition-procedure": "true",
        # On disk, missing directories would be errors. S3 has no directories.
        "hive.ignore-absent-partitions": "true",
    }
    files = {"hive.metastore": "file", "hive.metastore.catalog.dir": f"file://{scratch}/metastore"}
    bucket = {**ACCESS, "hive.s3.endpoint": f"http://{moto}"}
    glue = {
        "hive.metastore": "glue",
        "hive.metastore.glue.region": "eu-west-1",
        "hive.metastore.glue.endpoint-url": f"http://{moto}",
        "hive.metastore.glue.aws-access-key": "test",
        "hive.metastore.glue.aws-secret-key": "test",
        # moto returns all partitions in every segment.
        "hive.metastore.glue.partitions-segments": "1",
    }
    (scratch / "server").mkdir()
    server = Server(arguments.trino, scratch / "server", {
        "hive": {**common, **files, **bucket},
        "glue": {**common, **glue, **bucket},
    })
    try:
        server.query("CREATE SCHEMA hive.local")
        server.query("CREATE SCHEMA hive.s3")
        yield from Checks(server, arguments, dataset, oracle, sheet, moto).all()
    finally:
        server.close()


class Checks:
    def __init__(self, server, arguments, dataset, oracle, sheet, moto):
        self.server, self.arguments, self.dataset = server, arguments, dataset
        self.oracle, self.sheet, self.moto = oracle.rounded(), sheet, moto
        self.program = arguments.program.resolve()

    def all(self):
        yield from self.local()
        yield from self.plain()
        yield from self.in_bucket()
        yield from self.in_glue()
        yield from self.injected()
        yield from self.compat()

    def ddl(self, dialect, *more, table=ROWS, dataset=None):
        return adapters.ddl(self.program, dataset or self.dataset, table, dialect, *more)

    def counts(self, name, table, where=None, of=ROWS, **session):
        """Compares a table's row count with that of the table `of`, optionally only for rows that match a filter."""
        wanted = sum(where is None or all(row[c] == v for c, v in where.items())
                     for row in self.oracle.tables[of])
        filters = " AND ".join(f"{c} = '{v}'" for c, v in (where or {}).items()) or "true"
        found = self.server.query(f"SELECT count(*) FROM {table} WHERE {filters}", **session).rows[0][0]
        return name, "" if found == wanted > 0 else f"{found} rows instead of {wanted}"

    def projected(self, layout, table, name, **session):
        """Compares a table's row counts for its first month and the most common one. The engine computes the partitions."""
        first = min((row["year"], row["month"]) for row in self.oracle.tables[table])
        for year, month in {first, tuple(MONTH.values())}:
            where = {"year": year, "month": month}
            yield self.counts(f"partition projection of the {layout} layout, {table} in {year}", name, where, table,
                              **session)

    def local(self):
        """Creates tables with projected and with stored partitions, using the statements from `ddl`."""
        session = {"catalog": "hive", "schema": "local"}
        for table in adapters.LOG_TYPES:
            text = self.ddl("trino", "--no-projection", "--name", f"local.{table}", table=table)
            self.server.run(text, **session)
        engine = adapters.Trino(self.server, "local")
        self.sheet.fill(engine, self.oracle)
        yield from others.checks(engine, self.program, self.dataset, self.oracle)
        comments = self.server.query(f"SHOW COLUMNS FROM {ROWS}", **session).rows
        bare = [column for column, *_, comment in comments if not comment]
        yield "comments on every column", f"none on {bare}" if bare else ""
        for table in adapters.LOG_TYPES:
            self.server.run(self.ddl("trino", "--name", f"local.{table}_projected", table=table))
            yield from self.projected("hive", table, f"local.{table}_projected")
        name = f"local.{ROWS}_projected"
        yield self.refuses(
            "a missing directory, on a disk", f"SELECT count(*) FROM {name} WHERE year = '2025'",
            "does not exist", properties="hive.ignore_absent_partitions=false",
        )
        text = documentation.block("docs/athena.md", "Then query the table:", "sql")
        found = {row[:2] for row in self.server.query(text, **session).rows}
        wanted = others.errors(
            self.oracle,
            {"account": ["123456789012"], "region": ["eu-west-1"], "year": ["2025"], "month": ["07"],
             "day": ["19", "20"]},
            "2025-07-19T00:00:00", "2025-07-20T00:00:00",
        )
        problem = others.differ(found, wanted) if wanted else "the sample has no rows for it"
        yield "the first query of docs/athena.md", problem

    def plain(self):
        place = others.beside(self.dataset)
        for table in adapters.LOG_TYPES:
            name = f"local.{table}_plain"
            self.server.run(self.ddl("trino", "--name", name, table=table, dataset=place))
            yield from self.projected("plain", table, name)
        text = self.ddl("trino", "--no-projection", "--name", "local.plain_kept", dataset=place)
        self.server.run(text)
        yield self.counts("registered partitions of the plain layout", "local.plain_kept")
        text = self.ddl("trino", "--name", "local.plain_kept", "--partitions", dataset=place)
        yield self.refuses("registering partitions again", text.split(";\n")[0], "already registered")
        text = self.ddl("trino", "--name", f"local.{ROWS}", "--partitions")
        self.server.run(text + text)
        yield self.counts("adding partitions twice", f"local.{ROWS}")

    def refuses(self, what, sql, why, **session):
        """Checks a limit that docs/athena.md documents."""
        name = f"refuses {what}, a limit in docs/athena.md"
        try:
            self.server.query(sql, **session)
        except TrinoError as error:
            return name, "" if why in str(error) else str(error)
        return name, "it does not refuse it"

    def in_bucket(self):
        self.upload("lake", self.dataset)
        self.upload("plain", others.beside(self.dataset))
        text = self.ddl("trino", "--location", "s3://lake", "--name", "s3.rows_in_s3")
        self.server.run(text)
        yield self.counts("a dataset in S3 (moto)", "s3.rows_in_s3", MONTH)

    def upload(self, bucket, dataset):
        client = self.client("s3")
        client.create_bucket(Bucket=bucket)
        for path in sorted(dataset.rglob("*")):
            if path.is_file():
                client.upload_file(str(path), bucket, path.relative_to(dataset).as_posix())

    def client(self, service):
        import boto3

        # In all other regions, buckets need a location constraint.
        region = "us-east-1" if service == "s3" else "eu-west-1"
        return boto3.client(
            service, endpoint_url=f"http://{self.moto}", region_name=region,
            aws_access_key_id="test", aws_secret_access_key="test",
        )

    def in_glue(self):
        """Tests tables as Athena reads them: in Glue and S3, with Athena's table properties."""
        client = self.client("glue")
        client.create_database(DatabaseInput={"Name": "lake"})
        session = {"catalog": "glue", "schema": "lake"}
        text = self.ddl("glue", "--location", "s3://lake")
        client.create_table(DatabaseName="lake", TableInput=with_whole_years(text))
        yield self.counts("Athena's projection of the hive layout, by Glue", ROWS, MONTH, **session)
        for table in (table for table in adapters.LOG_TYPES if table != ROWS):
            text = self.ddl("glue", "--location", "s3://lake", table=table)
            client.create_table(DatabaseName="lake", TableInput=with_whole_years(text))
            yield from self.projected("hive", f"{table}", table, **session)

        text = self.ddl("glue", "--location", "s3://lake", "--name", "by_date")
        client.create_table(DatabaseName="lake", TableInput=json.loads(text))
        yield self.refuses(
            "projected years of type date, which Athena supports", "SELECT count(*) FROM by_date WHERE month = '07'",
            "interval", **session,
        )

        place = others.beside(self.dataset)
        text = self.ddl("glue", "--location", "s3://plain", "--name", "plain", dataset=place)
        client.create_table(DatabaseName="lake", TableInput=with_whole_years(text))
        yield self.counts("Athena's projection of the plain layout, by Glue", "plain", MONTH, **session)

        kept = ["--location", "s3://lake", "--name", "kept", "--no-projection"]
        client.create_table(DatabaseName="lake", TableInput=json.loads(self.ddl("glue", *kept)))
        for inputs in map(json.loads, self.ddl("glue", *kept, "--partitions").splitlines()):
            answer = client.batch_create_partition(
                DatabaseName="lake", TableName="kept", PartitionInputList=inputs
            )
            assert not answer.get("Errors"), answer
        yield self.counts("partitions of batch-create-partition", "kept", **session)

        # Athena's statement must set the same properties as the Glue table.
        text = self.ddl("athena", "--location", "s3://lake", "--name", "by_date")
        in_sql = dict(re.findall(r"^  '([^']+)' = '([^']+)'", text, re.MULTILINE))
        in_glue = client.get_table(DatabaseName="lake", Name="by_date")["Table"]["Parameters"]
        in_glue.pop("EXTERNAL", None)
        yield ("the properties of Athena's statement are those in Glue",
                  "" if in_sql == in_glue else f"{in_sql} is not {in_glue}")

    def injected(self):
        """Checks that queries must filter on both account and region if the table does not list their values."""
        text = subprocess.run(
            [self.program, "ddl", "--dialect", "trino", "--location", str(self.dataset),
             "--name", "local.injected"], check=True, capture_output=True, text=True,
        ).stdout
        self.server.run(text)
        yield self.refuses(
            "a query that names no injected column", "SELECT count(*) FROM local.injected",
            "Injected projection requires",
        )
        one = MONTH | {"account": "012345678901", "region": "eu-west-1"}
        yield self.counts("a query that names account and region", "local.injected", one)

    def compat(self):
        """Checks that the compatibility views return the same rows as AWS's tables."""
        import compat

        # Athena and Trino use the same statement for the view.
        session = {"catalog": "hive", "schema": "local"}
        for documented in compat.TABLES:
            table, view = LOGS[documented.log].table, f"aws_{documented.log}"
            text = self.ddl("athena", "--location", "s3://lake", f"--compat-view={view}", table=table)
            self.server.run(text, **session)
            yield from documented.checks(self.server, view, self.arguments.sources, session)


def with_whole_years(text):
    """Returns the Glue table with years projected as integers: unlike Athena, Trino cannot project dates here."""
    table = json.loads(text)
    parameters = table["Parameters"]
    first = parameters["projection.year.range"].split(",")[0]
    for name in [name for name in parameters if name.startswith("projection.year.")]:
        del parameters[name]
    parameters |= {
        "projection.year.type": "integer",
        "projection.year.range": f"{first},2035",
        "projection.year.digits": "4",
    }
    return table
