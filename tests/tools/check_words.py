#!/usr/bin/python3
"""Fails on a word that names no party and no number: a reader must know which caller, thread or amount is meant.

    tests/tools/check_words.py [FILE…]

Looks at all text of the tree, or at the files that are named: code with its comments and strings, documents, scripts, contracts.
A phrase that a line break divides is found too. Not looked at: docs/notes and CHANGELOG.md (what was said at the time), golden
vectors, capitals (constants), and a quoted string that is one such word alone (a user's name in a test).
"""
import os
import re
import sys

from tree import ROOT, sources

# The phrase, and what to write instead.
INSTEAD = {
    "nobody": "the party that does not, such as \"no caller\", \"no owner\"; or the passive",
    "somebody": "the party: the caller, an operator, another client",
    "anybody": "the party: any caller, any user",
    "so many": "the number, or the name of the parameter that holds it",
    "of now": "\"current\"",
    "of before": "\"previous\", \"earlier\" or \"from before\" with what it was before",
    "for who": "\"for callers that\", \"for the operator that\"",
}
BREAK = r"(?:\s|//|#|\*)+"  # between two words; a comment may go on in the next line
WORDS = {
    phrase: re.compile(r"(?<![\w-])" + BREAK.join(f"[{word[0].upper()}{word[0]}]{word[1:]}" for word in phrase.split()) + r"(?![\w-])")
    for phrase in INSTEAD
}
QUOTED = re.compile(r"(?i)([\"'`])(?:nobody|somebody|anybody)\1")
EXEMPT = re.compile(r"^(?:docs/notes/|CHANGELOG\.md$|tests/vectors/|tests/tools/(?:check_words|test_tools)\.py$)")


def faults(text):
    """(number of the line, phrase) for each banned phrase, in order."""
    text = QUOTED.sub(lambda quoted: " " * len(quoted[0]), text)
    found = [(match.start(), phrase) for phrase, word in WORDS.items() for match in word.finditer(text)]
    return [(text.count("\n", 0, at) + 1, phrase) for at, phrase in sorted(found)]


def read_text(path):
    """What a file says; empty for one that is no text."""
    try:
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError:
        return ""


def main(paths):
    paths = paths or [path for path in sources("") if not EXEMPT.match(path)]
    failed = 0
    for path in paths:
        found = faults(read_text(path))
        for number, phrase in found:
            print(f"{path}:{number}: \"{phrase}\": write {INSTEAD[phrase]}")
        failed += bool(found)
    print(f"{len(paths) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
