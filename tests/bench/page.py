"""docs/performance.md: its table is made of docs/performance.json, the rows of a full run."""
import json
import os
import pathlib
import re

import figures

ROOT = pathlib.Path(os.path.abspath(__file__)).parents[2]
ROWS = ROOT / "docs" / "performance.json"
PAGE = ROOT / "docs" / "performance.md"
MARK = re.compile(r"(<!-- tests/bench/run --page -->\n).*?(<!-- end -->)", re.S)


def known():
    """Every figure by its id, in the order in which they are measured."""
    return {made.id: made for one in figures.GROUPS for made in one.figures}


def table(rows):
    lines = ["| figure | value | goal | met | beside it, in the same run | what it is |", "|---|---|---|---|---|---|"]
    for id, figure in known().items():
        if id in rows:
            name, value, unit, goal, met, beside = figures.line(rows[id], figure)
            lines.append(f"| `{name}` | {value} {unit} | {goal} | {met} | {beside} | {figure.says} |")
    return "\n".join(lines) + "\n"


def read(path):
    return {row["id"]: row for row in json.loads(pathlib.Path(path).read_text(encoding="utf-8"))}


def page_with(rows):
    text, count = MARK.subn(lambda match: match[1] + table(rows) + match[2], PAGE.read_text(encoding="utf-8"))
    if count != 1:
        raise SystemExit(f"{PAGE}: the marks of the table are not there once")
    return text


def write(paths):
    """Takes the rows of these files into the kept ones, newer over older, and writes the page's table."""
    rows = read(ROWS) if ROWS.exists() else {}
    for path in paths:
        rows.update(read(path))
    kept = [rows[id] for id in known() if id in rows]
    ROWS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page_with(rows), encoding="utf-8")


def check():
    """Prints what is wrong with the page and a count line; the exit status."""
    rows = read(ROWS)
    problems = [f"docs/performance.json has {id}, which nothing measures" for id in rows if id not in known()]
    if page_with(rows) != PAGE.read_text(encoding="utf-8"):
        problems.append("the table of docs/performance.md is not that of docs/performance.json; run tests/bench/run --page")
    print("".join(problem + "\n" for problem in problems) + f"{int(not problems)} passed, {len(problems)} failed")
    return int(bool(problems))
