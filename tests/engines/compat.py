"""Compares the compatibility views with the tables that AWS documents, and runs AWS's sample queries on the views.

AWS's tables parse lines with regular expressions:

* https://docs.aws.amazon.com/athena/latest/ug/create-alb-access-logs-table.html
* https://docs.aws.amazon.com/athena/latest/ug/networkloadbalancer-classic-logs.html
* https://docs.aws.amazon.com/athena/latest/ug/elasticloadbalancer-classic-logs.html

The tests apply these expressions to the raw lines. The result must equal the view. The only exceptions are the
differences listed in docs/athena.md, each of which is handled below.
"""

import collections
import datetime
import re

from queries import LOGS, reference

WORD, QUOTED = "([^ ]*)", '"([^"]*)"'
ADDRESS, TARGET = "([^ ]*):([0-9]*)", "([^ ]*)[:-]([0-9]*)"
SECONDS, NUMBER = "([-.0-9]*)", "([-0-9]*)"
STATUSES = ["(|[-0-9]*)", "(-|[-0-9]*)"]


class Documented:
    """A table in AWS's documentation. Subclasses define the log, the expression, and the types of columns other than
    strings."""

    bigints = {"received_bytes", "sent_bytes"}
    # The fields that lines in the earliest formats lack. Without them, the expression does not match.
    missing = ""

    def __init__(self):
        self.names = reference.DOCUMENTED_COLUMNS[self.log]

    def checks(self, server, view, sources, session):
        """Yields the name of every check and the problem found, which is empty if the check passes."""
        ask = lambda sql: server.query(sql.format(view=view), **session).rows
        for name, problem in (*self.columns(ask), *self.rows(ask, sources), *self.samples(ask)):
            yield f"the view of {self.log}: {name}", problem

    def columns(self, ask):
        found = [tuple(row[:2]) for row in ask("SHOW COLUMNS FROM {view}")]
        kind = lambda name: (
            "double" if name in self.doubles else "bigint" if name in self.bigints
            else "integer" if name in self.integers else "varchar"
        )
        wanted = [(name, kind(name)) for name in self.names] + [("day", "varchar")]
        yield "AWS's columns and types", "" if found == wanted else f"{found}"

    def rows(self, ask, sources):
        """Compares AWS's table with the view, for every line that AWS's expression matches."""
        self.theirs, self.completed, self.missed = [], [], collections.Counter()
        for key, line in self.lines(sources):
            day = "/".join(key.split("/")[-4:-1])
            row = self.parse(line)
            if row:
                self.theirs.append(row | {"day": day})
            else:
                row = self.parse(line + self.missing)
                self.missed[day[:4]] += 1
            if row:
                self.completed.append(row | {"day": day})
        selected = ", ".join(f'"{name}"' for name in self.names)
        ours = ask(f"SELECT {selected}, day FROM {{view}}")
        lost = self.count(self.theirs) - collections.Counter(map(self.allowed, ours))
        print(f"AWS's expression matches {len(self.theirs)} lines of {self.log} and does not match "
              f"{self.missed.total()}, by year {dict(self.missed)}; the view has {len(ours)} rows")
        shown = "; ".join(str(row) for row in list(lost)[:3])
        yield ("every row of AWS's table, except for the listed differences",
               f"{lost.total()} lines differ, such as {shown}" if lost or not self.theirs else "")
        more = len(ours) - len(self.theirs)
        wrong = more != self.missed.total() or not self.missed
        yield "a row for every line of AWS's rows of NULLs", f"{more} rows" if wrong else ""

    def lines(self, sources):
        log = LOGS[self.log]
        for source in sources:
            for path, key in reference.objects(source, log):
                text, *_ = reference.inflate(path.read_bytes())
                for line in text.splitlines():
                    try:
                        reference.parse_line(line, log)
                        yield key, line.decode()
                    except (reference.Reject, UnicodeDecodeError):
                        pass

    def parse(self, line):
        """Returns the row in AWS's table, or None if all its columns are NULL."""
        found = self.expression.fullmatch(line)
        if not found:
            return None
        row = {}
        for name, text in zip(self.names, found.groups()):
            if name in self.integers | self.bigints:
                row[name] = int(text) if re.fullmatch(r"-?\d+", text or "") else None
            elif name in self.doubles:
                row[name] = float(text) if text not in ("", "-") else None
            else:
                row[name] = text or ""
        return row

    def count(self, rows):
        return collections.Counter(self.allowed(tuple(row.values())) for row in rows)

    def allowed(self, row):
        """Normalizes a row to remove the differences that docs/athena.md lists."""
        row = dict(zip([*self.names, "day"], row))
        # AWS's tables keep the brackets around an IPv6 address; the views remove them.
        for name in ("client_ip", "target_ip", "request_ip", "backend_ip"):
            if name in row:
                row[name] = row[name].strip("[]")
        self.normalize(row)
        return tuple(row.values())

    def left(self):
        """Returns how many lines AWS's expression does not match even after the missing fields are added."""
        return self.missed.total() - (len(self.completed) - len(self.theirs))

    def groups(self, found, key, value=lambda row: 1, where=lambda row: True):
        """Compares a query's per-group sums with those for AWS's table.

        Some rows were parsed from lines in the earliest formats. The sums may be larger only
        because of the remaining lines that AWS's expression does not match.
        """
        wanted, left = collections.Counter(), self.left()
        for row in filter(where, self.completed):
            wanted[key(row)] += value(row)
        close = lambda sum, other: abs(sum - other) < 1e-6 * max(1, abs(other))
        wrong = {group: (total, found.get(group)) for group, total in wanted.items()
                 if not (close(found.get(group, -1), total) or left and found.get(group, -1) > total)}
        more = len(found.keys() - wanted.keys())
        return f"{dict(list(wrong.items())[:3])}, {more} more groups" if wrong or more > left or not wanted else ""


class Access(Documented):
    """https://docs.aws.amazon.com/athena/latest/ug/query-alb-access-logs-examples.html"""

    log = "access"
    # One group per field, as documented. The last group matches future fields; it has no column.
    expression = re.compile(
        " ".join([
            WORD, WORD, WORD, ADDRESS, TARGET, SECONDS, SECONDS, SECONDS,
            *STATUSES, NUMBER, NUMBER, '"([^ ]*) (.*) (- |[^ ]*)"', QUOTED,
            "([A-Z0-9-_]+)", "([A-Za-z0-9.-]*)", WORD, QUOTED, QUOTED, QUOTED, SECONDS, WORD, QUOTED,
            QUOTED, '"([^ ]*)"', r'"([^\s]+?)"', r'"([^\s]+)"', '"([^ ]*)"', '"([^ ]*)"',
        ]) + " ?([^ ]*)? ?( .*)?"
    )
    integers = {"client_port", "target_port", "elb_status_code"}
    doubles = {"request_processing_time", "target_processing_time", "response_processing_time"}

    def normalize(self, row):
        for name in ("time", "request_creation_time"):
            row[name] = milliseconds(row[name])
        # In AWS's table, spaces at the end of a request line become part of the version or the URL.
        for name in ("request_verb", "request_url", "request_proto"):
            row[name] = row[name].strip() or "-"
        # The request line `- - - `.
        if row["request_url"] == "- -":
            row["request_url"] = "-"
        # AWS's table distinguishes a dash from an absent connection ID; the view does not.
        if row["conn_trace_id"] == "-":
            row["conn_trace_id"] = ""

    def samples(self, ask):
        """Runs the sample queries, unchanged except for the table name and the days."""
        theirs = self.theirs
        early = sum(int(day[:4]) < 2020 for day, in ask("SELECT day FROM {view}"))
        wrong = not early or any(int(row["day"][:4]) < 2020 for row in theirs)
        yield "rows from before August 2020, where AWS's table has NULLs", f"{early} rows" if wrong else ""

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
        lacking = self.count(wanted) - collections.Counter(map(self.allowed, found))
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
        wanted = self.count(row for row in theirs if row["day"] == "2025/07/19")
        lacking = wanted - collections.Counter(map(self.allowed, found))
        yield "AWS's sample: a day", f"{lacking.total()} rows" if lacking or not wanted else ""


class NlbTls(Documented):
    """https://docs.aws.amazon.com/athena/latest/ug/networkloadbalancer-classic-logs.html"""

    log = "nlb_tls"
    # As in the table of access logs, the last group has no column.
    expression = re.compile(
        " ".join([
            *[WORD] * 5, ADDRESS, ADDRESS, SECONDS, SECONDS, NUMBER, NUMBER, NUMBER, *[WORD] * 9,
        ]) + " ?([^ ]*)?( .*)?"
    )
    # The fields that lines of version 1.0 lack.
    missing = " - - -"
    integers = {"client_port", "target_port", "incoming_tls_alert"}
    doubles = {"tcp_connection_time_ms", "tls_handshake_time_ms"}

    def normalize(self, row):
        # AWS's table distinguishes a dash from an absent time; the view does not.
        if row["tls_connection_creation_time"] == "-":
            row["tls_connection_creation_time"] = ""

    def samples(self, ask):
        """Runs the sample queries, unchanged except for the table name."""
        found = ask('SELECT count(*) AS\n         ct,\n         cert_arn\nFROM "{view}"\nGROUP BY  cert_arn')
        problem = self.groups({arn: count for count, arn in found}, lambda row: row["cert_arn"])
        yield "AWS's sample: how many times a certificate is used", problem

        found = ask(
            "SELECT tls_protocol_version,\n         COUNT(tls_protocol_version) AS\n         num_connections,\n"
            "         client_ip\nFROM \"{view}\"\nWHERE tls_protocol_version < 'tlsv12'\n"
            "GROUP BY tls_protocol_version, client_ip"
        )
        problem = self.groups(
            {(version, ip): count for version, count, ip in found},
            lambda row: (row["tls_protocol_version"], row["client_ip"].strip("[]")),
            where=lambda row: row["tls_protocol_version"] < "tlsv12",
        )
        yield "AWS's sample: users of older TLS versions", problem

        found = ask('SELECT *\nFROM "{view}"\nORDER BY  tls_handshake_time_ms DESC\nLIMIT 10')
        place = self.names.index("tls_handshake_time_ms")
        times = sorted((row["tls_handshake_time_ms"] or 0 for row in self.completed), reverse=True)
        known = self.count(self.completed)
        other = [row for row in found if self.allowed(row) not in known]
        right = [row[place] for row in found] == times[:10] and len(other) <= self.left()
        yield "AWS's sample: slow handshakes", "" if right else f"{found}"


class Classic(Documented):
    """https://docs.aws.amazon.com/athena/latest/ug/elasticloadbalancer-classic-logs.html"""

    log = "classic"
    expression = re.compile(
        " ".join([
            WORD, WORD, ADDRESS, TARGET, SECONDS, SECONDS, SECONDS, *STATUSES, NUMBER, NUMBER,
            '"([^ ]*) ([^ ]*) (- |[^ ]*)"', '("[^"]*")', "([A-Z0-9-]+)", "([A-Za-z0-9.-]*)",
        ])
    )
    # The fields that lines from before July 2015 lack.
    missing = ' "-" - -'
    integers = {"request_port", "backend_port"}
    doubles = {"request_processing_time", "backend_processing_time", "client_response_time"}

    def normalize(self, row):
        row["timestamp"] = milliseconds(row["timestamp"])
        for name in ("elb_response_code", "backend_response_code"):
            row[name] = row[name].lstrip("0") or "0"
        # A request with a URL but no version.
        if row["url"] != "-" and row["protocol"] in ("", "-"):
            row["protocol"] = "- "

    def samples(self, ask):
        """Runs the sample queries, unchanged except for the table name and the limit, which would hide groups."""
        found = ask(
            "SELECT\n timestamp,\n elb_name,\n backend_ip,\n backend_response_code\nFROM {view}\n"
            "WHERE backend_response_code LIKE '4%' OR\n      backend_response_code LIKE '5%'\nLIMIT 100000"
        )
        found = collections.Counter((milliseconds(time), *row) for time, *row in found)
        problem = self.groups(
            found,
            lambda row: (milliseconds(row["timestamp"]), row["elb_name"], row["backend_ip"].strip("[]"),
                         row["backend_response_code"]),
            where=lambda row: row["backend_response_code"][:1] in ("4", "5"),
        )
        yield "AWS's sample: backends that returned errors", problem

        found = ask(
            "SELECT sum(backend_processing_time) AS\n total_ms,\n elb_name,\n backend_ip\n"
            "FROM {view} WHERE backend_ip <> ''\nGROUP BY backend_ip, elb_name\nLIMIT 100000"
        )
        problem = self.groups(
            {(name, ip): total for total, name, ip in found},
            lambda row: (row["elb_name"], row["backend_ip"].strip("[]")),
            value=lambda row: row["backend_processing_time"], where=lambda row: row["backend_ip"] != "",
        )
        yield "AWS's sample: time by backend", problem


TABLES = [Access(), NlbTls(), Classic()]


def milliseconds(text):
    """Returns a time in a uniform format with Athena's precision."""
    try:
        time = datetime.datetime.fromisoformat(text.rstrip("Z"))
    except ValueError:
        return text
    whole = time.replace(microsecond=0)
    return whole + datetime.timedelta(milliseconds=(time.microsecond + 500) // 1000)
