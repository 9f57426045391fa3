"""Compares the speed of alb2parquet with that of general-purpose engines.

    scripts/bench-peers [--cases …] [--tools …] [--rounds …] [--threads …] [--level …] [--spark]

Each tool reads the objects in a log tree and parses all fields: `-` becomes NULL, times become timestamps, durations
become doubles, and codes, ports and byte counts become integers. Addresses and request lines are split into columns.
The tool then writes Parquet files with Zstandard compression to hive partitions by account, region, year, month and
day. The partition values come from the object's path. The other tools use the compression level that `--level` sets
(default 3); alb2parquet uses fixed negative levels. Compare the output sizes along with the times. Only
alb2parquet also handles older eras, irregular lines, rejects, damaged objects, accounting and dataset state.

Every run is a separate process with the same number of threads. The other engines run in Python, and their times
include Python's startup. Time is wall time, and memory is the maximum resident set size. Each round runs all tools in
turn, so that a busy period on the machine affects all of them. The tables show medians. After every run, DuckDB reads
the output: all outputs must have the same number of rows and partitions, and the same sum of row hashes.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
BENCH = ROOT / "target" / "bench"
BINARY = ROOT / "target" / "release" / "alb2parquet"
INFLATE = ROOT / "target" / "release" / "examples" / "inflate_floor"
OURS = "alb2parquet"
# The lower bound: the time it takes just to decompress the same objects.
FLOORS = {"decompress only, libdeflate": [], "decompress only, flate2 stream": ["--stream"]}



class Field(NamedTuple):
    """A field of a log line."""

    # Differs from all column names, so that expressions can refer to both fields and columns.
    name: str
    # text, an SQL number type, time, seconds (a time without fraction and zone), endpoint or request
    kind: str
    columns: list


class Log:
    """A log type: its table, the ending of its object names, and its fields as `columns:kind`."""

    def __init__(self, table, ending, fields, has_quotes=True):
        self.table, self.ending, self.has_quotes = table, ending, has_quotes
        pairs = [field.split(":") for field in fields.split()]
        self.fields = [
            Field(f"field_{at}", kind, columns.split(","))
            for at, (columns, kind) in enumerate(pairs, 1)
        ]


LOGS = {
    "access": Log("alb_access_logs", ".log.gz", """
        type:text time:time elb:text client_ip,client_port:endpoint target_ip,target_port:endpoint
        request_processing_time:double target_processing_time:double response_processing_time:double
        elb_status_code:int target_status_code:int received_bytes:bigint sent_bytes:bigint
        request_verb,request_url,request_proto:request user_agent:text ssl_cipher:text
        ssl_protocol:text target_group_arn:text trace_id:text domain_name:text
        chosen_cert_arn:text matched_rule_priority:int request_creation_time:time actions_executed:text
        redirect_url:text lambda_error_reason:text target_port_list:text target_status_code_list:text
        classification:text classification_reason:text conn_trace_id:text transformed_host:text
        transformed_uri:text request_transform_status:text ip_address:text target_error_code:text
        elb_error_code:text
    """),
    "nlb_tls": Log("nlb_tls_logs", ".log.gz", """
        type:text version:text time:seconds elb:text listener_id:text client_ip,client_port:endpoint
        target_ip,target_port:endpoint tcp_connection_time_ms:bigint tls_handshake_time_ms:bigint
        received_bytes:bigint sent_bytes:bigint incoming_tls_alert:int cert_arn:text
        certificate_serial:text tls_cipher_suite:text tls_protocol_version:text tls_named_group:text
        domain_name:text alpn_fe_protocol:text alpn_be_protocol:text alpn_client_preference_list:text
        tls_connection_creation_time:seconds
    """, has_quotes=False),
    "classic": Log("clb_access_logs", ".log", """
        timestamp:time elb_name:text request_ip,request_port:endpoint backend_ip,backend_port:endpoint
        request_processing_time:double backend_processing_time:double client_response_time:double
        elb_response_code:int backend_response_code:int received_bytes:bigint sent_bytes:bigint
        request_verb,url,protocol:request user_agent:text ssl_cipher:text ssl_protocol:text
    """),
}


class Case(NamedTuple):
    """A tree of logs of a single type."""

    log: Log
    # Options for scripts/generate-logs.
    options: str


CASES = {
    # A typical tree: a few partitions with dozens of objects each.
    "many": Case(
        LOGS["access"],
        "--fields 36 --accounts 2 --regions 2 --balancers 1 --days 2 --objects-per-day 42 --rows-per-object 8000",
    ),
    # A single object.
    "one": Case(LOGS["access"], "--fields 36 --single-object --rows-per-object 1364000"),
    # Measures the cost of opening files.
    "small": Case(
        LOGS["access"],
        "--fields 36 --accounts 2 --regions 2 --balancers 1 --days 2 --objects-per-day 575 --rows-per-object 60",
    ),
    # A single partition.
    "single": Case(
        LOGS["access"],
        "--fields 36 --accounts 1 --regions 1 --balancers 4 --days 1 --objects-per-day 48 --rows-per-object 8000",
    ),
    # Logs from other types of load balancers, with about as much text as `many`.
    "nlb": Case(
        LOGS["nlb_tls"],
        "--logs nlb_tls --accounts 2 --regions 2 --balancers 1 --days 2 --objects-per-day 42 --rows-per-object 16000",
    ),
    "classic": Case(
        LOGS["classic"],
        "--logs classic --accounts 2 --regions 2 --balancers 1 --days 2 --objects-per-day 42 --rows-per-object 16000",
    ),
}

PARTITION = ["account", "region", "year", "month", "day"]
# The position of each partition value in an object's path, counted from the end.
PATH_PARTS = {"account": -7, "region": -5, "year": -4, "month": -3, "day": -2}

# The other engines, each in a separate process. They read `source` and write `out`.


def run_duckdb(log, source, out, threads, level):
    import duckdb

    types = {
        "text": "VARCHAR", "time": "TIMESTAMPTZ", "seconds": "TIMESTAMPTZ", "endpoint": "VARCHAR",
        "request": "VARCHAR",
    }
    columns = {name: types.get(kind, kind.upper()) for name, kind, _ in log.fields}
    values = []
    for name, kind, names in log.fields:
        if kind == "endpoint":
            port = f"split_part({name}, ':', -1)"
            parts = [f"left({name}, length({name}) - length({port}) - 1)", f"CAST({port} AS INTEGER)"]
        elif kind == "request":
            verb, protocol = f"split_part({name}, ' ', 1)", f"split_part({name}, ' ', -1)"
            length = f"length({name}) - length({verb}) - length({protocol}) - 2"
            url = f"substr({name}, length({verb}) + 2, {length})"
            parts = [
                f"nullif({verb}, '-')",
                f"nullif(nullif({url}, '-'), '- -')",
                f"nullif(nullif({protocol}, '-'), '')",
            ]
        else:
            parts = [name]
        values += [f"{part} AS {column}" for part, column in zip(parts, names, strict=True)]
    values += [f"split_part(filename, '/', {at}) AS {name}" for name, at in PATH_PARTS.items()]
    quote = '"' if log.has_quotes else ""
    compression = "gzip" if log.ending.endswith(".gz") else "none"
    duckdb.sql(f"SET threads = {threads}; SET preserve_insertion_order = false; SET TimeZone = 'UTC'")
    duckdb.sql(f"""
        COPY (SELECT {", ".join(values)}
              FROM read_csv('{source}/**/*{log.ending}', columns = {columns}, auto_detect = false,
                            delim = ' ', quote = '{quote}', escape = '', header = false, nullstr = '-',
                            compression = '{compression}', filename = true))
        TO '{out}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {level},
                    PARTITION_BY ({", ".join(PARTITION)}))
    """)


def run_polars(log, source, out, threads, level):
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    import polars
    from polars import col

    types = {"double": polars.Float64, "int": polars.Int32, "bigint": polars.Int64}
    # Parsing is faster without the time zone, which is added afterwards.
    times = {"time": "%Y-%m-%dT%H:%M:%S%.6fZ", "seconds": "%Y-%m-%dT%H:%M:%S"}
    lines = polars.scan_csv(
        f"{source}/**/*{log.ending}",
        schema={name: types.get(kind, polars.String) for name, kind, _ in log.fields},
        has_header=False,
        separator=" ",
        quote_char='"' if log.has_quotes else None,
        null_values="-",
        empty_string_is_null=False,
        include_file_paths="path",
    )
    values = []
    for name, kind, names in log.fields:
        if kind in times:
            time = col(name).str.to_datetime(times[kind], time_unit="us")
            parts = [time.dt.replace_time_zone("UTC")]
        elif kind == "endpoint":
            groups = col(name).str.extract_groups(r"^(.*):([0-9]+)$").struct
            parts = [groups.field("1"), groups.field("2").cast(polars.Int32)]
        elif kind == "request":
            groups = col(name).str.extract_groups(r"^([^ ]*) (.*) ([^ ]*)$").struct
            parts = [
                groups.field("1").replace("-", None),
                groups.field("2").replace(["-", "- -"], None),
                groups.field("3").replace(["-", ""], None),
            ]
        else:
            parts = [col(name)]
        values += [part.alias(column) for part, column in zip(parts, names, strict=True)]
    path = col("path").str.split("/")
    values += [path.list.get(at).alias(name) for name, at in PATH_PARTS.items()]
    lines.select(values).sink_parquet(
        polars.PartitionBy(out, key=PARTITION, include_key=False),
        compression="zstd",
        compression_level=level,
        maintain_order=False,
        mkdir=True,
        engine="streaming",
    )


def run_chdb(log, source, out, threads, level):
    import chdb

    types = {"double": "Float64", "int": "Int32", "bigint": "Int64"}
    structure = ", ".join(
        f"{name} Nullable({types.get(kind, 'String')})" for name, kind, _ in log.fields
    )
    values = []
    for name, kind, names in log.fields:
        text = f"assumeNotNull({name})"
        if kind == "endpoint":
            port = f"splitByChar(':', {text})[-1]"
            address = f"left({text}, length({text}) - length({port}) - 1)"
            parts = [f"if(isNull({name}), NULL, {address})", f"toInt32OrNull({port})"]
        elif kind == "request":
            verb, protocol = f"splitByChar(' ', {text})[1]", f"splitByChar(' ', {text})[-1]"
            length = f"length({text}) - length({verb}) - length({protocol}) - 2"
            url = f"nullIf(substring({text}, length({verb}) + 2, {length}), '- -')"
            parts = [f"nullIf(nullIf({part}, '-'), '')" for part in (verb, url, protocol)]
        elif kind == "time":
            # Drop the `Z`, which only the much slower "best effort" parser accepts.
            parts = [f"toDateTime64(left({name}, 26), 6, 'UTC')"]
        elif kind == "seconds":
            parts = [f"toDateTime64({name}, 6, 'UTC')"]
        elif kind == "text":
            # This reader does not convert a quoted `-` to NULL.
            parts = [f"nullIf({name}, '-')"]
        else:
            parts = [name]
        values += [f"{part} AS {column}" for part, column in zip(parts, names, strict=True)]
    # The partition must also be stored as a column. It is constant within a file, so it takes almost no space.
    values.append("concat(" + ", '/', ".join(
        f"'{name}=', splitByChar('/', _path)[{at}]" for name, at in PATH_PARTS.items()
    ) + ") AS partition")
    # scripts/bench-s3 passes the URL of a bucket.
    place = f"'{source}/**/*{log.ending}'"
    if source.startswith("http"):
        place += f", '{os.environ['AWS_ACCESS_KEY_ID']}', '{os.environ['AWS_SECRET_ACCESS_KEY']}'"
    function = "s3" if source.startswith("http") else "file"
    compression = "gzip" if log.ending.endswith(".gz") else "none"
    chdb.query(f"""
        INSERT INTO FUNCTION file('{out}/{{_partition_id}}/data.parquet', 'Parquet')
        PARTITION BY partition
        SELECT {", ".join(values)}
        FROM {function}({place}, 'CSV', '{structure}', '{compression}')
        SETTINGS max_threads = {threads}, max_insert_threads = {threads},
                 format_csv_delimiter = ' ', format_csv_null_representation = '-',
                 format_csv_allow_double_quotes = {int(log.has_quotes)},
                 input_format_csv_allow_whitespace_or_tab_as_delimiter = 1,
                 output_format_parquet_compression_method = 'zstd',
                 output_format_compression_level = {level}, output_format_parquet_string_as_string = 1
    """)


def run_spark(log, source, out, threads, level):
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    session = (
        SparkSession.builder.master(f"local[{threads}]")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .config("spark.io.compression.zstd.level", str(level))
        .config("spark.hadoop.parquet.compression.codec.zstd.level", str(level))
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    types = {"time": "TIMESTAMP", "seconds": "TIMESTAMP"}
    types |= {kind: kind.upper() for kind in ("double", "int", "bigint")}
    schema = ", ".join(f"{name} {types.get(kind, 'STRING')}" for name, kind, _ in log.fields)
    lines = session.read.csv(
        source, schema=schema, sep=" ", quote='"' if log.has_quotes else "", escape="", nullValue="-",
        emptyValue="", mode="FAILFAST", recursiveFileLookup=True, pathGlobFilter=f"*{log.ending}",
        ignoreLeadingWhiteSpace=False, ignoreTrailingWhiteSpace=False,
    )
    values = []
    for name, kind, names in log.fields:
        if kind == "endpoint":
            parts = [f.regexp_extract(name, "^(.*):([0-9]+)$", group) for group in (1, 2)]
            parts[1] = parts[1].cast("int")
        elif kind == "request":
            groups = [f.regexp_extract(name, "^([^ ]*) (.*) ([^ ]*)$", group) for group in (1, 2, 3)]
            parts = [f.when(~group.isin("-", "- -", ""), group) for group in groups]
        else:
            parts = [f.col(name)]
        values += [part.alias(column) for part, column in zip(parts, names, strict=True)]
    path = f.split(f.input_file_name(), "/")
    values += [f.element_at(path, at).alias(name) for name, at in PATH_PARTS.items()]
    lines = lines.select(values)
    lines.write.partitionBy(*PARTITION).option("compression", "zstd").parquet(out)
    # Wait for the Java process, so that its memory is counted.
    gateway = session.sparkContext._gateway
    session.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()


PEERS = {"polars": run_polars, "duckdb": run_duckdb, "chdb": run_chdb}
JOBS = {**PEERS, "spark": run_spark}


# The measurement.


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cases", default=",".join(CASES), help="some of the cases")
    arguments.add_argument("--tools", default=",".join([OURS, *PEERS]), help="some of the tools")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=2, help="number of threads of each tool")
    arguments.add_argument("--level", type=int, default=3, help="Zstandard level of the other tools")
    arguments.add_argument("--spark", action="store_true", help="also measure Spark")
    arguments = arguments.parse_args()
    tools = arguments.tools.split(",") + ["spark"] * arguments.spark
    unknown = {*tools} - {OURS, *JOBS} | {*arguments.cases.split(",")} - {*CASES}
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}")
    if os.getloadavg()[0] > 0.5:
        print("the machine is busy; the results will be inaccurate", file=sys.stderr)

    tables, agree = [], True
    for case in arguments.cases.split(","):
        jobs = jobs_for(CASES[case].log, tools, arguments.threads)
        source = generate(case)
        results = {job: [] for job in jobs}
        for round in range(1, arguments.rounds + 1):
            for job in jobs:
                result = measure(job, case, source, arguments.level)
                results[job].append(result)
                print(f"{case}, round {round}, {label(job)}: {result}", file=sys.stderr)
        every = [result for runs in results.values() for result in runs]
        agree &= all(result.failure is None for result in every)
        agree &= len({result.content for result in every if result.content}) <= 1
        tables.append(table(case, source, results, jobs[0]))
    print(f"\n{machine(tools)}\n")
    print("\n".join(tables))
    if not agree:
        sys.exit("the outputs do not agree, or a tool failed")


def jobs_for(log, tools, threads):
    """Returns the tools to run on a log, each with its thread count.

    Single-threaded runs show how much each tool gains from parallelism. The runs of the lower bounds show how much
    this machine can gain from it.
    """
    floors = [floor for floor in FLOORS if log.ending.endswith(".gz")]
    jobs = []
    for tool in [*tools, *floors]:
        jobs.append((tool, threads))
        if tool in (OURS, "polars", *floors) and threads > 1:
            jobs.append((tool, 1))
    return jobs


def label(job):
    tool, threads = job
    return f"{tool}, {threads} thread{'s' if threads > 1 else ''}"


def generate(case):
    """Returns the directory that contains a case's logs. Generates the logs if necessary."""
    source, stamp = BENCH / case, BENCH / f"{case}.made-from"
    options = f"--seed 1 {CASES[case].options}"
    if not stamp.exists() or stamp.read_text() != options:
        stamp.unlink(missing_ok=True)
        shutil.rmtree(source, ignore_errors=True)
        source.parent.mkdir(parents=True, exist_ok=True)
        command = [ROOT / "scripts" / "generate-logs", source, *options.split()]
        subprocess.run(command, check=True, stdout=sys.stderr)
        stamp.write_text(options)
    return source


class Result:
    """The time, memory and output of a run."""

    def __init__(self, seconds, cpu, peak, failure, output=0, content=None):
        self.seconds, self.cpu, self.peak, self.failure = seconds, cpu, peak, failure
        self.output, self.content = output, content

    def __str__(self):
        return self.failure or (
            f"{self.seconds:.2f} s, {self.cpu:.2f} s of CPU time, {self.peak / 1e6:,.0f} MB"
        )


def measure(job, case, source, level):
    """Runs a tool once, in a separate process.

    This process does no memory-intensive work itself, because on Linux a child's peak memory includes its parent's
    memory before exec.
    """
    tool, threads = job
    log = CASES[case].log
    out = BENCH / "out"
    shutil.rmtree(out, ignore_errors=True)
    # Flush the output of earlier runs to disk, and load the input into the page cache.
    os.sync()
    subprocess.run(["find", source, "-type", "f", "-exec", "cat", "{}", "+"], stdout=subprocess.DEVNULL)
    if tool == OURS:
        command = [BINARY, "convert", source, "--out", out, "--to", "2099-12-31", "--quiet"]
        command += ["--threads", str(threads)]
    elif tool in FLOORS:
        command = [INFLATE, source, "--threads", str(threads), *FLOORS[tool]]
    else:
        python = os.environ["BENCH_SPARK_PYTHON"] if tool == "spark" else sys.executable
        command = [python, "-B", __file__, "--job", tool, case, source, out]
        command += [str(threads), str(level)]
    messages = BENCH / "log"
    with messages.open("wb") as stream:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
    cpu = usage.ru_utime + usage.ru_stime
    process.returncode = os.waitstatus_to_exitcode(status)
    # ru_maxrss is in KiB, except on macOS, where it is in bytes.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if process.returncode != 0:
        end = messages.read_text(errors="replace").strip()[-300:]
        return Result(seconds, cpu, peak, f"failed with {process.returncode}: {end}")
    if tool in FLOORS:
        return Result(seconds, cpu, peak, None)
    dataset = out / log.table if tool == OURS else out
    output = sum(path.stat().st_size for path in dataset.rglob("*.parquet"))
    check = subprocess.check_output([sys.executable, "-B", __file__, "--content", case, dataset])
    result = Result(seconds, cpu, peak, None, output, tuple(json.loads(check)))
    shutil.rmtree(out)
    return result


def content(log, dataset):
    """Returns a dataset's row count, partition count and sum of row hashes."""
    import duckdb

    # Some engines do not parse decimals exactly.
    values = {"double": "CAST(round({} * 1e9) AS BIGINT)", "time": "epoch_us({})", "seconds": "epoch_us({})"}
    columns = [
        values.get(kind, "{}").format(column) for _, kind, names in log.fields for column in names
    ]
    types = ", ".join(f"{name}: VARCHAR" for name in PARTITION)
    partition = ", ".join(PARTITION)
    return duckdb.sql(f"""
        SELECT count(*), count(DISTINCT ({partition})), sum(hash({", ".join(columns)}, {partition}))
        FROM read_parquet('{dataset}/**/*.parquet', hive_partitioning = true, hive_types = {{{types}}})
    """).fetchall()[0]


def table(case, source, results, first):
    """Returns the results of a case as a Markdown table, with ratios to the first tool."""
    log = CASES[case].log
    paths = list(source.rglob(f"*{log.ending}"))
    size = text = sum(path.stat().st_size for path in paths)
    form = "text"
    if log.ending.endswith(".gz"):
        form, text = "gzip", 0
        for path in paths:
            with path.open("rb") as stream:
                stream.seek(-4, os.SEEK_END)
                text += int.from_bytes(stream.read(), "little")
    lines = [
        f"### {case}: {len(paths):,} objects, {size / 1e6:,.0f} MB {form}, {text / 1e6:,.0f} MB decompressed",
        "",
        f"| case | tool | median seconds | ratio to {first[0]} | CPU seconds | MB/s, decompressed "
        "| peak MB | output MB | rows |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    medians = {}
    for job, runs in results.items():
        failed = next((run.failure for run in runs if run.failure), None)
        if failed:
            lines.append(f"| {case} | {label(job)} | {' '.join(failed.split())} | | | | | | |")
            continue
        medians[job] = seconds = statistics.median(run.seconds for run in runs)
        ratio = f"{seconds / medians[first]:.2f}" if first in medians else ""
        peak = max(run.peak for run in runs)
        cpu = statistics.median(run.cpu for run in runs)
        lines.append(
            f"| {case} | {label(job)} | {seconds:.2f} | {ratio} | {cpu:.2f} | {text / 1e6 / seconds:,.0f} "
            f"| {peak / 1e6:,.0f} | "
            + (f"{runs[0].output / 1e6:,.1f} | {runs[0].content[0]:,} |" if runs[0].content else "| |")
        )
    contents = {run.content for runs in results.values() for run in runs if run.content}
    lines.append("")
    lines.append("All outputs contain the same values." if len(contents) == 1 else
                 f"THE OUTPUTS DIFFER (rows, partitions, sum of hashes): {sorted(contents)}")
    lines += ["", *comparisons(medians, first)]
    return "\n".join(lines) + "\n"


def comparisons(medians, first):
    """Compares the first tool with the lower bounds, and each run with its single-threaded equivalent."""
    tool, threads = first
    for floor in FLOORS:
        if first in medians and (floor, threads) in medians:
            yield f"- {tool} takes {medians[first] / medians[floor, threads]:.2f} times as long as {floor}"
    for job in medians:
        if job[1] == 1 and (job[0], threads) in medians and threads > 1:
            gain = medians[job] / medians[job[0], threads]
            yield f"- {job[0]} is {gain:.2f} times as fast with {threads} threads as with 1"


def machine(tools):
    """Returns a description of the machine and the tools' versions."""
    from importlib import metadata

    cpu = platform.processor() or platform.machine()
    information = pathlib.Path("/proc/cpuinfo")
    if information.exists():
        models = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    versions = [f"{tool} {metadata.version(tool)}" for tool in tools if tool in PEERS]
    return f"{platform.system()} {platform.release()}, {os.cpu_count()} cores of {cpu}; " + ", ".join(versions)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        tool, case, source, out, threads, level = sys.argv[2:]
        JOBS[tool](CASES[case].log, source, out, int(threads), int(level))
    elif sys.argv[1:2] == ["--content"]:
        case, dataset = sys.argv[2:]
        print(json.dumps([int(number) for number in content(CASES[case].log, dataset)]))
    else:
        main()
