"""Tests a conversion's progress display on terminals of different widths.

    progress.py PROGRAM SOURCE DIRECTORY

The program runs in a pseudo-terminal, and a terminal emulator (pyte) renders its output. Exits with 1 and prints the
screen if anything is missing, is truncated in the wrong place, or is not erased.
"""

import fcntl
import os
import pathlib
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios

import pyte

ROWS = 30
# Patterns for the start of each line below the bar.
LINES = (
    r"[\d.]+ [KMG]?i?B of [\d.]+ [KMG]?i?B, ",
    r"[\d,]+ rejects, [\d,]+/[\d,]+ objects",
    r"[a-z]+-[a-z]+-\d \d{4}-\d\d-\d\d app\.",
)


def read(leader):
    try:
        return os.read(leader, 65536)
    except OSError:  # The last process closed the other end.
        return b""


def screens(command, columns):
    """Runs a command in a terminal. Yields the screen after each frame until the command ends."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    screen = pyte.Screen(columns, ROWS)
    stream = pyte.ByteStream(screen)
    while True:
        output = read(leader)
        if not output:
            break
        stream.feed(output)
        # A read can end within a frame. The program draws every 200 ms, so a pause of 20 ms ends a frame.
        while select.select([leader], [], [], 0.02)[0] and (output := read(leader)):
            stream.feed(output)
        yield [line.rstrip() for line in screen.display]
    os.close(leader)
    if process.wait() != 0:
        sys.exit(f"{command} ended with {process.returncode}")


def check(condition, what, screen):
    if not condition:
        sys.exit("\n".join([what, "the screen:", *screen]))


def watch(program, source, out, columns, more=()):
    """Converts in a terminal of the given width, checks each screen, and returns the last complete progress screen."""
    shutil.rmtree(out, ignore_errors=True)
    command = [program, "convert", source, "--out", out, "--threads", "1", "--to", "2099-12-31", *more]
    shown, last = [], []
    for screen in screens(command, columns):
        last = screen
        bars = [number for number, line in enumerate(screen) if re.match(r" *\d+ % \[", line)]
        check(len(bars) <= 1, f"more than one bar at {columns} columns", screen)
        if not bars:
            continue
        below = screen[bars[0] + 1 :]
        check(not any(below[3:]), f"unexpected text below the bar and its three lines at {columns} columns", screen)
        if all(below[:3]):
            shown.append(screen)
            for line, what in zip(below, LINES):
                # On the narrowest terminal, only the beginning of a line fits.
                check(re.match(what if columns >= 40 else what.split(" ")[0], line), f"{what} is not shown", screen)
    check(shown, f"no progress was shown at {columns} columns", last)
    left = [line for line in last if "%" in line and "[" in line]
    check(not left, "the bar was not erased", last)
    check(any(line.startswith("lines ") for line in last), "there is no summary", last)
    return shown[-1]


def main():
    program, source, directory = sys.argv[1:]
    out = str(pathlib.Path(directory) / "terminal")
    for columns in (80, 40, 20):
        screen = watch(program, source, out, columns)
        print(f"{columns} columns:", *(f"  |{line.ljust(columns)}|" for line in screen if line), sep="\n")
    screen = watch(program, source, out, 240, ["--verbose"])
    events = [line for line in screen if "INFO batch published" in line]
    whole = [line for line in events if re.search(r" seconds=[\d.]+$", line)]
    check(len(whole) == len(events), "the bar overwrites a log line", screen)
    shutil.rmtree(out)
    print("4 passed, 0 failed")


main()
