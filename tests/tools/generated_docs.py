#!/usr/bin/python3
"""What docs/ holds that is made from tables of the code: writes it into its pages, or checks that it is current.

    tests/tools/generated_docs.py [--check] [PATH-OF-MQPAASD]

A page has prose around what is made, which stands between two marks that name where it comes from: an option of mqpaasd
that prints a table (PAGES), or the table of a state machine in a header (core/base/state_table.h), which is drawn.
"""
import os
import re
import subprocess
import sys

from tree import ROOT

PAGES = {"docs/configuration.md": "--print-settings", "docs/metrics.md": "--print-metrics"}
STATES = "docs/states.md"

ROW = re.compile(r"\bX\(\s*(\w+)\s*,\s*((?:\"[^\"]*\"\s*)+),\s*(\w+)\s*,\s*((?:\"[^\"]*\"\s*)+)\)")
MARK = re.compile(r"<!-- (\S+) (\w+_STATES) -->")  # header and table


def between(text, mark, made):
    pattern = re.compile(re.escape(f"<!-- {mark} -->") + r"\n.*?<!-- end -->", re.S)
    assert len(pattern.findall(text)) == 1, f"the marks of {mark} are not there once"
    return pattern.sub(lambda _: f"<!-- {mark} -->\n{made}<!-- end -->", text)


def read_file(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def rows_of(text, table):
    """The rows of a table of state_table.h: state, event, next state, sentence."""
    define = re.search(rf"^#define {table}\(X\)((?:.*\\\n)+.*)$", text, re.M)
    assert define, f"there is no table {table}"
    body = define.group(1).replace("\\\n", " ")
    rows = [[part if part.isidentifier() else "".join(re.findall(r'"([^"]*)"', part)) for part in row] for row in ROW.findall(body)]
    assert len(rows) == len(re.findall(r"\bX\(", body)), f"a row of {table} cannot be read"
    return rows


def drawn(rows):
    """A picture, and a table of the same rows. The first row begins the machine; a state that none leaves ends it."""
    names = [row[0] for row in rows] + [row[2] for row in rows]
    prefix = os.path.commonprefix(names)
    prefix = prefix[: prefix.rfind("_") + 1]
    rows = [(state.removeprefix(prefix), event, after.removeprefix(prefix), sentence) for state, event, after, sentence in rows]
    left = {row[0] for row in rows}
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {rows[0][0]}"]
    lines += [f"    {state} --> {after}: {event}" for state, event, after, _ in rows]
    lines += [f"    {state} --> [*]" for state in dict.fromkeys(row[2] for row in rows) if state not in left]
    lines += ["```", "", "| state | event | next | |", "|---|---|---|---|"]
    lines += [f"| {state} | {event} | {after} | {sentence} |" for state, event, after, sentence in rows]
    return "\n".join(lines) + "\n"


def with_states(text):
    for header, table in MARK.findall(text):
        text = between(text, f"{header} {table}", drawn(rows_of(read_file(header), table)))
    return text


def wanted_pages(program):
    """Each page, where its text comes from, its text, and its text as it is to be."""
    for page, option in PAGES.items():
        text = read_file(page)
        table = subprocess.run([program, option], stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout
        yield page, f"mqpaasd {option}", text, between(text, f"mqpaasd {option}", table)
    text = read_file(STATES)
    yield STATES, "the tables of its state machines", text, with_states(text)


def main(arguments):
    check = "--check" in arguments
    program = next((a for a in arguments if a != "--check"), os.path.join(ROOT, "build/server/mqpaasd"))
    current, stale = 0, 0
    for page, source, text, wanted in wanted_pages(program):
        if wanted == text:
            current += 1
            continue
        stale += 1
        if check:
            print(f"{page} differs from {source}; run tests/tools/generated_docs.py")
        else:
            with open(os.path.join(ROOT, page), "w", encoding="utf-8") as file:
                file.write(wanted)
    if check:
        print(f"{current} passed, {stale} failed")
    return check and stale > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
