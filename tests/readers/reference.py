"""A slow and simple parser for log objects, which serves as a reference for alb2parquet.

It implements the documented rules for lines and shares no code with the program. Both read the files in `schemas/`,
which define the columns of each field and their types.
"""

import dataclasses
import datetime
import functools
import math
import pathlib
import re
import tomllib
import zlib

import pyarrow

SCHEMAS = pathlib.Path(__file__).parents[2] / "schemas"

PARTITION_NAMES = ["account", "region", "year", "month", "day"]

# The columns of the tables in AWS's Athena documentation, in the same order. The schemas must begin with these columns,
# except where they split a field. AWS documents no table for health checks.
DOCUMENTED_COLUMNS = {
    "access": """
    type time elb client_ip client_port target_ip target_port request_processing_time
    target_processing_time response_processing_time elb_status_code target_status_code
    received_bytes sent_bytes request_verb request_url request_proto user_agent ssl_cipher
    ssl_protocol target_group_arn trace_id domain_name chosen_cert_arn matched_rule_priority
    request_creation_time actions_executed redirect_url lambda_error_reason target_port_list
    target_status_code_list classification classification_reason conn_trace_id
""".split(),
    "connection": """
    time client_ip client_port listener_port tls_protocol tls_cipher tls_handshake_latency
    leaf_client_cert_subject leaf_client_cert_validity leaf_client_cert_serial_number
    tls_verify_status conn_trace_id
""".split(),
    "health_check": [],
    "nlb_tls": """
    type version time elb listener_id client_ip client_port target_ip target_port
    tcp_connection_time_ms tls_handshake_time_ms received_bytes sent_bytes incoming_tls_alert
    cert_arn certificate_serial tls_cipher_suite tls_protocol_version tls_named_group domain_name
    alpn_fe_protocol alpn_be_protocol alpn_client_preference_list tls_connection_creation_time
""".split(),
    "classic": """
    timestamp elb_name request_ip request_port backend_ip backend_port request_processing_time
    backend_processing_time client_response_time elb_response_code backend_response_code
    received_bytes sent_bytes request_verb url protocol user_agent ssl_cipher ssl_protocol
""".split(),
}
SPLIT_COLUMNS = {"leaf_client_cert_not_before", "leaf_client_cert_not_after"}
# Log types that have quotes in their values, but no quoted fields.
LITERAL_QUOTES = {"nlb_tls"}
# Logs in which a quote after a backslash is part of a quoted value.
ESCAPED_QUOTES = {"classic"}

ARROW_TYPES = {
    "string": pyarrow.string(),
    "int32": pyarrow.int32(),
    "int64": pyarrow.int64(),
    "double": pyarrow.float64(),
    "timestamp": pyarrow.timestamp("us", "UTC"),
}

GZIP_MAGIC = b"\x1f\x8b"
MEMBER = GZIP_MAGIC + b"\x08"
EMPTY_MEMBER_END = b"\x03\x00" + bytes(8)
DEEPEST = 4
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

LONGEST_LINE = 1 << 20
LONGEST_RAW_LINE = 64 << 10

FOLDER = (
    r"(?:.*/)?AWSLogs/(?P<account>\d{12})/elasticloadbalancing/(?P<region>[a-z0-9-]+)"
    r"/(?P<year>\d{4})/(?P<month>\d\d)/(?P<day>\d\d)/"
)
STEM = r"(?P=account)_elasticloadbalancing_(?P=region)_"
# The names of objects by log type.
OBJECT_KEYS = {
    log: re.compile(FOLDER + name)
    for log, name in {
        "access": STEM + r"app\.[^/]+_\d{8}T\d{4}Z_[^/_]+_[^/_]+\.log\.gz",
        "connection": r"conn_log[_.]" + STEM + r"app\.[^/]+_\d{8}T\d{4}Z_[^/_]+_[^/_]+\.log\.gz",
        "health_check": r"health_check_log_" + STEM + r"app\.[^/]+_\d{8}T\d{4}Z_[^/_]+_[^/_]+\.log\.gz",
        "nlb_tls": STEM + r"net\.[^/]+_\d{8}T\d{4}Z_[^/_]+\.log\.gz",
        "classic": STEM + r"[a-zA-Z0-9-]+_\d{8}T\d{4}Z_[^/_]+_[^/_]+\.log(?:\.gz)?",
    }.items()
}
TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?Z?", re.ASCII)
INTEGER = re.compile(r"-?\d+", re.ASCII)
DECIMAL = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
EPOCH = datetime.datetime(1970, 1, 1)

# Lines that a CSV reader parses correctly with a space as the delimiter.
REGULAR_LINE = re.compile(r'(?:[^" ]+|"[^"]*")(?: (?:[^" ]+|"[^"]*"))*')
# The same for logs in which quotes are part of the values.
UNQUOTED_LINE = re.compile(r"[^ ]+(?: [^ ]+)*")


class Log:
    """A log type, as its schema file defines it."""

    def __init__(self, name):
        schema = tomllib.loads((SCHEMAS / f"{name}.toml").read_text())
        self.name = name
        self.table = schema["table"]
        self.fields = schema["field"]
        self.required = schema["required_fields"]
        # Each column, with the index of its field.
        self.columns = [
            (index, column) for index, field in enumerate(self.fields) for column in field["columns"]
        ]

    def schema(self):
        """Returns the Arrow schema of the rows, with the partition columns last."""
        rows = [(column["name"], ARROW_TYPES[column["type"]]) for _, column in self.columns]
        own = [("extra_fields", pyarrow.string()), ("source_key", pyarrow.string())]
        return pyarrow.schema(rows + own + PARTITION)

    @functools.cached_property
    def values(self):
        """Returns the field index, the name, and the value parser of every column."""
        return [
            (index, column["name"], PARTS.get(column.get("part")) or TYPES[column["type"]])
            for index, column in self.columns
        ]

    def differences_from_documentation(self):
        names = [column["name"] for _, column in self.columns]
        names = [name for name in names if name not in SPLIT_COLUMNS]
        return [
            f"column {number}: {name}, documented as {documented}"
            for number, (name, documented) in enumerate(zip(names, DOCUMENTED_COLUMNS[self.name]), 1)
            if name != documented
        ]


PARTITION = [(name, pyarrow.string()) for name in PARTITION_NAMES]
LOGS = [Log(name) for name in OBJECT_KEYS]


def reject_schema():
    """Returns the Arrow schema of the reject table, which all logs share, with the partition columns last."""
    rejects = [
        ("log_type", pyarrow.string()),
        ("source_key", pyarrow.string()),
        ("line_number", pyarrow.int64()),
        ("byte_offset", pyarrow.int64()),
        ("reason", pyarrow.string()),
        ("column_name", pyarrow.string()),
        ("raw_length", pyarrow.int64()),
        ("raw_line", pyarrow.binary()),
    ]
    return pyarrow.schema(rejects + PARTITION)


# Objects.


def objects(source, log):
    """Yields the path and the key of every object of a log type in a directory."""
    source = source.resolve()
    pattern = OBJECT_KEYS[log.name]
    for path in sorted(source.rglob("*.log*")):
        key = path.relative_to(source).as_posix()
        if not pattern.fullmatch(key) and "/AWSLogs/" in path.as_posix():
            key = "AWSLogs/" + path.as_posix().rpartition("/AWSLogs/")[2]
        if pattern.fullmatch(key):
            yield path, key


@dataclasses.dataclass
class Parsed:
    """The parsed contents of an object."""

    key: str
    lines: int
    rows: pyarrow.RecordBatch
    rejects: pyarrow.RecordBatch
    irregular: list  # for every row, whether its line cannot be expressed in CSV
    left_out: dict  # reason -> number of lines that cannot be expressed in CSV
    csv: pathlib.Path | None  # a file with all other lines, for DuckDB; None if there are none


def parse_object(job):
    """Parses one object. `job` is its path, its key, and a directory for a copy that is valid CSV."""
    path, key, scratch = job
    log, parts = next(
        (log, parts) for log in LOGS if (parts := OBJECT_KEYS[log.name].fullmatch(key))
    )
    partition = [parts[name] for name in PARTITION_NAMES]
    data = path.read_bytes()
    text, damage, behind = inflate(data)
    number = offset = 0
    if text.startswith(BYTE_ORDER_MARK):
        offset = len(BYTE_ORDER_MARK)
    if damage is None:
        # Trailing blank lines are ignored. (The program limits how many, but no real object reaches the limit.)
        end = len(text)
        while blank := re.search(rb"(?:^|(?<=\n))(?:\r?\n|\r)\Z", text[offset:end]):
            end -= len(blank[0])
        tail = b""
    elif behind is not None:
        end, tail = len(text), behind
    else:
        # In a damaged object, everything from the incomplete line on is one reject.
        end = max(text.rfind(b"\n") + 1, offset)
        tail = text[end:]
    rows, irregular, rejects, regular, left_out = [], [], [], [], {}
    while offset < end:
        number += 1
        newline = text.find(b"\n", offset)
        newline = end if newline < 0 else newline
        line = text[offset:newline].removesuffix(b"\r")
        try:
            row = parse_line(line, log)
            exception = csv_exception(line, log, extra=row[-1])
            rows.append([*row, key, *partition])
            irregular.append(exception is not None)
        except Reject as reject:
            exception = "rejects"
            rejects.append([*(log.name, key, number, offset), *reject.args, len(line), line])
        if exception is None:
            regular.append(line)
        else:
            left_out[exception] = left_out.get(exception, 0) + 1
        offset = newline + 1
    if damage is not None:
        number += 1
        left_out["rejects"] = left_out.get("rejects", 0) + 1
        rejects.append([log.name, key, number, end, damage, None, len(tail), tail])
    for reject in rejects:
        reject[-1] = reject[-1][:LONGEST_RAW_LINE]
        reject += partition

    csv = path if regular else None
    # DuckDB needs uniform line endings throughout the file, and gzip without padding.
    if regular and (left_out or b"\r" in text or text != simply_inflated(data)):
        csv = scratch / path.name.removesuffix(".gz")
        csv.write_bytes(b"".join(line + b"\n" for line in regular))
    rows, rejects = batch(rows, log.schema()), batch(rejects, reject_schema())
    return Parsed(key, number, rows, rejects, irregular, left_out, csv)


def batch(rows, schema):
    columns = zip(*rows) if rows else ([] for _ in schema)
    arrays = [pyarrow.array(values, field.type) for values, field in zip(columns, schema)]
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)


def simply_inflated(data):
    """Returns the text of an object, or None if the object is not a single intact member."""
    member, damage, rest = inflate_member(data) if data.startswith(GZIP_MAGIC) else (None, None, b"")
    return member if damage is None and not rest else None


def inflate(data):
    """Returns an object's text, its damage (or None), and the data of the resulting reject (or None)."""
    damage, behind, depth = None, None, 0
    while True:
        # An object that ends right after a header is empty: with the shortest possible end appended, it decompresses to
        # nothing.
        if damage is None and data.startswith(MEMBER) and inflate_member(data + EMPTY_MEMBER_END) == (b"", None, b""):
            return b"", None, None
        if not (data.startswith(MEMBER) if depth else data and GZIP_MAGIC.startswith(data[:2])):
            break
        if depth == DEEPEST:
            return b"", "nested_gzip", data[:LONGEST_RAW_LINE]
        depth += 1
        data, damage, behind = inflate_members(data, damage, behind)
    if depth == 0 and data and not is_text(data[:LONGEST_RAW_LINE]):
        return b"", "not_gzip", data
    return data, damage, behind


def is_text(head):
    lines = head.split(b"\n")
    if len(head) == LONGEST_RAW_LINE:
        # The last line may continue after the head.
        lines.pop()
    return b"\0" not in head and any(is_clean(line) for line in [*lines[:1], *filter(None, lines[1:])])


def is_clean(line):
    try:
        line = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        return False
    return not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", line)


def inflate_members(data, below, behind):
    """Returns the text of all gzip members, the damage (or None), and the data after the members.

    `below` and `behind` are the damage and the trailing data of the enclosing gzip level, if there is one.
    """
    text, begun = b"", False
    while True:
        if begun:
            data = data.lstrip(b"\0\n\r")
        if not data:
            return text, below, behind
        if not GZIP_MAGIC.startswith(data[:2]):
            return text, "trailing_garbage", data
        begun = True
        member, damage, data = inflate_member(data)
        text += member
        if damage == "truncated_gzip" and below not in (None, "trailing_garbage"):
            damage = below
        if damage is not None:
            return text, damage, None


def inflate_member(data):
    """Returns the text of one member, the member's damage or None, and the data after it."""
    member = zlib.decompressobj(wbits=31)
    try:
        text = member.decompress(data)
        return text, None if member.eof else "truncated_gzip", member.unused_data
    except zlib.error:
        pass
    # Decompress again, byte by byte, to keep all text before the damage.
    member = zlib.decompressobj(wbits=31)
    text = bytearray()
    for at in range(len(data)):
        try:
            text += member.decompress(data[at : at + 1])
        except zlib.error:
            break
    return bytes(text), "corrupt_gzip", b""


# Lines.


class Reject(Exception):
    """A rejected line: the reason, and the column if a value is invalid."""

    def __init__(self, reason, column=None):
        super().__init__(reason, column)


def parse_line(line, log):
    """Returns a line's column values, followed by the fields that are not in the schema."""
    if len(line) > LONGEST_LINE:
        raise Reject("line_too_long")
    try:
        line = line.decode()
    except UnicodeDecodeError:
        raise Reject("invalid_utf8") from None
    fields, extra = split_fields(line, len(log.fields), log.name)
    if len(fields) < log.required:
        raise Reject("too_few_fields")
    row = []
    for index, column, value in log.values:
        text = fields[index] if index < len(fields) else "-"
        try:
            row.append(None if text == "-" else value(text))
        except ValueError:
            raise Reject("invalid_value", column) from None
    row.append(extra)
    return row


def split_fields(line, known, log):
    """Splits a line into fields without their quotes, unless these are literal, and the text after the known fields."""
    literal_quotes, escaped_quotes = log in LITERAL_QUOTES, log in ESCAPED_QUOTES
    fields, at = [], 0
    while True:
        while at < len(line) and line[at] == " ":
            at += 1
        if at == len(line):
            return fields, None
        if len(fields) == known:
            return fields, line[at:]
        if line[at] == '"' and not literal_quotes:
            end = line.find('"', at + 1)
            # A quote after a backslash is part of the value, unless the field would otherwise have no closing quote.
            unescaped = re.compile(r'(?<!\\)"').search(line, at + 2) if escaped_quotes and end > at + 1 else None
            end = unescaped.start() if unescaped else end
            if end < 0:
                raise Reject("unterminated_quote")
            fields.append(line[at + 1 : end])
            at = end + 1
            if at < len(line) and line[at] != " ":
                raise Reject("misplaced_quote")
        else:
            end = line.find(" ", at)
            end = len(line) if end < 0 else end
            fields.append(line[at:end])
            if '"' in fields[-1] and not literal_quotes:
                raise Reject("misplaced_quote")
            at = end


# Functions that parse a column value from the unquoted text of a field. The caller handles `-`.


def address(text):
    address, _, _ = text.rpartition(":")
    if address.startswith("[") and address.endswith("]"):
        return address[1:-1]
    return None if address == "-" else address


def port(text):
    _, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(text)
    return None if port == "-" else integer(port, 32)


def request(text):
    """Splits a request line at its first and last spaces into verb, URL and protocol."""
    # A Classic Load Balancer logs this for a connection without HTTP.
    if text == "- - - ":
        return [None, None, None]
    verb, _, rest = text.partition(" ")
    if " " in rest:
        url, _, protocol = rest.rpartition(" ")
    else:
        url, protocol = rest or None, None
    return [None if part == "-" else part for part in (verb or None, url, protocol or None)]


def integer(text, bits):
    if not INTEGER.fullmatch(text):
        raise ValueError(text)
    number = int(text)
    if not -(1 << bits - 1) <= number < 1 << bits - 1:
        raise ValueError(text)
    return number


def decimal(text):
    if not DECIMAL.fullmatch(text):
        raise ValueError(text)
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def timestamp(text):
    """Converts a time to microseconds since 1970."""
    parts = TIMESTAMP.fullmatch(text)
    if not parts:
        raise ValueError(text)
    seconds, fraction = parts.groups()
    time = datetime.datetime.fromisoformat(seconds)
    microseconds = int((fraction or "").ljust(6, "0"))
    return (time - EPOCH) // datetime.timedelta(microseconds=1) + microseconds


def bound(name):
    """Returns a parser for one of the two times in a validity period. The parser returns None if the time is absent."""

    def read(text):
        for part in text.split(";"):
            if part.startswith(name + "="):
                try:
                    return timestamp(part.removeprefix(name + "="))
                except ValueError:
                    return None
        return None

    return read


PARTS = {
    "address": address,
    "port": port,
    "verb": lambda text: request(text)[0],
    "url": lambda text: request(text)[1],
    "protocol": lambda text: request(text)[2],
    "not_before": bound("NotBefore"),
    "not_after": bound("NotAfter"),
}
TYPES = {
    "string": str,
    "int32": lambda text: integer(text, 32),
    "int64": lambda text: integer(text, 64),
    "double": decimal,
    "timestamp": timestamp,
}


# The same rules, expressed for a CSV reader.


def csv_exception(line, log, extra):
    """Returns why a valid line cannot be expressed in CSV, or None if it can."""
    text = line.decode()
    regular = UNQUOTED_LINE if log.name in LITERAL_QUOTES else REGULAR_LINE
    if log.name in ESCAPED_QUOTES and '\\"' in text:
        return "quotes after a backslash"
    if not regular.fullmatch(text):
        return "more than single spaces between fields"
    if "\r" in text or "\0" in text:
        return "control characters that DuckDB treats specially"
    if extra is not None:
        return "unknown fields, which are kept with their quotes"
    return None


def csv_query(log):
    """Returns the SQL that reads CSV files into the columns of a log's table.

    Its parameter is the list of files. A table `keys` must contain the key of every file.
    """
    names = [f"f{index}" for index in range(len(log.fields))]
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    values = [f"{csv_value(names[index], column)} AS {column['name']}" for index, column in log.columns]
    partition = [
        f"split_part(regexp_extract(key, 'AWSLogs/.*'), '/', {place}) AS {name}"
        for name, place in zip(PARTITION_NAMES, (2, 4, 5, 6, 7))
    ]
    quote = "" if log.name in LITERAL_QUOTES else '"'
    return f"""
        SELECT {", ".join(values)}, NULL::VARCHAR AS extra_fields, key AS source_key,
               {", ".join(partition)}
        FROM read_csv(?, columns = {{{columns}}}, delim = ' ', quote = '{quote}', escape = '',
                      header = false, auto_detect = false, all_varchar = true, nullstr = '-',
                      null_padding = true, max_line_size = {2 * LONGEST_LINE}, filename = true)
        JOIN keys USING (filename)
    """


def csv_value(name, column):
    """Returns the SQL for a column value. The CSV reader has already converted `-` to NULL."""
    long = f"{name} LIKE '% % %'"
    address = f"regexp_extract({name}, '(.*):', 1)"
    parts = {
        "address": f"nullif(regexp_replace({address}, '^\\[(.*)\\]$', '\\1'), '-')",
        "port": f"CAST(nullif(regexp_extract({name}, '[^:]*$'), '-') AS INTEGER)",
        "verb": f"nullif(nullif(split_part({name}, ' ', 1), ''), '-')",
        "url": f"""nullif(CASE WHEN {name} = '- - - ' THEN NULL
                          WHEN {long} THEN regexp_extract({name}, '^[^ ]* (.*) ', 1)
                          ELSE nullif(split_part({name}, ' ', 2), '') END, '-')""",
        "protocol": f"""nullif(nullif(CASE WHEN {long}
                                      THEN regexp_extract({name}, '[^ ]*$') END, ''), '-')""",
        "not_before": f"TRY_CAST(regexp_extract({name}, 'NotBefore=([^;]*)', 1) AS TIMESTAMPTZ)",
        "not_after": f"TRY_CAST(regexp_extract({name}, 'NotAfter=([^;]*)', 1) AS TIMESTAMPTZ)",
    }
    types = {"string": "VARCHAR", "int32": "INTEGER", "int64": "BIGINT", "double": "DOUBLE"}
    whole = f"CAST({name} AS {types.get(column['type'], 'TIMESTAMPTZ')})"
    return parts.get(column.get("part"), whole)
