#!/usr/bin/python3
"""Every header compiles alone, and the public one as strict C99 and as C++ too."""
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tree import ROOT, sources

PUBLIC = "sdk/c/include/"
LIBRARIES = ("libevent_core", "jansson", "libssl", "lmdb", "sqlite3", "libcurl", "libutf8proc", "libzstd")
PLAIN = ("gcc", "-xc", "-std=gnu11", "-D_GNU_SOURCE", "-Wno-unused-function")
STRICT = (
    ("gcc", "-xc", "-std=c99", "-pedantic-errors"),
    ("g++", "-xc++", "-std=c++11", "-pedantic-errors"),
)


def library_flags():
    return subprocess.run(["pkg-config", "--cflags", *LIBRARIES], capture_output=True, text=True, check=True).stdout.split()


def compile_alone(compiler, path, flags):
    command = [*compiler, "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-I" + ROOT, "-I" + os.path.join(ROOT, PUBLIC), *flags, "-"]
    run = subprocess.run(command, input=f'#include "{path}"\n', capture_output=True, text=True, check=False)
    return "" if run.returncode == 0 else f"{path} does not compile alone with {' '.join(compiler)}:\n{run.stderr}"


def main():
    flags = library_flags()
    jobs = []
    for path in sources(".h"):
        compilers = STRICT if path.startswith(PUBLIC) else ()
        jobs += [(compiler, path, flags) for compiler in (PLAIN, *compilers)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = [fault for fault in pool.map(lambda job: compile_alone(*job), jobs) if fault]
    print("".join(faults), end="")
    print(f"{len(jobs) - len(faults)} passed, {len(faults)} failed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
