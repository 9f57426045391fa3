"""Runs a DuckDB query on an Arrow stream from stdin. The query can refer to the stream as the table `logs`.

Requires the packages duckdb and pyarrow.

    arrow_stream OBJECT | python3 arrow_query.py "SELECT elb_status_code, count(*) FROM logs GROUP BY 1"

DuckDB reads the stream batch by batch and keeps only the data that the query needs in memory.
"""

import sys

import duckdb
import pyarrow

logs = pyarrow.ipc.open_stream(sys.stdin.buffer)
for row in duckdb.sql(sys.argv[1]).fetchall():
    print(*row, sep="\t")
