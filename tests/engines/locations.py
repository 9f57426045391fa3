"""Runs the output of `alb2parquet ddl` and `policy` for datasets in directories whose names have special characters.

    locations.py --program ALB2PARQUET [--trino DIRECTORY] [--engines NAME,...] [--seed N] [--cases N]

Each case is a dataset in a directory whose name contains characters that are special in some engine: wildcards, quotes,
escapes, variables, `key=value`. A second dataset is placed wherever a misread name would point. Either the engine must
return only the rows and partition columns of the first dataset, or the program must refuse the location, report the
character and exit with 3. Policies are evaluated for random keys according to IAM's rules. Prints the number of cases
per engine and the problems. Exits with 1 if there are any problems.
"""

import argparse
import collections
import gzip
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

import documentation
from queries import PARTITION, REJECTS, ROWS

# Parts of names. Each part is also tested alone.
PIECES = [
    "*", "**", "?", "[", "]", "[ab]", "[!a]", "{", "}", "{a,b}", "{1..3}", "\\", "\\*", "'", "''", '"', "`", ";",
    ";", "%", "%20", "%2F", "#", "+", " ", "ä", "日", "😀", "$", "$1", "${", "${year}",
    "${account}", "${env:HOME}", "${aws:username}", "${*}", "\\u0041", ":", ",", "=", "&", "@", "!", "|", "<",
    ">", "^", "(", ")", "~", "year=1999", "account=5", "..", "--",
]
# How each part could be misread: as text that its wildcard matches, or with its escape or variable replaced.
MISREAD = {
    "**": "z", "*": "zz", "?": "z", "[ab]": "a", "[!a]": "z", "{a,b}": "a", "{1..3}": "2", "\\u0041": "A", "\\": "",
    "''": "'", "%20": " ", "%2F": "_", "+": " ", "${year}": "2025", "${account}": "012345678901", "${*}": "*",
}
# A parent directory that looks like a partition.
ABOVE = "year=1999/account=5"

# Row counts of the first and the second dataset, by account, region and day.
WANTED = {("012345678901", "eu-west-1", "2025", "07", "09"): 3, ("123456789012", "us-east-1", "2025", "08", "31"): 2}
OTHER = {("999999999999", "sa-east-1", "2024", "02", "29"): 5}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--program", type=pathlib.Path, required=True)
    arguments.add_argument("--trino", type=pathlib.Path, help="the directory that scripts/trino prints; needs MOTO")
    arguments.add_argument("--engines", default="duckdb,clickhouse,polars,pyarrow,spark,athena,policies")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--cases", type=int, default=40, help="number of random names, in addition to each part alone")
    arguments = arguments.parse_args()
    program = Program(arguments.program.resolve())
    with tempfile.TemporaryDirectory(prefix="locations-") as scratch:
        scratch = pathlib.Path(scratch).resolve()
        cases = list(Maker(program, scratch).cases(random.Random(arguments.seed), arguments.cases))
        print(f"seed {arguments.seed}: {len(cases)} datasets")
        engines = arguments.engines.split(",") + (["trino"] if arguments.trino else [])
        wrong = []
        for name in engines:
            sheet = Sheet(name)
            ENGINES[name](program, scratch, cases, sheet, arguments)
            wrong += sheet.wrong
            print(f"{name}: {sheet.right} correct, {sheet.refused} refused by name, {sheet.left} skipped, "
                  f"{len(sheet.wrong)} wrong", flush=True)
    print(*wrong, sep="\n")
    return 1 if wrong else 0


class Sheet:
    """The results of all cases for one engine."""

    def __init__(self, engine):
        self.engine, self.right, self.refused, self.left, self.wrong = engine, 0, 0, 0, []

    def check(self, what, right, problem=""):
        if right:
            self.right += 1
        else:
            self.wrong.append(f"{self.engine}: {what}: {str(problem)[:600]}")

    def rows(self, case, ask):
        """Compares an engine's result for a case with the rows of the case's dataset."""
        try:
            found = sorted(tuple(row) for row in ask())
        except Exception as error:  # The engines have no common error type.
            found = f"{type(error).__name__}: {error}"
        wanted = sorted((*values, count) for values, count in case.wanted().items())
        self.check(case, found == wanted, f"{found} is not {wanted}")

    def refusal(self, case, answer, pieces):
        """Checks that a location is refused and that the message names the character."""
        named = any(f"contains {debug(piece)}, " in answer.stderr for piece in pieces)
        if answer.returncode == 3 and named and not answer.stdout:
            self.refused += 1
        else:
            self.wrong.append(f"{self.engine}: {case} is not refused by name: {answer}")


def debug(text):
    """Formats text like Rust's debug format."""
    special = {"\n": "\\n", "\t": "\\t", "\\": "\\\\", '"': '\\"'}
    return '"' + "".join(special.get(c, c) for c in text) + '"'


class Program:
    """The program under test."""

    def __init__(self, path):
        self.path = path

    def ask(self, *arguments):
        return subprocess.run([self.path, *map(str, arguments)], capture_output=True, text=True)

    def run(self, *arguments):
        answer = self.ask(*arguments)
        if answer.returncode != 0:
            raise RuntimeError(f"{arguments}: {answer.stderr}")
        return answer.stdout

    def ddl(self, case, dialect, *more):
        """Runs `ddl` for a case's dataset."""
        log_type = "rejects" if case.table == REJECTS else "access"
        return self.ask("ddl", "--from-dataset", case.dataset, "--log-type", log_type, "--dialect", dialect, *more)


class Case:
    """A dataset in a directory with a special name."""

    def __init__(self, number, name, dataset, layout, table):
        self.number, self.name, self.dataset, self.layout, self.table = number, name, dataset, layout, table

    def wanted(self):
        # Each partition has one reject.
        return WANTED if self.table == ROWS else dict.fromkeys(WANTED, 1)

    def __str__(self):
        return f"{str(self.dataset)!r} ({self.layout}, {self.table})"

    def holds(self, *texts):
        return any(text in str(self.dataset) for text in texts)


class Maker:
    """Creates the datasets: converts two per layout, and hard-links their files for each case."""

    def __init__(self, program, scratch):
        self.scratch, self.made = scratch, {}
        for kind, partitions in (("wanted", WANTED), ("other", OTHER)):
            source = scratch / "sources" / kind
            for partition, count in partitions.items():
                write_object(source, partition, count)
            for layout in ("hive", "plain"):
                self.made[kind, layout] = scratch / "made" / kind / layout
                program.run("convert", source, "--out", self.made[kind, layout], "--layout", layout, "--quiet",
                            "--max-rejects", "1")

    def cases(self, chance, count):
        names = ["plain"] + [piece if piece == ".." else f"x{piece}y" for piece in PIECES if piece != ".."]
        names += [f"{piece}" for piece in ("year=1999", "account=5", "~", "**", "-", "_x", ".x")]
        for _ in range(count):
            parts = (chance.choice("abz") + chance.choice(PIECES) for _ in range(chance.randint(2, 4)))
            names.append("".join(parts) + chance.choice(["", "z"]))
        for number, name in enumerate(names):
            layout = ("hive", "plain")[number % 2]
            above = ["", ABOVE][chance.randrange(2)]
            parent = self.scratch / "datasets" / f"{number}" / above
            for other in misread(name):
                self.put("other", layout, parent / other)
            # Written last, so that it replaces the second dataset if a misread name equals the original name.
            self.put("wanted", layout, parent / name)
            table = chance.choice([ROWS, ROWS, REJECTS])
            yield Case(number, name, parent / name, layout, table)

    def put(self, kind, layout, place):
        if place.exists():
            shutil.rmtree(place)
        shutil.copytree(self.made[kind, layout], place, copy_function=os.link)


def misread(name):
    """Returns other names that an engine could mistake the given name for."""
    found = {name.replace(piece, other) for piece, other in MISREAD.items() if piece in name}
    everything = name
    for piece, other in MISREAD.items():
        everything = everything.replace(piece, other)
    cut = {name.split(sign)[0] for sign in "#?;\n" if sign in name}
    return {other for other in found | cut | {everything} if other not in (name, "", ".", "..")}


def write_object(source, partition, count):
    """Writes an object with the given number of requests and an invalid line."""
    account, region, *day = partition
    directory = source.joinpath("AWSLogs", account, "elasticloadbalancing", region, *day)
    directory.mkdir(parents=True)
    time = "-".join(day) + "T12:00:01.000000Z"
    line = (
        f"http {time} app/web/50dc6c495c0c9188 192.0.2.1:4000 10.0.0.1:80 0.001 0.002 0.000 200 200 34 366 "
        '"GET http://www.example.com:80/ HTTP/1.1" "curl/8.5.0" - - '
        f"arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/web/73e2d6bc24d8a067 "
        '"Root=1-58337262-36d228ad5d99923122bbe354" "-" "-" 0 '
        f'{time} "forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1234abcd\n'
    )
    name = (f"{account}_elasticloadbalancing_{region}_app.web.50dc6c495c0c9188_{''.join(day)}T1205Z_"
            "192.0.2.9_abcdefgh.log.gz")
    (directory / name).write_bytes(gzip.compress((line * count + "nonsense\n").encode()))


def question(table, quote='"'):
    columns = ", ".join(f"{quote}{column}{quote}" for column in PARTITION)
    return f"SELECT {columns}, count(*) FROM {table} GROUP BY {columns}"


def statements(script, backslash):
    """Splits a script into statements at semicolons outside literals. In some dialects, `\\` escapes a character."""
    begin, quote, place = 0, None, 0
    while place < len(script):
        c = script[place]
        if quote is None and c == ";":
            yield script[begin:place]
            begin = place + 1
        elif quote is None and c in "'\"`":
            quote = c
        elif quote is not None and backslash and c == "\\":
            place += 1
        elif c == quote:
            quote = None
        place += 1


def duckdb(program, scratch, cases, sheet, arguments):
    import duckdb

    for case in cases:
        answer = program.ddl(case, "duckdb")
        if case.holds("\\"):
            sheet.refusal(case, answer, ["\\"])
            continue
        session = duckdb.connect()

        def ask():
            session.execute(answer.stdout)
            return session.sql(question(case.table)).fetchall()

        sheet.rows(case, ask)
        sheet.check(f"{case}: a filter on partitions reads one file", *reads_one_file(session, case.table))


def reads_one_file(session, table):
    """Returns DuckDB's query plan, and whether the plan skips files because of a filter on partition columns."""
    import duckdb

    where = " AND ".join(f"{column} = '{value}'" for column, value in zip(PARTITION, next(iter(WANTED))))
    try:
        plan = session.sql(f"EXPLAIN ANALYZE SELECT * FROM {table} WHERE {where}").fetchall()[0][1]
    except duckdb.Error as error:
        return False, error
    files = re.search(r"Total Files Read: (\d+)", plan)
    return files is not None and files[1] == "1", plan


def documented(engine, language, case, form):
    """Returns an engine's example from docs/athena.md, adapted to a case's table. `form` formats a literal."""
    text = documentation.block("docs/athena.md", f"**{engine}**", language)
    text = text.replace(ROWS, case.table)
    literal = re.search(r"(['\"])lake/(.*?)\1", text)
    return text.replace(literal[0], form(f"{case.dataset}/{literal[2]}"))


def clickhouse(program, scratch, cases, sheet, arguments):
    import chdb.session
    import pyarrow

    session = chdb.session.Session(str(scratch / "clickhouse"))
    quote = lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def ask(case):
        session.query(documented("ClickHouse", "sql", case, quote).replace("CREATE", "CREATE OR REPLACE", 1))
        answer = session.query(question(case.table), "Arrow").bytes()
        table = pyarrow.ipc.open_file(pyarrow.BufferReader(answer)).read_all()
        text = lambda value: value.decode() if isinstance(value, bytes) else value
        return [tuple(map(text, row.values())) for row in table.to_pylist()]

    for case in filter(is_documented, cases):
        # A limit that docs/athena.md documents.
        if case.holds("*", "?", "{", "}"):
            sheet.left += 1
        else:
            sheet.rows(case, lambda: ask(case))
    session.close()


def is_documented(case):
    """Returns whether the examples in the documentation apply to a case's layout."""
    return case.layout == "hive"


def polars(program, scratch, cases, sheet, arguments):
    import polars

    for case in filter(is_documented, cases):
        def ask():
            names = {"polars": polars}
            exec(documented("Polars", "python", case, repr), names)
            return names["logs"].group_by(*PARTITION).agg(polars.len()).collect().rows()

        sheet.rows(case, ask)


def pyarrow(program, scratch, cases, sheet, arguments):
    import pyarrow
    import pyarrow.dataset

    for case in filter(is_documented, cases):
        def ask():
            names = {"pyarrow": pyarrow}
            exec(documented("pyarrow", "python", case, repr), names)
            rows = names["logs"].to_table(columns=list(PARTITION)).to_pylist()
            counts = collections.Counter(tuple(row.values()) for row in rows)
            return [(*values, count) for values, count in counts.items()]

        sheet.rows(case, ask)


def spark(program, scratch, cases, sheet, arguments):
    """Tests Spark with its own statements and, optionally, with those for Athena, which Spark's Hive parser accepts."""
    import adapters

    session = adapters.spark_session(scratch)

    def ask(name, text):
        for statement in statements(text, True):
            session.sql(statement)
        found = [tuple(row) for row in session.sql(question(name, "`")).collect()]
        session.sql(f"DROP TABLE {name}")
        return found

    for case in cases:
        sheet.rows(case, lambda: ask("kept", succeeded(program.ddl(case, "spark", "--name", "kept"))))
        if case.number % 4 == 0 and case.layout == "hive":
            log_type = "rejects" if case.table == REJECTS else "access"
            text = program.ask("ddl", "--location", case.dataset, "--log-type", log_type, "--dialect", "spark",
                               "--name", "found")
            sheet.rows(case, lambda: ask("found", succeeded(text)))
        place = case.dataset.relative_to(scratch)
        answer = program.ddl(case, "athena", "--location", f"s3://lake/{place}", "--no-projection", "--name", "aws")
        if answer.returncode == 0:
            text = answer.stdout.replace("s3://lake/", f"file://{scratch}/")
            sheet.rows(case, lambda: ask("aws", text))
    session.stop()


def succeeded(answer):
    if answer.returncode != 0:
        raise RuntimeError(answer.stderr)
    return answer.stdout


# Characters that `ddl` refuses for Athena and Glue.
AMAZON = set('*?[]{}\\"`;#%^|<>')


def athena(program, scratch, cases, sheet, arguments):
    """Checks that `ddl` refuses the characters that AWS advises against, and no others. Athena cannot run here."""
    for case in cases:
        place = case.dataset.relative_to(scratch)
        for dialect in ("athena", "glue"):
            answer = program.ddl(case, dialect, "--location", f"s3://lake/{place}")
            signs = set(str(place))
            if any(ord(c) < 32 for c in signs):
                # Control characters are refused earlier, when the URL is parsed.
                sheet.check(f"{case} for {dialect}", answer.returncode == 3 and not answer.stdout, answer)
            elif signs & AMAZON:
                sheet.refusal(case, answer, [*(signs & AMAZON), "${"])
            else:
                sheet.check(f"{case} for {dialect}", answer.returncode == 0, answer)


def trino(program, scratch, cases, sheet, arguments):
    """Tests Trino on a local disk, with projected and with stored partitions, and on S3 with tables in Glue."""
    import boto3
    from athena import ACCESS, with_whole_years
    from trino import Server

    moto = os.environ["MOTO"]
    common = {
        "connector.name": "hive",
        "hive.partition-projection-enabled": "true",
        "hive.allow-register-partition-procedure": "true",
        "hive.ignore-absent-partitions": "true",
    }
    glue = {name.replace("hive.s3.", "hive.metastore.glue."): value for name, value in ACCESS.items() if "key" in name}
    (scratch / "server").mkdir()
    server = Server(arguments.trino, scratch / "server", {
        "hive": {**common, "hive.metastore": "file", "hive.metastore.catalog.dir": f"file://{scratch}/metastore"},
        "glue": {**common, **ACCESS, **glue, "hive.s3.endpoint": f"http://{moto}", "hive.metastore": "glue",
                 "hive.metastore.glue.region": "eu-west-1",
                 "hive.metastore.glue.endpoint-url": f"http://{moto}",
                 "hive.metastore.glue.partitions-segments": "1"},
    })
    client = lambda service, region: boto3.client(
        service, endpoint_url=f"http://{moto}", region_name=region, aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    s3, catalog = client("s3", "us-east-1"), client("glue", "eu-west-1")

    def ask(case, name, text=None, where="", **session):
        for statement in statements(text or "", False):
            server.query(statement)
        return server.query(question(name).replace(" GROUP", f"{where} GROUP"), **session).rows

    try:
        server.query("CREATE SCHEMA hive.odd")
        s3.create_bucket(Bucket="odd")
        catalog.create_database(DatabaseInput={"Name": "odd"})
        for case in cases:
            kept = succeeded(program.ddl(case, "trino", "--no-projection", "--name", f"odd.kept{case.number}"))
            sheet.rows(case, lambda: ask(case, f"odd.kept{case.number}", kept))
            computed = program.ddl(case, "trino", "--name", f"odd.computed{case.number}")
            years = " WHERE year = '2025'"
            if case.holds("${"):
                sheet.refusal(case, computed, ["${"])
            else:
                name = f"odd.computed{case.number}"
                sheet.rows(case, lambda: ask(case, name, succeeded(computed), years))
            place = case.dataset.relative_to(scratch)
            answer = program.ddl(case, "glue", "--location", f"s3://odd/{place}", "--name", f"t{case.number}")
            if answer.returncode == 0:
                upload(s3, "odd", case.dataset, place)
                catalog.create_table(DatabaseName="odd", TableInput=with_whole_years(answer.stdout))
                session = {"catalog": "glue", "schema": "odd"}
                sheet.rows(case, lambda: ask(case, f"t{case.number}", None, years, **session))
    finally:
        server.close()


def upload(client, bucket, dataset, prefix):
    for path in sorted(dataset.rglob("*.parquet")):
        client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(dataset).as_posix()}")


# Policies.


def granted(pattern, text):
    """Returns whether a policy's pattern matches a string. According to IAM's documentation of policy variables, `*`
    matches any text, `?` matches one character, and `${*}`, `${?}` and `${$}` are literal characters."""
    expression = ""
    for variable, sign in re.findall(r"\$\{([^}]*)\}|(.)", pattern, re.DOTALL):
        if sign in ("*", "?"):
            expression += ".*" if sign == "*" else "."
        elif sign:
            expression += re.escape(sign)
        elif variable in ("*", "?", "$"):
            expression += re.escape(variable)
        else:
            expression += re.escape(f"<what {variable} of the caller is>")
    return re.fullmatch(expression, text, re.DOTALL) is not None


def policies(program, scratch, cases, sheet, arguments):
    for pattern, text, right in [
        ("a*b", "axxb", True), ("a?b", "axb", True), ("a?b", "ab", False), ("a${*}b", "a*b", True),
        ("a${*}b", "axb", False), ("${$}{x}", "${x}", True), ("${aws:username}", "${aws:username}", False),
    ]:
        assert granted(pattern, text) == right, (pattern, text)
    chance = random.Random(arguments.seed)
    account = "123456789012"
    for _ in range(3 * arguments.cases):
        parts = ["".join(chance.choice(["a", "b", *PIECES]) for _ in range(chance.randint(1, 4)))
                 for _ in range(chance.randint(1, 2))]
        prefix = "/".join(parts)
        url = f"s3://logs/{prefix}"
        answers = [program.ask("policy", "convert", "--source", url),
                   program.ask("policy", "convert", "--source", "/disk", "--out", url),
                   program.ask("policy", "log-delivery", "--bucket", "logs", f"--prefix={prefix}", "--account", account)]
        if any(ord(c) < 32 for c in prefix) or ".." in parts:
            right = all(answer.returncode == 3 and not answer.stdout for answer in answers)
            sheet.check(prefix, right, answers)
            continue
        keys = {f"{other}/{rest}" for other in near(chance, prefix) for rest in ("x", "AWSLogs/1/x", "*", f"AWSLogs/{account}/x")}
        for answer, below in zip(answers, ["", "", f"/AWSLogs/{account}"]):
            statements = json.loads(succeeded(answer))["Statement"]
            resource = statements[-1]["Resource"]
            pattern = resource[0] if isinstance(resource, list) else resource
            for key in keys:
                arn = f"arn:aws:s3:::logs/{key}"
                right = granted(pattern, arn) == key.startswith(f"{prefix}{below}/")
                sheet.check(f"{prefix!r}: {pattern} and {key!r}", right, "grants more or less than the prefix")
            listed = [each["Condition"].get("StringLike") for each in statements if "Condition" in each]
            for condition in filter(None, listed):
                for other in near(chance, prefix):
                    right = granted(condition["s3:prefix"][0], f"{other}/") == (other == prefix)
                    sheet.check(f"{prefix!r} and a listing of {other!r}/", right, condition)
    refused(program, sheet)


def near(chance, prefix):
    """Returns the prefix and similar strings, including those that its wildcards or variables would match."""
    changed = list(prefix)
    changed[chance.randrange(len(changed))] = chance.choice("xyz*?$")
    return {prefix, *misread(prefix), "".join(changed), prefix + "x", "x" + prefix, prefix[:-1] or "x"} - {""} - {
        other for other in [prefix[:-1]] if other.endswith("/")}


def refused(program, sheet):
    """Checks that the program refuses arguments that would make a policy grant more than it appears to."""
    delivery = ("policy", "log-delivery", "--account", "123456789012", "--bucket")
    key = "arn:aws:kms:eu-west-1:123456789012:"
    for bad, command in [
        ("*", ("policy", "convert", "--source", "s3://*")),
        ("lo?s", ("policy", "convert", "--source", "s3://lo?s/x")),
        ("*", ("policy", "convert", "--source", "/disk", "--out", "s3://*/x")),
        ("${aws:username}", ("policy", "lifecycle", "--out", "s3://${aws:username}")),
        ("*", (*delivery, "*")),
        ("logs/x", (*delivery, "logs/x")),
        ("*", ("policy", "convert", "--source", "s3://b", "--kms-key", "*")),
        (f"{key}key/*", ("policy", "convert", "--source", "s3://b", "--kms-key", f"{key}key/*")),
        (f"{key}alias/x", ("policy", "convert", "--source", "s3://b", "--kms-key", f"{key}alias/x")),
        # A table at this location would be unreadable.
        ("a\\x0ab", ("ddl", "--location", "s3://lake/a\nb", "--dialect", "spark")),
        ("a\\u{202e}b", ("ddl", "--location", "s3://lake/a\u202eb", "--dialect", "duckdb")),
    ]:
        answer = program.ask(*command)
        named = any(name in answer.stderr for name in (debug(bad), f"s3://{bad}", f"s3://lake/{bad}"))
        right = answer.returncode == 3 and named and not answer.stdout
        if right:
            sheet.refused += 1
        else:
            sheet.check(command, False, answer)


ENGINES = {
    "duckdb": duckdb, "clickhouse": clickhouse, "polars": polars, "pyarrow": pyarrow, "spark": spark,
    "athena": athena, "trino": trino, "policies": policies,
}

if __name__ == "__main__":
    sys.exit(main())
