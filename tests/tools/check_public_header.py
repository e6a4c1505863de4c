#!/usr/bin/python3
"""Every function of the public header says all that its caller must know, in one order.

One sentence, each parameter by name, then Returns, Ownership, Threads and Since, each at the start of a line. Function
types, structs and enums have a comment above them; each value and member has one beside or above it.
"""
import os
import re
import sys

from tree import ROOT

HEADER = "sdk/c/include/mqpaas/mqpaas.h"
LABELS = ["Returns:", "Ownership:", "Threads:", "Since:"]
FUNCTION = re.compile(r"^((?://.*\n)*)MQP_API\s+([^;]+);", re.M)
FUNCTION_TYPE = re.compile(r"^((?://.*\n)*)typedef [^;]*\(\*(\w+)\)", re.M)
TYPE = re.compile(r"^((?://.*\n)*)(?:struct|enum) (\w+)(?: \{([^}]*)\})?;", re.M)


def parameters(declaration):
    """Names of the parameters of a declaration without its semicolon."""
    inside = declaration[declaration.index("(") + 1 : declaration.rindex(")")].strip()
    return [] if inside == "void" else [re.search(r"(\w+)(?:\[\w*\])?$", part.strip()).group(1) for part in inside.split(",")]


def function_faults(comment, declaration):
    name = re.search(r"(\w+)\(", declaration).group(1)
    lines = [line[2:].strip() for line in comment.splitlines()]
    faults = []
    if not lines or not lines[0] or lines[0].startswith("@"):
        faults.append(f"{name}: no sentence that says what it does")
    told = [re.match(r"@(\w+): ", line).group(1) for line in lines if line.startswith("@")]
    if told != parameters(declaration):
        faults.append(f"{name}: parameters told are {told}, those it has are {parameters(declaration)}")
    labels = [label for line in lines for label in LABELS if line.startswith(label)]
    if labels != LABELS:
        faults.append(f"{name}: lines begin with {labels}, not with {LABELS}")
    if not re.search(r"^// Since: \d+\.\d+\.\d+$", comment, re.M):
        faults.append(f"{name}: Since names no version")
    return faults


def member_faults(name, body):
    """Each statement of an enum or struct has a comment on its line, or stands in a run that a comment heads."""
    faults = []
    described = False
    for line in body.splitlines():
        line = line.strip()
        if not line:
            described = False
        elif line.startswith("//"):
            described = True
        elif "//" in line:
            pass
        elif not described:
            faults.append(f"{name}: nothing is said about `{line}`")
    return faults


def main():
    with open(os.path.join(ROOT, HEADER), encoding="utf-8") as file:
        text = file.read()
    results = [function_faults(*found) for found in FUNCTION.findall(text)]
    results += [[] if comment else [f"{name}: no comment"] for comment, name in FUNCTION_TYPE.findall(text)]
    results += [([] if comment else [f"{name}: no comment"]) + member_faults(name, body) for comment, name, body in TYPE.findall(text)]
    for faults in results:
        for fault in faults:
            print(f"{HEADER}: {fault}")
    failed = sum(1 for faults in results if faults)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
