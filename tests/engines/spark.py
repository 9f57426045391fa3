"""What else is asked of Spark: its catalogue of partitions, and the reader of Hive 2."""

import adapters
from queries import PARTITION, ROWS


def checks(engine, oracle):
    """Yields the name of every check and what is wrong, which is empty when nothing is."""
    session, rows = engine.session, oracle.tables[ROWS]
    partitions = {tuple(row[column] for column in PARTITION) for row in rows}
    spec = lambda values, form: form.join(
        f"{column}='{value}'" for column, value in zip(PARTITION, values)
    )
    shown = {row[0] for row in session.sql(f"SHOW PARTITIONS {ROWS}").collect()}
    wanted = {spec(values, "/").replace("'", "") for values in partitions}
    yield "SHOW PARTITIONS after what ddl printed", "" if shown == wanted else f"{shown}"

    count = lambda: session.sql(f"SELECT count(*) FROM {ROWS}").first()[0]
    one = sorted(partitions)[0]
    of_one = sum(1 for row in rows if tuple(row[column] for column in PARTITION) == one)
    session.sql(f"ALTER TABLE {ROWS} DROP PARTITION ({spec(one, ', ')})")
    without = count()
    session.sql(f"MSCK REPAIR TABLE {ROWS}")
    again = count()
    right = (without, again) == (len(rows) - of_one, len(rows))
    yield ("DROP PARTITION, then MSCK REPAIR TABLE",
                  "" if right else f"{without} then {again} of {len(rows)} rows")

    # Text for Athena is Hive's too: the same statement makes a table here, but for its place.
    text = adapters.ddl(engine.program, engine.dataset, ROWS, "athena", "--location", "s3://lake",
                        "--name", "told_as_athena", "--no-projection")
    place = f"file://{engine.dataset}"
    engine.script(text.replace("s3://lake", place))
    table = session.table("told_as_athena")
    problem = "" if table.count() == len(rows) else f"{table.count()} rows"
    comments = {field.name: field.metadata.get("comment") for field in table.schema.fields}
    if not problem and not all(comments.values()):
        problem = f"comments: {comments}"
    yield ("Athena's CREATE TABLE and ALTER TABLE ADD, with comments", problem)

    # A known limit, which docs/athena.md names: it must still be one.
    session.conf.set("spark.sql.hive.convertMetastoreParquet", "false")
    try:
        session.sql(f"SELECT max(`time`) FROM {ROWS}").collect()
        problem = "it can; docs/athena.md says that it cannot"
    except Exception as error:
        problem = "" if "LongWritable" in str(error) else str(error)[:300]
    yield ("the reader of Hive 2 refuses times, as docs/athena.md says", problem)
    answer = session.sql(f"SELECT count(*), sum(client_port), max(elb) FROM {ROWS}").first()
    wanted = (len(rows), sum(row["client_port"] or 0 for row in rows), max(r["elb"] for r in rows))
    yield ("the reader of Hive 2 reads other columns",
                  "" if tuple(answer) == wanted else f"{answer}")
