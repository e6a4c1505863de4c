#!/usr/bin/python3
"""Fails on an include, or a linked library, that breaks the layers of docs/architecture.md.

LAYERS says what each folder may include besides itself; LIBRARIES says who may include the headers of a library that has
an owner. With --build DIR it also reads the SDK's shared object: what it needs and what it exports.
"""
import os
import re
import subprocess
import sys

from tree import ROOT, sources

DATA = ("core/base", "core/net", "core/loop", "core/model", "core/wire", "core/catalog")  # what a proxy may know
CORE = DATA + ("core/registry",)
PROXY = ("proxy/engine", "proxy/base", "proxy/resource", "proxy/group", "proxy/client", "proxy/probe")  # from the ground up

# The longest matching folder decides. A folder may always include itself and what lies inside it.
LAYERS = {
    "core/base": (),
    "core/net": ("core/base", "core/wire"),
    "core/loop": ("core/base", "core/net"),
    "core/model": ("core/base",),
    "core/wire": ("core/base",),
    "core/catalog": ("core/base", "core/model"),
    "core/registry": ("core/base", "core/model", "core/loop", "core/catalog"),
    "quota": ("core/base", "core/model"),
    "adapters": ("core/base", "core/loop", "core/model", "core/wire"),
    "proxy": DATA + ("quota", "adapters"),
    "proxy/engine": ("core/base", "core/model", "adapters"),
    "proxy/base": DATA,
    "proxy/resource": DATA + ("quota", "adapters", "proxy/base"),
    "proxy/group": DATA + ("quota", "adapters") + PROXY[:3],
    "proxy/client": DATA + ("quota", "adapters") + PROXY[:4],
    "proxy/probe": DATA + ("adapters",) + PROXY[:3],
    "proxy/query": DATA + ("quota", "adapters") + PROXY,
    "portal-api": CORE + ("quota", "adapters"),
    "sdk": ("core/base", "core/net", "core/wire"),
    "sdk/c/examples": ("sdk/c/include",),
    "ctl": CORE + ("sdk/c/include",),
    "server": CORE + ("quota", "adapters", "proxy", "portal-api"),
    "tests": ("",),
}

# One adapter knows nothing of another. Besides itself and the shared files of adapters/, each folder there may include:
PARTS = {
    "discard": (),
    "embedded": ("store", "log"),
    "kafka": ("log",),
    "log": (),
    "store": ("log",),
}

# Header prefix: the folders that may include it. Only one adapter speaks to its own backend.
LIBRARIES = {
    "event2/": ("core/loop", "portal-api"),
    "lmdb.h": ("adapters/store",),
    "sqlite3.h": ("core/registry",),
    "librdkafka/": ("adapters/kafka",),
    "amqp": ("adapters/rabbitmq",),
    "rabbitmq-c/": ("adapters/rabbitmq",),
    "MQTT": ("adapters/mqtt",),
    "curl/": ("ctl",),
    "argon2.h": ("core/registry", "portal-api"),
    "lz4": ("core/wire",),
    "zstd": ("core/wire",),
    "jansson.h": ("core/model", "core/catalog", "core/registry", "quota", "adapters", "proxy", "portal-api", "ctl", "server"),
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
    """May the file include this other file of the tree?"""
    own, other = layer_of(path), layer_of(target)
    if own == other or within(target, (own,)):
        if own == "adapters" and target.count("/") > 1 and path.count("/") > 1:
            part, other_part = path.split("/")[1], target.split("/")[1]
            return part == other_part or other_part in PARTS[part]
        return True
    return within(target, LAYERS[own])


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
        return f'{layer_of(path)}/ may not include "{name}"'
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
        results += check_sdk(sys.argv[2])
    for faults in results:
        for fault in faults:
            print(fault)
    failed = sum(1 for faults in results if faults)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
