"""Kills publications at random and runs four at once, and checks that each table then contains the files of the dataset.

    iceberg_crashes.py --program ALB2PARQUET --logs LOGS --work DIRECTORY [--rounds N] [--seed SEED]

Each round converts a part of the logs or removes a partition, and starts four publications at once. Half of them are
killed with SIGKILL at a random time. Then one more publication runs, and the data files in each table, as pyiceberg
lists them, must be the data files in the table's directory.
"""

import argparse
import collections
import json
import pathlib
import random
import shutil
import subprocess
import sys
import time

from pyiceberg.catalog import load_catalog

DAYS = ["2025-07-01", "2025-07-02", "2025-07-03"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--program", type=pathlib.Path, required=True)
    arguments.add_argument("--logs", type=pathlib.Path, required=True)
    arguments.add_argument("--work", type=pathlib.Path, required=True)
    arguments.add_argument("--rounds", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = arguments.parse_args()
    print(f"seed {arguments.seed}")
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    test = Test(arguments)

    def is_conclusive():
        return arguments.rounds < 20 or (test.counts["killed"] and test.counts["conflicts"])

    number = 0
    # If no publication was killed or had a conflict, the test would prove nothing, so more rounds follow.
    while number < arguments.rounds or (number < 10 * arguments.rounds and not is_conclusive()):
        test.round(number)
        number += 1
    print(f"ok     {number} rounds: {dict(sorted(test.counts.items()))}")
    if not is_conclusive():
        sys.exit("FAILED no publication was killed, or none had a conflict")


class Test:
    def __init__(self, arguments):
        self.program, self.logs = arguments.program.resolve(), arguments.logs
        self.lake, self.catalog = arguments.work / "lake", f"sql:sqlite:///{(arguments.work / 'catalog.db').resolve()}"
        self.random = random.Random(arguments.seed)
        self.counts = collections.Counter()
        self.seconds = 0.2  # the duration of the last uninterrupted publication

    def run(self, *command):
        done = subprocess.run([self.program, *map(str, command)], capture_output=True, text=True)
        if done.returncode not in (0, 2):
            sys.exit(f"FAILED {command}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def publish(self):
        return [self.program, "iceberg", "publish", str(self.lake), "--catalog", self.catalog, "--json"]

    def round(self, number):
        day = self.random.choice(DAYS)
        if number and self.random.random() < 0.4:
            self.run("remove", "--out", self.lake, "--from", day, "--to", day, "--yes")
            self.counts["removals"] += 1
        else:
            self.run("convert", self.logs, "--out", self.lake, "--from", day, "--to", day, "--quiet",
                     "--target-file-size", "20KB")
            self.counts["conversions"] += 1
        started = [
            subprocess.Popen(self.publish(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)
        ]
        deadlines = sorted(self.random.random() * 4 * self.seconds for _ in started[:2])
        began = time.monotonic()
        for process, deadline in zip(started, deadlines):
            time.sleep(max(0, began + deadline - time.monotonic()))
            process.kill()
        for process in started:
            output, errors = process.communicate()
            if process.returncode == -9:
                self.counts["killed"] += 1
            elif process.returncode:
                sys.exit(f"FAILED a concurrent publication: exit code {process.returncode}\n{errors}")
            else:
                self.counts["concurrent"] += 1
                self.counts["conflicts"] += sum(table["conflicts"] for table in json.loads(output)["tables"])
        began = time.monotonic()
        self.run(*self.publish()[1:])
        self.seconds = time.monotonic() - began
        self.compare(number)

    def compare(self, number):
        """Compares the files in each table with those in its directory."""
        catalog = load_catalog("default", type="sql", uri=self.catalog.removeprefix("sql:"))
        published = set()
        for name in catalog.list_tables("default"):
            table = catalog.load_table(name)
            if table.current_snapshot():
                files = table.inspect.files().to_pydict()
                paths = [path.removeprefix("file://") for path in files["file_path"]]
                if len(set(paths)) != len(paths):
                    sys.exit(f"FAILED round {number}: {name} contains a file twice")
                published.update(paths)
        root = self.lake.resolve()
        stored = {str(path) for path in root.glob("[a-z]*/**/*.parquet")}
        if published != stored:
            sys.exit(f"FAILED round {number}: only in tables: {sorted(published - stored)[:3]}, "
                     f"only in the dataset: {sorted(stored - published)[:3]}")
        self.counts["files"] = len(stored)


if __name__ == "__main__":
    main()
