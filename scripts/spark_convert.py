#!/usr/bin/env python3
"""Converts load balancer logs on an Apache Spark cluster.

    spark-submit --files alb2parquet spark_convert.py SOURCE... --out DATASET [OPTIONS]

Spark schedules, retries and speculates; the program `alb2parquet` converts. The driver plans (`alb2parquet plan --jsonl`)
and assigns the batches to tasks. A task pipes its batches to `alb2parquet convert --batches -`. Tasks need no
coordination: batches are claimed, so converting a batch is idempotent.

Notebooks call `convert(spark, sources, out)`, which returns a DataFrame with one row per batch. Needs pyspark 3.5 or later, a
session with a `sparkContext`, and Python 3.9 or later.

Exit codes, as for `alb2parquet convert`:
  0  every object was converted
  1  more rejected lines than --max-rejects allows
  2  some objects could not be read completely, or are not the log that their name promises
  3  fatal error: nothing more was converted; or SOURCE contains no logs
  4  objects named like logs were not converted because of their endings or paths
"""

import argparse
import collections
import ctypes
import heapq
import json
import math
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import zlib

from pyspark import SparkFiles, TaskContext
from pyspark.sql import SparkSession

PROGRAM = "alb2parquet"
DONE, REJECTS, OBJECTS, FAILED, LEFT_OUT = 0, 1, 2, 3, 4

# Approximate compressed bytes per task. Converting them takes several seconds; starting a task takes up to one second.
TASK_BYTES = 256 << 20
# Minimum number of tasks per slot. With too few tasks, slots would sit idle while the last task runs.
TASKS_PER_SLOT = 4
# More tasks would overload the driver.
MAX_TASKS = 50_000

# Options that are passed to `plan`, to `convert`, or to both.
PLAN_OPTIONS = ["log-type", "from", "to", "account", "region", "balancer", "objects", "target-file-size"]
CONVERT_OPTIONS = ["profile", "compression", "bloom-filter", "redact", "max-requests"]
BOTH_OPTIONS = ["layout", "option"]

# Columns of the DataFrame: the keys that `convert --batches` prints, then the host and the attempt.
SUMS = ["objects", "converted_before", "archived", "duplicate", "failed", "lines", "joined_lines", "verbatim_lines",
        "rows", "rejects", "files", "reject_files", "original_files", "bytes_in", "bytes_decompressed", "bytes_out"]
COLUMNS = {
    **dict.fromkeys(["batch", "log_type", "account", "region", "day"], "string"),
    **dict.fromkeys(SUMS, "bigint"),
    "seconds": "double",
    "failures": "array<struct<object: string, error: string, remedy: string>>",
    "host": "string",
    "attempt": "int",
}
# Object counts by outcome, which add up to the number of objects in the batch.
OUTCOMES = ["objects", "converted_before", "archived", "duplicate", "failed"]

Batch = collections.namedtuple("Batch", "id size objects line")
Plan = collections.namedtuple("Plan", "batches messages complete logs_not_converted")


class RunFailed(Exception):
    """A fatal error: nothing more was converted."""


class TaskFailed(Exception):
    """A task failed. Spark retries it."""


# Driver.


def convert(spark, sources, out, binary=None, executor_binary=None, plan_options=(), convert_options=(),
            threads=None, task_bytes=TASK_BYTES):
    """Converts logs and returns a DataFrame with one row per batch.

    `binary` is the path of the program; by default, the function searches for it. Executors get a copy, unless
    `executor_binary` is the path of the program on the executors. Options are lists of arguments, such as
    `["--from", "2025-07-01"]`. `threads` is the number of worker threads per task, by default `spark.task.cpus`.
    Raises RunFailed whenever the script would exit with 3. Names objects that cannot be listed on stderr, and objects
    that cannot be read in the `failures` column.
    """
    binary = find_on_driver(binary)
    plan = make_plan(binary, sources, absolute(out), plan_options)
    outcomes, _ = run(spark, plan, out, binary, executor_binary, convert_options, threads, task_bytes)
    return frame(spark, outcomes)


def find_on_driver(binary=None):
    """Returns the path of the program on the driver: `binary`, or the first match in `--files`, the working directory
    (where YARN, Kubernetes and Glue put files), the environment of this Python, or the PATH."""
    if binary:
        if not os.path.isfile(binary):
            raise RunFailed(f"--binary {binary}: no such file on the driver")
        return executable(binary)
    places = [os.path.join(SparkFiles.getRootDirectory(), PROGRAM), PROGRAM,
              os.path.join(os.path.dirname(sys.executable), PROGRAM), shutil.which(PROGRAM)]
    for place in places:
        if place and os.path.isfile(place):
            return executable(place)
    raise RunFailed(f"{PROGRAM} not found on the driver: pass it with --files {PROGRAM}, install it, or set its path with "
                    "--binary")


def executable(path):
    """Returns the file's path, or that of an executable copy if the file came from a bucket and is not executable."""
    path = os.path.abspath(path)
    if os.access(path, os.X_OK):
        return path
    copy = os.path.join(tempfile.mkdtemp(prefix=PROGRAM), os.path.basename(path))
    shutil.copyfile(path, copy)
    os.chmod(copy, stat.S_IRWXU)
    return copy


def absolute(place):
    """Returns an absolute path or URL, because executors have different working directories."""
    return place if "://" in place else os.path.abspath(place)


def make_plan(binary, sources, out, options=()):
    """Runs `plan` and returns the plan."""
    command = [binary, "plan", *sources, "--out", out, "--jsonl", *options]
    process, errors = start(command, stdin=subprocess.DEVNULL)
    batches = []
    for line in process.stdout:
        known = json.loads(line)
        objects = sum(len(group["objects"]) for group in known["groups"])
        # Compress the lines, because they stay in memory until their task ends. Similar object names compress well.
        batches.append(Batch(known["batch"], known["bytes"], objects, zlib.compress(line, 1)))
    code, said = process.wait(), errors.end()
    if code not in (DONE, OBJECTS, LEFT_OUT):
        raise RunFailed(f"{PROGRAM} plan ended with {code}: " + " / ".join(said))
    messages = [line for line in said if "failed" in line or line.startswith("warning: ")]
    return Plan(batches, messages, complete=code != OBJECTS, logs_not_converted=code == LEFT_OUT)


def share(batches, slots, task_bytes=TASK_BYTES):
    """Assigns batches to tasks of similar size, and returns the tasks in descending order of size.

    Each batch goes to the task with the fewest bytes. A large batch therefore gets a task to itself, and small batches
    share one, which amortizes the cost of starting a process. Spark starts tasks in order, so the last tasks are small
    and the job does not wait for a straggler.
    """
    total = sum(batch.size for batch in batches)
    wanted = max(math.ceil(total / task_bytes), TASKS_PER_SLOT * slots)
    groups = [[] for _ in range(min(wanted, len(batches), MAX_TASKS))]
    heap = [(0, place) for place in range(len(groups))]
    for batch in sorted(batches, key=lambda batch: (-batch.size, batch.id)):
        size, place = heap[0]
        groups[place].append(batch)
        heapq.heapreplace(heap, (size + batch.size, place))
    return sorted(groups, key=lambda group: -sum(batch.size for batch in group))


def run(spark, plan, out, binary, executor_binary=None, options=(), threads=None, task_bytes=TASK_BYTES):
    """Converts the planned batches on executors. Returns the outcome of each batch and the number of tasks."""
    context = spark.sparkContext
    if not plan.batches:
        return [], 0
    if not executor_binary and os.path.dirname(binary) != os.path.abspath(SparkFiles.getRootDirectory()):
        context.addFile(binary)
    if __name__ != "__main__":
        context.addPyFile(os.path.abspath(__file__))
    cpus = int(context.getConf().get("spark.task.cpus", "1"))
    groups = share(plan.batches, max(1, context.defaultParallelism // cpus), task_bytes)
    counters = {name: context.accumulator(0) for name in ("batches", *SUMS)}
    # --max-rejects applies to the job as a whole, not to each task.
    arguments = ["convert", "--batches", "-", "--out", absolute(out), "--threads", str(threads or cpus),
                 "--max-rejects", "1", "--quiet", *options]
    # Only these values are serialized for the tasks; the rest of the plan stays on the driver.
    name = os.path.basename(binary)
    parts = [[batch.line for batch in group] for group in groups]

    def work(lines):
        return convert_batches(executor_binary, name, arguments, lines, counters)

    size, objects = sum(batch.size for batch in plan.batches), sum(batch.objects for batch in plan.batches)
    title = (f"{PROGRAM}: {len(plan.batches):,} batches, {objects:,} objects, {amount(size)} of gzip, "
             f"to {absolute(out)}")
    job = f"{PROGRAM}-{uuid.uuid4()}"
    # The job's name in the Spark UI.
    context.setJobGroup(job, title, True)
    log(f"{title}: {len(parts):,} tasks of up to {amount(sum(batch.size for batch in groups[0]))}")
    try:
        with Progress(context, job, counters, objects):
            outcomes = context.parallelize(parts, len(parts)).flatMap(work).collect()
    except Exception as error:
        raise RunFailed(reason(error)) from error
    finally:
        for key in ("spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel"):
            context.setLocalProperty(key, None)
    check(plan, outcomes)
    return outcomes, len(parts)


def check(plan, outcomes):
    """Checks that each planned object has an outcome."""
    planned = {batch.id: batch.objects for batch in plan.batches}
    found = {outcome["batch"]: sum(outcome[key] for key in OUTCOMES) for outcome in outcomes}
    wrong = [batch for batch, objects in planned.items() if found.get(batch) != objects]
    if wrong or len(found) != len(outcomes):
        raise RunFailed(f"the outcomes do not add up to the plan, for example those of batch {(wrong or ['?'])[0]}")


def reason(error):
    """Extracts a failed task's error message from Spark's stack trace."""
    text = str(error)
    messages = re.findall(r"TaskFailed: (.+)", text)
    return f"a task failed too often; last error: {messages[-1]}" if messages else text


def frame(spark, outcomes):
    """Returns the outcomes of the batches as a DataFrame."""
    schema = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    rows = [tuple(outcome[name] for name in COLUMNS) for outcome in outcomes]
    return spark.createDataFrame(rows, schema)


def summarize(outcomes, plan, tasks, planning_seconds, converting_seconds):
    """Returns totals over the outcomes, without lost attempts."""
    sums = {name: sum(outcome[name] for outcome in outcomes) for name in SUMS}
    return {
        "batches": len(outcomes),
        "tasks": tasks,
        # Batches that were not converted by the first attempt.
        "repeated_batches": sum(outcome["attempt"] > 0 for outcome in outcomes),
        "hosts": len({outcome["host"] for outcome in outcomes}),
        **sums,
        "planning_seconds": round(planning_seconds, 3),
        "converting_seconds": round(converting_seconds, 3),
        # Batches are converted concurrently, so this sum over all batches may exceed the elapsed time.
        "batch_seconds": round(sum(outcome["seconds"] for outcome in outcomes), 3),
        "plan_complete": plan.complete,
        "logs_not_converted": plan.logs_not_converted,
        "plan_messages": list(plan.messages),
        "failures": [failure for outcome in outcomes for failure in outcome["failures"]],
    }


def exit_code(summary, max_rejects):
    """Returns the exit code, with the same meaning as in `convert`."""
    if summary["failed"] or summary["failures"] or not summary["plan_complete"]:
        return OBJECTS
    if summary["logs_not_converted"]:
        return LEFT_OUT
    if summary["rejects"] > max_rejects * summary["lines"]:
        return REJECTS
    return DONE


class Progress:
    """Prints the progress of a job every ten seconds.

    The counts come from accumulators, so they only indicate progress: a retried task can be counted twice. The summary
    is computed from the results instead.
    """

    def __init__(self, context, job, counters, objects):
        self.tracker, self.job, self.counters, self.objects = context.statusTracker(), job, counters, objects
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.report()

    def run(self):
        while not self.ended.wait(10):
            self.report()

    def report(self):
        done = active = lost = total = 0
        try:
            for number in self.tracker.getJobIdsForGroup(self.job):
                job = self.tracker.getJobInfo(number)
                for stage in filter(None, map(self.tracker.getStageInfo, job.stageIds if job else [])):
                    done, active = done + stage.numCompletedTasks, active + stage.numActiveTasks
                    lost, total = lost + stage.numFailedTasks, total + stage.numTasks
        except Exception:  # Spark may be shutting down. The job reports its own errors.
            return
        count = {name: counter.value for name, counter in self.counters.items()}
        objects = sum(count[name] for name in OUTCOMES)
        log(f"{done:,} of {total:,} tasks, {active} running, {lost} failed attempts; {count['batches']:,} batches, "
            f"{objects:,} of {self.objects:,} objects ({count['failed']:,} failed), {amount(count['bytes_in'])}; "
            f"{count['lines']:,} lines, {count['rows']:,} rows, {count['rejects']:,} rejects")


def log(text):
    """Prints the current time and a line of text to stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def amount(size):
    """Formats a size in bytes."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


# Executors.


def convert_batches(executor_binary, name, arguments, lines, counters):
    """Pipes the batches of a task to the program, and yields each outcome as soon as it is printed."""
    binary = find_on_executor(executor_binary, name)
    host, attempt = socket.gethostname(), TaskContext.get().attemptNumber()
    process, errors = start([binary, *arguments], stdin=subprocess.PIPE)
    try:
        lines = [zlib.decompress(line) for line in lines]
        try:
            with process.stdin:
                process.stdin.writelines(lines)
        except BrokenPipeError:
            pass  # The exit code and stderr explain the failure.
        missing = {json.loads(line)["batch"] for line in lines}
        for line in process.stdout:
            outcome = json.loads(line)
            missing.discard(outcome["batch"])
            for counter in SUMS:
                counters[counter].add(outcome[counter])
            counters["batches"].add(1)
            yield {**outcome, "host": host, "attempt": attempt}
        code, messages = process.wait(), errors.end()
        if code not in (DONE, REJECTS, OBJECTS) or missing:
            raise TaskFailed(f"{binary} on {host} ended with {code}, {len(missing)} of {len(lines)} batches not converted: "
                             + " / ".join(messages))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def find_on_executor(executor_binary, name):
    """Returns the path of the program on an executor."""
    place = executor_binary or SparkFiles.get(name)
    if not os.path.isfile(place):
        raise TaskFailed(f"{place} not found on {socket.gethostname()}: pass the program with --files, or set its path on the "
                         "executors with --executor-binary")
    return executable(place)


# Driver and executors.


def start(command, stdin):
    """Starts the program. Returns the process and the reader of its stderr."""
    try:
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   preexec_fn=ended_with_parent())
    except OSError as error:
        raise TaskFailed(f"{command[0]} on {socket.gethostname()} cannot be started: {error}") from error
    return process, Errors(process.stderr)


def ended_with_parent():
    """Returns a function that makes a new process receive SIGTERM when this process ends, for any reason.

    When Spark kills a task, such as the slower of two speculative copies, it kills the Python worker with SIGKILL.
    Without this function, the program would keep running. That would be harmless to the dataset, because batches are
    claimed, but the program would use cores that Spark has assigned to the next task.
    """
    try:
        prctl = ctypes.CDLL(None).prctl
    except (AttributeError, OSError):
        return None  # Not Linux.
    parent = os.getpid()

    def prepare():
        prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # The parent ended before prctl.
            os._exit(1)

    return prepare


class Errors:
    """Copies the program's stderr to this process's stderr, and keeps the last lines."""

    def __init__(self, stream):
        self.stream, self.lines = stream, collections.deque(maxlen=50)
        self.thread = threading.Thread(target=self.copy, daemon=True)
        self.thread.start()

    def copy(self):
        with self.stream:
            for line in self.stream:
                text = line.decode(errors="replace").rstrip()
                self.lines.append(text)
                print(text, file=sys.stderr, flush=True)

    def end(self):
        self.thread.join()
        return list(self.lines)


# Command line.


def parse(arguments):
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__,
                                     allow_abbrev=False)
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="as for `alb2parquet convert`")
    parser.add_argument("--source", action="append", default=[], help="a SOURCE, for Glue, which passes only named "
                        "arguments")
    parser.add_argument("--out", required=True, metavar="DATASET", help="as for `alb2parquet convert`")
    parser.add_argument("--binary", metavar="FILE", help="the program on the driver [default: searched in --files, the "
                        "working directory, the environment of Python and the PATH]")
    parser.add_argument("--executor-binary", metavar="FILE", help="the program on executors, such as "
                        "environment/bin/alb2parquet with --archives [default: a copy of the driver's]")
    parser.add_argument("--threads", type=int, help="worker threads of each task [default: spark.task.cpus]")
    parser.add_argument("--task-bytes", type=int, default=TASK_BYTES, metavar="BYTES",
                        help="approximate bytes of gzip per task [default: %(default)s]")
    parser.add_argument("--max-rejects", type=float, default=0.01, metavar="SHARE",
                        help="share of rejected lines above which the exit code is 1 [default: %(default)s]")
    parser.add_argument("--summary", metavar="FILE", help="path or URL of the summary in JSON, on any file system "
                        "that Spark has configured [default: stdout]")
    group = parser.add_argument_group("as for `alb2parquet convert`")
    for name in PLAN_OPTIONS + CONVERT_OPTIONS + BOTH_OPTIONS:
        group.add_argument(f"--{name}", action="append", default=[], metavar="VALUE")
    known, unknown = parser.parse_known_args(arguments)
    # Glue adds its own arguments.
    if unknown and "--JOB_RUN_ID" not in unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    known.sources += known.source
    if not known.sources:
        parser.error("SOURCE is missing")
    if not 0 <= known.max_rejects <= 1 or known.task_bytes < 1 or (known.threads or 1) < 1:
        parser.error("--max-rejects must be between 0 and 1; --task-bytes and --threads must be at least 1")
    return known


def passed_on(arguments, names):
    values = ((name, getattr(arguments, name.replace("-", "_"))) for name in names)
    return [f"--{name}={value}" for name, given in values for value in given]


def write(spark, name, summary):
    text = json.dumps(summary, indent=2) + "\n"
    if name is None:
        print(text, end="", flush=True)
    elif "://" in name:
        java = spark.sparkContext._jvm
        path = java.org.apache.hadoop.fs.Path(name)
        stream = path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).create(path, True)
        stream.write(bytearray(text.encode()))
        stream.close()
    else:
        with open(name, "w") as file:
            file.write(text)


def main(arguments):
    try:
        known = parse(arguments)
    except SystemExit as error:  # Like the program, exits with 0 for --help, and with 3 for invalid arguments.
        return FAILED if error.code else DONE
    spark = SparkSession.builder.appName(PROGRAM).getOrCreate()
    try:
        began = time.monotonic()
        binary = find_on_driver(known.binary)
        plan = make_plan(binary, [absolute(source) for source in known.sources], absolute(known.out),
                         passed_on(known, PLAN_OPTIONS + BOTH_OPTIONS))
        planned = time.monotonic()
        outcomes, tasks = run(spark, plan, known.out, binary, known.executor_binary,
                              passed_on(known, CONVERT_OPTIONS + BOTH_OPTIONS), known.threads, known.task_bytes)
        summary = summarize(outcomes, plan, tasks, planned - began, time.monotonic() - planned)
        code = exit_code(summary, known.max_rejects)
        for failure in summary["failures"]:
            remedy = f" (remedy: {failure['remedy']})" if failure.get("remedy") else ""
            print(f"failed: {failure['object']}: {failure['error']}{remedy}", file=sys.stderr)
        write(spark, known.summary, {"exit_code": code, **summary})
        return code
    except (RunFailed, TaskFailed, OSError) as error:
        print(f"{PROGRAM} on Spark: {error}", file=sys.stderr)
        return FAILED
    finally:
        spark.stop()


if __name__ == "__main__":
    status = main(sys.argv[1:])
    if status:
        sys.exit(status)
