"""Measures alb2parquet beside general engines that do the same job.

    scripts/bench-peers [--cases …] [--tools …] [--rounds …] [--threads …] [--spark]

The job: read the gzip objects of a tree of logs of 36 fields; make `-` NULL, times timestamps, codes,
ports and byte counts integers, durations doubles; split `client:port`, `target:port` and the request
into their columns; write Parquet, ZSTD level 3, into hive partitions by account, region, year, month
and day as the object's path has them. The peers are spared what alb2parquet does besides: logs of
older eras, irregular lines, rejects, damaged objects, the accounting and the state of the dataset.

Every run is a process of its own (for the peers Python, with its start), limited to the same number of
threads. Time is the wall clock's, memory the largest resident set that the kernel saw. The rounds go
through all tools in turn, so that a slow minute of the machine meets everyone; the medians count.
After every run DuckDB reads the output: all must agree on the number of rows, on the partitions, and
on sums over the columns that are hard to get right.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BENCH = ROOT / "target" / "bench"
OURS = "alb2parquet"
PEERS = ["polars", "duckdb", "chdb"]

# What scripts/generate-logs is asked for.
CASES = {
    # The ordinary tree: some hundred objects in each of a few partitions.
    "many": "--accounts 2 --regions 2 --balancers 1 --days 2 --objects-per-day 42 --rows-per-object 8000",
    # Nothing to run in parallel but the inside of one object.
    "one": "--single-object --rows-per-object 1600000",
    # The cost of opening files.
    "small": "--accounts 2 --regions 2 --balancers 1 --days 2 --objects-per-day 575 --rows-per-object 60",
    # Every object goes to the same partition.
    "single": "--accounts 1 --regions 1 --balancers 4 --days 1 --objects-per-day 48 --rows-per-object 8000",
}

PARTITION = ["account", "region", "year", "month", "day"]
# Where they stand in the path of an object, counted from its end.
PATH_PARTS = {"account": -7, "region": -5, "year": -4, "month": -3, "day": -2}

# The fields of a line with their types: text, a number's type of SQL, time, endpoint or request.
FIELDS = [pair.split(":") for pair in """
    type:text time:time elb:text client:endpoint target:endpoint request_processing_time:double
    target_processing_time:double response_processing_time:double elb_status_code:int
    target_status_code:int received_bytes:bigint sent_bytes:bigint request:request user_agent:text
    ssl_cipher:text ssl_protocol:text target_group_arn:text trace_id:text domain_name:text
    chosen_cert_arn:text matched_rule_priority:int request_creation_time:time actions_executed:text
    redirect_url:text lambda_error_reason:text target_port_list:text target_status_code_list:text
    classification:text classification_reason:text conn_trace_id:text transformed_host:text
    transformed_uri:text request_transform_status:text ip_address:text target_error_code:text
    elb_error_code:text
""".split()]


# The peers, each in a process of its own: read below `source`, write below `out`.


def run_duckdb(source, out, threads):
    import duckdb

    types = {"text": "VARCHAR", "time": "TIMESTAMPTZ", "endpoint": "VARCHAR", "request": "VARCHAR"}
    columns = {name: types.get(kind, kind.upper()) for name, kind in FIELDS}
    values = []
    for name, kind in FIELDS:
        if kind == "endpoint":
            values += [
                f"left({name}, length({name}) - length(split_part({name}, ':', -1)) - 1) AS {name}_ip",
                f"CAST(split_part({name}, ':', -1) AS INTEGER) AS {name}_port",
            ]
        elif kind == "request":
            verb, protocol = f"split_part({name}, ' ', 1)", f"split_part({name}, ' ', -1)"
            length = f"length({name}) - length({verb}) - length({protocol}) - 2"
            values += [
                f"nullif({verb}, '-') AS request_verb",
                f"nullif(substr({name}, length({verb}) + 2, {length}), '-') AS request_url",
                f"nullif(nullif({protocol}, '-'), '') AS request_proto",
            ]
        else:
            values.append(name)
    values += [f"split_part(filename, '/', {at}) AS {name}" for name, at in PATH_PARTS.items()]
    duckdb.sql(f"SET threads = {threads}; SET preserve_insertion_order = false; SET TimeZone = 'UTC'")
    duckdb.sql(f"""
        COPY (SELECT {", ".join(values)}
              FROM read_csv('{source}/**/*.log.gz', columns = {columns}, auto_detect = false,
                            delim = ' ', quote = '"', escape = '', header = false, nullstr = '-',
                            compression = 'gzip', filename = true))
        TO '{out}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3,
                    PARTITION_BY ({", ".join(PARTITION)}))
    """)


def run_polars(source, out, threads):
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    import polars
    from polars import col

    types = {"double": polars.Float64, "int": polars.Int32, "bigint": polars.Int64}
    lines = polars.scan_csv(
        f"{source}/**/*.log.gz",
        schema={name: types.get(kind, polars.String) for name, kind in FIELDS},
        has_header=False,
        separator=" ",
        quote_char='"',
        null_values="-",
        empty_string_is_null=False,
        include_file_paths="path",
    )
    values = []
    for name, kind in FIELDS:
        if kind == "time":
            # Parsing without the zone is the faster way; the zone is then only declared.
            time = col(name).str.to_datetime("%Y-%m-%dT%H:%M:%S%.6fZ", time_unit="us")
            values.append(time.dt.replace_time_zone("UTC"))
        elif kind == "endpoint":
            parts = col(name).str.extract_groups(r"^(.*):([0-9]+)$").struct
            values.append(parts.field("1").alias(f"{name}_ip"))
            values.append(parts.field("2").cast(polars.Int32).alias(f"{name}_port"))
        elif kind == "request":
            parts = col(name).str.extract_groups(r"^([^ ]*) (.*) ([^ ]*)$").struct
            values.append(parts.field("1").replace("-", None).alias("request_verb"))
            values.append(parts.field("2").replace("-", None).alias("request_url"))
            values.append(parts.field("3").replace(["-", ""], None).alias("request_proto"))
        else:
            values.append(col(name))
    path = col("path").str.split("/")
    values += [path.list.get(at).alias(name) for name, at in PATH_PARTS.items()]
    lines.select(values).sink_parquet(
        polars.PartitionBy(out, key=PARTITION, include_key=False),
        compression="zstd",
        compression_level=3,
        maintain_order=False,
        mkdir=True,
        engine="streaming",
    )


def run_chdb(source, out, threads):
    import chdb

    types = {
        "time": "DateTime64(6, \\'UTC\\')", "double": "Float64", "int": "Int32", "bigint": "Int64",
    }
    structure = ", ".join(f"{name} Nullable({types.get(kind, 'String')})" for name, kind in FIELDS)
    values = []
    for name, kind in FIELDS:
        if kind == "endpoint":
            port = f"splitByChar(':', assumeNotNull({name}))[-1]"
            values += [
                f"if(isNull({name}), NULL, left({name}, length({name}) - length({port}) - 1)) AS {name}_ip",
                f"toInt32OrNull({port}) AS {name}_port",
            ]
        elif kind == "request":
            text = f"assumeNotNull({name})"
            verb, protocol = f"splitByChar(' ', {text})[1]", f"splitByChar(' ', {text})[-1]"
            length = f"length({text}) - length({verb}) - length({protocol}) - 2"
            values += [
                f"nullIf(nullIf({verb}, '-'), '') AS request_verb",
                f"nullIf(nullIf(substring({text}, length({verb}) + 2, {length}), '-'), '') AS request_url",
                f"nullIf(nullIf({protocol}, '-'), '') AS request_proto",
            ]
        elif kind == "text":
            # Within quotes, `-` is not the representation of NULL to this reader.
            values.append(f"nullIf({name}, '-') AS {name}")
        else:
            values.append(name)
    directories = ", '/', ".join(
        f"'{name}=', splitByChar('/', _path)[{at}]" for name, at in PATH_PARTS.items()
    )
    chdb.query(f"""
        INSERT INTO FUNCTION file('{out}/{{_partition_id}}/data.parquet', 'Parquet')
        PARTITION BY concat({directories})
        SELECT {", ".join(value.replace(" AS ", " AS out_") if value.startswith("nullIf(") else value
                          for value in values)}
        FROM file('{source}/**/*.log.gz', 'CSV', '{structure}', 'gzip')
        SETTINGS max_threads = {threads}, max_insert_threads = {threads},
                 format_csv_delimiter = ' ', format_csv_null_representation = '-',
                 input_format_csv_allow_whitespace_or_tab_as_delimiter = 1,
                 date_time_input_format = 'best_effort',
                 output_format_parquet_compression_method = 'zstd',
                 output_format_compression_level = 3, output_format_parquet_string_as_string = 1
    """)
