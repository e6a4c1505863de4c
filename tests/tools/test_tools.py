#!/usr/bin/python3
"""The tools that judge the tree, judged: each fault they look for is planted and found, and what is right passes."""
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

import check_layers
import check_prose
import check_public_header
import check_words
import objects
import report
import suites
from tree import ROOT


class Layers(unittest.TestCase):
    def test_layer_is_the_longest_folder(self):
        self.assertEqual(check_layers.layer_of("sdk/c/examples/send.c"), "sdk/c/examples")
        self.assertEqual(check_layers.layer_of("sdk/c/src/client.c"), "sdk")
        self.assertIsNone(check_layers.layer_of("corey/base/x.c"))

    def test_allowed(self):
        for path, target in (
            ("core/loop/loop.c", "core/base/log.h"),
            ("quota/bucket.c", "core/model/model.h"),
            ("adapters/store/store.c", "adapters/adapter.h"),
            ("adapters/store/source_requests.c", "adapters/log/log.h"),
            ("adapters/embedded/embedded.c", "adapters/store/durable_log.h"),
            ("adapters/kafka/kafka.c", "adapters/kafka/group/groups.h"),
            ("adapters/kafka/retry/retry_write.c", "adapters/kafka/produce/produce.h"),
            ("proxy/client/conn.c", "core/wire/frame.h"),
            ("proxy/client/conn.c", "proxy/group/member.h"),
            ("proxy/client/native/stream.c", "proxy/client/batch.h"),
            ("proxy/proxy.c", "proxy/query/query.h"),
            ("ctl/perf.c", "sdk/c/include/mqpaas/mqpaas.h"),
            ("tests/unit/test_sdk.c", "sdk/c/src/send_queue.h"),
        ):
            self.assertTrue(check_layers.allowed(path, target), (path, target))

    def test_refused(self):
        for path, target in (
            ("core/base/log.c", "core/loop/loop.h"),
            ("core/wire/frame.c", "core/model/model.h"),
            ("quota/bucket.c", "proxy/client/conn.h"),
            ("adapters/store/store.c", "adapters/kafka/read/fetcher.h"),
            ("adapters/store/store.c", "adapters/embedded/embedded.h"),
            ("adapters/log/source.c", "adapters/store/range.h"),
            ("adapters/kafka/read/fetcher.c", "adapters/store/range.h"),
            ("adapters/kafka/read/fetcher.c", "proxy/group/group.h"),
            ("proxy/client/conn.c", "portal-api/route.h"),
            ("proxy/resource/topic.c", "proxy/client/conn.h"),
            ("proxy/client/conn.c", "proxy/client/native/native.h"),
            ("proxy/group/group.c", "proxy/proxy.h"),
            ("proxy/client/conn.c", "adapters/kafka/read/fetcher.h"),
            ("adapters/submit.c", "nowhere/x.h"),
            ("adapters/kafka/topic/topic.c", "adapters/kafka/produce/sender.h"),
            ("adapters/kafka/client/client.c", "adapters/kafka/topic/topic.h"),
            ("sdk/c/src/client.c", "core/loop/loop.h"),
            ("sdk/c/examples/send.c", "core/base/util.h"),
            ("ctl/main.c", "sdk/c/src/client.h"),
        ):
            self.assertFalse(check_layers.allowed(path, target), (path, target))

    def test_libraries_have_owners(self):
        self.assertIsNone(check_layers.include_fault("core/loop/loop.c", "<", "event2/event.h"))
        self.assertIn("belongs to", check_layers.include_fault("sdk/c/src/client.c", "<", "event2/event.h"))
        self.assertIn("belongs to", check_layers.include_fault("proxy/client/conn.c", "<", "lmdb.h"))
        self.assertIn("not a path", check_layers.include_fault("core/base/log.c", '"', "log.h"))

    def test_sdk_needs(self):
        self.assertTrue(check_layers.SDK_NEEDS.match("libcrypto.so.3"))
        for name in ("libevent_core-2.1.so.7", "librdkafka.so.1", "liblmdb.so.0", "libcurl.so.4"):
            self.assertFalse(check_layers.SDK_NEEDS.match(name), name)


class Linked(unittest.TestCase):
    """A fault for each rule that is read from the objects."""

    SOURCES = {"a.o": "core/base/map.c", "b.o": "core/loop/loop.c", "c.o": "core/loop/timer.c"}

    def linked(self, text):
        return objects.parse(text.splitlines(), self.SOURCES.get)

    def test_nm_is_read(self):
        linked = self.linked("a.o:0000000000000000 T map_put\na.o:0000000000000000 t hidden\na.o:                 U loop_run\ntest.o:0000000000000000 T map_put\nb.o:0000000000000000 B loop_run\nb.o:0000000000000000 T main\n")
        self.assertEqual(linked.owners, {"map_put": ["core/base/map.c"], "loop_run": ["core/loop/loop.c"]})
        self.assertEqual(list(linked.arrows()), [("core/base/map.c", "loop_run", "core/loop/loop.c")])

    def test_the_nearer_of_two_is_meant(self):
        linked = objects.Objects({"batch_new": ["proxy/client/batch.c", "sdk/c/src/batch.c"]}, {})
        self.assertEqual(linked.owner("batch_new", "sdk/c/src/send_queue.c"), "sdk/c/src/batch.c")
        self.assertIsNone(linked.owner("malloc", "sdk/c/src/send_queue.c"))

    def test_an_arrow_that_runs_up(self):
        down = self.linked("a.o:0000000000000000 T map_put\nb.o:                 U map_put\n")
        self.assertEqual(list(check_layers.layer_faults(down)), [])
        up = self.linked("a.o:                 U loop_run\nb.o:0000000000000000 T loop_run\n")
        self.assertEqual(list(check_layers.layer_faults(up)), [("core/base/map.c", "core/base/map.c: core/base may not use loop_run() of core/loop/loop.c")])

    def test_a_circle_of_files(self):
        ring = [(f"x/{at}.c", "f", f"x/{(at + 1) % 7}.c") for at in range(7)]
        self.assertEqual(list(check_layers.circle_faults(ring[:6], check_layers.CIRCLE)), [])
        (path, text), = check_layers.circle_faults([*ring, ("x/0.c", "g", "y/low.c"), ("y/low.c", "h", "y/low.c")], check_layers.CIRCLE)
        self.assertEqual((path, text.splitlines()[0]), ("x/0.c", "7 use each other in a circle: " + ", ".join(f"x/{at}.c" for at in range(7))))
        self.assertEqual(list(check_layers.circle_faults(ring, 7)), [])

    def test_a_circle_of_folders(self):
        linked = self.linked("a.o:0000000000000000 T map_put\nb.o:                 U map_put\n")
        self.assertEqual(list(check_layers.folder_faults(linked, [("core/loop/timer.c", "core/loop/loop.h"), ("tests/x.c", "core/loop/loop.h")])), [])
        (path, text), = check_layers.folder_faults(linked, [("core/base/map.h", "core/loop/loop.h")])
        self.assertIn("core/base, core/loop", text)
        # A file with a row of its own stands apart from its folder.
        self.assertEqual(check_layers.room_of("adapters/kinds.c"), "adapters/kinds.c")

    def test_a_header_for_several_files(self):
        linked = self.linked("b.o:0000000000000000 T loop_run\nb.o:0000000000000000 D loop_table\nc.o:0000000000000000 T timer_set\na.o:0000000000000000 T map_put\n")
        own = """#define RUN(x) timer_set(x) + \\
	map_put(x)
// timer_set(): elsewhere
static inline int both(void)
{
	if (map_put()) { return 1; }
	return timer_set();
}
struct ops { int (*timer_set)(void); };
int loop_run(int timer_set, void (*map_put)(int map_put), int timer_set);
extern const int loop_table[];
"""
        self.assertEqual(list(check_layers.header_faults(linked, {"core/loop/loop.h": own})), [])
        (_, text), = check_layers.header_faults(linked, {"core/loop/loop.h": own + 'extern "C" {\nvoid timer_set(int);\n}\n'})
        self.assertEqual(text, "core/loop/loop.h declares timer_set, which core/loop/timer.c defines")
        self.assertEqual(len(list(check_layers.header_faults(linked, {"core/loop/other.h": own}))), 1)
        for text in ("extern struct x loop_table[], timer_set, map_put;\n", "HANDLER(timer_set);\nHANDLER(map_put);\n"):
            self.assertEqual(len(list(check_layers.header_faults(linked, {"core/loop/loop.h": text}))), 2)
            self.assertEqual(list(check_layers.header_faults(linked, {"portal-api/handlers.h": text})), [])

    def test_a_symbol_without_its_stem(self):
        for symbol, path in (
            ("loop_run", "core/loop/loop.c"),
            ("field_put", "core/wire/fields.c"),
            ("addresses_next", "sdk/c/src/address.c"),
            ("kafka_topic_query_begin", "adapters/kafka/topic/topic_query.c"),
            ("portal_users_list", "portal-api/users.c"),
            ("routes", "portal-api/routes.c"),
        ):
            self.assertTrue(check_layers.carries(symbol, path), (symbol, path))
        for symbol, path in (("loops_run", "core/loop/timer.c"), ("kafka_begin", "adapters/kafka/topic/topic_query.c"), ("looper", "core/loop/loop.c")):
            self.assertFalse(check_layers.carries(symbol, path), (symbol, path))
        self.assertEqual(len(list(check_layers.symbol_faults(self.linked("c.o:0000000000000000 T loop_run\nc.o:0000000000000000 T mqp_run\n")))), 1)


class Prose(unittest.TestCase):
    LONG = " ".join(["word"] * 40)

    def test_a_long_line_is_found(self):
        for before in ("", "- ", "1. ", "> "):
            lines = ["# Title", "", before + self.LONG, before + "short"]
            self.assertEqual(list(check_prose.too_long(lines)), [3], before)
        self.assertEqual(list(check_prose.too_long(["- item", "  " + self.LONG])), [2])

    def test_what_cannot_be_broken_passes(self):
        for lines in (
            ["| " + self.LONG + " |"],
            ["```sh", self.LONG, "```"],
            ["Do:", "", "    " + self.LONG],
            ["x" * 200],
            ["see", "[here](" + "x" * 200 + ")"],
            ["`" + self.LONG + "`"],
        ):
            self.assertEqual(list(check_prose.too_long(lines)), [], lines)

    def test_wrapping_keeps_words_and_items(self):
        lines = ["- " + self.LONG, "  and", "- next", "", "| a | " + self.LONG + " |", "1. " + self.LONG + " - x"]
        again = check_prose.rewrap(lines)
        self.assertEqual(list(check_prose.too_long(again)), [])
        self.assertEqual(" ".join(again).split(), " ".join(lines).split())
        self.assertEqual(len([line for line in again if line.startswith("- ")]), 2)
        self.assertTrue(all(line.startswith(("- ", "  ", "|", "1. ", "   ")) for line in again if line))
        self.assertEqual(check_prose.rewrap(again), again)


class Words(unittest.TestCase):
    def test_a_word_without_a_party_is_found(self):
        for phrase in check_words.INSTEAD:
            for text in ("// A row {}.\n", "Text {}\n", '\tlog_warn("{} waits");\n', "# {}, and more\n"):
                self.assertEqual(check_words.faults("\n" + text.format(phrase)), [(2, phrase)], text)
                self.assertEqual(check_words.faults(text.format(phrase.capitalize())), [(1, phrase)], text)

    def test_a_line_break_hides_nothing(self):
        for text in ("// for\n// who asks\n", "/* for\n * who asks */\n", "# for\n#\n# who asks\n", "for\n  who asks\n"):
            self.assertEqual(check_words.faults(text), [(1, "for who")], text)

    def test_names_and_other_words_pass(self):
        for text in ('login("nobody")', "user='nobody'", "NOBODY = 65534", "for whoever", "for whom", "nobody_left()", "of nowhere", "also many", "so_many"):
            self.assertEqual(check_words.faults(text), [], text)

    def test_every_phrase_says_what_to_write(self):
        self.assertTrue(all(check_words.INSTEAD.values()))


class PublicHeader(unittest.TestCase):
    WHOLE = "// Does it.\n//\n// @handle: borrowed.\n// Returns: nothing.\n// Ownership: none.\n// Threads: any.\n// Since: 0.1.0\n"
    DECLARATION = "void mqp_do(struct mqp_client *handle)"

    def faults(self, old="", new=""):
        self.assertIn(old, self.WHOLE)
        return check_public_header.function_faults(self.WHOLE.replace(old, new, 1) if old else self.WHOLE, self.DECLARATION)

    def test_whole_passes(self):
        self.assertEqual(self.faults(), [])

    def test_every_lack_is_found(self):
        for old in ("// Does it.\n", "// @handle: borrowed.\n", "// Returns: nothing.\n", "// Ownership: none.\n", "// Threads: any.\n", "// Since: 0.1.0\n"):
            self.assertTrue(self.faults(old), old)
        self.assertTrue(self.faults("@handle", "@client"))
        self.assertTrue(self.faults("0.1.0", "ever"))
        self.assertTrue(self.faults("Threads: any.\n// Since", "Threads: any. Since"))

    def test_parameters(self):
        self.assertEqual(check_public_header.parameters("int f(void)"), [])
        self.assertEqual(check_public_header.parameters("int f(struct a *const *many, size_t count, uint8_t id[16])"), ["many", "count", "id"])

    def test_members(self):
        self.assertEqual(check_public_header.member_faults("t", "int a; // told\n\n// told\nint b;\nint c;\n"), [])
        self.assertEqual(len(check_public_header.member_faults("t", "// told\nint a;\n\nint b;\n")), 1)


class Runner(unittest.TestCase):
    def test_counts_are_read(self):
        result = suites.counted(["sh", "-c", "echo 3 passed, 0 failed"])
        self.assertEqual((result.passed, result.failed), (3, 0))
        result = suites.counted(["sh", "-c", "echo 3 passed, 2 failed; exit 1"])
        self.assertEqual((result.passed, result.failed), (3, 2))

    def test_a_crash_after_good_counts_fails(self):
        result = suites.counted(["sh", "-c", "echo 3 passed, 0 failed; exit 139"])
        self.assertEqual((result.passed, result.failed), (3, 1))
        result = suites.counted(["sh", "-c", "echo nothing; exit 1"])
        self.assertEqual((result.passed, result.failed), (0, 1))

    def test_side_by_side_results_are_added(self):
        def slow():
            return suites.counted(["sh", "-c", "sleep 2; echo 2 passed, 1 failed; exit 1"])

        started = time.monotonic()
        result = suites.beside(slow, slow, slow)
        self.assertLess(time.monotonic() - started, 5.5)
        self.assertEqual((result.passed, result.failed), (6, 3))
        with self.assertRaises(suites.SuiteError):
            suites.beside(slow, lambda: suites.must(["false"], "it cannot run"))

    def test_a_command_that_hangs_is_ended(self):
        started = time.monotonic()
        status, output = suites.run(["sh", "-c", "echo before; sleep 60"], timeout=0.2)
        self.assertNotEqual(status, 0)
        self.assertIn("before", output)
        self.assertIn("no result after", output)
        self.assertLess(time.monotonic() - started, 50)

    def test_an_orphan_is_found_and_ended(self):
        suites.adopt_orphans()
        with tempfile.NamedTemporaryFile() as file:
            suites.run(["sh", "-c", f"setsid sleep 60 & echo $! > {file.name}"])
            pid = int(file.read())
        with unittest.mock.patch.object(suites, "ENDING_S", 1):
            lines = suites.end_leftovers()
        self.assertEqual(lines, [f"left running: {pid} sleep 60\n"])
        self.assertFalse(os.path.exists(f"/proc/{pid}"))
        self.assertEqual(suites.end_leftovers(), [])

    def test_a_broker_that_suites_share_is_left(self):
        suites.adopt_orphans()
        with tempfile.TemporaryDirectory() as folder, unittest.mock.patch.object(suites, "ENDING_S", 1), unittest.mock.patch.object(suites, "kept", [folder]):
            command = f"HOME={folder} setsid sleep 60 & echo $! > {folder}/kept; HOME={folder}x setsid sleep 61 & echo $! > {folder}/other"
            suites.run(["sh", "-c", command])
            kept, other = (int(open(f"{folder}/{name}", encoding="ascii").read()) for name in ("kept", "other"))
            self.assertEqual(suites.end_leftovers(), [f"left running: {other} sleep 61\n"])
            self.assertIn(kept, suites.descendants())
            suites.kept.clear()
            self.assertEqual(suites.end_leftovers(), [f"left running: {kept} sleep 60\n"])

    def test_sanitizers_end_the_program(self):
        """With the options of SANITIZER_ENV each kind of fault makes the exit status say so."""
        faults = {
            "address": ("char *x = malloc(1); free(x); return *x;", "v[0] = malloc(1); v[0] = 0; return 0;"),
            "undefined": ("int x = c + 2147483647; return x != x;",),
            "thread": ("pthread_t t; pthread_create(&t, 0, add, 0); add(0); pthread_join(t, 0); return 0;",),
        }
        for sanitizer, bodies in faults.items():
            for body in bodies:
                with self.subTest(sanitizer=sanitizer, body=body), tempfile.TemporaryDirectory() as folder:
                    with open(folder + "/fault.c", "w", encoding="utf-8") as file:
                        file.write(self.FAULTY % body)
                    build = ["clang-19", "-pthread", "-w", f"-fsanitize={sanitizer}", "-o", folder + "/fault", folder + "/fault.c"]
                    subprocess.run(build, check=True)
                    status, output = suites.run([folder + "/fault"], env=suites.SANITIZER_ENV)
                    self.assertTrue(status, output)
                    self.assertRegex(output, "Sanitizer|runtime error")

    FAULTY = """
    #include <pthread.h>
    #include <stdlib.h>
    int n;
    void *add(void *x) { for (int i = 0; i < 1000; ++i) ++n; return x; }
    int main(int c, char **v) { %s }
    """


class Interrupted(unittest.TestCase):
    """A run that is told to end, by a signal or by Ctrl-C, leaves nothing behind and starts nothing more."""

    SCRIPT = """
import os, sys
sys.path.insert(0, sys.argv[1])
import suites
suites.adopt_orphans()
suites.end_when_told()
try:
    suites.run(["sh", "-c", "setsid sleep 60 & echo $! > " + sys.argv[2] + "; wait"])
finally:
    lines = suites.end_leftovers()
    try:
        suites.run(["true"])
    except suites.SuiteError:
        print("nothing more")
"""

    def test_ends(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number=number), tempfile.TemporaryDirectory() as folder:
                started = os.path.join(folder, "started")
                command = [sys.executable, "-c", self.SCRIPT, os.path.join(ROOT, "tests/tools"), started]
                with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                    deadline = time.monotonic() + 120
                    while not (os.path.exists(started) and open(started, encoding="utf-8").read().strip()) and time.monotonic() < deadline:
                        time.sleep(0.01)
                    process.send_signal(number)
                    self.assertEqual(process.communicate(timeout=120)[0], "nothing more\n")
                self.assertEqual(process.returncode, 128 + number)
                with open(started, encoding="utf-8") as file:
                    self.assertFalse(os.path.exists(f"/proc/{int(file.read())}"))

    # The signal comes at the instruction where Popen.wait() has just taken its lock.
    IN_WAIT = """
import os, signal, subprocess, sys
sys.path.insert(0, sys.argv[1])
import suites

class Lock:
    def __init__(self, lock):
        self.acquire_, self.release = lock.acquire, lock.release

    def acquire(self, *how):
        got = self.acquire_(*how)
        os.kill(os.getpid(), signal.SIGTERM)
        return got

    def __enter__(self):
        self.acquire_()

    def __exit__(self, *_):
        self.release()

class Popen(subprocess.Popen):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._waitpid_lock = Lock(self._waitpid_lock)

suites.adopt_orphans()
suites.end_when_told()
subprocess.Popen = Popen
suites.run(["sleep", "60"])
"""

    def test_ends_while_the_lock_of_a_wait_is_held(self):
        command = [sys.executable, "-c", self.IN_WAIT, os.path.join(ROOT, "tests/tools")]
        self.assertEqual(subprocess.run(command, timeout=120, check=False).returncode, 128 + signal.SIGTERM)


class Report(unittest.TestCase):
    PAGE = f"before\n{report.BEGIN}\nold machine\n\n| unit | old |\n| gone | old |\n| sim | old |\n{report.END}\nafter\n"

    def test_rows_are_replaced_and_kept(self):
        text = report.updated(self.PAGE, {"unit": "| unit | new |", "fuzz": "| fuzz | new |"}, ("unit", "sim", "fuzz"), "new machine")
        self.assertEqual(text, f"before\n{report.BEGIN}\nnew machine\n\n{report.HEAD}| unit | new |\n| sim | old |\n| fuzz | new |\n{report.END}\nafter\n")
        self.assertEqual(report.updated(text, {}, ("unit", "sim", "fuzz"), "new machine"), text)

    def test_a_page_without_a_place_is_refused(self):
        self.assertRaises(ValueError, report.updated, "nothing", {}, (), "")

    def test_a_row_is_read_again(self):
        line = report.row("header-docs", suites.Result(1234, 5), 67.8, True)
        self.assertRegex(line, r"^\| header-docs \| long \| 1,234 \| 5 \| 68 \| (?:[0-9a-f]{10}\+?|unknown) \| \d{4}-\d\d-\d\d \|$")
        self.assertEqual(report.ROW.fullmatch(line).group(1), "header-docs")


class Packages(unittest.TestCase):
    def shell(self, script):
        return subprocess.run(["bash", "-euo", "pipefail", "-c", f". {ROOT}/deploy/lib.sh\n{script}"], capture_output=True, text=True, check=True).stdout

    def test_the_table_is_whole(self):
        with open(os.path.join(ROOT, "deploy/packages"), encoding="utf-8") as file:
            rows = [line.split(None, 2) for line in file if not line.startswith("#")]
        self.assertEqual({len(row) for row in rows}, {3})
        self.assertEqual({row[0] for row in rows}, {"build", "run", "test", "lint", "kafka", "rabbitmq"})
        self.assertEqual(len({row[1] for row in rows}), len(rows))

    def test_only_the_missing_ones_are_named(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(folder + "/deploy")
            with open(folder + "/deploy/packages", "w", encoding="utf-8") as file:
                file.write("# build no-such-comment x\nbuild bash x\nbuild no-such-package x\nrun no-such-other x\n")
            self.assertEqual(self.shell(f"root={folder}; packages_missing build"), "no-such-package\n")

    def test_service_policy_is_put_back(self):
        with tempfile.TemporaryDirectory() as folder:
            path = folder + "/policy-rc.d"
            names = f"policy={path}; policy_saved={path}.before"
            self.assertEqual(self.shell(f"{names}; services_forbid; set +e; {path}; echo $?; services_restore; ls {folder}"), "101\n")
            with open(path, "w", encoding="utf-8") as file:
                file.write("mine")
            # Twice: the second finds what a killed run has left.
            self.shell(f"{names}; services_forbid; services_forbid; services_restore")
            with open(path, encoding="utf-8") as file:
                self.assertEqual(file.read(), "mine")
            self.assertEqual(os.listdir(folder), ["policy-rc.d"])


def main():
    result = unittest.TextTestRunner(verbosity=0).run(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]))
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
