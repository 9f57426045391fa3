"""Checksums for comparing a reader's values with the raw lines.

Every program in `programs/` computes the same checksums, in its own language:

* Each value is encoded as bytes. Text and binary values are used unchanged. Integers are encoded as decimal digits,
  times as microseconds since 1970 in decimal, doubles as 16 hexadecimal digits for their 64 bits, and dates as
  yyyy-mm-dd.
* A column's checksum consists of the number of its non-NULL values and the sum of the CRC-32 checksums of the encoded
  values.
* The row checksum is the sum of the CRC-32 checksums of all rows. To encode a row, its values are concatenated in file
  order. Each value is preceded by its encoded length in bytes and a `:`, and NULL is `-`. A value in the wrong row
  changes this checksum.

The sums do not depend on the row order, so the checksums of a table's files add up to those of the table.
"""

import concurrent.futures
import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
import struct
import zlib

from queries import reference

PARTITION = reference.PARTITION_NAMES
DATE = "date"
TYPES = {"string": "string", "int32": "int32", "int64": "int64", "double": "double", "timestamp[us, tz=UTC]": "timestamp",
         "binary": "binary"}


@dataclasses.dataclass
class Checksums:
    rows: int = 0
    sum: int = 0
    columns: dict = dataclasses.field(default_factory=dict)  # name -> [values, sum]

    def add(self, other):
        self.rows += other.rows
        self.sum += other.sum
        for name, (values, total) in other.columns.items():
            column = self.columns.setdefault(name, [0, 0])
            column[0] += values
            column[1] += total


def text(value):
    """Encodes a value as bytes. Times are passed as integers."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, float):
        return struct.pack(">d", value).hex().encode()
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.isoformat().encode()
    return value if isinstance(value, bytes) else b"%d" % value


def of_columns(columns, outside=()):
    """Returns the checksums of columns, given as lists of values. The row checksum omits the columns in `outside`."""
    found, framed, rows = Checksums(), [], 0
    for name, values in columns.items():
        known, count, total, frames = {None: (0, b"-")}, 0, 0, []
        for value in values:
            # Positive and negative zero are equal but encoded differently, so a double's cache key includes its bits.
            key = value if type(value) is not float else (value, struct.pack(">d", value))
            if key not in known:
                data = text(value)
                known[key] = zlib.crc32(data), b"%d:%b" % (len(data), data)
            crc, frame = known[key]
            count += value is not None
            total += crc
            frames.append(frame)
        found.columns[name] = [count, total]
        rows = len(frames)
        if name not in outside:
            framed.append(frames)
    found.rows = rows
    found.sum = sum(zlib.crc32(b"".join(row)) for row in zip(*framed))
    return found


def of_object(job):
    """Returns the checksums of an object's rows and rejects, by table and partition. `parse_object` defines `job`."""
    parsed = reference.parse_object(job)
    log = next(log for log in reference.LOGS if log.schema() == parsed.rows.schema)
    found = {}
    for table, batch in [(log.table, parsed.rows), ("elb_rejects", parsed.rejects)]:
        if not batch.num_rows:
            continue
        columns = {name: values(column) for name, column in zip(batch.schema.names, batch.columns)}
        place = (table, *(columns[name][0] for name in PARTITION))
        year, month, day = (columns[name][0] for name in PARTITION[2:])
        columns[DATE] = [f"{year}-{month}-{day}"] * batch.num_rows
        found[place] = of_columns(columns, outside=[*PARTITION, DATE])
    return found


def values(column):
    """Returns the values of an Arrow column. Times become integers."""
    import pyarrow

    if pyarrow.types.is_timestamp(column.type):
        column = column.cast(pyarrow.timestamp("us", column.type.tz)).cast(pyarrow.int64())
    return column.to_pylist()


def micros(text):
    """Converts a UTC time, such as 2025-07-18 23:55:00.000001, to microseconds since 1970."""
    if text is None:
        return None
    since = datetime.datetime.fromisoformat(text) - datetime.datetime(1970, 1, 1)
    return since // datetime.timedelta(microseconds=1)


def expected(sources, scratch):
    """Returns the expected checksums by table and partition, computed from the raw lines of all objects."""
    jobs = [
        (path, key, scratch)
        for log in reference.LOGS for source in sources for path, key in reference.objects(source, log)
    ]
    places = {}
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(of_object, jobs, chunksize=2):
            for place, checksums in found.items():
                places.setdefault(place, Checksums()).add(checksums)
    return places


def kept(sources, scratch, place):
    """Like `expected`, but uses a cached result if the sources and the code are unchanged."""
    files = [path for source in sources for path in sorted(source.rglob("*.log*"))]
    code = [pathlib.Path(__file__), pathlib.Path(reference.__file__), *sorted(reference.SCHEMAS.glob("*.toml"))]
    made_of = hashlib.sha256()
    for path in [*files, *code]:
        made_of.update(f"{path} {path.stat().st_size} ".encode() + path.read_bytes())
    if place.exists():
        stamp, places = json.loads(place.read_text())
        if stamp == made_of.hexdigest():
            return {tuple(key): Checksums(**value) for key, value in places}
    places = expected(sources, scratch)
    place.write_text(json.dumps([made_of.hexdigest(), [[key, vars(value)] for key, value in places.items()]]))
    return places


def schemas():
    """Returns the column names and types in each table's files."""
    tables = {log.table: log.schema() for log in reference.LOGS} | {"elb_rejects": reference.reject_schema()}
    return {
        table: {field.name: TYPES[str(field.type)] for field in schema if field.name not in PARTITION}
        for table, schema in tables.items()
    }
