"""The queries that run in every engine, and an oracle that computes the results without a query engine.

A query is plain data: filters, groups and aggregates. Each engine's adapter (`adapters.py`) translates them. The oracle
computes the result in Python from the rows that `../readers/reference.py` parses from the raw gzip files.
"""

import collections
import dataclasses
import datetime
import math
import sys
import pathlib

sys.path.append(str(pathlib.Path(__file__).parents[1] / "readers"))
import reference

LOGS = {log.name: log for log in reference.LOGS}
ROWS, CONNECTIONS, CHECKS, TLS, CLASSIC = (
    LOGS[name].table for name in ("access", "connection", "health_check", "nlb_tls", "classic")
)
REJECTS = "elb_rejects"


def columns_of(log):
    return [column["name"] for _, column in log.columns] + ["extra_fields", "source_key"]


COLUMNS = columns_of(LOGS["access"])
# The column types by name. Columns with the same name have the same type in every log.
KINDS = {column["name"]: column["type"] for log in LOGS.values() for _, column in log.columns}
JOIN = "conn_trace_id"
PARTITION = reference.PARTITION_NAMES


@dataclasses.dataclass(frozen=True)
class Query:
    """Per-group aggregates over the rows in a table that match all filters.

    Aggregates are (function, column) with the functions count (column None: rows), nulls, distinct, min, max and sum;
    or a single (percentile, column, share): the value at position ceil(share × n) of n sorted values. Filters are
    (column, operator, value) with the operators = <> < <= > >= in contains null notnull, and two that the Python oracle
    does not support: between (two values) and starts (a prefix). `joined` is (table, columns): another table, joined by
    connection ID, and its selected columns.
    """

    name: str
    aggregates: tuple
    where: tuple = ()
    group: tuple = ()
    table: str = ROWS
    joined: tuple = ()


def utc(text):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc)


def queries(oracle):
    """Returns the queries. Their filters search for values that occur in the rows."""
    numbers = [name for name in COLUMNS if KINDS.get(name) in ("int32", "int64")]
    doubles = [name for name in COLUMNS if KINDS.get(name) == "double"]
    every = lambda function: tuple((function, column) for column in COLUMNS)
    rows = ("count", None)
    # One sample line contains the largest integer. Sums that include it overflow, in some engines silently.
    moderate = (("received_bytes", "<", 1 << 40),)
    answered = (("target_processing_time", ">=", 0.0),)
    return [
        Query("rows", (rows,)),
        Query("rows by partition", (rows,), group=tuple(PARTITION)),
        Query("rows by account", (rows,), group=("account",)),
        Query("rows by year, with every era", (rows, ("count", "trace_id")), group=("year",)),
        Query("NULLs of every column", every("nulls")),
        Query("values of every column", every("count")),
        Query("minimum of every column", every("min")),
        Query("maximum of every column", every("max")),
        Query("distinct values of every column", every("distinct")),
        Query("sums of integers", tuple(("sum", column) for column in numbers), moderate),
        Query("sums of durations", tuple(("sum", column) for column in doubles)),
        Query("median", (("percentile", "target_processing_time", 0.50),), answered),
        Query("95th percentile", (("percentile", "target_processing_time", 0.95),), answered),
        Query("99th percentile of bytes", (("percentile", "sent_bytes", 0.99),)),
        Query("median time", (("percentile", "time", 0.50),)),
        Query("minutes across midnight",
              (rows, ("min", "time"), ("max", "time")),
              (("time", ">=", utc("2025-07-18T23:55:00")), ("time", "<", utc("2025-07-19T00:05:00")))),
        Query("rows in the partition of the next day", (rows, ("max", "time")),
              (("day", "=", "19"), ("time", "<", utc("2025-07-19T00:00:00")), ("year", "=", "2025"))),
        Query("one day by time, from two partitions", (rows,),
              (("day", "in", ("18", "19")), ("month", "=", "07"),
               ("time", ">=", utc("2025-07-18T00:00:00")), ("time", "<", utc("2025-07-19T00:00:00")))),
        Query("an account that begins with 0", (rows, ("sum", "received_bytes")),
              (("account", "=", "012345678901"), *moderate)),
        Query("IPv6 clients", (rows, ("distinct", "client_ip"), ("min", "client_ip")),
              (("client_ip", "contains", ":"),)),
        Query("the first era", (rows, ("nulls", "trace_id"), ("nulls", "conn_trace_id")),
              (("year", "=", "2016"),)),
        Query("unknown fields", (rows,), (("extra_fields", "notnull", None),),
              ("extra_fields", "year")),
        Query("one row by trace ID", (rows, ("min", "source_key"), ("min", "time")),
              (("trace_id", "=", oracle.some("trace_id")),)),
        Query("rows by connection ID", (rows, ("min", "source_key")),
              (("conn_trace_id", "=", oracle.some("conn_trace_id")),)),
        Query("status by load balancer", (rows, ("sum", "sent_bytes")), group=("elb", "elb_status_code")),
        Query("errors by target group", (rows,), (("elb_status_code", ">=", 500),),
              ("target_group_arn", "target_status_code")),
        Query("user agents", (rows,), group=("user_agent",)),
        Query("bytes by region and month", (("sum", "received_bytes"), ("sum", "sent_bytes")),
              moderate, ("region", "year", "month")),
        Query("TLS versions", (rows,), group=("ssl_protocol", "ssl_cipher")),
        Query("HTTP methods and versions", (rows,), group=("request_verb", "request_proto")),
        Query("empty is not NULL", (rows, ("nulls", "user_agent")), (("user_agent", "=", ""),)),
        Query("escapes as logged", (rows, ("distinct", "user_agent")),
              (("user_agent", "contains", "\\x"),)),
        Query("classification", (rows,), group=("classification", "classification_reason")),
        Query("transforms", (rows, ("distinct", "transformed_uri")),
              group=("request_transform_status",)),
        Query("not dispatched", (rows, ("min", "request_processing_time")),
              (("request_processing_time", "=", -1.0),)),
        Query("missing creation times", (rows,), (("request_creation_time", "null", None),),
              ("year", "month")),
        Query("rows of every object", (rows,), group=("source_key",)),
        Query("some statuses", (rows,), (("elb_status_code", "in", (301, 403, 404, 460)),),
              ("elb_status_code",)),
        Query("connections by protocol", (rows, ("min", "time"), ("max", "tls_handshake_latency")),
              group=("tls_protocol", "tls_verify_status"), table=CONNECTIONS),
        Query("validity of certificates",
              (("min", "leaf_client_cert_not_before"), ("max", "leaf_client_cert_not_after"),
               ("nulls", "leaf_client_cert_validity")), table=CONNECTIONS),
        Query("requests by their connection", (rows, ("sum", "sent_bytes")),
              group=("tls_protocol", "listener_port", "elb_status_code"),
              joined=(CONNECTIONS, ("tls_protocol", "listener_port"))),
        Query("health checks by outcome", (rows, ("min", "time"), ("max", "latency")),
              group=("target_group_id", "status", "status_code", "reason_code"), table=CHECKS),
        Query("95th percentile of failed checks", (("percentile", "latency", 0.95),),
              (("status", "=", "FAIL"),), table=CHECKS),
        *(
            Query(f"{function} of every column of {log.table}",
                  tuple((function, column) for column in columns_of(log)), table=log.table)
            for log in (LOGS["nlb_tls"], LOGS["classic"]) for function in ("nulls", "min", "max", "distinct")
        ),
        Query("TLS connections by version", (rows, ("sum", "sent_bytes"), ("max", "tcp_connection_time_ms")),
              moderate, ("tls_protocol_version", "tls_cipher_suite", "tls_named_group"), table=TLS),
        Query("failed handshakes", (rows, ("min", "time"), ("nulls", "cert_arn")),
              (("tls_handshake_time_ms", "null", None),), ("incoming_tls_alert", "client_ip"), table=TLS),
        Query("ALPN lists with their quotes", (rows, ("min", "tls_connection_creation_time")),
              (("alpn_client_preference_list", "contains", '"h2"'),), ("alpn_client_preference_list",), table=TLS),
        Query("99th percentile of handshakes", (("percentile", "tls_handshake_time_ms", 0.99),), table=TLS),
        Query("rows of Network Load Balancers by partition", (rows,), group=tuple(PARTITION), table=TLS),
        Query("requests by backend", (rows, ("sum", "sent_bytes"), ("max", "backend_processing_time")),
              moderate, ("elb_name", "backend_ip", "backend_response_code"), table=CLASSIC),
        Query("a column with the name of a type", (rows, ("min", "timestamp"), ("max", "timestamp")),
              (("timestamp", ">=", utc("2025-07-18T06:00:00")), ("timestamp", "<", utc("2025-07-19T00:00:00"))),
              table=CLASSIC),
        Query("TCP and SSL listeners", (rows, ("sum", "received_bytes")),
              (("request_verb", "null", None), ("url", "null", None), *moderate),
              ("elb_name", "ssl_protocol", "protocol"), table=CLASSIC),
        Query("the first era of Classic Load Balancers", (rows, ("nulls", "user_agent")),
              group=("year", "ssl_cipher"), table=CLASSIC),
        Query("rows of Classic Load Balancers by partition", (rows,), group=tuple(PARTITION), table=CLASSIC),
        Query("rejects by reason", (rows, ("sum", "raw_length")), group=("reason",), table=REJECTS),
        Query("rejects by object", (rows, ("min", "line_number"), ("max", "byte_offset")),
              group=("account", "day", "source_key"), table=REJECTS),
        Query("rejects by log", (rows,), group=("log_type", "reason"), table=REJECTS),
    ]


class Oracle:
    """Computes query results in Python from rows. Times are in whole microseconds."""

    def __init__(self, tables):
        self.tables = tables

    def some(self, column):
        """Returns a value from a column. Every call returns the same value."""
        values = sorted({row[column] for row in self.tables[ROWS] if row[column] is not None})
        return values[len(values) // 2]

    def rounded(self):
        """Returns an oracle that rounds times to milliseconds (half up), as Trino does."""
        times = [name for name, kind in KINDS.items() if kind == "timestamp"]
        def round_times(row):
            return row | {name: (row[name] + 500) // 1000 * 1000 for name in times if row.get(name)}
        return Oracle({table: list(map(round_times, rows)) for table, rows in self.tables.items()})

    def rows(self, query):
        if not query.joined:
            return self.tables[query.table]
        table, columns = query.joined
        others = collections.defaultdict(list)
        for other in self.tables[table]:
            others[other[JOIN]].append({column: other[column] for column in columns})
        rows = (row for row in self.tables[query.table] if row[JOIN] is not None)
        return [row | other for row in rows for other in others[row[JOIN]]]

    def answer(self, query):
        groups = collections.defaultdict(list)
        for row in self.rows(query):
            if all(passes(row[column], how, value) for column, how, value in query.where):
                groups[tuple(row[column] for column in query.group)].append(row)
        if not query.group and not groups:
            groups[()] = []
        return [
            group + tuple(aggregate(rows, *each) for each in query.aggregates)
            for group, rows in groups.items()
        ]


def passes(value, how, wanted):
    if how in ("null", "notnull"):
        return (value is None) == (how == "null")
    if value is None:
        return False
    wanted = plain(wanted)
    return {
        "=": lambda: value == wanted, "<>": lambda: value != wanted,
        "<": lambda: value < wanted, "<=": lambda: value <= wanted,
        ">": lambda: value > wanted, ">=": lambda: value >= wanted,
        "in": lambda: value in wanted, "contains": lambda: wanted in value,
    }[how]()


def aggregate(rows, function, column, share=None):
    if column is None:
        return len(rows)
    values = [row[column] for row in rows if row[column] is not None]
    if function == "count":
        return len(values)
    if function == "nulls":
        return len(rows) - len(values)
    if function == "distinct":
        return len(set(values))
    if not values:
        return None
    if function == "sum":
        return math.fsum(values) if isinstance(values[0], float) else sum(values)
    # Text is ordered by its UTF-8 bytes.
    key = str.encode if isinstance(values[0], str) else None
    if function == "percentile":
        return sorted(values, key=key)[math.ceil(share * len(values)) - 1]
    return {"min": min, "max": max}[function](values, key=key)


def plain(value):
    """Converts a value for comparison: times become microseconds; text and numbers are unchanged."""
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=datetime.timezone.utc)
        return (value - utc("1970-01-01")) // datetime.timedelta(microseconds=1)
    return value


def differences(expected, actual):
    """Returns a short description of the difference between two results, or an empty string if they agree."""
    order = lambda row: [(value is not None, str(value)) for value in row]
    expected = sorted(expected, key=order)
    actual = sorted((tuple(map(plain, row)) for row in actual), key=order)
    if len(expected) != len(actual):
        return f"{len(actual)} rows instead of {len(expected)}"
    for wanted, found in zip(expected, actual):
        for place, (left, right) in enumerate(zip(wanted, found)):
            # A sum of doubles depends on the order of its terms.
            close = isinstance(left, float) and isinstance(right, float) and math.isclose(
                left, right, rel_tol=1e-9
            )
            same = type(left) is type(right) and left == right
            if not same and not close:
                return f"value {place + 1}: {right!r} instead of {left!r}, in {found[:3]}"
    return ""
