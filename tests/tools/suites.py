#!/usr/bin/python3
"""The suites of tests/run: one row each in SUITES, one function each.

Quiet when fine: a line per suite. A suite that fails shows its failing output. The last line is "N passed, N failed" over
all suites. Whatever a suite leaves running is found (this process adopts orphans), ended by its process id and counted as
a failure.
"""
import argparse
import ast
import concurrent.futures
import contextlib
import ctypes
import dataclasses
import fcntl
import functools
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

import report
from tree import ROOT, sources

JOBS = str(os.cpu_count() or 1)
PR_SET_CHILD_SUBREAPER = 36
TAIL_LINES = 40
HANGS_S = 5400  # a suite without a result then hangs: a slow machine that others use too may take long
ENDING_S = 15  # that a slow machine may need to end a process that ends by itself
COUNT_LINE = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:abort_on_error=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1:die_after_fork=0",  # a child of kill -9 begins threads of its own
}

# Build folder: compiler and meson options. build/ is the release that deploy/quickstart uses too; the sanitizer builds are
# also the second compiler's look at every line.
BUILDS = {
    "build": ("gcc", ["-Dbuildtype=release", "-Dwerror=true"]),
    "build-asan": ("clang-19", ["-Dbuildtype=debugoptimized", "-Dwerror=true", "-Db_sanitize=address,undefined", "-Db_lundef=false"]),
    "build-fuzz": ("clang-19", ["-Dbuildtype=debugoptimized", "-Dfuzz=true", "-Db_sanitize=address,undefined", "-Db_lundef=false"]),
    "build-tsan": ("clang-19", ["-Dbuildtype=debugoptimized", "-Dwerror=true", "-Db_sanitize=thread", "-Db_lundef=false"]),
}


@dataclasses.dataclass
class Result:
    passed: int = 0
    failed: int = 0
    output: str = ""

    def __add__(self, other):
        return Result(self.passed + other.passed, self.failed + other.failed, self.output + other.output)


class SuiteError(Exception):
    """The suite could not run at all; the text says why."""


# ---- Processes ----


def descendants():
    """Process ids of everything below this process, children of children too."""
    parents = {}
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(stat, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        pid, after = int(text.split(" ", 1)[0]), text.rsplit(")", 1)[1].split()
        if after[0] != "Z":
            parents[pid] = int(after[1])
    found, look = [], [os.getpid()]
    while look:
        parent = look.pop()
        children = [pid for pid, of in parents.items() if of == parent]
        found += children
        look += children
    return found


def adopt_orphans():
    """From here on, whose parent dies becomes this process's child instead of init's."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


stopping = threading.Event()


def end_when_told():
    """Ctrl-C and SIGTERM end what runs below, start nothing more, and end this process by SystemExit."""

    def end(number, _):
        stopping.set()
        for pid in descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        sys.exit(128 + number)

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)


kept = []  # folders of brokers that more than one suite uses


def is_kept(pid):
    """Whether a process belongs to one of these: they get its folder as their home."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            given = file.read().split(b"\0")
    except OSError:
        return False
    return any(b"HOME=" + os.fsencode(folder) in given for folder in kept)


def leftovers():
    return [pid for pid in descendants() if not is_kept(pid)]


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def end_leftovers():
    """Ends what still runs below this process and is not kept; returns one line for each. What is just ending by itself is waited for."""
    deadline = time.monotonic() + ENDING_S
    while leftovers() and time.monotonic() < deadline:
        time.sleep(0.02)
    lines = {}
    while pids := leftovers():
        for pid in pids:
            lines.setdefault(pid, f"left running: {pid} {command_of(pid)}\n")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return list(lines.values())


def run(command, timeout=HANGS_S, env=None):
    """Runs a command from the root of the tree; returns (exit status, everything it printed)."""
    with tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as output:
        if stopping.is_set():
            raise SuiteError("interrupted\n")
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
        try:
            status = process.wait(timeout)
            note = ""
        except SystemExit:
            # Not process.wait(): the signal may have come while it held its lock, which is then never given back.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, 0)
            raise
        except subprocess.TimeoutExpired:
            for pid in descendants():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            status, note = process.wait(), f"\nended: no result after {timeout} s\n"
        output.seek(0)
        return status, output.read() + note


def must(command, what, **options):
    status, output = run(command, **options)
    if status:
        raise SuiteError(f"{what}:\n{output}")
    return output


def counted(command, **options):
    """A command that ends with "N passed, N failed"; without that line it is one case."""
    status, output = run(command, **options)
    counts = COUNT_LINE.findall(output)
    passed, failed = map(int, counts[-1]) if counts else (int(status == 0), 0)
    if status and not failed:
        failed = 1
    return Result(passed, failed, output if failed else "")


def beside(*calls):
    """The results of calls that mostly wait, made side by side and added up. What they build is built before."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return sum(pool.map(lambda call: call(), calls), Result())


# ---- Builds ----


@functools.cache
def build_outcome(name, target):
    """Configures one of BUILDS and compiles a target of it, once a run; returns (path, what went wrong)."""
    compiler, options = BUILDS[name]
    path = os.path.join(ROOT, name)
    stamp = os.path.join(path, "tests-options.json")
    wanted = json.dumps([compiler, options])
    status, output = 0, ""
    if not os.path.exists(os.path.join(path, "build.ninja")):
        status, output = run(["meson", "setup", path, ROOT, *options], env={"CC": f"ccache {compiler}"})
    elif not os.path.exists(stamp) or open(stamp, encoding="utf-8").read() != wanted:
        status, output = run(["meson", "configure", path, *options])
    if status:
        return path, f"{name} could not be configured:\n{output}"
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(wanted)
    status, output = run(["ninja", "-C", path, "-j", JOBS, target])
    # What compiled, and how meson looked at the machine again, is of no interest.
    return path, f"{name} does not build with {compiler}:\n{output[max(output.find('FAILED:'), 0):]}" if status else ""


def build(name, target="all"):
    """A build that is up to date; returns its path."""
    path, fault = build_outcome(name, target)
    if fault:
        raise SuiteError(fault)
    return path


@functools.cache
def venv():
    """The virtual environment with the pinned Python tools; returns its bin folder."""
    path = os.path.join(ROOT, "build", "venv")
    requirements = os.path.join(ROOT, "tests", "requirements.txt")
    with open(requirements, "rb") as file:
        wanted = hashlib.sha256(file.read() + sys.version.encode()).hexdigest()
    stamp = os.path.join(path, "stamp")
    if not os.path.exists(stamp) or open(stamp, encoding="utf-8").read() != wanted:
        shutil.rmtree(path, ignore_errors=True)
        must(["/usr/bin/python3", "-m", "venv", path], "no virtual environment for Python")
        must([path + "/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", requirements], "pip could not install tests/requirements.txt")
        with open(stamp, "w", encoding="utf-8") as file:
            file.write(wanted)
    return path + "/bin"


# ---- Suites ----


def suite_tools(_):
    """the tools below find the faults they look for"""
    return counted(["tests/tools/test_tools.py"])


def parsed(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        text = file.read()
    try:
        ast.parse(text, path)
    except SyntaxError as error:
        return Result(0, 1, f"{path}:{error.lineno}: {error.msg}")
    return Result(1)


def suite_format(_):
    """every C file is as clang-format 19 writes it, every Python file can be read; no line of prose is too long, no word of it names no party"""
    files = sources(".c", ".h", ".cc")
    status, output = run(["clang-format-19", "--dry-run", "--Werror", *files])
    wrong = set(re.findall(r"^([^:\n]+):\d+:\d+: error:", output, re.M))
    if status and not wrong:
        raise SuiteError(output)
    result = Result(len(files) - len(wrong), len(wrong), output) + sum(map(parsed, sources(".py")), Result())
    return result + counted(["tests/tools/check_prose.py"]) + counted(["tests/tools/check_words.py"])


def suite_tidy(_):
    """clang-tidy finds nothing (only with --long or by name)"""
    path = build("build-asan")
    with open(os.path.join(path, "compile_commands.json"), encoding="utf-8") as file:
        known = {os.path.relpath(os.path.join(path, row["file"]), ROOT) for row in json.load(file)}

    def tidy(source):
        status, output = run(["clang-tidy-19", "--quiet", "-p", path, source])
        return Result(0, 1, output) if status else Result(1)

    with concurrent.futures.ThreadPoolExecutor(int(JOBS)) as pool:
        return sum(pool.map(tidy, sorted(known)), Result())


def suite_build(_):
    """gcc and clang compile everything without a warning"""
    result = Result()
    for name in ("build", "build-asan"):
        _, fault = build_outcome(name, "all")
        result += Result(0, 1, fault) if fault else Result(1)
    return result


def suite_layers(_):
    """no include, no symbol and no linked library breaks the layers; names say their files"""
    return counted(["tests/tools/check_layers.py", "--build", build("build")])


def suite_headers(_):
    """every header compiles alone; the public one as C99 and C++ too"""
    return counted(["tests/tools/check_headers.py"])


def suite_header_docs(_):
    """every function of the public header says parameters, results, ownership, threads, version"""
    return counted(["tests/tools/check_public_header.py"])


def suite_install(_):
    """applications in C and C++ build and run against what meson installs, shared and static, found by pkg-config"""
    return counted(["tests/sdk/link_check", build("build")])


def long_env(long):
    """What tells tests to do everything as often as asked for."""
    return {"MQPAAS_LONG": "1"} if long else {}


def meson_tests(name, *selection, long=False):
    """Runs meson's tests of a build and counts the cases inside each executable."""
    path = build(name)
    log = os.path.join(path, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    status, output = run(["meson", "test", "-C", path, "--no-rebuild", "--timeout-multiplier", "40" if long else "20", "--num-processes", JOBS, *selection], env={**SANITIZER_ENV, **long_env(long)})
    if not os.path.exists(log):
        raise SuiteError(output)
    result = Result()
    with open(log, encoding="utf-8") as file:
        for row in map(json.loads, file):
            text = row["stdout"] + row.get("stderr", "")
            counts = COUNT_LINE.findall(row["stdout"])
            passed, failed = map(int, counts[-1]) if counts else (int(row["result"] == "OK"), 0)
            if row["result"] != "OK" and not failed:
                failed = 1
            result += Result(passed, failed, f"{row['name']}: {row['result']}\n{text}\n" if failed else "")
    if status and not result.failed:
        result += Result(0, 1, output)
    return result


def suite_unit(options):
    """every module alone, under the address and undefined-behaviour sanitizers"""
    result = meson_tests("build-asan", "--no-suite", "contract", long=options.long)
    return result + meson_tests("build", "--no-suite", "contract", long=True) if options.long else result


def kafka_contract(path, version, nodes):
    """The contract against a real Kafka of that version, brought up for it: one copy is class D1, more are D2."""
    kafka = "deploy/brokers/kafka"
    with tempfile.TemporaryDirectory(prefix="mqp-kafka-") as folder:
        where = ["--dir", folder]
        # Retention is seen at work within seconds.
        options = ["--version", version, "--nodes", str(nodes), "--heap", "320", "--quick-start", "--set", "log.retention.check.interval.ms=500"]
        told = must([kafka, "up", *where, *options], f"Kafka {version} does not start")
        try:
            bootstrap = re.search(r"^bootstrap (\S+)", told, re.M).group(1)
            command = [path + "/tests/contract/contract", "kafka", "d1" if nodes == 1 else "d2"]
            return counted(command, env={**SANITIZER_ENV, "CONTRACT_KAFKA": bootstrap})
        finally:
            run([kafka, "down", *where])


RABBITMQ = "deploy/brokers/rabbitmq"
OTHER_DEBIAN = ("--debian", "bookworm" if platform.freedesktop_os_release().get("VERSION_CODENAME") == "trixie" else "trixie")
brokers = {}  # their folders by options of that script


def rabbitmq(*options):
    """A RabbitMQ with these options, which suites share: started when it is first asked for, or died; ended with the run. Returns its folder and what it says of itself."""
    if options not in brokers:
        brokers[options] = tempfile.mkdtemp(prefix="mqp-rabbitmq-")
        kept.append(brokers[options])
    told = must([RABBITMQ, "up", "--dir", brokers[options], *options], "RabbitMQ does not start")
    return brokers[options], dict(line.split(" ", 1) for line in told.splitlines() if " " in line)


def brokers_end():
    """Where this run is being interrupted they end as everything else does."""
    for folder in brokers.values():
        with contextlib.suppress(SuiteError):
            run([RABBITMQ, "down", "--dir", folder])
    kept.clear()


def kafka_contracts(path, options):
    kafkas = (("3.9.1", 1), ("4.1.0", 1), ("3.9.1", 3)) if options.long else (("3.9.1", 1),)
    return sum((kafka_contract(path, version, nodes) for version, nodes in kafkas), Result())


def rabbitmq_contract(path, queue, history, *options):
    """The contract against a real RabbitMQ with groups of that kind of queue: quorum queues are class D2, classic ones D1; history: with a stream beside each topic."""
    folder, told = rabbitmq(*options)
    control = [RABBITMQ, "--dir", folder, "tool", "rabbitmqctl"]
    host = f"contract-{queue}{'-history' if history else ''}-{os.path.basename(path)}"
    run([*control, "delete_vhost", host])
    must([*control, "add_vhost", host], "no virtual host")
    must([*control, "set_permissions", "-p", host, "guest", ".*", ".*", ".*"], "no permissions")
    cluster = {"addresses": told["amqp"], "management": told["management"], "vhost": host, "queue": queue, "history": history}
    command = [path + "/tests/contract/contract", "rabbitmq", "d2" if queue == "quorum" else "d1"]
    return counted(command, env={**SANITIZER_ENV, "CONTRACT_RABBITMQ": json.dumps(cluster)})


def rabbitmq_contracts(path, options):
    rabbitmqs = ((), OTHER_DEBIAN, ("--nodes", "3")) if options.long else ((),)
    kinds = (("quorum", False), ("classic", True), *((("quorum", True), ("classic", False)) if options.long else ()))
    return sum((rabbitmq_contract(path, *kind, *one) for one in rabbitmqs for kind in kinds), Result())


def suite_contract(options):
    """the same cases against every kind of backend, under the sanitizers: embedded, discard, the in-memory queue, a real Kafka 3.9, a real RabbitMQ (--long: also three nodes of each, Kafka 4.1, the other Debian's RabbitMQ)"""
    path = build("build-asan")
    return beside(lambda: meson_tests("build-asan", "--suite", "contract"), lambda: kafka_contracts(path, options), lambda: rabbitmq_contracts(path, options))


def suite_sim(options):
    """random schedules of the engines in virtual time: 10,000 each (--long: 100,000); planted bugs are found"""
    path = build("build-asan")
    engines = must([path + "/tests/sim/sim", "--list"], "the simulation does not start").split()

    def simulate(engine):
        return counted([path + "/tests/sim/sim", engine, "--schedules", "100000" if options.long else "10000"], timeout=3600, env=SANITIZER_ENV)

    with concurrent.futures.ThreadPoolExecutor(int(JOBS)) as pool:
        result = sum(pool.map(simulate, engines), Result())
    return result + counted(["tests/sim/planted.py", path, *([] if options.long else ["--bugs", "few"])], timeout=3600, env=SANITIZER_ENV)


def suite_asserts(options):
    """a bug at a boundary is stopped by the assertion that stands there: one of each kind (--long: every pair of the list)"""
    return counted(["tests/asserts/planted.py", build("build"), *([] if options.long else ["--pairs", "few"])], timeout=3600)


def suite_crash(options):
    """1,000 power cuts of the embedded store (--long: 20,000 of a longer run); a store that does not flush is found out; 50 flipped bits (--long: 1,000 a file, at rest and while it runs)"""
    plain, sanitized = (build(name) + "/tests/crash/" for name in ("build", "build-asan"))
    cuts = ["--cuts", "5000", "--rounds", "200"] if options.long else ["--cuts", "500"]
    commands = [[plain + "crash", *cuts, "--seed", str(seed)] for seed in range(1, 5 if options.long else 3)]
    commands += [[sanitized + "crash", "--seed", "7", "--cuts", "1000" if options.long else "40"]]
    commands += [[plain + "crash", "--bulk"]]
    commands += [[plain + name, "--planted", "--cuts", "40"] for name in ("crash_without_fsync", "crash_without_meta_sync")]
    flips = [["--flips", "1000", "--only", file, "--when", when] for file in ("d1", "d2") for when in ("rest", "running")]
    flips = [*flips, ["--flips", "1000", "--only", "mark"]] if options.long else [["--flips", "50"]]
    flips += [["--flips", "20", "--ballast", "1100", "--only", "d2"]] if options.long else []  # a file above 1 GiB
    commands += [[plain + "flips", *arguments] for arguments in flips]
    with concurrent.futures.ThreadPoolExecutor(int(JOBS)) as pool:
        return sum(pool.map(lambda command: counted(command, timeout=3600, env=SANITIZER_ENV), commands), Result())


# End to end in three lanes, side by side but where it also says how fast things are: what needs a Kafka, what needs a RabbitMQ, and the rest.
# The histories of Kafka come last, those of the rest early: where they met, both would want both processors.
KAFKA_FILES, RABBITMQ_FILES = (os.path.join(ROOT, "tests", "e2e", f"test_*{kind}*.py") for kind in ("kafka", "rabbitmq"))
E2E_LANES = {
    "kafka": sorted(glob.glob(KAFKA_FILES), reverse=True),
    "rabbitmq": sorted(glob.glob(RABBITMQ_FILES), reverse=True),
    "rest": ["tests/e2e", "--ignore-glob=" + KAFKA_FILES, "--ignore-glob=" + RABBITMQ_FILES],
}


def pytest(selection, build_name, timeout, long=False, lane="all", env=None):
    """Runs pytest against the binaries of a build and counts its cases; `long`: every fault as often as asked for, not twice."""
    report = os.path.join(ROOT, "build", f"pytest-{lane}.xml")
    env = {**SANITIZER_ENV, "MQPAAS_BUILD": build(build_name), "PYTHONDONTWRITEBYTECODE": "1", **long_env(long), **(env or {})}
    status, output = run([venv() + "/pytest", "-q", "-p", "no:cacheprovider", "--timeout=600", f"--junitxml={report}", *selection], timeout=timeout, env=env)
    if status not in (0, 1):
        raise SuiteError(output)
    row = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    count = {key: int(row.get(key)) for key in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    return Result(count["tests"] - failed - count["skipped"], failed, output if failed else "")


def pytest_lanes(build_name, timeout):
    build(build_name)
    venv()
    env = {"MQPAAS_RABBITMQ": rabbitmq()[0]}  # tests that need no options of their own use this one
    return beside(*(functools.partial(pytest, selection, build_name, timeout, lane=name, env=env) for name, selection in E2E_LANES.items()))


def suite_e2e(options):
    """the real binaries over sockets, under the sanitizers: C SDK, Python client, REST (--long: each fault as often as asked for; once more without sanitizers, and on the other Debian's RabbitMQ)"""
    if options.long:
        other = {"MQPAAS_RABBITMQ_OPTIONS": " ".join(OTHER_DEBIAN)}
        result = pytest(["tests/e2e"], "build-asan", 10800, True) + pytest(["tests/e2e"], "build", HANGS_S)
        return result + pytest(E2E_LANES["rabbitmq"], "build", 10800, True, env=other)
    return pytest_lanes("build-asan", HANGS_S)


def suite_threads(options):
    """what has threads, under the thread sanitizer: SDK, contract (also on a real Kafka), the daemon with the SDK (--long: all of unit, contract, end to end)"""
    selection = () if options.long else ("--suite", "sdk", "--suite", "contract")
    path = build("build-tsan")
    result = beside(lambda: meson_tests("build-tsan", *selection), lambda: kafka_contracts(path, options))
    return result + (pytest_lanes("build-tsan", 7200) if options.long else pytest(["tests/e2e/test_sdk.py"], "build-tsan", HANGS_S))


def suite_fuzz(options):
    """each fuzz target for 5 s (--long: 10 minutes)"""
    build("build-fuzz", "fuzz")
    return counted(["tests/fuzz/run", "--seconds", "600" if options.long else "5"], timeout=14400)


def suite_bench(_):
    """every figure can be measured (roughly: no clock fails it)"""
    build("build")
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        status, output = run(["tests/bench/run", "--quick", "--json", file.name])
        text = file.read()
    if not text:
        raise SuiteError(output)
    measured = [row["value"] is not None for row in json.loads(text)]
    return counted(["tests/bench/run", "--check-page"]) + Result(sum(measured), len(measured) - sum(measured) or int(status != 0 and all(measured)), output if status else "")


SUITES = {
    "tools": suite_tools,
    "format": suite_format,
    "build": suite_build,
    "layers": suite_layers,
    "headers": suite_headers,
    "header-docs": suite_header_docs,
    "tidy": suite_tidy,
    "install": suite_install,
    "unit": suite_unit,
    "sim": suite_sim,
    "asserts": suite_asserts,
    "contract": suite_contract,
    "crash": suite_crash,
    "e2e": suite_e2e,
    "threads": suite_threads,
    "fuzz": suite_fuzz,
    "bench": suite_bench,
}
LONG_ONLY = ("tidy",)


# ---- The whole ----


def show(name, output, shown):
    """Prints the end of what a failed suite said; the whole stays in build/tests-SUITE.log."""
    if output in shown:
        print("    the same as above", flush=True)
        return
    shown.add(output)
    lines = output.splitlines()
    if len(lines) > TAIL_LINES:
        log = os.path.join("build", f"tests-{name}.log")
        os.makedirs(os.path.join(ROOT, "build"), exist_ok=True)
        with open(os.path.join(ROOT, log), "w", encoding="utf-8") as file:
            file.write(output)
        lines = [f"… the last {TAIL_LINES} of {len(lines)} lines; all are in {log}", *lines[-TAIL_LINES:]]
    print("\n".join("    " + line for line in lines), flush=True)


def run_suite(name, options, shown):
    """Runs one suite and prints its line; returns its result, with leftovers counted in, and its row for a report."""
    started = time.monotonic()
    try:
        result = SUITES[name](options)
    except SuiteError as error:
        result = Result(0, 1, str(error))
    leftovers = end_leftovers()
    result += Result(0, len(leftovers), "".join(leftovers))
    if not result.passed and not result.failed:
        result = Result(0, 1, "no test was found\n")
    seconds = time.monotonic() - started
    print(f"{name:12}{result.passed:6} passed{result.failed:6} failed{seconds:8.1f} s", flush=True)
    if result.failed:
        show(name, result.output, shown)
    return result, report.row(name, result, seconds, options.long)


@contextlib.contextmanager
def alone():
    """One run at a time in a tree: they share its builds."""
    path = os.path.join(ROOT, "build", "tests.lock")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("tests/run: another run works in this tree")
        yield


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tests/run", description="Builds, checks and tests; ends with 'N passed, N failed'.")
    parser.add_argument("--only", action="append", choices=SUITES, metavar="SUITE", help="run this suite only (may be repeated)")
    parser.add_argument("--long", action="store_true", help="all sanitizers and full counts")
    parser.add_argument("--report", metavar="FILE", help="put the results into the table of this page, after each suite")
    parser.add_argument("--list", action="store_true", help="list the suites")
    return parser.parse_args()


def main():
    options = parse_arguments()
    if options.list:
        for name, function in SUITES.items():
            print(f"{name:12}{function.__doc__}")
        return 0
    adopt_orphans()
    end_when_told()
    report.commit()
    total, shown, rows = Result(), set(), {}
    if options.report:
        report.write(options.report, rows, SUITES)  # a page without a place for it is refused now
    with alone(), tempfile.TemporaryDirectory(prefix="mqpaas-tests-") as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        try:
            for name in options.only or [name for name in SUITES if options.long or name not in LONG_ONLY]:
                result, rows[name] = run_suite(name, options, shown)
                total += result
                if options.report:
                    report.write(options.report, rows, SUITES)
        finally:
            brokers_end()
            end_leftovers()
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
