"""Compares the speed of scripts/spark_convert.py on a small cluster with the speed of the program alone.

Usage: spark.py SOURCE WORK PROGRAM ROUNDS

The cluster has one master and two workers. All processes share one machine, so only ratios are meaningful. Prints a
table with a column for each round.
"""

import json
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "spark"))
from check import Cluster, Run  # noqa: E402


def alone(program, source, out, threads):
    shutil.rmtree(out, ignore_errors=True)
    command = [program, "convert", source, "--out", out, "--to", "2099-12-31", "--json", "--quiet",
               "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def submitted(cluster, source, program, name, size, settings=()):
    # Eight tasks with several batches each.
    return Run(cluster, name, source, "--binary", program, "--task-bytes", str(size // 8), settings=settings).wait(0)


def measure(cluster, source, work, program, size):
    one, two = (alone(program, source, work / "alone", threads) for threads in (1, 2))
    both = submitted(cluster, source, program, "two-workers", size)
    single = submitted(cluster, source, program, "one-worker", size, ["spark.cores.max=1"])
    rows = {run["rows"] for run in (one, two, both.summary, single.summary)}
    assert len(rows) == 1, rows
    job, job_of_one = both.summary["converting_seconds"], single.summary["converting_seconds"]
    return {
        "program alone, 1 thread": one["seconds"],
        "program alone, 2 threads": two["seconds"],
        "Spark job, two workers with one thread each": job,
        "its batches, summed over both workers": both.summary["batch_seconds"],
        "Spark job, one worker": job_of_one,
        "its batches": single.summary["batch_seconds"],
        "one worker / two": job_of_one / job,
        "two workers / alone with 2 threads": job / two["seconds"],
        "entire spark-submit, two workers": both.took,
    }


def main(source, work, program, rounds):
    source, work, program = (pathlib.Path(each).resolve() for each in (source, work, program))
    size = sum(file.stat().st_size for file in source.rglob("*.log.gz"))
    cluster = Cluster(work)
    try:
        columns = [measure(cluster, source, work, program, size) for _ in range(int(rounds))]
    finally:
        cluster.end()
    print(f"{size / 1e6:.0f} MB gzip\n\n| seconds |" + "".join(f" {n + 1} |" for n in range(len(columns))))
    print("|---|" + "--:|" * len(columns))
    for name in columns[0]:
        print(f"| {name} |" + "".join(f" {column[name]:.2f} |" for column in columns))


if __name__ == "__main__":
    main(*sys.argv[1:])
