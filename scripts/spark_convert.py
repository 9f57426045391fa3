#!/usr/bin/env python3
"""Converts the logs of load balancers on an Apache Spark cluster.

    spark-submit --files alb2parquet spark_convert.py SOURCE... --out DATASET [OPTIONS]

Spark schedules, repeats and speculates; the program `alb2parquet` does the work. The driver plans (`alb2parquet
plan --jsonl`) and shares the batches among tasks; a task feeds its batches to `alb2parquet convert --batches -`.
Tasks need no coordination: batches are claimed, so that one that is done twice, at once or later, changes nothing.

Notebooks call `convert(spark, sources, out)`, which returns a DataFrame of one row for each batch.
Needs pyspark (3.5 or later, and a session that has a `sparkContext`), and Python 3.9 or later; nothing else.

Exit codes, as of `alb2parquet convert`:
  0  every object was converted
  1  more than --max-rejects of the lines are rejects
  2  some object could not be read, or not to its end, or holds something else than its name says
  3  the run could not begin, or not go on, or SOURCE holds no logs at all
  4  objects that are named like logs were not converted, for their endings or paths
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

# Gzip bytes of a task, about: some seconds of work, beside which the second that a task may cost is little.
TASK_BYTES = 256 << 20
# Tasks for each that can run at once, at least: the last to end is then a small part of the whole.
TASKS_PER_SLOT = 4
# More would burden the driver.
MAX_TASKS = 50_000

# Options of the program that are handed on: to `plan`, to `convert`, or to both.
PLAN_OPTIONS = ["log-type", "from", "to", "account", "region", "balancer", "objects", "target-file-size"]
CONVERT_OPTIONS = ["profile", "compression", "bloom-filter", "redact"]
BOTH_OPTIONS = ["layout", "option"]

# Columns of the DataFrame: what `convert --batches` prints for a batch, and where that was.
SUMS = ["objects", "converted_before", "archived", "duplicate", "failed", "lines", "rows", "rejects", "files",
        "reject_files", "bytes_in", "bytes_decompressed", "bytes_out"]
COLUMNS = {
    **dict.fromkeys(["batch", "log_type", "account", "region", "day"], "string"),
    **dict.fromkeys(SUMS, "bigint"),
    "seconds": "double",
    "failures": "array<struct<object: string, error: string>>",
    "host": "string",
    "attempt": "int",
}
# What each object of a batch came to: the sum of these is the number of its objects.
FATES = ["objects", "converted_before", "archived", "duplicate", "failed"]

Batch = collections.namedtuple("Batch", "id size objects line")
Plan = collections.namedtuple("Plan", "batches messages complete left_out")


class RunFailed(Exception):
    """The run could not begin, or not go on."""


class TaskFailed(Exception):
    """A task could not do its batches; Spark tries it again."""


# On the driver.


def convert(spark, sources, out, binary=None, executor_binary=None, plan_options=(), convert_options=(),
            threads=None, task_bytes=TASK_BYTES):
    """Converts and returns what came of it: a DataFrame of one row for each batch.

    The program is found by itself, or is `binary`; executors get a copy of it unless `executor_binary` says where
    they have it. The options are lists of arguments, such as `["--from", "2025-07-01"]`. `threads` is that of each
    task: `spark.task.cpus` unless said otherwise. Raises RunFailed where the program's exit code would be 3. What
    cannot be listed is named on stderr; what could not be read, in the column `failures`.
    """
    binary = find_on_driver(binary)
    plan = make_plan(binary, sources, absolute(out), plan_options)
    outcomes, _ = run(spark, plan, out, binary, executor_binary, convert_options, threads, task_bytes)
    return frame(spark, outcomes)


def find_on_driver(binary=None):
    """Where the driver has the program: as told, from `--files`, in the working directory (where YARN, Kubernetes
    and Glue put files), in the environment of this Python, or on the PATH."""
    if binary:
        if not os.path.isfile(binary):
            raise RunFailed(f"--binary {binary}: there is no such file on the driver")
        return executable(binary)
    places = [os.path.join(SparkFiles.getRootDirectory(), PROGRAM), PROGRAM,
              os.path.join(os.path.dirname(sys.executable), PROGRAM), shutil.which(PROGRAM)]
    for place in places:
        if place and os.path.isfile(place):
            return executable(place)
    raise RunFailed(f"the driver has no {PROGRAM}: hand it on with --files {PROGRAM}, install it, or say where it is "
                    "with --binary")


def executable(path):
    """The file, or a copy of it that may be executed: what comes from a bucket may not."""
    path = os.path.abspath(path)
    if os.access(path, os.X_OK):
        return path
    copy = os.path.join(tempfile.mkdtemp(prefix=PROGRAM), os.path.basename(path))
    shutil.copyfile(path, copy)
    os.chmod(copy, stat.S_IRWXU)
    return copy


def absolute(place):
    """A path as it is for executors, whose working directories are others."""
    return place if "://" in place else os.path.abspath(place)


def make_plan(binary, sources, out, options=()):
    """Has the program plan."""
    command = [binary, "plan", *sources, "--out", out, "--jsonl", *options]
    process, errors = start(command, stdin=subprocess.DEVNULL)
    batches = []
    for line in process.stdout:
        known = json.loads(line)
        objects = sum(len(group["objects"]) for group in known["groups"])
        # Names of objects are much alike, and stay in memory until their task ends.
        batches.append(Batch(known["batch"], known["bytes"], objects, zlib.compress(line, 1)))
    code, said = process.wait(), errors.end()
    if code not in (DONE, OBJECTS, LEFT_OUT):
        raise RunFailed(f"{PROGRAM} plan ended with {code}: " + " / ".join(said))
    messages = [line for line in said if "failed" in line or line.startswith("warning: ")]
    return Plan(batches, messages, complete=code != OBJECTS, left_out=code == LEFT_OUT)


def share(batches, slots, task_bytes=TASK_BYTES):
    """Shares batches among tasks of about the same size, the largest first.

    The largest batches are dealt first, each to the task that has least so far; a large batch thus has a task of
    its own, and small ones are put together, so that starting a process for them is worth while. Spark starts tasks
    in their order: when the last ones start, all are small, and none is left that others must wait for.
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
    """Has executors convert what is planned; returns what came of each batch, and the number of tasks."""
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
    # Rejects are judged over all batches, not over those of one task.
    arguments = ["convert", "--batches", "-", "--out", absolute(out), "--threads", str(threads or cpus),
                 "--max-rejects", "1", "--quiet", *options]
    # What the tasks need, and no more: the rest of the plan stays here.
    name = os.path.basename(binary)
    parts = [[batch.line for batch in group] for group in groups]

    def work(lines):
        return do_batches(executor_binary, name, arguments, lines, counters)

    size, objects = sum(batch.size for batch in plan.batches), sum(batch.objects for batch in plan.batches)
    title = (f"{PROGRAM}: {len(plan.batches):,} batches, {objects:,} objects, {amount(size)} of gzip, "
             f"to {absolute(out)}")
    job = f"{PROGRAM}-{uuid.uuid4()}"
    # By this name the job is found in Spark's UI.
    context.setJobGroup(job, title, True)
    say(f"{title}: {len(parts):,} tasks of up to {amount(sum(batch.size for batch in groups[0]))}")
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
    """Makes sure that each object of the plan has come to something."""
    planned = {batch.id: batch.objects for batch in plan.batches}
    found = {outcome["batch"]: sum(outcome[fate] for fate in FATES) for outcome in outcomes}
    wrong = [batch for batch, objects in planned.items() if found.get(batch) != objects]
    if wrong or len(found) != len(outcomes):
        raise RunFailed(f"the outcomes do not add up to the plan; for instance, of batch {(wrong or ['?'])[0]}")


def reason(error):
    """What a failed task said, out of the many lines that Spark says."""
    text = str(error)
    said = re.findall(r"TaskFailed: (.+)", text)
    return f"a task failed too often; the last time: {said[-1]}" if said else text


def frame(spark, outcomes):
    """What came of the batches, as a DataFrame."""
    schema = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    rows = [tuple(outcome[name] for name in COLUMNS) for outcome in outcomes]
    return spark.createDataFrame(rows, schema)


def summarize(outcomes, plan, tasks, planning_seconds, converting_seconds):
    """Sums of what came of the batches, as far as attempts that came to their ends know."""
    sums = {name: sum(outcome[name] for outcome in outcomes) for name in SUMS}
    return {
        "batches": len(outcomes),
        "tasks": tasks,
        # Those of attempts that were not the first.
        "repeated_batches": sum(outcome["attempt"] > 0 for outcome in outcomes),
        "hosts": len({outcome["host"] for outcome in outcomes}),
        **sums,
        "planning_seconds": round(planning_seconds, 3),
        "converting_seconds": round(converting_seconds, 3),
        # The sum over batches, of which several are converted at once.
        "batch_seconds": round(sum(outcome["seconds"] for outcome in outcomes), 3),
        "plan_complete": plan.complete,
        "logs_left_out": plan.left_out,
        "plan_messages": list(plan.messages),
        "failures": [failure for outcome in outcomes for failure in outcome["failures"]],
    }


def exit_code(summary, max_rejects):
    """The exit code that `convert` would have."""
    if summary["failed"] or summary["failures"] or not summary["plan_complete"]:
        return OBJECTS
    if summary["logs_left_out"]:
        return LEFT_OUT
    if summary["rejects"] > max_rejects * summary["lines"]:
        return REJECTS
    return DONE


class Progress:
    """Says every ten seconds how far a job is.

    The counts come from accumulators, to which a task adds when it ends: enough to watch, but a task that is done
    twice can count twice. What counts in the end are the results.
    """

    def __init__(self, context, job, counters, objects):
        self.tracker, self.job, self.counters, self.objects = context.statusTracker(), job, counters, objects
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.tell()

    def watch(self):
        while not self.ended.wait(10):
            self.tell()

    def tell(self):
        done = active = lost = total = 0
        try:
            for number in self.tracker.getJobIdsForGroup(self.job):
                job = self.tracker.getJobInfo(number)
                for stage in filter(None, map(self.tracker.getStageInfo, job.stageIds if job else [])):
                    done, active = done + stage.numCompletedTasks, active + stage.numActiveTasks
                    lost, total = lost + stage.numFailedTasks, total + stage.numTasks
        except Exception:  # Spark may be about to end; that is not for the display to say.
            return
        count = {name: counter.value for name, counter in self.counters.items()}
        objects = sum(count[name] for name in FATES)
        say(f"{done:,} of {total:,} tasks, {active} at work, {lost} failed attempts; {count['batches']:,} batches, "
            f"{objects:,} of {self.objects:,} objects ({count['failed']:,} failed), {amount(count['bytes_in'])}; "
            f"{count['lines']:,} lines, {count['rows']:,} rows, {count['rejects']:,} rejects")


def say(text):
    """Says something on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def amount(size):
    """A number of bytes, for people."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


# On executors.


def do_batches(executor_binary, name, arguments, lines, counters):
    """Feeds the batches of a task to the program; yields what came of each as soon as that is known."""
    binary = find_on_executor(executor_binary, name)
    host, attempt = socket.gethostname(), TaskContext.get().attemptNumber()
    process, errors = start([binary, *arguments], stdin=subprocess.PIPE)
    try:
        lines = [zlib.decompress(line) for line in lines]
        try:
            with process.stdin:
                process.stdin.writelines(lines)
        except BrokenPipeError:
            pass  # Its exit code and what it said tell more.
        missing = {json.loads(line)["batch"] for line in lines}
        for line in process.stdout:
            outcome = json.loads(line)
            missing.discard(outcome["batch"])
            for counter in SUMS:
                counters[counter].add(outcome[counter])
            counters["batches"].add(1)
            yield {**outcome, "host": host, "attempt": attempt}
        code, said = process.wait(), errors.end()
        if code not in (DONE, REJECTS, OBJECTS) or missing:
            raise TaskFailed(f"{binary} on {host} ended with {code}, {len(missing)} of {len(lines)} batches not done: "
                             + " / ".join(said))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def find_on_executor(executor_binary, name):
    """Where an executor has the program."""
    place = executor_binary or SparkFiles.get(name)
    if not os.path.isfile(place):
        raise TaskFailed(f"{socket.gethostname()} has no {place}: hand the program on with --files, or say with "
                         "--executor-binary where the executors have it")
    return executable(place)


# On both.


def start(command, stdin):
    """Starts the program; returns it and what reads its stderr."""
    try:
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   preexec_fn=ended_with_parent())
    except OSError as error:
        raise TaskFailed(f"{command[0]} on {socket.gethostname()} cannot be started: {error}") from error
    return process, Errors(process.stderr)


def ended_with_parent():
    """What a new process does so that it gets SIGTERM when this one ends, however that comes about.

    Spark ends a Python worker by SIGKILL when its task is killed, as that of the slower of two speculative copies is,
    and nothing else would end the program then. It does no harm if it lives on (its batches are claimed by whoever
    is first), but uses processors that the next task was promised.
    """
    try:
        prctl = ctypes.CDLL(None).prctl
    except (AttributeError, OSError):
        return None  # Not Linux.
    parent = os.getpid()

    def prepare():
        prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # It ended before.
            os._exit(1)

    return prepare


class Errors:
    """Copies stderr of the program to this one's, and keeps the last lines."""

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


# As a program.


def parse(arguments):
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__,
                                     allow_abbrev=False)
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="as for `alb2parquet convert`")
    parser.add_argument("--source", action="append", default=[], help="another way to name a SOURCE, for Glue, whose "
                        "arguments all have names")
    parser.add_argument("--out", required=True, metavar="DATASET", help="as for `alb2parquet convert`")
    parser.add_argument("--binary", metavar="FILE", help="the program on the driver [default: from --files, the "
                        "working directory, the environment of Python, the PATH]")
    parser.add_argument("--executor-binary", metavar="FILE", help="the program on executors, such as "
                        "environment/bin/alb2parquet with --archives [default: they get a copy of the driver's]")
    parser.add_argument("--threads", type=int, help="worker threads of each task [default: spark.task.cpus]")
    parser.add_argument("--task-bytes", type=int, default=TASK_BYTES, metavar="BYTES",
                        help="gzip bytes of a task, about [default: %(default)s]")
    parser.add_argument("--max-rejects", type=float, default=0.01, metavar="SHARE",
                        help="share of lines that may be rejects before the exit code is 1 [default: %(default)s]")
    parser.add_argument("--summary", metavar="FILE", help="path or URL (of any file system that Spark has) to write "
                        "the summary to, as JSON [default: stdout]")
    group = parser.add_argument_group("as for `alb2parquet convert`")
    for name in PLAN_OPTIONS + CONVERT_OPTIONS + BOTH_OPTIONS:
        group.add_argument(f"--{name}", action="append", default=[], metavar="VALUE")
    known, unknown = parser.parse_known_args(arguments)
    # Glue adds arguments of its own.
    if unknown and "--JOB_RUN_ID" not in unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    known.sources += known.source
    if not known.sources:
        parser.error("SOURCE is missing")
    if not 0 <= known.max_rejects <= 1 or known.task_bytes < 1 or (known.threads or 1) < 1:
        parser.error("--max-rejects is a share between 0 and 1; --task-bytes and --threads are at least 1")
    return known


def handed_on(arguments, names):
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
    except SystemExit as error:  # Help is 0; whatever else is wrong with arguments is 3, as for the program.
        return FAILED if error.code else DONE
    spark = SparkSession.builder.appName(PROGRAM).getOrCreate()
    try:
        began = time.monotonic()
        binary = find_on_driver(known.binary)
        plan = make_plan(binary, [absolute(source) for source in known.sources], absolute(known.out),
                         handed_on(known, PLAN_OPTIONS + BOTH_OPTIONS))
        planned = time.monotonic()
        outcomes, tasks = run(spark, plan, known.out, binary, known.executor_binary,
                              handed_on(known, CONVERT_OPTIONS + BOTH_OPTIONS), known.threads, known.task_bytes)
        summary = summarize(outcomes, plan, tasks, planned - began, time.monotonic() - planned)
        code = exit_code(summary, known.max_rejects)
        for failure in summary["failures"]:
            print(f"failed: {failure['object']}: {failure['error']}", file=sys.stderr)
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
