#!/usr/bin/python3
"""The tables in docs/ that mqpaasd prints itself: writes them into their pages, or checks that they are current.

    tests/tools/generated_docs.py [--check] [PATH-OF-MQPAASD]

A page has prose around one table, which stands between two marks that name the option it is printed by.
"""
import os
import re
import subprocess
import sys

from tree import ROOT

PAGES = {"docs/configuration.md": "--print-settings", "docs/metrics.md": "--print-metrics"}


def with_table(text, option, table):
    mark = f"<!-- mqpaasd {option} -->"
    pattern = re.compile(re.escape(mark) + r"\n.*?<!-- end -->", re.S)
    assert len(pattern.findall(text)) == 1, f"the marks of {option} are not there once"
    return pattern.sub(lambda _: f"{mark}\n{table}<!-- end -->", text)


def main(arguments):
    check = "--check" in arguments
    program = next((a for a in arguments if a != "--check"), os.path.join(ROOT, "build/server/mqpaasd"))
    stale = 0
    for page, option in PAGES.items():
        path = os.path.join(ROOT, page)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        table = subprocess.run([program, option], stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout
        wanted = with_table(text, option, table)
        if wanted == text:
            continue
        stale += 1
        if check:
            print(f"{page} differs from mqpaasd {option}; run tests/tools/generated_docs.py")
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.write(wanted)
    if check:
        print(f"{len(PAGES) - stale} passed, {stale} failed")
    return check and stale > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
