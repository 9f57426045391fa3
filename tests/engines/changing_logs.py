"""Generates access logs whose values change from object to object, and provides an oracle that queries their lines.

Within an object, each column's values are in a narrow range, as after a deployment or during an attack. Each column
goes through its ranges in a different order. Pages and row groups therefore have narrow statistics in many columns. The
pages that match a filter on one column often do not overlap with those that match a filter on another. Trino 411 loses
rows from such files (trino#20267).

The oracle is DuckDB over the decompressed text: `read_csv` splits the lines, and SQL casts the fields. It shares no
code with the program and reads no Parquet.
"""

import datetime
import gzip
import random

import duckdb

ACCOUNT, REGION = "012345678901", "eu-west-1"
BALANCERS, OBJECTS = 2, 16
STATUSES = [200, 201, 204, 206, 301, 302, 304, 400, 401, 403, 404, 460, 500, 502, 503, 504]
VERBS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"]
AGENTS = ["curl/8.{}", "Mozilla/5.0 (X11; Linux) r{}", "o'Agent {}", "Prüfer/{}", "日本-{}", ""]
ORDERED = [
    "status", "target_status", "client", "client_port", "target", "received", "sent", "verb", "agent", "rule", "trace",
    "connection", "host", "waiting", "path", "missing",
]
# Number of objects in which no request reached a target, so that some columns are NULL.
MISSING = 3


def write(source, seed, rows):
    """Writes two days of logs to a directory. Each object from the first day has `rows` rows."""
    chance = random.Random(seed)
    for day, rows in (1, rows), (2, max(rows // 16, 1)):
        directory = source / f"AWSLogs/{ACCOUNT}/elasticloadbalancing/{REGION}/2025/07/{day:02}"
        directory.mkdir(parents=True)
        for balancer in range(BALANCERS):
            orders = {name: chance.sample(range(OBJECTS), OBJECTS) for name in ORDERED}
            for number in range(OBJECTS):
                at = {name: order[number] for name, order in orders.items()}
                start = datetime.datetime(2025, 7, day) + datetime.timedelta(minutes=number * 90)
                text = "".join(lines(chance, balancer, at, start, rows))
                end = start + datetime.timedelta(minutes=90)
                name = (
                    f"{ACCOUNT}_elasticloadbalancing_{REGION}_app.change-{balancer}.{balancer:016x}_"
                    f"{min(end, start.replace(hour=23, minute=55)):%Y%m%dT%H%MZ}_10.0.0.1_{number:08x}.log.gz"
                )
                (directory / name).write_bytes(gzip.compress(text.encode(), 1))


def lines(chance, balancer, at, start, rows):
    """Yields an object's lines. `at` contains each column's current position in its sequence of ranges."""
    step = 5_390_000_000 // rows
    for row in range(rows):
        # In half of the columns, the range also changes in the middle of an object.
        half = row * 2 // rows
        time = start + datetime.timedelta(microseconds=row * step + chance.randrange(step))
        created = time - datetime.timedelta(microseconds=chance.randrange(1000, 90_000))
        missing = at["missing"] < MISSING
        client = f"{10 + at['client']}.{chance.randrange(4)}.0.{chance.randrange(20)}"
        target = f"10.1.{at['target']}.{(at['target'] + half) % OBJECTS}:{8000 + at['target']}"
        target_status = STATUSES[(at["target_status"] + half) % OBJECTS]
        status = STATUSES[at["status"]] if chance.random() < 0.98 else chance.choice(STATUSES)
        waiting = -1 if missing else ((at["waiting"] + half) % OBJECTS * 40 + chance.randrange(30)) / 1000
        agent = AGENTS[at["agent"] % len(AGENTS)].format(at["agent"] // len(AGENTS) + chance.randrange(2))
        trace = f"Root=1-{int(time.timestamp()):08x}-{at['trace']:x}{chance.getrandbits(92):023x}"
        fields = [
            "h2", stamp(time), f"app/change-{balancer}/{balancer:016x}",
            f"{client}:{1024 + at['client_port'] * 4000 + chance.randrange(3900)}",
            "-" if missing else target, "0.001", waiting, chance.randrange(9) / 1000,
            status, "-" if missing else target_status,
            at["received"] * 1000 + chance.randrange(900),
            (at["sent"] + half) % OBJECTS * 5000 + chance.randrange(4000),
            f'"{VERBS[at["verb"] % 8]} https://h{at["host"]}.example.com:443/{at["path"]:x}/{chance.randrange(50)} HTTP/2.0"',
            f'"{agent or "-"}"', "TLS_AES_128_GCM_SHA256", "TLSv1.3",
            f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/t{at['target'] % 3}/{balancer:016x}",
            f'"{trace}"', f'"h{at["host"]}.example.com"', '"session-reused"',
            (at["rule"] + half) % OBJECTS, stamp(created), '"forward"', '"-"',
            f'"{"TargetConnectionError" if missing and half else "-"}"',
            '"-"' if missing else f'"{target}"', '"-"' if missing else f'"{target_status}"', '"-"', '"-"',
        ]
        # The first load balancer's lines have the format from before AWS introduced connection IDs.
        if balancer:
            fields.append(f"TID_{at['connection']:x}{chance.getrandbits(124):031x}")
        yield " ".join(map(str, fields)) + "\n"


def stamp(time):
    return f"{time:%Y-%m-%dT%H:%M:%S.%fZ}"


FIELDS = 30
# The field or expression for each column. All other columns are NULL.
TEXT = {
    "type": 1, "elb": 3, "user_agent": 14, "ssl_cipher": 15, "ssl_protocol": 16, "target_group_arn": 17, "trace_id": 18,
    "domain_name": 19, "chosen_cert_arn": 20, "actions_executed": 23, "redirect_url": 24, "lambda_error_reason": 25,
    "target_port_list": 26, "target_status_code_list": 27, "classification": 28, "classification_reason": 29,
    "conn_trace_id": 30,
}
TYPED = {
    "request_processing_time": (6, "DOUBLE"), "target_processing_time": (7, "DOUBLE"),
    "response_processing_time": (8, "DOUBLE"), "elb_status_code": (9, "INTEGER"), "target_status_code": (10, "INTEGER"),
    "received_bytes": (11, "BIGINT"), "sent_bytes": (12, "BIGINT"), "matched_rule_priority": (21, "INTEGER"),
}
PARTS = {
    "time": "CAST(rtrim(f2, 'Z') AS TIMESTAMP)",
    "request_creation_time": "CAST(rtrim(f22, 'Z') AS TIMESTAMP)",
    "client_ip": "split_part(f4, ':', 1)",
    "client_port": "CAST(split_part(f4, ':', 2) AS INTEGER)",
    "target_ip": "nullif(split_part(f5, ':', 1), '-')",
    "target_port": "CAST(nullif(split_part(f5, ':', 2), '') AS INTEGER)",
    "request_verb": "split_part(f13, ' ', 1)",
    "request_url": "split_part(f13, ' ', 2)",
    "request_proto": "split_part(f13, ' ', 3)",
    "source_key": "'AWSLogs/' || split_part(filename, '/AWSLogs/', 2)",
    "account": "split_part(filename, '/', -7)",
    "region": "split_part(filename, '/', -5)",
    "year": "split_part(filename, '/', -4)",
    "month": "split_part(filename, '/', -3)",
    "day": "split_part(filename, '/', -2)",
}


def oracle(source, columns):
    """Returns a DuckDB session with the tables `lines` (typed rows) and `rounded` (times in milliseconds)."""
    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    made = PARTS | {name: f"nullif(f{field}, '-')" for name, field in TEXT.items()}
    made |= {name: f"CAST(nullif(f{field}, '-') AS {kind})" for name, (field, kind) in TYPED.items()}
    types = ", ".join(f"'f{field}': 'VARCHAR'" for field in range(1, FIELDS + 1))
    select = ", ".join(f"{made.get(name, 'CAST(NULL AS VARCHAR)')} AS \"{name}\"" for name in columns)
    session.execute(
        f"CREATE TABLE lines AS SELECT {select} FROM read_csv('{source}/**/*.log.gz', delim = ' ', quote = '\"', "
        f"escape = '\"', header = false, auto_detect = false, null_padding = true, nullstr = 'no-text-is-NULL', "
        f"filename = true, columns = {{{types}}})"
    )
    rounded = ", ".join(
        f"make_timestamp((epoch_us(\"{name}\") + 500) // 1000 * 1000) AS \"{name}\""
        for name in ("time", "request_creation_time")
    )
    session.execute(f"CREATE TABLE rounded AS SELECT * REPLACE ({rounded}) FROM lines")
    return session
