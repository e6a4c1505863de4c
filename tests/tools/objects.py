"""What a build has compiled: which object defines which symbol, and which others use it.

Read with nm from the objects, so an arrow counts whether or not a header stands for it.
"""
import collections
import dataclasses
import json
import os
import subprocess

from tree import ROOT

LOCAL = "abdirst"  # nm's letters for what is not exported; U is wanted from elsewhere


@dataclasses.dataclass
class Objects:
    owners: dict  # symbol: the files that define it, sorted
    uses: dict  # file: {symbol that it wants from elsewhere}

    def arrows(self):
        """(file, symbol, the file that defines it) for each use of one file's symbol by another."""
        for path in sorted(self.uses):
            for symbol in sorted(self.uses[path]):
                owner = self.owner(symbol, path)
                if owner and owner != path:
                    yield path, symbol, owner

    def owner(self, symbol, path):
        """Which one is meant: two programs may each have a symbol of this name; the one in the user's own part of the tree is linked."""
        owners = self.owners.get(symbol, ())
        near = [owner for owner in owners if owner.split("/")[0] == path.split("/")[0]]
        return next(iter(near or owners), None)


def parse(lines, source_of):
    """Reads `nm -A` lines; source_of says which source an object was compiled from, None for those that do not count."""
    owners, uses = collections.defaultdict(set), collections.defaultdict(set)
    for line in lines:
        name, rest = line.rsplit(":", 1)
        source = source_of(name)
        if source is None:
            continue
        kind, symbol = rest.split()[-2:]
        if kind == "U":
            uses[source].add(symbol)
        elif kind not in LOCAL and symbol != "main":
            owners[symbol].add(source)
    return Objects({symbol: sorted(files) for symbol, files in owners.items()}, dict(uses))


def read(build):
    """The objects of the programs and libraries of a build folder; tests may use everything and are left out."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        rows = json.load(file)
    sources = {}
    for row in rows:
        path = os.path.relpath(os.path.normpath(os.path.join(row["directory"], row["file"])), ROOT)
        in_build = os.path.relpath(os.path.join(ROOT, path), build)  # made by the build: counted where its folder is
        path = path if in_build.startswith("..") else in_build
        if not path.startswith("tests/") and not row["output"].startswith("tests/"):
            sources[row["output"]] = path
    nm = subprocess.run(["nm", "-A", *sources], cwd=build, capture_output=True, text=True, check=False)
    if nm.returncode:
        raise SystemExit(f"{build} is not a whole build: {nm.stderr.splitlines()[0]}")
    return parse(nm.stdout.splitlines(), sources.get)


def circles(arrows):
    """The sets of more than one node that reach each other, largest first, from {node: nodes} (Tarjan's algorithm)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(arrows.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return sorted((circle for circle in found if len(circle) > 1), key=len, reverse=True)
