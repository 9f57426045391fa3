"""Compares conversions from a bucket at several latencies with a conversion from disk.

    scripts/bench-s3 [--cases …] [--latencies …] [--tools …] [--rounds …] [--threads …] [--max-requests …]

The server is versitygw, and toxiproxy delays its responses. Both run on this machine and compete with the tools for its
cores. A conversion from the bucket therefore takes longer than one from disk even without a delay. All tools write to
disk. Each round runs all tools in turn. The table shows median wall times, their ratios to the time that alb2parquet
takes from disk, and the CPU time of the tool and of the servers.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

import peers

WORK = peers.ROOT / "target" / "bench-s3"
BUCKETS = WORK / "buckets"
OUT = WORK / "out"
KEY, SECRET = "testing", "topsecret"
# Options for scripts/generate-logs. `mid` has objects of 700 KB; `small` has 20,000 objects of 8 KB.
OPTIONS = {
    "mid": "--accounts 2 --regions 1 --balancers 2 --days 2 --objects-per-day 40 --rows-per-object 6700",
    "small": "--accounts 2 --regions 1 --balancers 5 --days 2 --objects-per-day 1000 --rows-per-object 80",
}
peers.CASES.update(
    {case: peers.Case(peers.LOGS["access"], f"--fields 36 {options}") for case, options in OPTIONS.items()}
)
# The process IDs of the S3 server and the proxy.
SERVERS = []
# The lower bound: the time it takes just to read the same objects from the bucket.
FLOOR = "read only"
FETCH = peers.ROOT / "target" / "release" / "examples" / "fetch_floor"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cases", default="mid,small")
    arguments.add_argument("--latencies", default="0,10,30", help="in milliseconds")
    arguments.add_argument("--tools", default=f"{peers.OURS},{FLOOR},polars,chdb")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--max-requests", help="as for alb2parquet")
    arguments.add_argument("--binary", default=peers.BINARY, help="the program to measure")
    arguments = arguments.parse_args()
    if os.getloadavg()[0] > 0.5:
        print("the machine is busy; the results will be inaccurate", file=sys.stderr)
    cases = arguments.cases.split(",")
    sources = {case: peers.generate(case) for case in cases}
    BUCKETS.mkdir(parents=True, exist_ok=True)
    for case, source in sources.items():
        # The server treats each directory as a bucket, and the files in it as objects.
        shutil.rmtree(BUCKETS / case, ignore_errors=True)
        subprocess.run(["cp", "-rl", source, BUCKETS / case], check=True)
    print(f"\n{peers.machine(arguments.tools.split(','))}\n")
    with contextlib.ExitStack() as stack:
        server = start_server(stack)
        addresses = start_proxy(stack, server, [int(ms) for ms in arguments.latencies.split(",")])
        for case in cases:
            measure(case, sources[case], addresses, arguments)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(stack, command, port, **options):
    """Starts a server, which stops when the stack is closed. Returns the server's address."""
    log = stack.enter_context(open(WORK / f"{os.path.basename(command[0])}.log", "w"))
    process = subprocess.Popen(command, stdout=log, stderr=log, **options)
    SERVERS.append(process.pid)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return f"127.0.0.1:{port}"
        time.sleep(0.1)
    sys.exit(f"{command[0]} does not start: see {log.name}")


def start_server(stack):
    port = free_port()
    command = [WORK / "bin" / "versitygw", "--port", f"127.0.0.1:{port}", "--quiet", "--keep-alive", "posix", BUCKETS]
    environment = os.environ | {"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
    return start(stack, command, port, env=environment)


def start_proxy(stack, server, latencies):
    """Returns the proxy address for each latency."""
    port = free_port()
    api = start(stack, [WORK / "bin" / "server", "-host", "127.0.0.1", "-port", str(port)], port)

    def post(path, body):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{api}{path}", json.dumps(body).encode(), headers)
        urllib.request.urlopen(request).close()

    addresses = {}
    for latency in latencies:
        name, address = f"delay-{latency}", f"127.0.0.1:{free_port()}"
        post("/proxies", {"name": name, "listen": address, "upstream": server})
        if latency:
            delay = {"type": "latency", "stream": "downstream", "attributes": {"latency": latency}}
            post(f"/proxies/{name}/toxics", delay)
        addresses[latency] = address
    return addresses


def server_cpu():
    """Returns the CPU time that the servers have used, in seconds."""
    # After the name in parentheses, field 3 follows; fields 14 and 15 are utime and stime (proc_pid_stat(5)).
    stats = [pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in SERVERS]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def measure(case, source, addresses, arguments):
    """Measures one case and prints its table."""
    tools = arguments.tools.split(",")
    jobs = [(peers.OURS, None)] + [(tool, latency) for latency in addresses for tool in tools]
    times = {job: [] for job in jobs}
    for round in range(1, arguments.rounds + 1):
        for tool, latency in jobs:
            seconds, facts = run(tool, case, source, addresses.get(latency), arguments)
            times[tool, latency].append((seconds, facts))
            print(f"{case}, round {round}, {tool}, {latency} ms: {seconds:.2f} s {facts}", file=sys.stderr)
    objects = sum(1 for _ in source.rglob("*.log.gz"))
    size = sum(path.stat().st_size for path in source.rglob("*.log.gz"))
    disk = statistics.median(seconds for seconds, _ in times[jobs[0]])
    print(f"### {case}: {objects:,} objects, {size / 1e6:,.0f} MB gzip\n")
    columns = [
        "tool", "source", "median seconds", "ratio to disk", "CPU seconds", "CPU seconds of the servers",
        "most reads in flight", "peak MB",
    ]
    print(f"| {' | '.join(columns)} |\n|---|---|{'--:|' * (len(columns) - 2)}")
    for (tool, latency), runs in times.items():
        seconds = statistics.median(seconds for seconds, _ in runs)
        cpu, of_servers = (statistics.median(facts[key] for _, facts in runs) for key in ("cpu", "server_cpu"))
        most, peak = (max(facts.get(key, 0) for _, facts in runs) for key in ("most_in_flight", "peak"))
        place = "disk" if latency is None else f"bucket, {latency} ms"
        print(
            f"| {tool} | {place} | {seconds:.2f} | {seconds / disk:.2f} | {cpu:.2f} | {of_servers:.2f} "
            f"| {most or ''} | {peak / 1e6:,.0f} |"
        )
    print(flush=True)


def run(tool, case, source, address, arguments):
    """Runs a tool once, from disk if there is no address. Returns the time in seconds, and details of the run."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    # Flush the output of earlier runs to disk, and load the input into the page cache.
    os.sync()
    subprocess.run(["find", source, "-type", "f", "-exec", "cat", "{}", "+"], stdout=subprocess.DEVNULL, check=True)
    environment = os.environ.copy()
    if address:
        environment |= {
            "AWS_ENDPOINT_URL": f"http://{address}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true",
        }
    if tool == peers.OURS:
        command = [arguments.binary, "convert", f"s3://{case}" if address else source, "--out", OUT, "--to",
                   "2099-12-31", "--threads", str(arguments.threads), "--json", "--log-format", "json"]
        if arguments.max_requests:
            command += ["--max-requests", arguments.max_requests]
    elif tool == FLOOR:
        command = [FETCH, f"s3://{case}", "--threads", str(arguments.threads)]
    else:
        place = f"s3://{case}" if tool == "polars" else f"http://{address}/{case}"
        values = f"peers.LOGS['access'], {place!r}, {str(OUT)!r}, {arguments.threads}, level=3"
        code = f"import peers; peers.PEERS[{tool!r}]({values})"
        command = [sys.executable, "-B", "-c", code]
        environment["PYTHONPATH"] = str(peers.ROOT / "benches")
    begun, before = time.monotonic(), server_cpu()
    with open(WORK / "stdout", "w") as stdout, open(WORK / "stderr", "w") as stderr:
        process = subprocess.Popen(command, env=environment, stdout=stdout, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{tool} failed ({process.returncode}): see {WORK / 'stderr'}")
    facts = {"peak": usage.ru_maxrss * 1024, "cpu": round(usage.ru_utime + usage.ru_stime, 2)}
    facts["server_cpu"] = round(server_cpu() - before, 2)
    found = sum(1 for _ in source.rglob("*.log.gz"))
    if tool == FLOOR and f" of {found} objects " not in (WORK / "stdout").read_text():
        sys.exit(f"{tool} did not read {found} objects")
    if tool == peers.OURS:
        summary = json.loads((WORK / "stdout").read_text())
        if summary["objects"]["converted"] != found:
            sys.exit(f"{summary['objects']['converted']} of {found} objects were converted")
        events = [json.loads(line) for line in (WORK / "stderr").read_text().splitlines() if line.startswith("{")]
        reads = [event for event in events if event.get("message") == "reads"]
        keys = ["most_in_flight", "objects_per_second", "latency_ms", "throttled"]
        facts |= {key: reads[-1][key] for key in keys} if reads else {}
        facts["listing_seconds"] = round(summary["metrics"]["listing_seconds"], 2)
    return seconds, facts


main()
