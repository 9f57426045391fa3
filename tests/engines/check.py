"""Runs the same queries on a dataset in every engine, and compares the results with those of an oracle.

    check.py SOURCE... --dataset DATASET --program ALB2PARQUET [--trino DIRECTORY] [--engines NAME,...]

The oracle (`queries.py`) reads the raw gzip files in SOURCE. Prints a table of queries and engines, followed by the
differences. Exits with 1 if there are any differences.
"""

import argparse
import concurrent.futures
import os
import pathlib
import sys
import tempfile
import time

import adapters
import others
import queries
import spark
from queries import Oracle, differences, reference


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("sources", type=pathlib.Path, nargs="+")
    arguments.add_argument("--dataset", type=pathlib.Path, required=True)
    arguments.add_argument("--program", type=pathlib.Path, required=True)
    arguments.add_argument("--trino", type=pathlib.Path, help="the directory that scripts/trino prints")
    arguments.add_argument("--engines", default="duckdb,clickhouse,polars,pyarrow,spark")
    arguments = arguments.parse_args()

    # Spark resolves relative paths differently.
    dataset = arguments.dataset.resolve()
    with tempfile.TemporaryDirectory(prefix="engines-") as scratch:
        scratch = pathlib.Path(scratch)
        oracle = Oracle(read_sources(arguments.sources, scratch))
        for table, rows in oracle.tables.items():
            print(f"{table}: {len(rows)} rows in the oracle")
        sheet = Sheet(queries.queries(oracle))
        for name in arguments.engines.split(","):
            engine = ENGINES[name](arguments.program.resolve(), dataset, scratch)
            sheet.fill(engine, oracle)
            program = arguments.program.resolve()
            sheet.look(engine.name, lambda: others.checks(engine, program, dataset, oracle))
            if name == "spark":
                sheet.look("Spark", lambda: spark.checks(engine, oracle))
            engine.close()
        if arguments.trino:
            import athena

            sheet.look("Trino", lambda: athena.checks(arguments, dataset, scratch, oracle, sheet))
        return sheet.report()


ENGINES = {
    "duckdb": adapters.DuckDb,
    "clickhouse": adapters.ClickHouse,
    "polars": adapters.Polars,
    "pyarrow": adapters.PyArrow,
    "spark": adapters.Spark,
}


class Sheet:
    """The result of every query in every engine."""

    def __init__(self, questions):
        self.questions = questions
        self.engines = []  # name, duration in seconds, and the difference for each query
        self.checks = []  # other checks, each with a name and a problem

    def fill(self, engine, oracle):
        began = time.monotonic()
        cells = [ask(engine, query, oracle) for query in self.questions]
        taken = time.monotonic() - began
        self.engines.append((engine.name, taken, cells))
        print(f"{engine.name}: {cells.count('')} of {len(cells)} results agree [{taken:.1f} s]", flush=True)

    def look(self, name, checks):
        """Adds checks, each with a name and a problem. An exception also counts as a problem."""
        try:
            for check in checks():
                self.checks.append((f"{name}: {check[0]}", check[1]))
        except Exception as error:
            self.checks.append((f"{name}: all checks", f"{type(error).__name__}: {str(error)[:2000]}"))

    def report(self):
        width = max(len(query.name) for query in self.questions)
        names = [name for name, _, _ in self.engines]
        print()
        print("  ".join([f"{'query':{width}}", *names]))
        for place, query in enumerate(self.questions):
            cells = [
                f"{'DIFFERS' if cells[place] else 'agrees':{len(name)}}"
                for name, _, cells in self.engines
            ]
            print("  ".join([f"{query.name:{width}}", *cells]))
        seconds = [f"{f'{taken:.1f} s':{len(name)}}" for name, taken, _ in self.engines]
        print("  ".join([f"{'total':{width}}", *seconds]))
        print()
        for name, problem in self.checks:
            print(f"{'FAILED' if problem else 'ok':6} {name}{f': {problem}' if problem else ''}")
        wrong = [
            f"{name}: {query.name}: {cell}"
            for name, _, cells in self.engines
            for query, cell in zip(self.questions, cells) if cell
        ]
        print(*wrong, sep="\n")
        cells = len(self.questions) * len(self.engines)
        failed = len(wrong) + sum(1 for _, problem in self.checks if problem)
        print(f"{cells - len(wrong)} of {cells} results agree; {failed} other checks failed")
        return 1 if failed else 0


def ask(engine, query, oracle):
    try:
        return differences(oracle.answer(query), engine.ask(query))
    except Exception as error:  # The engines have no common error type.
        return f"{type(error).__name__}: {str(error)[:500]}"


def read_sources(sources, scratch):
    """Parses the objects of all log types with the reference parser. Times become microseconds."""
    jobs = [
        (path, key, scratch)
        for log in reference.LOGS for source in sources for path, key in reference.objects(source, log)
    ]
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        parsed = list(pool.map(reference.parse_object, jobs, chunksize=4))
    tables = {log.table: [] for log in reference.LOGS} | {queries.REJECTS: []}
    for each in parsed:
        log = next(log for log in reference.LOGS if log.schema() == each.rows.schema)
        for table, batch in [(log.table, each.rows), (queries.REJECTS, each.rejects)]:
            tables[table] += (
                {name: queries.plain(value) for name, value in row.items()}
                for row in batch.to_pylist()
            )
    return tables


if __name__ == "__main__":
    sys.exit(main())
