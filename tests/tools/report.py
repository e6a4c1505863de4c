"""The table of results inside a page: one row a suite, from the last run that wrote it (tests/run --report FILE).

A run of some suites replaces their rows and leaves the others, so each row says of which commit and day it is, and whether
the run was a long one.
"""
import datetime
import functools
import os
import platform
import re
import subprocess

from tree import ROOT

BEGIN, END = "<!-- results: tests/run --report -->", "<!-- end of results -->"
HEAD = "| suite | run | passed | failed | seconds | commit | date |\n|---|---|---:|---:|---:|---|---|\n"
ROW = re.compile(r"^\| ([a-z0-9-]+) \|.*\|$", re.M)


def _first_line(*command, none="unknown"):
    """The first line that a command prints; `none` when it is not there, fails, or prints nothing."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return none


@functools.cache
def commit():
    """Which tree is tested, as it was when this was first asked; "+" says that it held changes that no commit has (to other files than pages)."""
    changed = _first_line("git", "status", "--porcelain", "--", ":!docs", none="")
    return _first_line("git", "rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


def machine():
    compilers = (_first_line("gcc", "--version").rsplit(" ", 1)[-1], re.sub(r".*version (\S+).*", r"\1", _first_line("clang-19", "--version")))
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return f"{system}, Linux {platform.release()}, {os.cpu_count()} cores; gcc {compilers[0]}, clang {compilers[1]}, Python {platform.python_version()}."


def row(name, result, seconds, long):
    day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    return f"| {name} | {'long' if long else 'short'} | {result.passed:,} | {result.failed} | {seconds:,.0f} | {commit()} | {day} |"


def updated(text, rows, order, about):
    """The page with these rows (name: line) in its table, those of other suites kept, in the order of the suites."""
    before, marker, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not marker or not end:
        raise ValueError(f"no place for results: {BEGIN} … {END}")
    kept = {found.group(1): found.group(0) for found in ROW.finditer(old) if found.group(1) in order}
    lines = {**kept, **rows}
    return before + BEGIN + "\n" + about + "\n\n" + HEAD + "".join(lines[name] + "\n" for name in order if name in lines) + END + after


def write(path, rows, order):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(updated(text, rows, order, machine()))
