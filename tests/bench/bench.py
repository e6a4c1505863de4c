#!/usr/bin/python3
"""Runs the groups of every rows_*.py one after the other, prints the table, writes the rows. See tests/bench/run."""
import argparse
import importlib
import json
import os
import pathlib
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ROUNDS = 5


class Bench:
    """How thoroughly to measure."""

    def __init__(self, quick):
        self.quick = quick

    def rounds(self):
        """One turn a round: `for _ in bench.rounds()`."""
        return range(1 if self.quick else ROUNDS)

    def pick(self, thorough, quick):
        """A length or size by how thoroughly is measured."""
        return quick if self.quick else thorough


def prepare():
    """A release build with the load programs, and the Python tools of the end-to-end tests; runs this file with them."""
    if os.environ.get("MQPAAS_BENCH_READY"):
        return
    sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
    suites = importlib.import_module("suites")
    try:
        if "MQPAAS_BUILD" not in os.environ:
            os.environ["MQPAAS_BUILD"] = suites.build("build")
        python = suites.venv() + "/python"
    except suites.SuiteError as error:
        sys.exit(str(error))
    os.environ["MQPAAS_BENCH_READY"] = "1"
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.execv(python, [python, *sys.argv])


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description="Measures the figures of docs/performance.md.")
    parser.add_argument("--only", action="append", metavar="ID-PREFIX", help="only figures whose id begins so (may be repeated)")
    parser.add_argument("--json", metavar="FILE", help="write the rows there")
    parser.add_argument("--quick", action="store_true", help="rough figures in a few minutes")
    parser.add_argument("--page", nargs="*", metavar="FILE", help="measure nothing: take the rows of these files into docs/performance.json and its page")
    parser.add_argument("--check-page", action="store_true", help="measure nothing: is the page's table that of docs/performance.json?")
    parser.add_argument("--list", action="store_true", help="list the figures")
    return parser.parse_args()


def machine():
    """What the figures were measured on, in a line."""
    cpu = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if line.startswith("model name")), "unknown processor")
    kernel, load = os.uname(), os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {cpu}; {kernel.sysname} {kernel.release} {kernel.machine}; load before the run {load:.1f}"


def say(text):
    print(text, file=sys.stderr, flush=True)


def measure(one, bench):
    """The samples of a group by id; a group that fails says why and leaves its figures without a value."""
    samples = {made.id: [] for made in one.figures}
    started = time.monotonic()
    say(", ".join(made.id for made in one.figures))
    try:
        for found in one.measure(bench):
            for id, sample in found.items():
                samples[id].append(sample)
    except Exception as error:  # pylint: disable=broad-exception-caught
        say(f"    failed: {error!r}")
    say(f"    {time.monotonic() - started:.0f} s")
    return samples


def main():
    prepare()
    sys.path[:0] = [os.path.join(ROOT, "tests", "e2e")]
    figures = importlib.import_module("figures")
    for path in sorted(pathlib.Path(HERE).glob("rows_*.py")):
        importlib.import_module(path.stem)
    options = parse_arguments()
    wanted = tuple(options.only or ("",))
    chosen = [one for one in figures.GROUPS if any(made.id.startswith(wanted) for made in one.figures)]
    if options.list:
        for one in chosen:
            for made in one.figures:
                print(f"{made.id:20} {made.says}")
        return 0
    if options.check_page or options.page is not None:
        page = importlib.import_module("page")
        return page.check() if options.check_page else page.write(options.page)
    if not chosen:
        sys.exit(f"no figure begins with {' or '.join(wanted)}")
    say(machine())
    rows, lines = [], []
    with importlib.import_module("lab").kept:
        for one in chosen:
            samples = measure(one, Bench(options.quick))
            for made in one.figures:
                if made.id.startswith(wanted):
                    rows.append(figures.row(made, samples[made.id]))
                    lines.append(figures.line(rows[-1], made))
    print(figures.table(lines))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if all(row["value"] is not None for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
