"""Compares the min, max and count of every column, which engines read from footers, with the values in the logs.

    footers.py --program ALB2PARQUET

All checks run once for each profile.

Generates logs with edge cases for statistics: text of 55 to 70 bytes with characters of one to four bytes, shared
prefixes, the greatest characters, zero durations with both signs, columns without a value, and sources whose keys begin
with non-ASCII letters. Converts the logs, and queries every column of every table in each engine, both over the entire
table and over each file. `../readers/reference.py` computes the expected results from the raw gzip files. Exits with 1
if any result differs.
"""

import argparse
import collections
import gzip
import pathlib
import random
import subprocess
import sys
import tempfile

from queries import LOGS, aggregate, plain, reference

REJECTS = "elb_rejects"
SEED = 16
OBJECTS, LINES = 12, 40
PREFIXES = ["", "x", "xx", "xxx"]
LETTERS = ["a", "~", "\x7f", "é", "\u07ff", "€", "日", "\ud7ff", "\uffff", "\U0001f600", "\U0010ffff"]
AT = "2025-07-19T{:02}:{:02}:{:02}.{:06}Z"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--program", type=pathlib.Path, required=True)
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="footers-") as scratch:
        source = pathlib.Path(scratch, "source")
        write_logs(source)
        wrong = 0
        for profile in ("portable", "compact"):
            dataset = pathlib.Path(scratch, profile)
            subprocess.run(
                [arguments.program.resolve(), "convert", source, "--out", dataset, "--to", "2099-12-31",
                 "--profile", profile, "--max-rejects", "1", "--quiet"],
                check=True,
            )
            asked = list(groups(source, dataset))
            wrong += sum(ask(f"{name}, {profile}", engine, asked) for name, engine in ENGINES.items())
        return 1 if wrong else 0


def ask(name, engine, asked):
    """Queries all columns in all directories with an engine. Prints the differences and returns their number."""
    wrong, answers = collections.defaultdict(list), 0
    for directory, rows in asked:
        answer = engine(directory)
        for column in columns_of(rows):
            found = [plain(value) for value in answer(column)]
            answers += 1
            if wrong_answer(rows, column, found):
                wrong[column].append((rows, found))
    count = sum(map(len, wrong.values()))
    print(f"{'FAILED' if wrong else 'ok':6} {name}: {answers - count} of {answers} results agree with the logs")
    for column, examples in sorted(wrong.items()):
        rows, found = examples[0]
        expected = [aggregate(rows, function, column) for function in ("min", "max", "count")]
        print(f"       {column}, {len(examples)} times, such as {found} instead of {expected}")
    return count


# The logs.


def write_logs(source):
    """Writes objects of all log types below several prefixes. No two objects of a type share a day or a file."""
    chance = random.Random(SEED)
    for number in range(OBJECTS):
        # The leading letters shift the rest of the key. Byte offsets 61 to 67 are therefore inside a multi-byte
        # character in some keys, and at a character boundary in others.
        letter = LETTERS[3 + number % 8] if number % 3 else "日"
        prefix = PREFIXES[number % 4] + letter * (60 // len(letter.encode()) + number % 3)
        day = f"2025/07/{number + 1:02}"
        for log, balancer, line in [
            ("", "app.front.0123456789abcdef", access), ("conn_log_", "app.front.0123456789abcdef", connection),
            ("health_check_log_", "app.front.0123456789abcdef", check), ("", "net.front.0123456789abcdef", tls),
            ("", "front", classic),
        ]:
            lines = [line(chance, number, row) for row in range(LINES)]
            lines.insert(7, f"no line: {text(chance)}")
            data = "".join(line + "\n" for line in lines).encode()
            name = f"{log}123456789012_elasticloadbalancing_eu-west-1_{balancer}_{day.replace('/', '')}T1200Z"
            # Network Load Balancers omit the address. Only Classic Load Balancers deliver uncompressed text.
            name += f"_{number:08x}.log.gz" if line is tls else f"_192.0.2.1_{number:08x}.log"
            if line not in (tls, classic):
                name += ".gz"
            path = source / prefix / "AWSLogs/123456789012/elasticloadbalancing/eu-west-1" / day / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if line is classic else gzip.compress(data, mtime=0))


def text(chance):
    """Returns text of about the length at which statistics are truncated, with letters of one to four bytes."""
    letter = chance.choice(LETTERS)
    size = chance.randint(55, 70)
    value = chance.choice(PREFIXES) + letter * (size // len(letter.encode()))
    return value + "".join(chance.choices(LETTERS, k=chance.randint(0, 4)))


def seconds(chance, number):
    """Returns a duration. Some objects have only zero durations, with one or both signs. Others have a mixture."""
    values = [["0.000"], ["-0.000"], ["0", "-0.000"], ["0.000", "1.250", "-1"], ["-1", "0.000"], ["0.004", "0"]]
    return chance.choice(values[number % len(values)])


def access(chance, number, row):
    time = AT.format(row % 24, number, row, chance.randrange(1_000_000))
    long = lambda shape="{}": f'"{shape.format(text(chance))}"' if number != 5 else '"-"'
    # Only columns that clients control can contain arbitrary text. All other values must have a known format.
    host = "".join(letter for letter in text(chance) if letter != "\x7f")
    trace = f'"Root=1-{chance.getrandbits(96):024x}"'
    target = "-" if number == 4 else f"198.51.100.{row}:{8000 + row}"
    return " ".join([
        "https", time, "app/front/0123456789abcdef", f"192.0.2.{row}:{chance.randint(1, 65535)}", target,
        *(seconds(chance, number + shift) for shift in range(3)), chance.choice(["200", "404"]),
        "-" if target == "-" else "200", str(chance.getrandbits(chance.randint(1, 62))), "0",
        f'"GET https://example.com:443/{text(chance)} HTTP/1.1"', long(), "TLS_AES_128_GCM_SHA256", "TLSv1.3",
        "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/front/0123456789abcdef", trace, long(),
        '"-"', str(row % 3), time, '"forward"', long("https://example.com/{}"), '"-"', f'"{target}"', '"200"', '"-"', '"-"',
        f"TID_{chance.getrandbits(128):032x}", f'"h{host}"', long("/{}"), '"TransformSuccess"',
    ])


def connection(chance, number, row):
    time = AT.format(row % 24, number, row, chance.randrange(1_000_000))
    return " ".join([
        time, f"192.0.2.{row}", str(chance.randint(1, 65535)), "443", "TLSv1.3", "TLS_AES_128_GCM_SHA256",
        seconds(chance, number), f'"CN={text(chance)}"', "-", "-", "Success",
        f"TID_{chance.getrandbits(128):032x}",
    ])


def check(chance, number, row):
    time = AT.format(row % 24, number, row, chance.randrange(1_000_000))
    return " ".join([
        "http", time, seconds(chance, number), f"198.51.100.{row}:8080", "0123456789abcdef", "PASS", "200", "-",
    ])


def tls(chance, number, row):
    time = AT.format(row % 24, number, row, 0)[:19]
    long = lambda shape="{}": shape.format(text(chance)) if number != 5 else "-"
    count = lambda: str(chance.getrandbits(chance.randint(1, 62)))
    return " ".join([
        "tls", "2.0", time, "net/front/0123456789abcdef", long(), f"192.0.2.{row}:{chance.randint(1, 65535)}",
        f"198.51.100.{row}:443", count(), "-" if number == 4 else count(), count(), "0", chance.choice(["-", "42"]),
        "arn:aws:acm:eu-west-1:123456789012:certificate/0123456789abcdef", "-", "TLS_AES_128_GCM_SHA256", "tlsv13",
        "x25519", long(), long("http/{}"), long("http/{}"), long('"{}","http/1.1"'), "-" if number == 3 else time,
    ])


def classic(chance, number, row):
    time = AT.format(row % 24, number, row, chance.randrange(1_000_000))
    backend = "-" if number == 4 else f"198.51.100.{row}:{8000 + row}"
    long = lambda: text(chance)
    request = "- - - " if number == 5 else f"GET https://example.com:443/{long()} HTTP/1.1"
    return " ".join([
        time, "front", f"192.0.2.{row}:{chance.randint(1, 65535)}", backend,
        *(seconds(chance, number + shift) for shift in range(3)), chance.choice(["200", "404"]),
        "-" if backend == "-" else "200", str(chance.getrandbits(chance.randint(1, 62))), "0", f'"{request}"',
        f'"{long()}"' if number != 5 else '"-"', "ECDHE-RSA-AES128-GCM-SHA256", "TLSv1.2",
    ])


# The expected results.


def groups(source, dataset):
    """Yields the directory of each table and each of its days, with the rows that the reference parser expects."""
    parsed = [
        (log, reference.parse_object((path, key, source.parent)))
        for log in LOGS.values() for path, key in reference.objects(source, log)
    ]
    for table in [*(log.table for log in LOGS.values()), REJECTS]:
        days = collections.defaultdict(list)
        for log, each in parsed:
            batches = [each.rejects] if table == REJECTS else [each.rows] if table == log.table else []
            for row in (row for batch in batches for row in batch.to_pylist()):
                values = {name: plain(value) for name, value in row.items()}
                days[row["day"]].append(values)
        assert len(days) == OBJECTS, f"{table} has rows of {len(days)} days"
        partition = dataset / table / "account=123456789012/region=eu-west-1/year=2025/month=07"
        for day, rows in days.items():
            yield partition / f"day={day}", rows
        yield dataset / table, [row for rows in days.values() for row in rows]


def columns_of(rows):
    return [column for column in rows[0] if column not in reference.PARTITION_NAMES]


def wrong_answer(rows, column, found):
    """Returns whether an engine returned a wrong minimum, maximum or count for a column."""
    expected = [aggregate(rows, function, column) for function in ("min", "max", "count")]
    # Positive and negative zero are equal, but the result must be one that the column contains.
    held = {repr(row[column]) for row in rows}
    return found != expected or not {repr(value) for value in found[:2]} <= held


# The engines. Each function takes a directory and returns a function that maps a column to its min, max and count.


def duckdb(directory):
    import duckdb

    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    return lambda column: session.sql(
        f"""SELECT min("{column}"), max("{column}"), count("{column}") FROM '{directory}/**/*.parquet'"""
    ).fetchall()[0]


def datafusion(directory):
    import datafusion

    config = datafusion.SessionConfig({
        "datafusion.execution.collect_statistics": "true",
        "datafusion.execution.listing_table_ignore_subdirectory": "false",
    })
    context = datafusion.SessionContext(config)
    context.register_parquet("logs", directory)
    return lambda column: tuple(
        context.sql(f'SELECT min("{column}") AS a, max("{column}") AS b, count("{column}") AS c FROM logs')
        .to_arrow_table().to_pylist()[0].values()
    )


def polars(directory):
    import polars

    frame = polars.scan_parquet(directory / "**/*.parquet", hive_partitioning=False)
    return lambda column: frame.select(
        polars.col(column).min().alias("min"),
        polars.col(column).max().alias("max"),
        polars.col(column).count().alias("count"),
    ).collect().row(0)


ENGINES = {"DuckDB": duckdb, "DataFusion": datafusion, "Polars": polars}


if __name__ == "__main__":
    sys.exit(main())
