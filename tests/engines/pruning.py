"""What a query of one hour of one balancer must read, here and of DuckDB's own partitioned export.

    pruning.py DATASET SCRATCH

Counts, from the files' metadata, the bytes of the columns that the query names: in all row groups, in those
that statistics cannot rule out (all that DuckDB and Spark use), and in those pages of them that the page
index cannot rule out (Trino, Polars and others use it).
"""

import datetime
import pathlib
import shutil
import sys

import duckdb
import pyarrow.parquet

TABLE = "alb_access_logs"
COLUMNS = ["elb", "time", "sent_bytes"]
QUERY = "SELECT count(*), sum(sent_bytes) FROM {files} WHERE elb = ? AND time >= ? AND time < ?"


def main():
    dataset, scratch = map(pathlib.Path, sys.argv[1:])
    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    ours = dataset / TABLE
    export = scratch / "duckdb-export"
    shutil.rmtree(export, ignore_errors=True)
    files = lambda place: (
        f"read_parquet('{place}/**/*.parquet', hive_partitioning = true, hive_types = {{'account': "
        "VARCHAR, 'region': VARCHAR, 'year': VARCHAR, 'month': VARCHAR, 'day': VARCHAR})"
    )
    session.execute(
        f"COPY (SELECT * FROM {files(ours)}) TO '{export}' "
        "(FORMAT parquet, COMPRESSION zstd, PARTITION_BY (account, region, year, month, day))"
    )
    [(elb, first)] = session.sql(f"SELECT min(elb), min(time) FROM {files(ours)}").fetchall()
    begin = first.replace(minute=0, second=0, microsecond=0) + datetime.timedelta(hours=12)
    wanted = [elb, begin, begin + datetime.timedelta(hours=1)]
    answers = [
        session.execute(QUERY.format(files=files(place)), wanted).fetchone()
        for place in (ours, export)
    ]
    if answers[0] != answers[1] or not answers[0][0]:
        sys.exit(f"the answers differ, or are empty: {answers}")
    print(f"one hour of one balancer: {answers[0][0]} rows")
    print(f"{'':22}{'file bytes':>12}{'row groups':>12}{'of them':>9}{'columns':>12}{'needed':>12}")
    for name, place in [("alb2parquet", ours), ("DuckDB's export", export)]:
        groups = [group for path in sorted(place.rglob("*.parquet")) for group in groups_of(path)]
        size = sum(path.stat().st_size for path in place.rglob("*.parquet"))
        left = [group for group in groups if may_hold(group, wanted)]
        every, needed = (sum(map(column_bytes, some)) for some in (groups, left))
        print(f"{name:22}{size:12,}{len(groups):12}{len(left):9}{every:12,}{needed:12,}")


def groups_of(path):
    metadata = pyarrow.parquet.ParquetFile(path).metadata
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        columns = (group.column(place) for place in range(group.num_columns))
        yield {column.path_in_schema: column for column in columns}


def may_hold(group, wanted):
    elb, begin, end = wanted
    names, times = group["elb"].statistics, group["time"].statistics
    return (
        not names.has_min_max or names.min <= elb <= names.max
    ) and (not times.has_min_max or times.min < end and times.max >= begin)


def column_bytes(group):
    return sum(group[name].total_compressed_size for name in COLUMNS)


if __name__ == "__main__":
    main()
