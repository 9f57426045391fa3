"""Tests the page that `report` writes, in Chromium, for a dataset whose names and lines contain markup.

Usage: report.py PROGRAM DIRECTORY

DIRECTORY/source contains the logs; all other files are created in DIRECTORY. The text for each day must match the
output of `report --json`. The page must not make requests or print anything to the console.
"""

import gzip
import json
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
HOSTILE = "<script>alert(1)</script><img src=x onerror='alert(2)'><!--"
# Directory names cannot contain a slash.
PREFIX = HOSTILE.replace("/", "")
MISSING = ["2024-12-24", "2024-12-25", "2025-01-07"]
LOGS = ["access", "classic", "connection", "health_check", "nlb_tls"]
# An account with a Classic and a Network Load Balancer. Its ID sorts after the generated account IDs. The Classic
# Load Balancer's interval changes from 60 to 5 minutes, and both load balancers miss some windows.
OTHERS = "999999999999"
TLS_LINE = (
    "tls 2.0 2024-11-20T10:00:00 net/edge/0123456789abcdef 89abcdef01234567 192.0.2.44:40312 198.51.100.8:443 340 12 "
    "812 4096 - - - TLS_AES_128_GCM_SHA256 tlsv13 - edge.example.com h2 h2 \"h2\",\"http/1.1\" 2024-11-20T09:59:00\n"
)
CLASSIC_LINE = (
    "2024-11-20T10:00:00.000001Z legacy 192.0.2.45:51200 198.51.100.9:80 0.00004 0.0061 0.00003 200 200 0 512 "
    "\"GET http://legacy.example.com:80/ HTTP/1.1\" \"curl/8.5.0\" - -\n"
)
checks = 0


def check(what, condition, seen=""):
    """Counts a check, and ends the test if the check fails."""
    global checks
    checks += 1
    if not condition:
        sys.exit(f"FAILED: {what}: {seen!r}")


def equal(what, seen, expected):
    check(what, seen == expected, f"{seen!r} instead of {expected!r}")


# ---- the dataset


def add_other_load_balancers(source):
    """Adds ten days of logs from a Network and a Classic Load Balancer."""
    for number in range(10):
        day = date(2024, 11, 20) + timedelta(number)
        directory = source / f"AWSLogs/{OTHERS}/elasticloadbalancing/eu-west-1/{day:%Y/%m/%d}"
        directory.mkdir(parents=True)

        def put(balancer, time, node, ending, text):
            name = f"{OTHERS}_elasticloadbalancing_eu-west-1_{balancer}_{day:%Y%m%d}T{time}Z_192.0.2.{node}_{node:08x}"
            (directory / f"{name}{ending}").write_bytes(text)

        for time in ["1000", "1005", "1020"]:
            put("net.edge.0123456789abcdef", time, 1, ".log.gz", gzip.compress(TLS_LINE.encode()))
        if number < 5:
            classic = [f"{hour:02}00" for hour in range(24) if hour != 15]
        else:
            classic = [f"{hour:02}{minute:02}" for hour in range(24) for minute in range(0, 60, 5) if minute != 20]
        for time in classic:
            for node in [1, 2]:
                put("legacy", time, node, ".log", CLASSIC_LINE.encode())


def make_source(source):
    """Moves the logs to a directory whose name is markup, deletes some days, and adds lines with markup."""
    add_other_load_balancers(source)
    shutil.move(source / "AWSLogs", source / PREFIX / "AWSLogs")
    objects = sorted(path for path in source.rglob("*.log*"))
    by_day = {}
    for path in objects:
        day = "-".join(path.parts[-4:-1])
        if day in MISSING:
            path.unlink()
        elif "_app." in path.name:
            by_day.setdefault(day, []).append(path)
    for path in by_day["2025-01-15"]:
        lines = gzip.decompress(path.read_bytes()).splitlines()
        # Any quoted text is a valid user agent, so the first line becomes a row. The other two lines are rejected.
        agent = lines[0].replace(b'"', b'"' + HOSTILE.encode(), 1)
        lines += [agent, HOSTILE.encode(), b"\xff\xe2\x80\xae " + HOSTILE.encode()]
        path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))


def forge_claims(out):
    """Adds an account and a region whose names contain as much markup as a path allows."""
    claims = out / "_alb2parquet/claims/access"
    made = next(claims.glob("*/*/2025-01-15"))
    forged = claims / PREFIX / "<b>" / "2025-01-15"
    shutil.copytree(made, forged)
    damaged = claims / "000000000000" / "<i>" / "2025-01-15"
    damaged.mkdir(parents=True)
    (damaged / "1.claim.json").write_text("{")


def run(program, *args):
    done = subprocess.run([program, *map(str, args)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{args}: exit code {done.returncode}: {done.stderr}")
    return done.stdout


# ---- the browser


@contextmanager
def serving(directory):
    """Serves a directory on loopback and records the requests."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=directory))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


@contextmanager
def opened(browser, url, **options):
    """Opens the page. On exit, checks that the page printed nothing to the console and made no other requests."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page = context.new_page()
    requests, said = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))

    def dialog(it):
        said.append(f"a dialog: {it.message}")
        it.dismiss()

    page.on("dialog", dialog)
    page.goto(url)
    page.wait_for_load_state("networkidle")
    yield page
    equal("requests", [each for each in requests if not each.startswith("data:")], [url])
    equal("console, errors and dialogs", said, [])
    context.close()


# ---- the checks


def structure(page):
    for role in ["banner", "main", "navigation", "contentinfo"]:
        equal(f"landmarks of role {role}", page.get_by_role(role).count(), 1)
    headings = page.get_by_role("heading", level=2).all_inner_texts()
    equal("sections", headings, [
        "Needs attention", "Totals", "Accounts and regions", "Load balancers", "Coverage", "Rejects", "Eras",
        "Slowest batches", "Tables",
    ])
    broken = page.evaluate(
        "[...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))"
        ".filter(href => !href.startsWith('#') || !document.getElementById(href.slice(1)))"
    )
    equal("broken links", broken, [])


def escaping(page):
    counts = page.evaluate(
        "Object.fromEntries(['script', 'img', 'iframe', 'b', 'i', 'style']"
        ".map(name => [name, document.getElementsByTagName(name).length]))"
    )
    equal("elements", counts, {"script": 1, "img": 0, "iframe": 0, "b": 0, "i": 0, "style": 1})
    text = page.inner_text("main")
    for what in [HOSTILE, f"{PREFIX}/AWSLogs/", "<b>", "<i>", "\\xff\\u{202e} <script>"]:
        check(f"{what} is text", what in text)


def told(day, calendar):
    """Returns the text that the page should show for a day."""
    name = f"{day:%a} {day}"
    known = calendar.get(str(day))
    if known is None:
        return f"{name}: missing, no objects"
    size = known["source_bytes"]
    size = f"{size} B" if size < 1024 else f"{size / 1024:.2f} KiB"
    return (
        f"{name}: {known['objects']:,} objects, {known['rows']:,} rows, {known['rejects']:,} rejects, "
        f"{size}, {known['windows']} of {known['possible_windows']} windows"
    )


def days(balancer):
    first, last = date.fromisoformat(balancer["first_day"]), date.fromisoformat(balancer["last_day"])
    return [first + timedelta(number) for number in range((last - first).days + 1)]


def logs(page, facts):
    """Checks that the page shows all five log types, and the windows of each type of load balancer."""
    equal("log types", sorted(facts["log_types"]), LOGS)
    classic, network = facts["load_balancers"][-2:]
    names = [each["load_balancer"] for each in [classic, network]]
    equal("load balancers", names, ["legacy", "net/edge/0123456789abcdef"])
    equal("windows a day", [day["possible_windows"] for day in network["calendar"]], [288] * 10)
    # The window that ends at 00:00 on the day of the change is still 60 minutes long.
    equal("windows a day", [day["possible_windows"] for day in classic["calendar"]], [24] * 5 + [288] * 5)
    equal("missing windows", classic["missing_windows"]["windows"], 5 + 5 * 24)
    text = page.inner_text("main")
    for words in [
        "legacy: 10 days, 0 missing. Windows of 5 or 60 minutes.", "125 missing windows of 5 or 60 minutes",
        "net/edge/0123456789abcdef: 10 days, 0 missing. Windows of 5 minutes.", "Network Load Balancer log",
        "Classic Load Balancer log", "nlb_tls_logs", "clb_access_logs",
    ]:
        check(f"{words} is shown", words in text)


def keyboard(page, facts):
    page.keyboard.press("Tab")
    equal("the first Tab stop", page.evaluate("document.activeElement.textContent"), "Skip to content")
    page.keyboard.press("Enter")
    check("the link skips to the facts", page.url.endswith("#main"), page.url)
    # Tab through the entire page. A calendar is a single tab stop.
    stops = []
    for _ in range(1000):
        page.keyboard.press("Tab")
        stop = page.evaluate("document.activeElement.className || document.activeElement.tagName")
        if stop == "BODY":
            break
        stops.append(stop)
    equal("calendars that are Tab stops", stops.count("years"), len(facts["load_balancers"]))
    check("Tab stops", len(stops) < 12 * len(facts["load_balancers"]), len(stops))

    # The last two are a Classic and a Network Load Balancer.
    count = len(facts["load_balancers"])
    for number in [0, count - 2, count - 1]:
        balancer = facts["load_balancers"][number]
        calendar = {day["day"]: day for day in balancer["calendar"]}
        all_days = days(balancer)
        years, readout = (page.locator(f"#c{number} .{name}") for name in ["years", "readout"])
        hint = readout.text_content()
        check("keyboard instructions are present", "arrow keys" in hint, hint)
        years.focus()
        equal("the last day is selected first", readout.text_content(), told(all_days[-1], calendar))
        page.keyboard.press("Home")
        for day in all_days:
            equal(f"visible text of {day}", readout.text_content(), told(day, calendar))
            equal(f"accessible text of {day}", years.get_attribute("aria-valuetext"), told(day, calendar))
            page.keyboard.press("ArrowDown")
        equal("the cursor stops at the last day", readout.text_content(), told(all_days[-1], calendar))
        steps = [("ArrowLeft", 7), ("ArrowUp", 1), ("PageUp", 28)]
        place = len(all_days) - 1
        for key, back in steps:
            page.keyboard.press(key)
            place = max(0, place - back)
            equal(key, readout.text_content(), told(all_days[place], calendar))
        years.blur()
        equal("the instructions return without focus", readout.text_content(), hint)

    summary = page.locator("#c0 summary").first
    summary.focus()
    page.keyboard.press("Enter")
    months = {day["day"][:7] for day in facts["load_balancers"][0]["calendar"]}
    shown = page.locator("#c0 tbody th").all_inner_texts()
    equal("months in the table", shown, sorted(months))


def pointer(page, facts):
    """Checks that the keyboard and the pointer select days at the same positions in the picture."""
    balancer = facts["load_balancers"][0]
    calendar = {day["day"]: day for day in balancer["calendar"]}
    years, readout = (page.locator(f"#c0 .{name}") for name in ["years", "readout"])
    years.scroll_into_view_if_needed()
    for day in [days(balancer)[place] for place in (0, 9, 34, 41, 42, 48, -1)]:
        years.focus()
        page.keyboard.press("Home")
        for _ in range((day - days(balancer)[0]).days):
            page.keyboard.press("ArrowDown")
        box = page.locator("#c0 .cursor").bounding_box()
        years.blur()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        equal(f"text under the pointer on {day}", readout.text_content(), told(day, calendar))
    page.mouse.move(1, 1)
    check("the instructions return when the pointer leaves", "arrow keys" in readout.text_content())


def pictures(page, facts):
    """Checks that the picture contains exactly one shape of the correct kind for each day."""
    drawn = page.evaluate(
        """() => [...document.querySelectorAll('.calendar')].map(calendar => {
            const days = name => [...calendar.querySelectorAll(name)].map(path => path.getAttribute('d'));
            const strokes = days('.l1, .l2, .l3, .l4, .l5').join('').match(/v\\d+/g) || [];
            const boxes = days('.gap, .l0').join('').match(/v\\d+/g) || [];
            const sum = runs => runs.reduce((sum, run) => sum + Number(run.slice(1)), 0);
            return sum(strokes) + sum(boxes) + boxes.length;
        })"""
    )
    equal("drawn days", drawn, [len(days(balancer)) for balancer in facts["load_balancers"]])
    gaps = page.locator("#c0 .gap")
    check("missing days are marked", gaps.count() == 2, gaps.count())
    label = page.locator("#c0 svg[data-year='2024']").get_attribute("aria-label")
    equal("accessible text of a year", label, "2024: 40 days with objects, 2 missing")


def accessible(page, scheme):
    results = Axe().run(page)
    found = [
        f"{each['id']}: {each['nodes'][0]['html'][:200]}: {each['nodes'][0]['failureSummary']}"
        for each in results.response["violations"]
    ]
    equal(f"findings of axe, {scheme}", found, [])


def no_overflow(page, width):
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    seen = page.evaluate("document.documentElement.scrollWidth")
    check(f"no overflow at {width} px", seen <= width, seen)


def policy_holds(browser, url, asked):
    """Checks that the content security policy blocks injected markup."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    before = len(asked)
    page.evaluate(
        """() => {
            document.body.insertAdjacentHTML('beforeend', '<img src="/leak" onerror="window.ran = 1">');
            const script = document.createElement('script');
            script.textContent = 'window.ran = 1';
            document.body.append(script);
        }"""
    )
    page.wait_for_timeout(300)
    equal("requests of injected markup", asked[before:], [])
    equal("scripts of injected markup", page.evaluate("window.ran"), None)
    context.close()


def main():
    program, made = sys.argv[1], Path(sys.argv[2])
    source, out = made / "source", made / "lake"
    make_source(source)
    run(program, "convert", source, "--out", out, "--to", "2099-12-31", "--quiet", "--max-rejects", "1")
    forge_claims(out)
    run(program, "report", out, "--html", made / "report.html")
    facts = json.loads(run(program, "report", out, "--json"))

    with serving(made) as (root, asked), sync_playwright() as playwright:
        url = f"{root}/report.html"
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        with opened(browser, url, color_scheme="light") as page:
            structure(page)
            escaping(page)
            pictures(page, facts)
            logs(page, facts)
            keyboard(page, facts)
            pointer(page, facts)
            accessible(page, "light")
            page.screenshot(path=made / "light.png", full_page=True)
            light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        with opened(browser, url, color_scheme="dark") as page:
            dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
            check("the dark theme is used", dark != light, dark)
            accessible(page, "dark")
            page.screenshot(path=made / "dark.png", full_page=True)
        with opened(browser, url, viewport={"width": 360, "height": 740}) as page:
            page.screenshot(path=made / "narrow.png", full_page=True)
            no_overflow(page, 360)
            accessible(page, "narrow")
        with opened(browser, url) as page:
            page.emulate_media(media="print")
            check("links are hidden in print", not page.get_by_role("navigation").is_visible())
            pdf = page.pdf(path=made / "print.pdf", format="A4")
            check("it prints", len(pdf) > 10_000, len(pdf))
        with opened(browser, url, java_script_enabled=False) as page:
            structure_without_script = page.locator(".calendar svg[role=img]").count()
            check("pictures without the script", structure_without_script > 0)
            check("no instructions without the script", not page.locator("#c0 .readout").is_visible())
        equal("requests to the server", set(asked), {"/report.html"})
        policy_holds(browser, url, asked)
        browser.close()
    print(f"{checks} checks passed; screenshots are in {made}")


main()
