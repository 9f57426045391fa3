"""Compares the speed of alb2parquet with general engines.

    scripts/bench-peers [--cases …] [--tools …] [--rounds …] [--threads …] [--spark]

Each tool reads gzip objects from a log tree whose lines have 36 fields. It converts `-` to NULL, times to timestamps,
codes, ports and byte counts to integers, and durations to doubles, and splits `client:port`, `target:port` and the
request into columns. It then writes Parquet with Zstandard level 3 to hive partitions by account, region, year, month
and day, which it takes from the object's path. Only alb2parquet also handles older eras, irregular lines, rejects,
damaged objects, accounting and dataset state.

Every run is a separate process with the same number of threads. For the other engines, this is a Python process, and
its startup counts. Time is wall time, and memory is the maximum resident set size. Each round runs all tools in turn,
so that a busy period on the machine affects all of them. The tables show medians. After every run, DuckDB reads the
output: all outputs must have the same number of rows and partitions, and the same sum of row hashes.
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

ROOT = pathlib.Path(__file__).resolve().parents[1]
BENCH = ROOT / "target" / "bench"
BINARY = ROOT / "target" / "release" / "alb2parquet"
INFLATE = ROOT / "target" / "release" / "examples" / "inflate_floor"
OURS = "alb2parquet"
# The lower bound: the time it takes just to decompress the same objects.
FLOORS = {"decompress only, libdeflate": [], "decompress only, flate2 stream": ["--stream"]}

# Options of scripts/generate-logs, in addition to 36 fields.
CASES = {
    # An ordinary tree: a few partitions with dozens of objects each.
    "many": "--accounts 2 --regions 2 --balancers 1 --days 2 --objects-per-day 42 --rows-per-object 8000",
    # A single object.
    "one": "--single-object --rows-per-object 1364000",
    # The cost of opening files.
    "small": "--accounts 2 --regions 2 --balancers 1 --days 2 --objects-per-day 575 --rows-per-object 60",
    # A single partition.
    "single": "--accounts 1 --regions 1 --balancers 4 --days 1 --objects-per-day 48 --rows-per-object 8000",
}

PARTITION = ["account", "region", "year", "month", "day"]
# The position of each partition value in an object's path, counted from the end.
PATH_PARTS = {"account": -7, "region": -5, "year": -4, "month": -3, "day": -2}

# The fields in a line, each with its type: text, an SQL number type, time, endpoint or request.
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


# The other engines, each in a separate process. They read `source` and write `out`.


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
            # Parsing is faster without the time zone, which is added afterwards.
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

    types = {"double": "Float64", "int": "Int32", "bigint": "Int64"}
    structure = ", ".join(f"f_{name} Nullable({types.get(kind, 'String')})" for name, kind in FIELDS)
    values = []
    for name, kind in FIELDS:
        text = f"assumeNotNull(f_{name})"
        if kind == "endpoint":
            port = f"splitByChar(':', {text})[-1]"
            address = f"left({text}, length({text}) - length({port}) - 1)"
            values.append(f"if(isNull(f_{name}), NULL, {address}) AS {name}_ip")
            values.append(f"toInt32OrNull({port}) AS {name}_port")
        elif kind == "request":
            verb, protocol = f"splitByChar(' ', {text})[1]", f"splitByChar(' ', {text})[-1]"
            length = f"length({text}) - length({verb}) - length({protocol}) - 2"
            url = f"substring({text}, length({verb}) + 2, {length})"
            for part, value in [("verb", verb), ("url", url), ("proto", protocol)]:
                values.append(f"nullIf(nullIf({value}, '-'), '') AS request_{part}")
        elif kind == "time":
            # Drop the `Z`, which only the much slower "best effort" parser accepts.
            values.append(f"toDateTime64(left(f_{name}, 26), 6, 'UTC') AS {name}")
        elif kind == "text":
            # This reader does not convert a quoted `-` to NULL.
            values.append(f"nullIf(f_{name}, '-') AS {name}")
        else:
            values.append(f"f_{name} AS {name}")
    # The partition must be a written column. It is constant within a file, so it takes almost no space.
    values.append("concat(" + ", '/', ".join(
        f"'{name}=', splitByChar('/', _path)[{at}]" for name, at in PATH_PARTS.items()
    ) + ") AS partition")
    # scripts/bench-s3 passes the URL of a bucket.
    place = f"'{source}/**/*.log.gz'"
    if source.startswith("http"):
        place += f", '{os.environ['AWS_ACCESS_KEY_ID']}', '{os.environ['AWS_SECRET_ACCESS_KEY']}'"
    function = "s3" if source.startswith("http") else "file"
    chdb.query(f"""
        INSERT INTO FUNCTION file('{out}/{{_partition_id}}/data.parquet', 'Parquet')
        PARTITION BY partition
        SELECT {", ".join(values)}
        FROM {function}({place}, 'CSV', '{structure}', 'gzip')
        SETTINGS max_threads = {threads}, max_insert_threads = {threads},
                 format_csv_delimiter = ' ', format_csv_null_representation = '-',
                 input_format_csv_allow_whitespace_or_tab_as_delimiter = 1,
                 output_format_parquet_compression_method = 'zstd',
                 output_format_compression_level = 3, output_format_parquet_string_as_string = 1
    """)


def run_spark(source, out, threads):
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    session = (
        SparkSession.builder.master(f"local[{threads}]")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .config("spark.io.compression.zstd.level", "3")
        .config("spark.hadoop.parquet.compression.codec.zstd.level", "3")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    types = {"time": "TIMESTAMP"}
    types |= {kind: kind.upper() for kind in ("double", "int", "bigint")}
    schema = ", ".join(f"`{name}` {types.get(kind, 'STRING')}" for name, kind in FIELDS)
    lines = session.read.csv(
        source, schema=schema, sep=" ", quote='"', escape="", nullValue="-", emptyValue="",
        mode="FAILFAST", recursiveFileLookup=True, pathGlobFilter="*.log.gz",
        ignoreLeadingWhiteSpace=False, ignoreTrailingWhiteSpace=False,
    )
    values = []
    for name, kind in FIELDS:
        if kind == "endpoint":
            values.append(f.regexp_extract(name, "^(.*):([0-9]+)$", 1).alias(f"{name}_ip"))
            values.append(f.regexp_extract(name, "^(.*):([0-9]+)$", 2).cast("int").alias(f"{name}_port"))
        elif kind == "request":
            for group, part in enumerate(["verb", "url", "proto"], 1):
                value = f.regexp_extract(name, "^([^ ]*) (.*) ([^ ]*)$", group)
                value = f.when(~value.isin("-", ""), value)
                values.append(value.alias(f"request_{part}"))
        else:
            values.append(f.col(name))
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
    arguments.add_argument("--spark", action="store_true", help="also measure Spark")
    arguments = arguments.parse_args()
    tools = arguments.tools.split(",") + ["spark"] * arguments.spark
    unknown = {*tools} - {OURS, *JOBS} | {*arguments.cases.split(",")} - {*CASES}
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}")
    if os.getloadavg()[0] > 0.5:
        print("the machine is busy; the results will be inaccurate", file=sys.stderr)
    # Single-threaded runs show the gain from parallelism. For the lower bounds, they show how much gain this machine
    # allows.
    jobs = []
    for tool in [*tools, *FLOORS]:
        jobs.append((tool, arguments.threads))
        if tool in (OURS, *FLOORS) and arguments.threads > 1:
            jobs.append((tool, 1))

    tables, agree = [], True
    for case in arguments.cases.split(","):
        source = generate(case)
        results = {job: [] for job in jobs}
        for round in range(1, arguments.rounds + 1):
            for job in jobs:
                result = measure(job, source)
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


def label(job):
    tool, threads = job
    return f"{tool}, {threads} thread{'s' if threads > 1 else ''}"


def generate(case):
    """Returns the directory of a case's logs. Generates the logs if necessary."""
    source, stamp = BENCH / case, BENCH / f"{case}.made-from"
    options = f"--seed 1 --fields 36 {CASES[case]}"
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


def measure(job, source):
    """Runs a tool once, in a separate process.

    This process does no memory-intensive work itself, because on Linux a child's peak memory includes its parent's
    memory before exec.
    """
    tool, threads = job
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
        command = [python, "-B", __file__, "--job", tool, source, out, str(threads)]
    log = BENCH / "log"
    with log.open("wb") as stream:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
    cpu = usage.ru_utime + usage.ru_stime
    process.returncode = os.waitstatus_to_exitcode(status)
    # ru_maxrss is in KiB, except on macOS, where it is in bytes.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if process.returncode != 0:
        end = log.read_text(errors="replace").strip()[-300:]
        return Result(seconds, cpu, peak, f"failed with {process.returncode}: {end}")
    if tool in FLOORS:
        return Result(seconds, cpu, peak, None)
    dataset = out / "alb_access_logs" if tool == OURS else out
    output = sum(path.stat().st_size for path in dataset.rglob("*.parquet"))
    check = subprocess.check_output([sys.executable, "-B", __file__, "--content", dataset])
    result = Result(seconds, cpu, peak, None, output, tuple(json.loads(check)))
    shutil.rmtree(out)
    return result


def content(dataset):
    """Returns a dataset's row count, its partition count, and the sum of the hashes of its rows."""
    import duckdb

    columns = []
    for name, kind in FIELDS:
        if kind == "endpoint":
            columns += [f"{name}_ip", f"{name}_port"]
        elif kind == "request":
            columns += ["request_verb", "request_url", "request_proto"]
        elif kind == "time":
            columns.append(f"epoch_us({name})")
        elif kind == "double":
            # Some engines do not parse decimals exactly.
            columns.append(f"CAST(round({name} * 1e9) AS BIGINT)")
        else:
            columns.append(name)
    types = ", ".join(f"{name}: VARCHAR" for name in PARTITION)
    partition = ", ".join(PARTITION)
    return duckdb.sql(f"""
        SELECT count(*), count(DISTINCT ({partition})), sum(hash({", ".join(columns)}, {partition}))
        FROM read_parquet('{dataset}/**/*.parquet', hive_partitioning = true, hive_types = {{{types}}})
    """).fetchall()[0]


def table(case, source, results, first):
    """Returns the results of a case as a Markdown table, with ratios to the first tool."""
    sizes = [path.stat().st_size for path in source.rglob("*.gz")]
    text = 0
    for path in source.rglob("*.gz"):
        with path.open("rb") as stream:
            stream.seek(-4, os.SEEK_END)
            text += int.from_bytes(stream.read(), "little")
    lines = [
        f"### {case}: {len(sizes):,} objects, {sum(sizes) / 1e6:,.0f} MB gzip, {text / 1e6:,.0f} MB decompressed",
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
    """Compares the first tool with the lower bounds, and every job with the same job on a single thread."""
    tool, threads = first
    for floor in FLOORS:
        if first in medians and (floor, threads) in medians:
            yield f"- {tool} takes {medians[first] / medians[floor, threads]:.2f} times as long as {floor}"
    for job in medians:
        if job[1] == 1 and (job[0], threads) in medians and threads > 1:
            gain = medians[job] / medians[job[0], threads]
            yield f"- {job[0]} is {gain:.2f} times as fast with {threads} threads as with 1"


def machine(tools):
    """Returns the machine and the versions of the tools."""
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
        tool, source, out, threads = sys.argv[2:]
        JOBS[tool](source, out, int(threads))
    elif sys.argv[1:2] == ["--content"]:
        print(json.dumps([int(number) for number in content(sys.argv[2])]))
    else:
        main()
