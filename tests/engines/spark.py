"""Spark-specific checks: the partition catalog and Hive 2's reader."""

import adapters
import others
from others import differ
from queries import PARTITION, ROWS


def checks(engine, oracle):
    """Yields the name of every check and the problem found, which is empty if the check passes."""
    session, rows = engine.session, oracle.tables[ROWS]
    partitions = {tuple(row[column] for column in PARTITION) for row in rows}
    spec = lambda values, form: form.join(
        f"{column}='{value}'" for column, value in zip(PARTITION, values)
    )
    shown = {row[0] for row in session.sql(f"SHOW PARTITIONS {ROWS}").collect()}
    wanted = {spec(values, "/").replace("'", "") for values in partitions}
    yield "SHOW PARTITIONS after the statements of ddl", "" if shown == wanted else f"{shown}"

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

    session.sql(f"ALTER TABLE {ROWS} DROP PARTITION ({spec(one, ', ')})")
    for _ in range(2):
        engine.script(adapters.ddl(engine.program, engine.dataset, ROWS, "spark", "--partitions"))
    yield "ddl --partitions, twice", differ(count(), len(rows))

    engine.script(adapters.bare_ddl(engine.program, ROWS, "spark", "--location", str(engine.dataset),
                                    "--name", "repaired"))
    found = session.table("repaired").count()
    yield "MSCK REPAIR TABLE as ddl prints it without a dataset", differ(found, len(rows))

    by_partition = lambda name: sorted(
        map(tuple, session.table(name).groupBy(*PARTITION).count().collect())
    )
    for table in adapters.LOG_TYPES:
        wanted = sorted(others.by_partition(oracle, table))
        name = f"{table}_plain"
        place = others.beside(engine.dataset)
        engine.script(adapters.ddl(engine.program, place, table, "spark", "--name", name))
        yield f"DDL for the plain layout, {table}", differ(by_partition(name), wanted)

        # Spark accepts the statements for Athena, apart from the location.
        name = f"{table}_as_athena"
        text = adapters.ddl(engine.program, engine.dataset, table, "athena", "--location", "s3://lake",
                            "--name", name, "--no-projection")
        engine.script(text.replace("s3://lake", f"file://{engine.dataset}"))
        problem = differ(by_partition(name), wanted)
        fields = session.table(name).schema.fields
        bare = [field.name for field in fields if not field.metadata.get("comment")]
        yield (f"Athena's CREATE TABLE and ALTER TABLE ADD, with comments, {table}",
               problem or differ(bare, []))

    # docs/athena.md documents this limit, so this fails when the limit no longer exists.
    session.conf.set("spark.sql.hive.convertMetastoreParquet", "false")
    try:
        session.sql(f"SELECT max(`time`) FROM {ROWS}").collect()
        problem = "it reads them, but docs/athena.md lists this as a limit"
    except Exception as error:
        problem = "" if "LongWritable" in str(error) else str(error)[:300]
    yield ("the reader of Hive 2 refuses times, as in docs/athena.md", problem)
    answer = session.sql(f"SELECT count(*), sum(client_port), max(elb) FROM {ROWS}").first()
    wanted = (len(rows), sum(row["client_port"] or 0 for row in rows), max(r["elb"] for r in rows))
    yield ("the reader of Hive 2 reads other columns",
           "" if tuple(answer) == wanted else f"{answer}")
