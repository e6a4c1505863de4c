#!/usr/bin/python3
"""Fails on what breaks the house of docs/architecture.md: every line of code has its room, and every name says which.

LAYERS says what each folder may use besides itself; LIBRARIES says which folder may include the headers of a library that has an
owner. With --build DIR the objects of that build are read too, and these rules hold:

  layers    no file uses a symbol of a folder that it may not include
  folders   no folder uses another, over any way, that uses it back
  circles   no more than CIRCLE files use each other in a circle
  headers   a header declares what one .c file defines, and has its stem
  symbols   an exported symbol begins with the stem of its file, or with a word of its folder and the stem
"""
import collections
import os
import re
import subprocess
import sys

import objects
from tree import ROOT, sources

DATA = ("core/base", "core/net", "core/loop", "core/model", "core/wire", "core/catalog")  # what a proxy may know
CORE = (*DATA, "core/control", "core/registry")
PROXY = ("proxy/engine", "proxy/base", "proxy/resource", "proxy/group", "proxy/client", "proxy/probe")  # from the ground up

CONTRACT = ("core/base", "core/loop", "core/model", "core/wire", "adapters")  # what an adapter may know
KAFKA = (*CONTRACT, "adapters/log")
RABBITMQ = (*CONTRACT, "adapters/rabbitmq/link")
KAFKA_TOPIC = (*KAFKA, "adapters/kafka/client", "adapters/kafka/topic")  # what may know of open topics

# Folders, and files that stand apart from their folder. The longest that matches decides; it may always use itself and what
# lies inside it, and of a folder that is named what has no row of its own.
LAYERS = {
    "core/base": (),
    "core/net": ("core/base", "core/wire"),
    "core/loop": ("core/base", "core/net"),
    "core/http": ("core/base", "core/loop"),
    "core/redis": ("core/base", "core/loop"),
    "core/membership": ("core/base",),
    "core/model": ("core/base",),
    "core/wire": ("core/base",),
    "core/catalog": ("core/base", "core/model"),
    "core/control": DATA,
    "core/registry": ("core/base", "core/model", "core/loop", "core/catalog"),
    "quota": ("core/base", "core/model"),
    "adapters": ("core/base", "core/loop", "core/model", "core/wire"),
    "adapters/log": CONTRACT,
    "adapters/queue": CONTRACT,
    "adapters/store": (*CONTRACT, "adapters/log"),
    "adapters/discard": CONTRACT,
    "adapters/embedded": (*CONTRACT, "adapters/log", "adapters/store"),
    "adapters/kafka": (*CONTRACT, "adapters/log"),
    "adapters/kafka/client": KAFKA,
    "adapters/kafka/topic": (*KAFKA, "adapters/kafka/client"),
    "adapters/kafka/produce": KAFKA_TOPIC,
    "adapters/kafka/read": KAFKA_TOPIC,
    "adapters/kafka/offsets": KAFKA_TOPIC,
    "adapters/kafka/retry": (*KAFKA_TOPIC, "adapters/kafka/produce", "adapters/kafka/read", "adapters/kafka/offsets"),
    "adapters/kafka/group": (*KAFKA_TOPIC, "adapters/kafka/offsets", "adapters/kafka/retry"),
    "adapters/kafka/admin": (*KAFKA_TOPIC, "adapters/kafka/produce", "adapters/kafka/read"),
    "adapters/rabbitmq": (*CONTRACT, "adapters/queue"),
    "adapters/rabbitmq/link": CONTRACT,
    "adapters/rabbitmq/message": RABBITMQ,
    "adapters/rabbitmq/ask": RABBITMQ,
    "adapters/rabbitmq/manage": RABBITMQ,
    "adapters/rabbitmq/send": (*RABBITMQ, "adapters/rabbitmq/message", "adapters/rabbitmq/ask"),
    "adapters/rabbitmq/history": (*RABBITMQ, "adapters/rabbitmq/message", "adapters/rabbitmq/ask", "adapters/rabbitmq/send"),
    "adapters/rabbitmq/receive": (*RABBITMQ, "adapters/queue", "adapters/rabbitmq/message", "adapters/rabbitmq/ask", "adapters/rabbitmq/send"),
    "adapters/rabbitmq/admin": (*RABBITMQ, "adapters/queue", "adapters/rabbitmq/ask", "adapters/rabbitmq/manage", "adapters/rabbitmq/send", "adapters/rabbitmq/receive", "adapters/rabbitmq/history"),
    "adapters/kinds.c": ("core/base", "adapters", "adapters/discard", "adapters/embedded", "adapters/kafka", "adapters/rabbitmq"),
    "proxy": (*DATA, "quota", "adapters", *PROXY, "proxy/client/native", "proxy/query"),
    "proxy/engine": ("core/base", "core/model", "core/wire", "adapters"),
    "proxy/base": DATA,
    "proxy/resource": (*DATA, "quota", "adapters", "proxy/base"),
    "proxy/group": (*DATA, "quota", "adapters", *PROXY[:3]),
    "proxy/client": (*DATA, "quota", "adapters", *PROXY[:4]),
    "proxy/client/native": (*DATA, "quota", "adapters", *PROXY[:5]),
    "proxy/probe": (*DATA, "adapters", *PROXY[:3]),
    "proxy/query": (*DATA, "quota", "adapters", *PROXY),
    "portal-api": (*CORE, "core/http", "quota", "adapters"),
    "sdk": ("core/base", "core/net", "core/wire"),
    "sdk/c/examples": ("sdk/c/include",),
    "ctl": (*CORE, "sdk/c/include"),
    "server": (*CORE, "quota", "adapters", "adapters/embedded", "adapters/kinds.c", "proxy", "proxy/base", "proxy/client", "portal-api"),
    "tests": ("",),
}

# Folders that may not use what lies inside them.
BELOW = ("proxy/client",)

# Header prefix: the folders that may include it. Only one adapter speaks to its own backend.
LIBRARIES = {
    "event2/": ("core/loop",),
    "hiredis/": ("core/redis",),
    "lmdb.h": ("adapters/store",),
    "sqlite3.h": ("core/registry",),
    "librdkafka/": ("adapters/kafka",),
    "amqp": ("adapters/rabbitmq",),
    "rabbitmq-c/": ("adapters/rabbitmq",),
    "MQTT": ("adapters/mqtt",),
    "curl/": ("ctl", "adapters/rabbitmq"),
    "argon2.h": ("core/registry", "portal-api"),
    "lz4": ("core/wire",),
    "zstd": ("core/wire",),
    "jansson.h": ("core/model", "core/catalog", "core/control", "core/registry", "quota", "adapters", "proxy", "portal-api", "ctl", "server"),
}

CIRCLE = 6  # files that may use each other in a circle

# Symbol, its beginning with *, or header: why it need not follow the names of files. At most ten.
ALLOWED = {
    "mqp_*": "the public interface: one header for applications, whatever file does the work",
    "dispatch_*": "one state machine in three files (handing out, settling, losing): its callers see one header",
    "portal-api/handlers.h": "the column of one table, routes.c, that only it and the handlers include",
    "server/metrics_tables.h": "the rows of one table, metrics.c, that only it and the tables include",
}

# What the SDK's shared object may need: the C library, TLS, compression. Neither libevent nor any broker's library.
SDK_NEEDS = re.compile(r"lib(c|m|pthread|crypto|ssl|lz4|zstd)\.so\.|ld-linux|libgcc_s|libasan|libubsan|libtsan")
SDK_EXPORTS = re.compile(r"mqp_\w+$")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)


def within(path, folders):
    return any(folder == "" or path == folder or path.startswith(folder + "/") for folder in folders)


def layer_of(path):
    return max((layer for layer in LAYERS if within(path, (layer,))), key=len, default=None)


def allowed(path, target):
    """May the file use this other file of the tree?"""
    own, other = layer_of(path), layer_of(target)
    if own == other or (own not in BELOW and within(target, (own,))):
        return True
    return any(folder == "" or (within(target, (folder,)) and within(folder, (other,))) for folder in LAYERS[own])


def include_fault(path, quote, name):
    """What is wrong with this include, or None."""
    if name.startswith("mqpaas/"):
        target = "sdk/c/include/" + name
    elif quote == '"':
        target = name
        if not os.path.exists(os.path.join(ROOT, target)):
            return f'"{name}" is not a path from the root of the tree'
    else:
        for prefix, owners in LIBRARIES.items():
            if name.startswith(prefix) and not within(path, owners + ("tests",)):
                return f"<{name}> belongs to {', '.join(owners)}"
        return None
    if layer_of(path) is None:
        return "this folder has no row in tests/tools/check_layers.py"
    if not allowed(path, target):
        return f'{layer_of(path)} may not include "{name}"'
    return None


def check_includes():
    for path in sources(".c", ".h", ".cc"):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            text = file.read()
        faults = []
        for match in INCLUDE.finditer(text):
            fault = include_fault(path, *match.groups())
            if fault:
                line = text.count("\n", 0, match.start()) + 1
                faults.append(f"{path}:{line}: {fault}")
        yield faults


def comments_out(text):
    return re.sub(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\])*")', lambda match: match.group(1) or " ", text, flags=re.S)


def declared(text, known):
    """Which of the known symbols a header declares: names outside of all braces, or alone in those of a macro."""
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", "", comments_out(text), flags=re.M)
    text = text.replace('extern "C" {', "")
    listed = re.findall(r"^[A-Z_]+\((\w+)\)", text, re.M)
    for inner, instead in ((r"\{[^{}]*\}", ";"), (r"\([^()]*\)", "@")):
        while (shorter := re.sub(inner, instead, text)) != text:
            text = shorter
    return {name for name in re.findall(r"\b(\w+)\s*[@\[;,]", text) + listed if name in known}


def fits(symbol, name):
    return symbol == name or (name.endswith("*") and symbol.startswith(name[:-1]))


def is_allowed(symbol):
    return any(fits(symbol, name) for name in ALLOWED)


def carries(symbol, path):
    """Does the symbol say its file: the stem, in one or many, perhaps with a word of its folders before it?"""
    *folders, name = path.split("/")
    stem = os.path.splitext(name)[0].replace("-", "_")
    stems = {stem, stem + "s", stem + "es", re.sub(r"e?s$", "", stem), re.sub(r"s$", "", stem)}
    words = {word for folder in folders for word in (folder, folder.split("-")[0], re.sub(r"s$", "", folder))}
    starts = stems | {word + "_" + start for word in words for start in stems}
    return any(symbol == start or symbol.startswith(start + "_") for start in starts)


def room_of(path):
    """What stands for a file where folders are looked at: its folder, or itself where it has a row of its own."""
    return path if path in LAYERS else os.path.dirname(path)


def unit_of(path):
    return os.path.splitext(path)[0]


def circle_text(circle, uses):
    """The members, and one use for each arrow that leaves a member within the circle."""
    arrows = [f"    {one} uses {uses[one, other]} of {other}" for one in circle for other in circle if (one, other) in uses]
    return f"{len(circle)} use each other in a circle: {', '.join(circle)}\n" + "\n".join(arrows)


def layer_faults(linked):
    for path, symbol, owner in linked.arrows():
        if not allowed(path, owner) and not is_allowed(symbol):
            yield path, f"{path}: {layer_of(path)} may not use {symbol}() of {owner}"


def circle_faults(arrows, most):
    """arrows: (one, symbol, other) between what may not be in a circle of more than `most`."""
    uses, graph = {}, collections.defaultdict(set)
    for one, symbol, other in arrows:
        if one != other:
            uses.setdefault((one, other), symbol)
            graph[one].add(other)
    for circle in objects.circles(graph):
        if len(circle) > most:
            yield circle[0], circle_text(circle, uses)


def folder_faults(linked, includes):
    rooms = [(room_of(path), symbol, room_of(owner)) for path, symbol, owner in linked.arrows()]
    rooms += [(room_of(path), target, room_of(target)) for path, target in includes if not path.startswith("tests/")]
    return circle_faults(rooms, 1)


def header_faults(linked, headers):
    """headers: {path: text}."""
    for path, text in headers.items():
        units = collections.defaultdict(set)
        for name in declared(text, linked.owners):
            if not is_allowed(name):
                units[unit_of(linked.owner(name, path))].add(name)
        own = unit_of(path)
        if is_allowed(path):
            continue
        for unit in sorted(units):
            if os.path.basename(unit) != os.path.basename(own):
                yield path, f"{path} declares {', '.join(sorted(units[unit]))}, which {unit}.c defines"


def symbol_faults(linked):
    for symbol, owners in sorted(linked.owners.items()):
        for path in owners:
            if not carries(symbol, path) and not is_allowed(symbol):
                yield path, f"{path} exports {symbol}, which does not begin with its stem"


def check_linked(build):
    linked = objects.read(build)
    headers, includes = {}, []
    for path in sources(".c", ".h"):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            text = file.read()
        includes += [(path, name) for quote, name in INCLUDE.findall(text) if quote == '"']
        if path.endswith(".h") and not path.startswith("tests/"):
            headers[path] = text
    found = {
        "layers": layer_faults(linked),
        "folders": folder_faults(linked, includes),
        "circles": circle_faults(linked.arrows(), CIRCLE),
        "headers": header_faults(linked, headers),
        "symbols": symbol_faults(linked),
    }
    for rule, faults in found.items():
        yield [f"{rule}: {fault}" for _, fault in faults]
    names = [name for name in ALLOWED if name not in headers and not any(fits(symbol, name) for symbol in linked.owners)]
    yield [f"ALLOWED: nothing is called {name}" for name in names] + (["ALLOWED: more than ten"] if len(ALLOWED) > 10 else [])


def check_sdk(build):
    library = os.path.join(build, "sdk/c/libmqpaas.so")
    dynamic = subprocess.run(["readelf", "-dW", library], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
    yield [f"libmqpaas.so needs {name}" for name in needed if not SDK_NEEDS.match(name)]
    symbols = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    exported = [line.split()[-1].split("@")[0] for line in symbols.splitlines()]
    yield [f"libmqpaas.so exports {name}" for name in exported if not SDK_EXPORTS.match(name)]


def main():
    results = list(check_includes())
    if sys.argv[1:2] == ["--build"]:
        results += check_linked(sys.argv[2])
        results += check_sdk(sys.argv[2])
    for faults in results:
        for fault in faults:
            print(fault)
    failed = sum(1 for faults in results if faults)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
