"""Reads files with a Python engine, and prints the checksums of their columns and rows.

    read.py ENGINE LIST

LIST has one line per file, with the file's path, column names, column types and more. Prints one line of JSON per file.
"""

import importlib
import json
import os
import pathlib
import signal
import sys
import traceback

import pyarrow

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import checksums


def main(engine, listed):
    read = ENGINES[engine]
    if UNSAFE.intersection(read.values()):
        # Import the engine once here, instead of in each file's process.
        importlib.import_module(engine)
    for line in pathlib.Path(listed).read_text().splitlines():
        path, types = line.split("\t")[:2]
        types = dict(column.split(":") for column in types.split(","))
        for reader, found in attempts(read, path, types):
            print(json.dumps({"reader": reader, "name": path, **found}), flush=True)


def attempts(read, path, types):
    """Yields the result or error from each of an engine's readers."""
    for reader, function in read.items():
        if function not in UNSAFE:
            yield reader, attempt(function, path, types)
            continue
        ((_, found),) = apart(function, path, [types])
        if "error" in found:
            # A reader that cannot read the whole file may still read some columns, possibly with wrong values.
            alone = apart(function, path, [{name: kind} for name, kind in types.items()])
            found["columns"] = {name: sums for _, each in alone for name, sums in each.get("columns", {}).items()}
        yield reader, found


def attempt(function, path, types):
    try:
        found = checksums.of_columns(function(path, types))
        return {"rows": found.rows, "sum": found.sum, "columns": found.columns}
    except BaseException as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def apart(function, path, selections):
    """Reads several selections of columns in a child process. Starts a new process if the child crashes."""
    found = []
    while len(found) < len(selections):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            with os.fdopen(writing, "w") as answers:
                for types in selections[len(found):]:
                    print(json.dumps(attempt(function, path, types)), file=answers, flush=True)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answers:
            found += [json.loads(line) for line in answers if line.endswith("\n")]
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            found.append({"error": f"ended the process: {signal.Signals(os.WTERMSIG(status)).name}"})
    return list(zip(selections, found))


def of_table(table):
    """Returns the values in an Arrow table, by column."""
    columns = {}
    for name, column in zip(table.column_names, table.columns):
        column = pyarrow.chunked_array([of_array(chunk) for chunk in column.chunks], of_array(pyarrow.array([], column.type)).type)
        columns[name] = checksums.values(column)
    return columns


def of_array(array):
    if pyarrow.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pyarrow.large_string()) if str(array.type) == "string_view" else array


def read_pyarrow(path, types):
    import pyarrow.parquet

    return of_table(pyarrow.parquet.ParquetFile(path).read())


def read_pandas(path, types):
    import pandas

    # With the default types, integers in columns with NULLs would become doubles, which have only 53 bits of precision.
    frame = pandas.read_parquet(path, engine="pyarrow", dtype_backend="numpy_nullable", partitioning=None)
    return of_frame(frame, types)


def read_fastparquet(path, types):
    import fastparquet

    return of_frame(fastparquet.ParquetFile(path, pandas_nulls=True).to_pandas(columns=list(types)), types)


def of_frame(frame, types):
    """Returns the values in a pandas data frame, by column."""
    import pandas

    columns = {}
    for name in frame.columns:
        column = frame[name]
        missing = column.isna()
        if types[name] == "timestamp":
            if not pandas.api.types.is_datetime64_any_dtype(column.dtype):
                raise TypeError(f"{name} is {column.dtype}")
            unit = getattr(column.dtype, "tz", None) and "datetime64[us, UTC]" or "datetime64[us]"
            column = column.astype(unit).astype("int64")
        columns[name] = [None if null else python(value) for value, null in zip(column.tolist(), missing)]
    return columns


def python(value):
    return value.item() if hasattr(value, "item") else value


def read_duckdb(path, types):
    import duckdb

    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    return of_table(session.execute("FROM read_parquet(?, hive_partitioning = false)", [path]).to_arrow_table())


def read_datafusion(path, types):
    import datafusion

    return of_table(datafusion.SessionContext().read_parquet(path).to_arrow_table())


def read_daft(path, types):
    import daft

    return of_table(daft.read_parquet(path).to_arrow())


def read_polars(path, types):
    import polars

    return of_table(polars.read_parquet(path, hive_partitioning=False).to_arrow())


def read_polars_streaming(path, types):
    import polars

    return of_table(polars.scan_parquet(path, hive_partitioning=False).collect(engine="streaming").to_arrow())


def read_chdb(path, types):
    import chdb

    query = f"SELECT * FROM file('{path}', Parquet) SETTINGS use_hive_partitioning = 0, session_timezone = 'UTC', output_format_arrow_string_as_string = 0"
    answer = chdb.query(query, "Arrow").bytes()
    return of_table(pyarrow.ipc.open_file(pyarrow.BufferReader(answer)).read_all())


# The readers of each engine. A reader has a name only if its engine has several.
ENGINES = {
    "pyarrow": {"": read_pyarrow},
    "pandas": {"": read_pandas},
    "fastparquet": {"": read_fastparquet},
    "duckdb": {"": read_duckdb},
    "datafusion": {"": read_datafusion},
    "daft": {"": read_daft},
    "polars": {"in memory": read_polars, "streaming": read_polars_streaming},
    "chdb": {"": read_chdb},
}
UNSAFE = {read_fastparquet}

if __name__ == "__main__":
    main(*sys.argv[1:])
