"""Compares the compatibility view with the table that AWS documents, and runs AWS's sample queries on the view.

AWS's table parses lines with a regular expression
(https://docs.aws.amazon.com/athena/latest/ug/create-alb-access-logs-table.html). The tests apply this expression to
the raw lines. The result must equal the view, except for the differences listed in docs/athena.md, each of which is
handled below.
"""

import collections
import datetime
import re

from queries import reference

WORD, QUOTED = "([^ ]*)", '"([^"]*)"'
SECONDS, NUMBER = "([-.0-9]*)", "([-0-9]*)"
# One group per field, as documented. The last group matches future fields and has no column.
EXPRESSION = re.compile(
    " ".join([
        WORD, WORD, WORD, "([^ ]*):([0-9]*)", "([^ ]*)[:-]([0-9]*)", SECONDS, SECONDS, SECONDS,
        "(|[-0-9]*)", "(-|[-0-9]*)", NUMBER, NUMBER, '"([^ ]*) (.*) (- |[^ ]*)"', QUOTED,
        "([A-Z0-9-_]+)", "([A-Za-z0-9.-]*)", WORD, QUOTED, QUOTED, QUOTED, SECONDS, WORD, QUOTED,
        QUOTED, '"([^ ]*)"', r'"([^\s]+?)"', r'"([^\s]+)"', '"([^ ]*)"', '"([^ ]*)"',
    ]) + " ?([^ ]*)? ?( .*)?"
)
LOG = reference.LOGS[0]
NAMES = reference.DOCUMENTED_COLUMNS[LOG.name]
WHOLE = {"client_port", "target_port", "elb_status_code", "received_bytes", "sent_bytes"}
REAL = {name for name in NAMES if name.endswith("_processing_time")}
TIMES = {"time", "request_creation_time"}


def checks(server, view, sources, session):
    yield from columns(server, view, session)
    yield from rows(server, view, sources, session)
    yield from samples(server, view, sources, session)


def columns(server, view, session):
    found = [tuple(row[:2]) for row in server.query(f"SHOW COLUMNS FROM {view}", **session).rows]
    kind = lambda name: (
        "double" if name in REAL else "bigint" if name.endswith("_bytes")
        else "integer" if name in WHOLE else "varchar"
    )
    wanted = [(name, kind(name)) for name in NAMES] + [("day", "varchar")]
    yield "the compat view has AWS's columns and types", "" if found == wanted else f"{found}"


def rows(server, view, sources, session):
    """Compares AWS's table with the view, for every line that AWS's expression matches."""
    theirs, missed = [], collections.Counter()
    for key, line in lines(sources):
        row = documented(key, line)
        if row is None:
            missed[key.split("/")[-4]] += 1
        else:
            theirs.append(row)
    selected = ", ".join(f'"{name}"' for name in NAMES)
    answer = server.query(f"SELECT {selected}, day FROM {view}", **session)
    ours = collections.Counter(map(allowed, answer.rows))
    wanted = collections.Counter(map(allowed, theirs))
    lost = wanted - ours
    print(f"AWS's expression matches {len(theirs)} lines and does not match {missed.total()}, by year "
          f"{dict(missed)}; the view has {len(answer.rows)} rows")
    shown = "; ".join(str(row) for row in list(lost)[:3])
    yield ("the compat view has every row of AWS's table, except for the listed differences",
           f"{lost.total()} lines differ, such as {shown}" if lost or not theirs else "")
    early = sum(int(row[-1][:4]) < 2020 for row in answer.rows)
    yield ("the compat view has rows from before August 2020, where AWS's table has NULLs",
           "" if early and not any(int(row[-1][:4]) < 2020 for row in theirs) else f"{early} rows")


def lines(sources):
    for source in sources:
        for path, key in reference.objects(source, LOG):
            text, *_ = reference.inflate(path.read_bytes())
            for line in text.splitlines():
                try:
                    reference.parse_line(line, LOG)
                    yield key, line.decode()
                except (reference.Reject, UnicodeDecodeError):
                    pass


def documented(key, line):
    """Returns the row in AWS's table, or None if all its columns are NULL."""
    found = EXPRESSION.fullmatch(line)
    if not found:
        return None
    row = []
    for name, text in zip(NAMES, found.groups()):
        if name in WHOLE:
            row.append(int(text) if re.fullmatch(r"-?\d+", text or "") else None)
        elif name in REAL:
            row.append(float(text) if text not in ("", "-") else None)
        else:
            row.append(text or "")
    return (*row, "/".join(key.split("/")[-4:-1]))


def allowed(row):
    """Normalizes a row to remove the differences that docs/athena.md lists."""
    row = dict(zip([*NAMES, "day"], row))
    for name in TIMES:
        row[name] = milliseconds(row[name])
    # In AWS's table, spaces at the end of a request line become part of the version or the URL.
    for name in ("request_verb", "request_url", "request_proto"):
        row[name] = row[name].strip() or "-"
    # AWS's table distinguishes a dash from an absent connection ID; the view does not.
    if row["conn_trace_id"] == "-":
        row["conn_trace_id"] = ""
    # AWS's table keeps the brackets around an IPv6 address; the view removes them.
    for name in ("client_ip", "target_ip"):
        row[name] = row[name].strip("[]")
    return tuple(row.values())


def milliseconds(text):
    """Returns a time in a uniform format, with Athena's precision."""
    try:
        time = datetime.datetime.fromisoformat(text.rstrip("Z"))
    except ValueError:
        return text
    whole = time.replace(microsecond=0)
    return whole + datetime.timedelta(milliseconds=(time.microsecond + 500) // 1000)


def samples(server, view, sources, session):
    """Runs the sample queries from AWS's page, unchanged except for the table name and the days:
    https://docs.aws.amazon.com/athena/latest/ug/query-alb-access-logs-examples.html"""
    theirs = [row for row in (documented(*line) for line in lines(sources)) if row]
    theirs = [dict(zip([*NAMES, "day"], row)) for row in theirs]
    ask = lambda sql: server.query(sql.format(view=view), **session).rows

    found = ask(
        "SELECT COUNT(request_verb) AS\n count,\n request_verb,\n client_ip\nFROM {view}\n"
        "GROUP BY request_verb, client_ip\nLIMIT 100"
    )
    counted = collections.Counter((row["request_verb"], row["client_ip"]) for row in theirs)
    wrong = [row for row in found if row[0] < counted[row[1:]] or not row[0]]
    yield "AWS's sample: requests by client", f"{wrong}" if wrong or not found else ""

    found = ask("SELECT request_url\nFROM {view}\nWHERE user_agent LIKE '%Safari%'\nLIMIT 10")
    urls = {row["request_url"] for row in theirs if "Safari" in row["user_agent"]}
    wrong = {url for url, in found} - urls
    yield "AWS's sample: URLs of Safari's users", f"{wrong}" if wrong or len(found) != 10 else ""

    found = ask("SELECT * FROM {view}\nWHERE elb_status_code >= 500")
    wanted = [row for row in theirs if (row["elb_status_code"] or 0) >= 500]
    lacking = collections.Counter(allowed(tuple(row.values())) for row in wanted)
    lacking -= collections.Counter(map(allowed, found))
    yield "AWS's sample: errors", f"{lacking.total()} rows" if lacking or not wanted else ""

    found = ask(
        "SELECT client_ip, sum(received_bytes)\nFROM {view}\n"
        "WHERE parse_datetime(time,'yyyy-MM-dd''T''HH:mm:ss.SSSSSS''Z')\n"
        "     BETWEEN parse_datetime('2025-07-18-12:00:00','yyyy-MM-dd-HH:mm:ss')\n"
        "     AND parse_datetime('2025-07-19-00:00:00','yyyy-MM-dd-HH:mm:ss')\nGROUP BY client_ip"
    )
    wanted = collections.Counter()
    for row in theirs:
        time = milliseconds(row["time"])
        if datetime.datetime(2025, 7, 18, 12) <= time <= datetime.datetime(2025, 7, 19):
            wanted[row["client_ip"].strip("[]")] += row["received_bytes"]
    found = dict(found)
    wrong = {ip for ip, total in wanted.items() if found.get(ip, -1) < total}
    yield "AWS's sample: bytes by client between two times", f"{wrong}" if wrong or not wanted else ""

    found = ask("SELECT *\nFROM {view}\nWHERE day = '2025/07/19'")
    wanted = collections.Counter(
        allowed(tuple(row.values())) for row in theirs if row["day"] == "2025/07/19"
    )
    lacking = wanted - collections.Counter(map(allowed, found))
    yield "AWS's sample: a day", f"{lacking.total()} rows" if lacking or not wanted else ""
