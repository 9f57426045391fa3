"""Runs the shell examples in the documentation on the logs in tests/data.

    examples.py --program ALB2PARQUET --aws URL [PAGE...]

bash runs a page's `sh` blocks in order and in the same directory, so a block can use the results of earlier blocks.
Commands in `crontab` blocks and systemd units run, too. The logs are in s3://my-log-bucket and in /mnt/my-log-bucket;
the latter is replaced with a path below the working directory. Lines in ELSEWHERE are skipped, because other tests run
them. A block after a `not run: REASON` comment is reported as skipped. Every `--flag` on a page must appear in the
program's help or be an option of scripts/spark_convert.py.
"""

import argparse
import csv
import gzip
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tests" / "data"
SPARK = ROOT / "scripts" / "spark_convert.py"
LOGS, LAKE, INVENTORIES = "my-log-bucket", "my-lake", "my-inventories"
INVENTORY = f"{LOGS}/all/2026-11-01T01-00Z"
# Lines that other scripts run, each with the script's name.
ELSEWHERE = {
    "cargo install --path .": "scripts/install-test",
    "scripts/demo": "runs for itself",
    "scripts/test": "runs this",
    "spark-submit --files ": "scripts/spark-test",
}
# Functions that extract the commands from a block, by language.
COMMANDS = {
    "sh": str.splitlines,
    # Each line begins with five time fields, and percent signs are escaped.
    "crontab": lambda block: [
        re.fullmatch(r"(?:[\d*/,-]+ ){5}(.*)", line)[1].replace("\\%", "%").replace("/usr/local/bin/", "")
        for line in block.splitlines()
    ],
    "ini": lambda block: [
        command.replace("/usr/local/bin/", "") for command in re.findall(r"^ExecStart=(.*)$", block, re.MULTILINE)
    ],
}
# Flags of other programs.
FOREIGN = {"--open", "--path", "--trino", "--all", "--update", "--all-logs", "--files", "--archives", "--py-files",
           "--deploy-mode"}
SECONDS = 600


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--program", type=pathlib.Path, required=True)
    arguments.add_argument("--aws", required=True)
    arguments.add_argument("pages", nargs="*", type=pathlib.Path)
    arguments = arguments.parse_args()
    program = arguments.program.resolve()
    pages = arguments.pages or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    problems = []
    flags = flags_of(program) | set(re.findall(r'add_argument\("(--[a-z-]+)"', SPARK.read_text()))
    for page in pages:
        text = page.read_text()
        with tempfile.TemporaryDirectory(prefix="examples-") as scratch:
            problems += run(page.name, text, pathlib.Path(scratch), program, arguments.aws)
        for flag in sorted(set(named_flags(text)) - flags - FOREIGN):
            problems.append(f"{page.name} has {flag}, which is not in the help")
    print(*problems, sep="\n")
    print(f"{len(problems)} problems")
    return 1 if problems else 0


def run(name, text, scratch, program, aws):
    """Runs a page's blocks. Returns any problems."""
    blocks = re.findall(r"(?:^<!-- not run: (.*?) -->\n)?^```(sh|crontab|ini)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if not blocks:
        return []
    environment = prepare(scratch, program, aws)
    for reason, language, block in blocks:
        if reason:
            print(f"{'skipped':7} {name}: {block.splitlines()[0]} [{reason}]", flush=True)
            continue
        lines = COMMANDS[language](block)
        lines = [line for line in lines if not any(map(line.startswith, ELSEWHERE))]
        script = "\n".join(lines).replace("/mnt/", f"{scratch}/mnt/")
        if not script.strip():
            continue
        began = time.monotonic()
        # Keep exported variables for later blocks, as in an interactive shell.
        script = f"set -euo pipefail\n{script}\nexport -p >{scratch}/.environment\n"
        shell = f"source {scratch}/.environment; {script}"
        try:
            ended = subprocess.run(
                ["bash", "-c", shell], cwd=scratch, env=environment, timeout=SECONDS, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )
            status, output = ended.returncode, ended.stdout
        except subprocess.TimeoutExpired as error:
            status, output = "a timeout", (error.stdout or b"").decode()
        first = next(line for line in lines if line.strip())
        print(f"{'ok' if status == 0 else 'FAILED':7} {name}: {first} [{time.monotonic() - began:.1f} s]",
              flush=True)
        if status != 0:
            return [f"{name}: this block ended with {status}:\n{block}\noutput:\n{output}"]
    return []


def prepare(scratch, program, aws):
    """Creates the directories and buckets that the pages use, and returns the environment variables."""
    (scratch / "mnt").mkdir()
    (scratch / "home").mkdir()
    shutil.copytree(SAMPLE, scratch / "mnt" / LOGS)
    (scratch / ".environment").touch()
    urllib.request.urlopen(urllib.request.Request(f"{aws}/moto-api/reset", method="POST")).close()
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "topsecret"}
    region = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
    client = lambda service: boto3.client(
        service, endpoint_url=aws, region_name="us-east-1", aws_access_key_id="testing",
        aws_secret_access_key="topsecret",
    )
    s3 = client("s3")
    for bucket in (LOGS, LAKE, INVENTORIES):
        s3.create_bucket(Bucket=bucket)
    listed = io.StringIO()
    rows = csv.writer(listed, quoting=csv.QUOTE_ALL)
    for path in sorted(SAMPLE.rglob("*.log.gz")):
        key = path.relative_to(SAMPLE).as_posix()
        put = s3.put_object(Bucket=LOGS, Key=key, Body=path.read_bytes())
        rows.writerow([LOGS, key, path.stat().st_size, put["ETag"].strip('"')])
    s3.put_object(Bucket=INVENTORIES, Key=f"{INVENTORY}/data.csv.gz", Body=gzip.compress(listed.getvalue().encode()))
    s3.put_object(Bucket=INVENTORIES, Key=f"{INVENTORY}/manifest.json", Body=json.dumps({
        "sourceBucket": LOGS, "destinationBucket": f"arn:aws:s3:::{INVENTORIES}", "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, Size, ETag", "files": [{"key": f"{INVENTORY}/data.csv.gz"}],
    }))
    client("glue").create_database(DatabaseInput={"Name": "default"})
    path = f"{program.parent}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    # The sample has more rejects than real logs.
    settings = {"ALB2PARQUET_MAX_REJECTS": "0.1", "AWS_ENDPOINT_URL": aws, "AWS_PAGER": ""}
    return {"PATH": path, "HOME": str(scratch / "home"), **settings, **keys, **region}


def flags_of(program, *command):
    """Returns all flags in the help of the program or of one command, including its subcommands."""
    text = subprocess.run([program, *command, "--help"], check=True, capture_output=True, text=True).stdout
    flags = set(re.findall(r"--[a-z][a-z-]*", text))
    _, _, commands = text.partition("\nCommands:\n")
    for name in re.findall(r"^  ([a-z-]+) ", commands.partition("\n\n")[0], re.MULTILINE):
        if name != "help":
            flags |= flags_of(program, *command, name)
    return flags


def named_flags(text):
    """Yields this program's flags in a page's inline code."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`([^`\n]*)`", prose):
        # Code that begins with the name of another program contains flags of that program.
        if not re.match(r"(aws|cargo|scripts/|docker|pip|uvx|systemctl|rustup|s5cmd)", code):
            yield from re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)


if __name__ == "__main__":
    sys.exit(main())
