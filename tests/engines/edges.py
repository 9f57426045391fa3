"""Writes log objects with edge-case values of each type.

    edges.py OUT

The values include multi-byte text, NULLs in every column, empty text, minimum and maximum integers, the doubles 0 and
-1, IPv6 addresses, and times in microseconds that jump from row to row. The objects depend only on the seed.
"""

import datetime
import gzip
import pathlib
import random
import sys

sys.path.append(str(pathlib.Path(__file__).parents[1] / "readers"))
import reference

SEED = 18
ROWS = 700
ACCOUNT, REGION = "000000000042", "eu-north-1"
DAYS = [datetime.date(2025, 12, 31), datetime.date(2026, 1, 1)]
NULL = 0.12

ADDRESSES = ["192.0.2.1", "198.51.100.255", "[2001:db8::1]", "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]", "[::ffff:192.0.2.7]"]
PORTS = ["0", "1", "443", "65535", str(2**31 - 1), str(-(2**31)), "-"]
SECONDS = ["0.000", "0", "-1", "-1.0", "0.001", "0.000001", "1234567.891", "0.1", "0.30000000000000004", "4294967296.5"]
BYTES = ["0", "1", "127", "128", str(2**31), str(2**53 + 1), str(2**63 - 1), str(-(2**63))]
# Characters of one to four bytes, a combining accent, right-to-left text, escapes like those in AWS logs, empty text.
WORDS = ["", "a", "naïve", "日本語", "😀🧪", "e\u0301", "\u202bعربي\u202c", r"\x22quoted\x22", "tab\tinside", "A" * 70, "ÿ" * 40, "~"]


class Values:
    """Generates the text of each field, without quotes."""

    def __init__(self, random, day, log):
        self.random, self.day, self.choices = random, day, CHOICES | OWN.get(log.name, {})

    def field(self, name):
        if self.random.random() < NULL:
            return "-"
        if self.choices.get(name) is ADDRESSES:
            return self.address_and_port()
        return self.one(self.choices[name]) if name in self.choices else getattr(self, name)()

    def one(self, values):
        return self.random.choice(values)

    def text(self):
        return f"{self.one(WORDS)}{self.random.choice(['', self.random.randrange(10**6)])}{self.one(WORDS)}"

    def id(self, digits):
        return f"{self.random.getrandbits(4 * digits):0{digits}x}"

    def time(self):
        # Consecutive times are up to a day apart, so their deltas in microseconds need more than 32 bits.
        micros = self.random.choice([0, 1, 999_999, self.random.randrange(10**6)])
        time = datetime.datetime.combine(self.day, datetime.time()) + datetime.timedelta(
            seconds=self.random.randrange(86_400), microseconds=micros
        )
        return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond:06d}Z"

    timestamp = time
    # Network Load Balancers log whole seconds without a time zone; the parser also accepts microseconds.
    tls_connection_creation_time = time

    def alpn_client_preference_list(self):
        return self.one(['"h2","http/1.1"', '"h2"', f'"{self.id(8)}","{self.one(WORDS[2:5])}"'])

    def request_creation_time(self):
        return self.one([self.time(), "1970-01-01T00:00:00.000000Z", "2038-01-19T03:14:08.000001Z"])

    def address_and_port(self):
        return f"{self.one(ADDRESSES)}:{self.one(PORTS)}"

    def request(self):
        verb = self.one(["GET", "POST", "-", "PROPFIND"])
        return f"{verb} https://{self.text()}.example.com:443/{self.id(12)}?q={self.text()} {self.one(['HTTP/1.1', 'HTTP/2.0', '-'])}"

    def user_agent(self):
        return self.text() * self.one([1, 1, 1, 40])

    domain_name = text
    target_group_id = text

    def trace_id(self):
        return f"Root=1-{self.id(8)}-{self.id(24)}{self.one(['', ';Self=1-0-0', ';lineage=' + self.one(WORDS[1:3])])}"

    def conn_trace_id(self):
        return f"TID_{self.id(32)}"

    def redirect_url(self):
        return f"https://example.org:443/{self.text()}"

    def transformed_uri(self):
        return f"/{self.text()}"

    def latency(self):
        return self.one([*SECONDS, "-0.0", "1e-9", "5e-324", "1.7976931348623157e308", f"{self.random.random():.9f}"])

    def leaf_client_cert_serial_number(self):
        return self.id(self.one([1, 16, 40]))

    def leaf_client_cert_validity(self):
        return f"NotBefore={self.time()};NotAfter={self.one([self.time(), '2049-12-31T23:59:59Z'])}"


CHOICES = {
    # ADDRESSES is a placeholder for an address with a port.
    **{name: ADDRESSES for name in ("client:port", "target:port", "backend:port")},
    "type": ["http", "https", "h2", "grpcs", "ws", "wss"],
    "elb": ["app/edge/0000000000000000", "app/edge-of-the-world/ffffffffffffffff"],
    "elb_status_code": ["100", "200", "460", "561", "999"],
    "target_status_code": ["0", "200", "599"],
    "status_code": ["0", "200", "599"],
    "matched_rule_priority": ["-1", "0", "50000", str(2**31 - 1), str(-(2**31))],
    "listener_port": ["0", "443", "65535"],
    "client_port": ["0", "65535", str(2**31 - 1)],
    **{name: ["ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"] for name in ("ssl_cipher", "tls_cipher")},
    **{name: ["TLSv1.2", "TLSv1.3"] for name in ("ssl_protocol", "tls_protocol")},
    "target_group_arn": [f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/{name}/0123456789abcdef" for name in "ab"],
    "chosen_cert_arn": ["session-reused", f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/00000000-0000-0000-0000-000000000000"],
    "actions_executed": ["forward", "waf,forward", "authenticate,redirect"],
    "error_reason": ["LambdaUnhandled", "WAFConnectionError"],
    "reason_code": ["HealthCheckTimeout", "ResponseCodeMismatch"],
    "target:port_list": ["192.0.2.9:80", "192.0.2.9:80 [2001:db8::9]:8080"],
    "target_status_code_list": ["200", "200 503"],
    "classification": ["Acceptable", "Ambiguous", "Severe"],
    "classification_reason": ["GetHeadZeroContentLength", "UriNonCompliant"],
    "transformed_host": ["example.net", "xn--bcher-kva.example:8443"],
    "request_transform_status": ["TransformSuccess", "TransformBufferTooSmall"],
    "ip_address": ["192.0.2.80", "2001:db8::80"],
    "client_ip": ["192.0.2.1", "2001:db8::1", "::"],
    "target_error_code": ["0x0", "0x7", "0xffffffff"],
    "elb_error_code": ["0x0", "0xd"],
    "tls_keyexchange": ["x25519", "secp256r1"],
    "leaf_client_cert_subject": ["CN=edge", "CN=naïve,O=日本語"],
    "tls_verify_status": ["Success", "Failed:ClientCertExpired"],
    "target_addr": ["192.0.2.9:80", "[2001:db8::9]:8080", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:edge"],
    "status": ["PASS", "FAIL"],
    **{name: BYTES for name in ("received_bytes", "sent_bytes")},
    **{name: SECONDS for name in (
        "request_processing_time", "target_processing_time", "response_processing_time", "tls_handshake_latency"
    )},
}
# Fields that occur only in these logs, or whose names have a different meaning in other logs.
OWN = {
    "nlb_tls": {
        "type": ["tls"],
        "version": ["1.0", "2.0"],
        "elb": ["net/edge/0000000000000000", "net/edge-of-the-world/ffffffffffffffff"],
        "listener": ["0123456789abcdef", "fedcba9876543210"],
        "client_port": ADDRESSES,
        "destination_port": ADDRESSES,
        "connection_time": BYTES,
        "tls_handshake_time": BYTES,
        "incoming_tls_alert": ["0", "42", "255", str(2**31 - 1)],
        "chosen_cert_serial": ["0123456789abcdef"],
        "tls_protocol_version": ["tlsv10", "tlsv12", "tlsv13"],
        "alpn_fe_protocol": ["h2", "http/1.1"],
        "alpn_be_protocol": ["h2", "http/1.0"],
    },
    "classic": {
        "elb": ["edge", "edge-of-the-world", "aa0123456789abcdef0123456789abcd"],
        "backend_processing_time": SECONDS,
        "backend_status_code": ["0", "200", "599"],
    },
}
# Prefixes of object names, and how load balancers appear in the names.
PREFIXES = {"connection": "conn_log_", "health_check": "health_check_log_"}
BALANCERS = {"nlb_tls": "net.edge.0123456789abcdef", "classic": "edge"}
QUOTED = {"request", "user_agent", "trace_id", "domain_name", "chosen_cert_arn", "actions_executed", "redirect_url", "error_reason",
          "target:port_list", "target_status_code_list", "classification", "classification_reason", "transformed_host",
          "transformed_uri", "request_transform_status", "leaf_client_cert_subject", "target_group_id"}


def main(out):
    random_numbers = random.Random(SEED)
    for log in reference.LOGS:
        prefix = PREFIXES.get(log.name, "")
        balancer = BALANCERS.get(log.name, "app.edge.0123456789abcdef")
        for day in DAYS:
            values = Values(random_numbers, day, log)
            lines = [line(log, values) for _ in range(ROWS)]
            directory = pathlib.Path(out, f"AWSLogs/{ACCOUNT}/elasticloadbalancing/{REGION}/{day:%Y/%m/%d}")
            directory.mkdir(parents=True, exist_ok=True)
            name = f"{prefix}{ACCOUNT}_elasticloadbalancing_{REGION}_{balancer}_{day:%Y%m%d}T2355Z"
            # Network Load Balancers omit the address. Only Classic Load Balancers deliver uncompressed text.
            name += f"_{log.name[:3]:0<8}.log" if log.name == "nlb_tls" else f"_192.0.2.80_{log.name[:4]:0<8}.log"
            data = "".join(lines).encode()
            if log.name == "classic":
                (directory / name).write_bytes(data)
            else:
                (directory / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))


def line(log, values):
    fields = set() if log.name in reference.LITERAL_QUOTES else QUOTED
    return " ".join(map(lambda field: quoted(field["name"], values, fields), log.fields)) + "\n"


def quoted(name, values, fields):
    text = values.field(name)
    if name in fields:
        return f'"{text}"'
    # An unquoted field ends at a space and cannot be empty.
    return text.replace(" ", "_") or "-"


if __name__ == "__main__":
    main(sys.argv[1])
