#!/usr/bin/python3
"""Fails on a line of prose that is longer than WIDTH: it cannot be read in a diff, nor beside code.

    tests/tools/check_prose.py [--wrap] [FILE…]

Looks at all Markdown of the tree, or at the files that are named. Tables, fenced and indented code are left alone: their rows
cannot be broken. With --wrap the paragraphs that have too long a line are wrapped anew.
"""
import os
import re
import sys

from tree import ROOT, sources

WIDTH = 160

ITEM = re.compile(r"^(\s*(?:[-*+]|\d+[.)])\s+|\s*>\s?|\s*)")  # what a line begins with before its text
STARTS = re.compile(r"^\s*(?:[-*+]\s|\d+[.)]\s|>)")  # a new item
FIXED = re.compile(r"^\s*(?:\||#|<!--|<|\[[^\]]+\]:)")  # a row, a heading, a mark, the target of a link
CANNOT_START = re.compile(r"^(?:[-*+>#|]|\d+[.)]$)")  # at the start of a line these would mean something
WORD = re.compile(r"(?:`[^`]*`|!?\[[^\]]*\]\([^)]*\)|\S)+")  # code and links are one word


def blocks(lines):
    """(is prose, first line, line behind the last) for each paragraph, item, or run of what must stay as it is."""
    at, was_list = 0, False
    while at < len(lines):
        line, end = lines[at], at + 1
        if line.lstrip().startswith("```"):
            while end < len(lines) and not lines[end].lstrip().startswith("```"):
                end += 1
            yield False, at, min(end + 1, len(lines))
            at = end + 1
            continue
        indented = line.startswith("    ") and not was_list and not STARTS.match(line)
        if not line.strip() or FIXED.match(line) or indented:
            was_list = was_list and not (line.strip() and not line.startswith(" "))
            yield False, at, end
        else:
            was_list = bool(STARTS.match(line)) or (was_list and line.startswith(" "))
            while end < len(lines) and lines[end].strip() and not FIXED.match(lines[end]) and not STARTS.match(lines[end]) and not lines[end].lstrip().startswith("```"):
                end += 1
            yield True, at, end
        at = end


def wrapped(lines):
    """A paragraph with its words in lines of at most WIDTH."""
    first = ITEM.match(lines[0]).group(0)
    rest = first if ">" in first else " " * len(first)
    words = WORD.findall(lines[0][len(first):]) + [word for line in lines[1:] for word in WORD.findall(line.lstrip(" >") if ">" in first else line)]
    made, line = [], first + words[0]
    for word in words[1:]:
        if len(line) + 1 + len(word) > WIDTH and not CANNOT_START.match(word):
            made.append(line)
            line = rest + word
        else:
            line += " " + word
    return [*made, line]


def too_long(lines):
    """The numbers of the lines of prose that are too long and could be broken."""
    for prose, start, end in blocks(lines):
        if prose and max(map(len, lines[start:end])) > WIDTH:
            again = wrapped(lines[start:end])
            yield from (at + 1 for at in range(start, end) if len(lines[at]) > WIDTH and lines[start:end] != again)


def rewrap(lines):
    made = []
    for prose, start, end in blocks(lines):
        block = lines[start:end]
        made += wrapped(block) if prose and max(map(len, block)) > WIDTH else block
    return made


def main(arguments):
    paths = [path for path in arguments if path != "--wrap"] or sources(".md")
    failed = 0
    for path in paths:
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            lines = file.read().split("\n")
        if "--wrap" in arguments:
            lines = rewrap(lines)
            with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
                file.write("\n".join(lines))
        faults = list(too_long(lines))
        for number in faults:
            print(f"{path}:{number}: longer than {WIDTH} characters")
        failed += bool(faults)
    print(f"{len(paths) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
