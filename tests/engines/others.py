"""More engine checks: both layouts, the examples in the documentation, and the documented limits.

A check also fails if a documented limit no longer exists, because docs/athena.md is then out of date.
"""

import collections

import adapters
import documentation
from adapters import LOG_TYPES
from queries import CLASSIC, PARTITION, ROWS, TLS, Query, plain, utc

# The sum of a column that contains the largest integer. It overflows.
TOO_LARGE = Query("a sum beyond 64 bits", (("sum", "received_bytes"),))
# The engines that run the statements from `ddl --check`, with their dialects.
CHECKED = {"DuckDB": "duckdb", "Spark": "spark", "Trino": "trino"}
SUMS = {
    "DuckDB": "right", "ClickHouse": "wrong", "Polars": "wrong", "pyarrow": "wrong",
    "Spark": "an error", "Trino": "an error",
}


def checks(engine, program, dataset, oracle):
    """Yields the name of every check and the problem found, which is empty if the check passes."""
    yield large_sum(engine, oracle)
    if engine.name in CHECKED:
        yield from checked(engine, program, dataset)
    yield from {"DuckDB": duckdb, "ClickHouse": clickhouse, "Polars": polars}.get(engine.name, nothing)(
        engine, program, dataset, oracle
    )


def nothing(*_):
    return ()


def checked(engine, program, dataset):
    """Runs the statements from `ddl --check`, which must return no rows."""
    for table in LOG_TYPES:
        text = adapters.ddl(program, dataset, table, CHECKED[engine.name], "--check")
        statements = [part for part in text.split(";\n") if "SELECT" in part]
        found = [row for statement in statements for row in engine.run(statement)]
        yield f"{len(statements)} statements of ddl --check, {table}", differ(found[:3], [])


def large_sum(engine, oracle):
    wanted = SUMS[engine.name]
    try:
        found = "right" if engine.ask(TOO_LARGE) == oracle.answer(TOO_LARGE) else "wrong"
    except Exception as error:
        # Other errors are not overflows.
        found = "an error" if "overflow" in str(error).lower() else f"{error}"
    return f"{TOO_LARGE.name} is {wanted}, as in docs/athena.md", differ(found, wanted)


def duckdb(engine, program, dataset, oracle):
    import duckdb

    place = beside(dataset)
    for table in LOG_TYPES:
        session = duckdb.connect()
        session.execute("SET TimeZone = 'UTC'")
        session.execute(adapters.ddl(program, place, table, "duckdb"))
        columns = ", ".join(PARTITION)
        found = session.sql(f"SELECT {columns}, count(*) FROM {table} GROUP BY {columns}").fetchall()
        yield (f"DDL for the plain layout, {table}",
               differ(sorted(found), sorted(by_partition(oracle, table))))
    bare = engine.session.sql(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE comment IS NULL AND NOT internal"
    ).fetchall()
    yield "comments on every column", differ(bare, [])

    text = documentation.block("README.md", "DuckDB can also read", "sql")
    found = {row[:2] for row in engine.session.sql(documentation.of_dataset(text, dataset)).fetchall()}
    yield "the query of the README", differ(found, errors(oracle, {"account": ["123456789012"]}))
    yield from examples(engine.session, dataset, oracle)

    kinds = [
        engine.session.sql(
            f"SELECT DISTINCT typeof(account) FROM read_parquet('{dataset}/{ROWS}/account={some}/**/*.parquet', "
            "hive_partitioning = true)"
        ).fetchall()
        for some in ("1*", "*")
    ]
    yield ("infers the type of accounts, as in docs/athena.md",
           differ(kinds, [[("BIGINT",)], [("VARCHAR",)]]))


def examples(session, dataset, oracle):
    """Runs the examples for Network and Classic Load Balancers in docs/queries.md."""
    def ask(before, table):
        text = documentation.block("docs/queries.md", before, "sql")
        return session.sql(documentation.of_dataset(text, dataset, old=table, table=table)).fetchall()

    wanted = collections.Counter()
    for row in oracle.tables[TLS]:
        counts = {"old": (row["tls_protocol_version"] or "tlsv13") < "tlsv12", "failed": row["tls_handshake_time_ms"] is None}
        for what in (what for what, holds in counts.items() if holds):
            wanted[row["client_ip"], row["domain_name"], what] += 1
    found = collections.Counter()
    for client, domain, old, failed, _ in ask("## Clients with an old TLS version", TLS):
        found |= +collections.Counter({(client, domain, "old"): old, (client, domain, "failed"): failed})
    yield "the clients with an old TLS version, of docs/queries.md", differ(found, wanted if wanted else "no rows")

    wanted = collections.defaultdict(lambda: [0, 0, 0, 0])
    for row in oracle.tables[CLASSIC]:
        counts = wanted[row["elb_name"], row["backend_ip"] or "none"]
        counts[row["request_verb"] is None] += 1
        counts[2] += (row["elb_response_code"] or 0) >= 500
        counts[3] = max(counts[3], row["timestamp"])
    found = {
        (name, backend): [requests, connections, errors, plain(last)]
        for name, backend, requests, connections, errors, _, last in ask("## Backends of a Classic", CLASSIC)
    }
    yield "the backends of Classic Load Balancers, of docs/queries.md", differ(found, dict(wanted))


def clickhouse(engine, program, dataset, oracle):
    kinds = engine.run(
        f"SELECT DISTINCT toTypeName(account) FROM file('{dataset}/{ROWS}/**/*.parquet', Parquet)"
    )
    problem = "" if all("Int" in kind for (kind,) in kinds) else f"{kinds}"
    yield "reads accounts as numbers by default, as in docs/athena.md", problem


def polars(engine, *_):
    found = engine.polars.Series([2**31 - 1, 1], dtype=engine.polars.Int32).sum()
    yield "a sum of integers beyond 32 bits is wrong, as in docs/athena.md", differ(found, -(2**31))


def by_partition(oracle, table):
    counts = collections.Counter(tuple(row[name] for name in PARTITION) for row in oracle.tables[table])
    return [(*values, count) for values, count in counts.items()]


def errors(oracle, where, begin=None, end=None):
    """Returns the number of errors in the given rows for each load balancer that has any."""
    rows = (
        row["elb"] for row in oracle.tables[ROWS]
        if row["elb_status_code"] >= 500
        and all(row[column] in values for column, values in where.items())
        and (begin is None or micros(begin) <= row["time"] < micros(end))
    )
    return set(collections.Counter(rows).items())


def micros(text):
    return int(utc(text).timestamp()) * 1_000_000


def beside(dataset):
    """Returns the dataset in the plain layout, which scripts/engines-test creates next to the given dataset."""
    return dataset.with_name(f"{dataset.name}-plain")


def differ(found, wanted):
    return "" if found == wanted else f"{found} is not {wanted}"
