"""Runs scripts/spark_convert.py on a Spark cluster, and compares the dataset with one created without Spark.

Usage: check.py SOURCE WORK PROGRAM

The cluster has one master and two workers. All are JVMs that run Spark from the pip package. They use 127.0.0.1 and
127.0.0.2, because Spark starts a speculative copy only on another host. The tests read Spark's event logs. All
processes are stopped by their IDs.
"""

import ast
import contextlib
import gzip
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pyspark

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "spark_convert.py"
sys.path.insert(0, str(SCRIPT.parent))
import spark_convert  # noqa: E402

SPARK = pathlib.Path(pyspark.__file__).parent
HOSTS = ["127.0.0.1", "127.0.0.2"]
# In seconds. Long enough for a busy machine.
PATIENCE = 600


def wait_for(what, condition):
    """Waits until a condition holds, and returns its value."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise SystemExit(f"timeout after {PATIENCE} s: {what}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# Processes.


def lives(process):
    """Returns whether a process exists and is not a zombie."""
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(process):
    """Returns the IDs of all descendants of a process."""
    children = {}
    for directory in pathlib.Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                parent = (directory / "stat").read_text().rpartition(")")[2].split()[1]
                children.setdefault(int(parent), []).append(int(directory.name))
    found, left = [], [process]
    while left:
        found += children.get(left[0], [])
        left += children.get(left.pop(0), [])
    return found


def command_of(process):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return pathlib.Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


class Cluster:
    """A master and two workers with one core each."""

    def __init__(self, work):
        self.work, self.processes = work, {}
        port, self.page = free_port(), free_port()
        self.url = f"spark://127.0.0.1:{port}"
        self.start("master", "127.0.0.1", "master.Master", "--host", "127.0.0.1", "--port", port,
                   "--webui-port", self.page)
        for host in HOSTS:
            self.start_worker(host)

    def start(self, name, address, main, *arguments):
        (self.work / "logs").mkdir(parents=True, exist_ok=True)
        command = [SPARK / "bin/spark-class", f"org.apache.spark.deploy.{main}", *map(str, arguments)]
        environment = self.environment(address, SPARK_DAEMON_MEMORY="256m")
        with open(self.work / "logs" / name, "a") as log:
            # The shell script replaces itself with the JVM, so this is the JVM's process ID.
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def start_worker(self, host):
        # A tuple, because `wait_for` continues to wait if the value is 0.
        (before,) = wait_for("the master", lambda: (n,) if (n := self.alive()) is not None else None)
        self.start(host, host, "worker.Worker", "--host", host, "--cores", 1, "--memory", "600m",
                   "--webui-port", 0, "--work-dir", self.work / f"worker-{host}", self.url)
        wait_for(f"the worker {host}", lambda: self.alive() == before + 1)

    def alive(self):
        """Returns the number of workers, or None if the master has not started yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.page}/json/", timeout=10) as page:
                return sum(worker["state"] == "ALIVE" for worker in json.load(page)["workers"])
        except OSError:
            return None

    def environment(self, address, **more):
        return {**os.environ, "SPARK_HOME": str(SPARK), "SPARK_LOCAL_IP": address, "PYSPARK_PYTHON": sys.executable,
                "SPARK_LOCAL_DIRS": str(self.work / "local"), "PYTHONWARNINGS": "ignore", **more}

    def command(self, events, *configuration):
        shutil.rmtree(events, ignore_errors=True)
        events.mkdir(parents=True)
        settings = ["spark.driver.host=127.0.0.1", "spark.driver.bindAddress=127.0.0.1", "spark.driver.memory=512m",
                    "spark.executor.memory=512m", "spark.ui.enabled=false", "spark.eventLog.enabled=true",
                    "spark.eventLog.compress=false", "spark.eventLog.rolling.enabled=false",
                    f"spark.eventLog.dir=file://{events}",
                    # Tasks start only after both workers have registered: the ratio refers to spark.cores.max.
                    "spark.cores.max=2", "spark.scheduler.minRegisteredResourcesRatio=1.0",
                    f"spark.scheduler.maxRegisteredResourcesWaitingTime={PATIENCE}s", *configuration]
        return [SPARK / "bin/spark-submit", "--master", self.url,
                *(part for setting in settings for part in ("--conf", setting))]

    def kill_worker(self, name):
        """Sends SIGKILL to a worker, its executor and their Python daemons, but not to the daemons' child processes."""
        worker = self.processes.pop(name)
        below = descendants(worker.pid)
        spark = [process for process in below if "org.apache.spark" in command_of(process)
                 or "pyspark.daemon" in command_of(process)]
        for process in [worker.pid, *spark]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        worker.wait()
        return len(spark)

    def end(self):
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# Runs the script, but does not stop Spark until the given process has ended. Otherwise, Spark would stop before it
# receives the result of the slower copy.
UNTIL_GONE = """
import pathlib, runpy, sys, time
from pyspark.sql import SparkSession
_, file, *sys.argv = sys.argv
stop = SparkSession.stop
def stop_later(session):
    stat = pathlib.Path("/proc", pathlib.Path(file).read_text().strip(), "stat")
    for _ in range(600):
        if not stat.exists():
            time.sleep(1)
            break
        time.sleep(0.1)
    else:
        print("STILL RUNNING")
    stop(session)
SparkSession.stop = stop_later
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Run:
    """A run of the script: its exit code, its output, its summary, and Spark's events."""

    def __init__(self, cluster, name, source, *arguments, settings=(), until_gone=None):
        self.name, self.work = name, cluster.work / name
        self.out, self.events_in = self.work / "lake", self.work / "events"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        script = [SCRIPT]
        if until_gone:
            (self.work / "until_gone.py").write_text(UNTIL_GONE)
            script = [self.work / "until_gone.py", until_gone, SCRIPT]
        self.began = time.monotonic()
        with open(self.work / "stderr", "w") as errors:
            self.process = subprocess.Popen(
                [*cluster.command(self.events_in, *settings), *script, source, "--out", self.out, "--to", "2099-12-31",
                 "--summary", self.work / "summary.json", *arguments],
                stdout=errors, stderr=errors, env=cluster.environment("127.0.0.1"))

    def wait(self, expected):
        self.code = self.process.wait(PATIENCE * 3)
        self.took = time.monotonic() - self.began
        self.said = (self.work / "stderr").read_text()
        if self.code != expected:
            print(self.said[-6000:])
            raise SystemExit(f"{self.name}: exit code {self.code} instead of {expected}; see {self.work}")
        summary = self.work / "summary.json"
        self.summary = json.loads(summary.read_text()) if summary.exists() else None
        (log,) = self.events_in.iterdir()
        events = [json.loads(line) for line in log.read_text().splitlines()]
        # The first stage converts the batches.
        self.ends = [event for event in events
                     if event["Event"] == "SparkListenerTaskEnd" and event["Stage ID"] == 0]
        self.titles = [event["Properties"].get("spark.job.description") for event in events
                       if event["Event"] == "SparkListenerJobStart"]
        return self

    def attempts(self, condition):
        return [end for end in self.ends if condition(end["Task Info"], end["Task End Reason"]["Reason"])]

    def claims(self):
        return len(list((self.out / "_alb2parquet" / "claims").rglob("*.claim.json")))


class Oracle:
    """The dataset that the program creates without Spark."""

    def __init__(self, program, source, out):
        self.program, self.source = program, source
        shutil.rmtree(out, ignore_errors=True)
        began = time.monotonic()
        # One thread, as in each task.
        command = [program, "convert", source, "--out", out, "--to", "2099-12-31", "--json", "--quiet",
                   "--threads", "1"]
        done = subprocess.run(command, capture_output=True, text=True)
        self.took = time.monotonic() - began
        self.code, self.summary, self.files = done.returncode, json.loads(done.stdout), files(out)

    def compare(self, run):
        """Checks that the run's dataset is correct, that `verify` has no findings, and that the summary matches."""
        command = [self.program, "verify", self.source, "--out", run.out, "--to", "2099-12-31", "--read-data", "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        report = json.loads(done.stdout)
        assert done.returncode == 0 and report["findings"] == [], (run.name, report["findings"], done.stderr)
        rejects = sum(self.summary["rejects"].values())
        counts = [report[name] for name in ("lines", "rows", "rejects")]
        assert counts == [self.summary["lines"], self.summary["rows"], rejects], (run.name, counts)
        assert report["compared"] == self.summary["objects"]["converted"], (run.name, report["compared"])
        assert files(run.out) == self.files, f"{run.name}: the files differ from those of the program alone"
        summary = run.summary
        known = sum(summary[fate] for fate in ("objects", "converted_before", "archived", "duplicate", "failed"))
        assert known == self.summary["objects"]["listed"], (run.name, summary)
        assert summary["lines"] == summary["rows"] + summary["rejects"], (run.name, summary)
        if summary["converted_before"] == 0:
            assert [summary[name] for name in ("lines", "rows", "rejects")] == counts, (run.name, summary)
        return report["rows"]


def files(out):
    """Returns the Parquet files of a dataset by directory and contents, because file names differ between runs."""
    found = (file for file in pathlib.Path(out).rglob("*.parquet") if "_alb2parquet" not in file.parts)
    return sorted((str(file.parent.relative_to(out)), hashlib.sha256(file.read_bytes()).hexdigest()) for file in found)


def wrapper(directory, program, call, does):
    """Returns a wrapper for the program. On the given call to `convert`, the wrapper saves its input and hangs."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    file = directory / "alb2parquet"
    file.write_text(f"""#!/usr/bin/env bash
set -euo pipefail
if [[ $1 != convert ]]; then exec {program} "$@"; fi
for ((call = 1; ; call++)); do
    if mkdir {directory}/$call 2>/dev/null; then break; fi
done
if [[ $call != {call} ]]; then exec {program} "$@"; fi
cat >{directory}/all
{does}
echo $$ >{directory}/hung.new
mv {directory}/hung.new {directory}/hung
exec sleep 600
""")
    file.chmod(0o755)
    return file


# Converts the first batch of the task, and hangs before the next one.
FIRST_ONLY = 'head -n 1 {directory}/all | {program} "$@"'
# Also starts an orphaned process that converts all batches of the task, like a program that has outlived its task.
WITH_ORPHAN = FIRST_ONLY + """
setsid bash -c 'sleep 2; exec "$@" <{directory}/all >{directory}/orphan.out 2>&1' orphan {program} "$@" \\
    </dev/null >/dev/null 2>&1 &
echo $! >{directory}/orphan"""


def main(source, work, program):
    source, work, program = (pathlib.Path(each).resolve() for each in (source, work, program))
    # Python 3.9 is the version in Amazon EMR 7.
    ast.parse(SCRIPT.read_text(), feature_version=(3, 9))
    shares()
    spoil_a_line(source)
    oracle = Oracle(program, source, work / "alone")
    assert oracle.code == 0 and sum(oracle.summary["rejects"].values()) == 1, oracle.summary
    listed = oracle.summary["objects"]["listed"]
    print(f"alone: {listed} objects, {oracle.summary['rows']} rows, {len(oracle.files)} files", flush=True)
    cluster = Cluster(work)
    try:
        two = plain(cluster, oracle, source, program)
        one = one_worker(cluster, oracle, source, program)
        killed(cluster, oracle, source, program)
        speculation(cluster, oracle, source, program)
        corrupt(cluster, program)
        missing(cluster, source, program)
        notebook(cluster, oracle, source, program)
    finally:
        cluster.end()
    job = two.summary["converting_seconds"]
    print(f"""
results of this run: only ratios, because all JVMs share one machine
  the job with one worker / with two                    {one / job:.2f}
  planning, program alone in all = 1                    {two.summary['planning_seconds'] / oracle.took:.2f}
  the job with two workers                              {job / oracle.took:.2f}
  sum over batches, as reported by the tasks            {two.summary['batch_seconds'] / oracle.took:.2f}
  entire spark-submit                                   {two.took / oracle.took:.2f}
  (the program alone, with one thread as each task has, took {oracle.took:.2f} s)""")


def shares():
    """Tests how batches are assigned to tasks, without a cluster."""
    random.seed(1)
    for sizes in ([], [7], [1] * 100, [1000, *[1] * 50], [random.randrange(1, 1000) for _ in range(500)]):
        batches = [spark_convert.Batch(str(place), size, 1, b"") for place, size in enumerate(sizes)]
        for slots, task_bytes in ((1, 1), (2, 300), (4, 10**9)):
            groups = spark_convert.share(batches, slots, task_bytes)
            loads = [sum(batch.size for batch in group) for group in groups]
            assert sorted(batch.id for group in groups for batch in group) == sorted(batch.id for batch in batches)
            assert loads == sorted(loads, reverse=True) and all(groups)
            assert len(groups) <= len(batches)
            # A task's bytes, excluding its smallest batch, do not exceed an equal share.
            for group, load in zip(groups, loads):
                assert load - min(batch.size for batch in group) <= sum(sizes) / len(groups), (sizes, loads)


def tasks(source):
    """Returns arguments that result in about twenty tasks with several batches each."""
    return ["--task-bytes", str(sum(file.stat().st_size for file in source.rglob("*.log*")) // 20)]


def spoil_a_line(source):
    """Adds an invalid line."""
    object = sorted(source.rglob("*_app.*.log.gz"))[0]
    text = gzip.decompress(object.read_bytes())
    if b"spoiled\n" not in text:
        object.write_bytes(gzip.compress(text + b"spoiled\n"))


def plain(cluster, oracle, source, program):
    run = Run(cluster, "plain", source, "--binary", program, *tasks(source)).wait(0)
    rows = oracle.compare(run)
    hosts = {end["Task Info"]["Host"] for end in run.ends}
    assert hosts == set(HOSTS), hosts
    assert run.summary["repeated_batches"] == 0 and run.summary["rows"] == rows
    assert len(run.ends) == run.summary["tasks"] > 8, run.summary
    assert run.summary["batches"] > run.summary["tasks"], run.summary
    title = f"alb2parquet: {run.summary['batches']} batches"
    assert any(title in (each or "") for each in run.titles), run.titles
    # The last progress line shows the counts from the accumulators.
    counts = f"{run.summary['lines']:,} lines, {rows:,} rows, 1 rejects"
    assert counts in run.said, run.said[-2000:]
    print(f"plain: {rows} rows, {run.summary['tasks']} tasks on {len(hosts)} workers; verify found nothing", flush=True)
    return run


def one_worker(cluster, oracle, source, program):
    run = Run(cluster, "one-worker", source, "--binary", program, *tasks(source), "--max-rejects", "0",
              settings=["spark.cores.max=1"]).wait(1)
    oracle.compare(run)
    hosts = {end["Task Info"]["Host"] for end in run.ends}
    assert len(hosts) == 1 and run.summary["exit_code"] == 1
    print("one worker, no rejects allowed: exit code 1; verify found nothing", flush=True)
    return run.summary["converting_seconds"]


def killed(cluster, oracle, source, program):
    directory = cluster.work / "hangs"
    does = FIRST_ONLY.format(directory=directory, program=program)
    binary = wrapper(directory, program, 5, does)
    run = Run(cluster, "killed", source, "--binary", binary, *tasks(source))
    hung = int(wait_for("the fifth task", lambda: (directory / "hung").exists() and (directory / "hung").read_text()))
    worker = next(host for host in HOSTS if hung in descendants(cluster.processes[host].pid))
    before = run.claims()
    assert lives(hung)
    count = cluster.kill_worker(worker)
    assert count >= 2, "an executor and its Python"
    wait_for("the program to end with the killed worker", lambda: not lives(hung))
    run.wait(0)
    rows, after = oracle.compare(run), run.claims()
    assert 0 < before < after, (before, after)
    lost = run.attempts(lambda info, reason: reason == "ExecutorLostFailure")
    assert len(lost) == 1 and lost[0]["Task Info"]["Host"] == worker, lost
    # The next attempt found the rows that the lost attempt had published.
    assert run.summary["converted_before"] > 0 and run.summary["repeated_batches"] > 1, run.summary
    print(f"killed: {count + 1} processes of worker {worker} after {before} of {after} claims, the program ended "
          f"too; {run.summary['repeated_batches']} batches went to the other worker, "
          f"{run.summary['converted_before']} objects were already converted; {rows} rows, verify found nothing",
          flush=True)
    cluster.start_worker(worker)


def speculation(cluster, oracle, source, program):
    directory = cluster.work / "slow"
    does = WITH_ORPHAN.format(directory=directory, program=program)
    binary = wrapper(directory, program, 2, does)
    run = Run(cluster, "speculation", source, "--binary", binary, *tasks(source),
              settings=["spark.speculation=true", "spark.speculation.quantile=0.5",
                        "spark.speculation.multiplier=1.5"], until_gone=directory / "hung").wait(0)
    # The program's parent was killed, so only the kernel could send the program a signal.
    assert "STILL RUNNING" not in run.said
    orphan = int((directory / "orphan").read_text())
    wait_for("the orphan to end", lambda: not lives(orphan))
    outcomes = (directory / "orphan.out").read_text().splitlines()
    assert len(outcomes) == len((directory / "all").read_text().splitlines()) > 1, outcomes
    rows = oracle.compare(run)
    copies = run.attempts(lambda info, reason: info["Speculative"] and reason == "Success")
    assert copies, "no speculative copy ended first"
    slow = run.attempts(lambda info, reason: reason == "TaskKilled")
    indices = {end["Task Info"]["Index"] for end in slow} & {end["Task Info"]["Index"] for end in copies}
    assert indices, (slow, copies)
    assert run.summary["converted_before"] > 0, run.summary
    print(f"speculation: {len(copies)} speculative copies won, the slow one was killed and its program ended; an orphan "
          f"converted the same {len(outcomes)} batches; {rows} rows, verify found nothing", flush=True)


def corrupt(cluster, program):
    source = cluster.work / "corrupt-source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(cluster.work / "source", source)
    objects = sorted(source.rglob("*.log.gz"))
    broken = objects[len(objects) // 2]
    broken.write_bytes(broken.read_bytes()[:-500])
    oracle = Oracle(program, source, cluster.work / "corrupt-alone")
    # The program comes from `--files`, and Hadoop's file system writes the summary.
    run = Run(cluster, "corrupt", source, "--summary", f"file://{cluster.work}/corrupt/summary.json",
              settings=[f"spark.files={program}"]).wait(oracle.code)
    assert oracle.code == 2
    assert run.summary["failures"] == oracle.summary["failures"] != [], (run.summary, oracle.summary)
    assert run.summary["failed"] == 1 and f"{broken.name}: " in run.said, run.said
    assert files(run.out) == oracle.files
    print(f"corrupt: exit code 2, {run.summary['failures'][0]['error']!r}, as without Spark; with --files", flush=True)
    # Everything has already been converted, except one object whose content has changed since then.
    objects[0].write_bytes(gzip.compress(gzip.decompress(objects[0].read_bytes()) + b"more\n"))
    again = Run(cluster, "changed", source, "--binary", program, "--out", run.out).wait(2)
    assert again.summary["batches"] == 0 and not again.summary["plan_complete"], again.summary
    assert [objects[0].name in line for line in again.summary["plan_messages"]] == [True], again.summary
    print("changed: exit code 2, as in the plan", flush=True)


def missing(cluster, source, program):
    nowhere = "/nowhere/alb2parquet"
    run = Run(cluster, "missing", source, "--binary", program, "--executor-binary", nowhere).wait(3)
    (last,) = [line for line in run.said.splitlines() if line.startswith("alb2parquet on Spark: ")]
    assert nowhere in last and "--executor-binary" in last, last
    assert len(run.attempts(lambda info, reason: reason == "ExceptionFailure")) >= 4
    print(f"missing: exit code 3, {last!r}", flush=True)


NOTEBOOK = """
import json, sys
from pyspark.sql import SparkSession, functions as F
import spark_convert
spark = SparkSession.builder.getOrCreate()
out, source, binary = sys.argv[1:]
def convert():
    return spark_convert.convert(spark, [source], out, binary=binary, plan_options=["--to", "2099-12-31"])
done = convert()
assert done.count() == done.select("batch").distinct().count() > 1
sums = done.groupBy("log_type").agg(F.sum("rows").alias("rows"), F.sum("lines").alias("lines")).collect()
assert convert().count() == 0
try:
    spark_convert.convert(spark, ["s3:nothing"], out, binary=binary)
except spark_convert.RunFailed as error:
    print("REFUSED", error)
print("SUMS", json.dumps([row.asDict() for row in sums]))
"""


def notebook(cluster, oracle, source, program):
    """Imports `convert` and calls it twice."""
    work = cluster.work / "notebook"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / "cells.py").write_text(NOTEBOOK)
    shutil.copy(SCRIPT, work)
    command = [*cluster.command(work / "events"), work / "cells.py", work / "lake", source, program]
    done = subprocess.run(command, capture_output=True, text=True, env=cluster.environment("127.0.0.1"))
    assert done.returncode == 0, done.stdout + done.stderr
    (sums,) = [json.loads(line[5:]) for line in done.stdout.splitlines() if line.startswith("SUMS ")]
    assert "REFUSED alb2parquet plan ended with 3" in done.stdout, done.stdout
    expected = {kind: counts["rows"] for kind, counts in oracle.summary["log_types"].items()}
    assert {row["log_type"]: row["rows"] for row in sums} == expected, (sums, expected)
    assert files(work / "lake") == oracle.files
    print(f"notebook: a DataFrame of {sum(row['rows'] for row in sums)} rows converted; again, an empty one", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
