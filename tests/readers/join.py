"""Checks the result of the join query in docs/queries.md.

    scripts/python-env, then: target/python/bin/python tests/readers/join.py DATASET TOTALS

Runs the page's SQL on DATASET with DuckDB, and compares the result with `troubled_connections` in TOTALS, the JSON
that `scripts/make-sample --totals` prints.
"""

import json
import pathlib
import sys

import duckdb

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "queries.md"
MARK = "<!-- worked join: run by tests/readers/join.py -->\n```sql\n"


def main():
    dataset, totals = (pathlib.Path(argument) for argument in sys.argv[1:])
    expected = json.loads(totals.read_text())["troubled_connections"]
    before, mark, rest = PAGE.read_text().partition(MARK)
    assert mark, "docs/queries.md has the join"
    sql, end, _ = rest.partition("```")
    assert end and "'lake/" in sql, "the join reads the dataset `lake`"
    duckdb.sql("SET TimeZone = 'UTC'")
    found = duckdb.sql(sql.replace("'lake/", f"'{dataset}/"))
    found.show(max_width=160, max_rows=40)
    [counts] = found.aggregate("count(*), sum(requests)").fetchall()
    found = dict(zip(("connections", "requests"), map(int, counts)))
    print(f"found {found}, expected {expected}")
    return found != expected


if __name__ == "__main__":
    sys.exit(main())
