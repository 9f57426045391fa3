"""Publishes to a REST catalog that verifies the AWS signature of each request with botocore.

    iceberg_signatures.py --program ALB2PARQUET --dataset DATASET

The catalog contains no tables and refuses to create any, so a run ends after its first attempt to create one. Exits with
1 if a signature differs.
"""

import argparse
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SECRET, REGION = "topsecret", "eu-west-1"
# Characters with different forms in a URL and in a canonical request.
PREFIXES = ["catalogs/123456789012", "catalogs/123456789012:a%2Fb%20c%25~%C3%A9", "a+b=c,d;e@f!g$h&i'j(k)l*m"]
WAREHOUSES = ["123456789012", "123456789012:lake/a b+c%25~\u00e9"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--program", required=True)
    arguments.add_argument("--dataset", required=True)
    arguments = arguments.parse_args()
    for prefix in PREFIXES:
        for warehouse in WAREHOUSES:
            for service, token in (("glue", None), ("execute-api", "session/+=token")):
                run(arguments, prefix, warehouse, service, token)
    print("all signatures are equal")


def run(arguments, prefix, warehouse, service, token):
    verified, server = [], http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.verified, server.prefix, server.service, server.token = verified, prefix, service, token
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": REGION,
        "ALB2PARQUET_ICEBERG_SIGNING_NAME": service,
    }
    if token:
        settings["AWS_SESSION_TOKEN"] = token
    catalog = f"rest:http://127.0.0.1:{server.server_address[1]}/iceberg?warehouse={warehouse}"
    command = [arguments.program, "iceberg", "publish", arguments.dataset, "--catalog", catalog]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)
    server.shutdown()
    methods = {method for method, _ in verified}
    if done.returncode != 3 or "no new tables" not in done.stderr or methods != {"GET", "POST"}:
        sys.exit(f"{catalog}: exit code {done.returncode}\n{done.stderr}")
    wrong = [path for _, path in verified if path]
    if wrong:
        sys.exit(f"the signature of {wrong[0]} differs")
    print(f"ok     {prefix}, {warehouse}, {service}: {len(verified)} requests", flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.verify(b"")
        if "/config" in self.path:
            self.answer(200, {"overrides": {"prefix": self.server.prefix}})
        else:
            self.answer(404, {"error": {"message": "no such table"}})

    def do_POST(self):
        self.verify(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/namespaces"):
            self.answer(409, {})
        else:
            self.answer(400, {"error": {"message": "no new tables"}})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def verify(self, body):
        """Notes the path of the request if its signature is not the one that botocore computes."""
        server, sent = self.server, self.headers["Authorization"]
        signer = SigV4Auth(Credentials("testing", SECRET, server.token), server.service, REGION)
        signed = sent.split("SignedHeaders=")[1].split(",")[0].split(";")
        headers = {name: self.headers[name] for name in signed}
        request = AWSRequest(self.command, f"http://{self.headers['Host']}{self.path}", headers, data=body)
        request.context["timestamp"] = self.headers["X-Amz-Date"]
        text = signer.string_to_sign(request, signer.canonical_request(request))
        is_equal = (
            sent.endswith(f"Signature={signer.signature(text, request)}")
            and signer.scope(request) in sent
            and self.headers["X-Amz-Content-Sha256"] == hashlib.sha256(body).hexdigest()
            and self.headers["X-Amz-Security-Token"] == server.token
            and {"host", "x-amz-date", "content-type"} <= set(signed)
        )
        server.verified.append((self.command, None if is_equal else self.path))


if __name__ == "__main__":
    main()
