"""mqpaasctl against a real daemon: what operators and scripts do with it, its outputs, exit statuses and messages."""
import http.server
import json
import os
import pty
import subprocess
import threading

import pytest
import rest
import yaml
import wire
from ctl import CTL, Ctl
from daemon_fixtures import daemon, start  # pylint: disable=unused-import

FAILED, USAGE, DOWN, MISSING = 1, 2, 3, 4


@pytest.fixture
def bare(tmp_path):
    """mqpaasctl that knows no server."""
    return Ctl(tmp_path)


@pytest.fixture
def ctl(bare, daemon):  # pylint: disable=redefined-outer-name
    """mqpaasctl with a context for a daemon that has a tenant, a key, a topic of two partitions and a group."""
    bare.env["MQPAAS_URL"] = "http://" + daemon.addresses["rest"][0]
    with open(os.path.join(daemon.data, "bootstrap-token"), encoding="ascii") as file:
        session = bare.json("system", "bootstrap", "root", "--bootstrap-token", "-", "--password", rest.PASSWORD, text=file.read())
    bare("context", "set", "here", "--url", bare.env.pop("MQPAAS_URL"), "--token", session["token"], "--tenant", "acme", "--address", daemon.addresses["clients"][0])
    bare("tenant", "create", "acme", "--clusters", "local")
    key = bare.json("key", "create", "--produce", "*", "--consume", "*")
    bare("context", "set", "here", "--access-key", key["key_id"], "--secret", key["secret"])
    bare("topic", "create", "orders", "--partitions", "2", "--retention", "7d")
    bare("group", "create", "billing", "--topic", "orders", "--visibility", "30s")
    for noun, name in ("topic", "orders"), ("group", "billing"):
        while bare.json(noun, "show", name)["state"] != "ready":
            pass
    return bare


def test_messages_go_through_a_pipe(ctl):
    lines = "".join(f"k{i % 7}:body {i}\n" for i in range(500))
    assert "500 lines, 500 acknowledged, 0 failed" in ctl("produce", "orders", "--key-separator", ":", text=lines).stderr
    assert ctl.json("group", "backlog", "billing")["ready"] == 500
    got = ctl("consume", "billing", "--max", "500").stdout.splitlines()
    assert sorted(got) == sorted(f"body {i}" for i in range(500))
    for key in range(7):
        of_key = [int(line.split()[1]) for line in got if int(line.split()[1]) % 7 == key]
        assert of_key == sorted(of_key)
    assert ctl.json("group", "backlog", "billing")["backlog"] == 0


def test_json_messages_keep_everything(ctl):
    message = {"key": {"base64": "AP8="}, "body": None, "headers": [["a", "1"], ["a", None], ["b", {"base64": "/w=="}]], "tag": "t", "created_ms": 1700000000000}
    ctl("produce", "orders", "--format", "json", text=json.dumps(message) + "\n")
    got = json.loads(ctl("consume", "billing", "--format", "json", "--max", "1").stdout)
    assert {name: got[name] for name in message} == message
    assert got["attempt"] == 1


def test_looking_does_not_count(ctl):
    ctl("produce", "orders", text="one\ntwo\n")
    for _ in range(2):
        assert sorted(ctl("consume", "billing", "--no-ack", "--max", "2").stdout.split()) == ["one", "two"]
    assert {json.loads(line)["attempt"] for line in ctl("consume", "billing", "--format", "json", "--max", "2").stdout.splitlines()} == {1}


def test_output_formats_say_the_same(ctl):
    as_json = ctl.json("topic", "show", "orders")
    assert yaml.safe_load(ctl("topic", "show", "orders", "-o", "yaml").stdout) == as_json
    table = ctl("topic", "list").stdout.splitlines()
    assert table[0].split()[:3] == ["NAME", "CLUSTER", "PARTITIONS"]
    assert ["orders", "local", "2"] in [line.split()[:3] for line in table]
    ctl("tenant", "create", "租户")
    lines = ctl("tenant", "list").stdout.splitlines()
    # Wide characters take two columns, so both rows begin their second column at the same place on a terminal.
    assert lines[0].index("SUSPENDED") == next(line for line in lines if line.startswith("租户")).index("false") + 2


def test_changes_and_conditions(ctl):
    ctl("tenant", "set", "acme", "--produce-tps", "10k", "--over", "reject")
    assert ctl.json("tenant", "show", "acme")["limits"]["produce_tps"] == 10000
    ctl("tenant", "set", "acme", "--produce-tps", "unlimited")
    assert ctl.json("tenant", "show", "acme")["limits"] | {} == ctl.json("tenant", "show", "acme")["limits"]
    assert ctl.json("tenant", "show", "acme")["limits"]["produce_tps"] is None
    assert "PRECONDITION_FAILED" in ctl("tenant", "set", "acme", "--wait", "1s", "--if-match", '"1"', status=FAILED).stderr


def test_lists_follow_pages(ctl):
    for i in range(60):
        ctl("topic", "create", f"t{i:02}")
    names = [item["name"] for item in ctl.json("topic", "list")["items"]]
    assert [name for name in names if name.startswith("t")] == [f"t{i:02}" for i in range(60)]
    assert len(ctl.json("topic", "list", "--max-entries", "55")["items"]) == 55


def test_what_loses_something_asks_first(ctl):
    ctl("produce", "orders", text="one\ntwo\n")
    refused = ctl("group", "reset", "billing", "--to", "latest", status=USAGE)
    assert "--yes" in refused.stderr and "SKIPPED" in refused.stdout
    assert ctl.json("group", "backlog", "billing")["ready"] == 2
    ctl("group", "reset", "billing", "--to", "latest", "--yes")
    assert ctl.json("group", "backlog", "billing")["backlog"] == 0
    ctl("group", "reset", "billing", "--to", "earliest", "--yes")
    assert ctl.json("group", "backlog", "billing")["ready"] == 2
    assert "IN_USE" in ctl("topic", "delete", "orders", "--yes", status=FAILED).stderr
    ctl("topic", "delete", "orders", "--yes", "--force")


def test_perf_counts_what_it_did(ctl):
    produced = ctl.json("perf", "produce", "orders", "--count", "20k", "--keys", "10", "--quiet")
    assert produced["sent"] == produced["acknowledged"] == 20000 and produced["failed"] == 0
    assert 0 < produced["latency_us"]["p50"] <= produced["latency_us"]["p99"] <= produced["latency_us"]["max"]
    consumed = ctl.json("perf", "consume", "billing", "--count", "20k", "--quiet")
    assert consumed["delivered"] == 20000 and consumed["redelivered"] == 0
    both = ctl.json("perf", "e2e", "orders", "billing", "--count", "1000", "--rate", "5000", "--quiet")
    assert both["delivered"] == 1000 and both["latency_us"]["p50"] > 0


def test_wrong_commands_say_what_is_right(bare):
    assert "there is no command" in bare("topik", status=USAGE).stderr
    assert "it can:" in bare("topic", "make", status=USAGE).stderr
    assert "not an option here" in bare("topic", "list", "--nmae", "x", status=USAGE).stderr
    assert "such as 100, 10k or 2M" in bare("topic", "create", "x", "--partitions", "many", "--tenant", "a", status=USAGE).stderr
    assert "no portal is named" in bare("cluster", "list", status=USAGE).stderr
    assert "an argument is missing" in bare("cluster", "show", status=USAGE).stderr
    assert "not table, json or yaml" in bare("cluster", "list", "-o", "xml", status=USAGE).stderr
    assert "no context is called" in bare("cluster", "list", "--context", "nowhere", status=USAGE).stderr
    assert "127.0.0.1" in bare("cluster", "list", "--url", "http://127.0.0.1:1", status=DOWN).stderr
    assert "no access key" in bare("produce", "orders", status=USAGE).stderr


def test_refusals_have_their_own_status(ctl):
    assert "NOT_FOUND" in ctl("topic", "show", "nothing", status=MISSING).stderr
    assert "/partitions" in ctl("topic", "create", "x", "--partitions", "0", status=FAILED).stderr
    assert "NOT_FOUND" in ctl("produce", "nothing", text="x\n", status=MISSING).stderr
    assert "UNAUTHENTICATED" in ctl("produce", "orders", "--secret", "wrong", text="x\n", status=FAILED).stderr
    assert "line 2" in ctl("produce", "orders", "--format", "json", text='{"body": "x"}\nnot json\n', status=USAGE).stderr


def test_contexts_are_private_and_switchable(ctl, tmp_path):
    assert (tmp_path / "contexts.json").stat().st_mode & 0o777 == 0o600
    ctl("context", "set", "there", "--url", "http://127.0.0.1:1")
    assert [item["name"] for item in ctl.json("context", "list")["items"] if item["current"]] == ["here"]
    ctl("context", "use", "there")
    ctl("cluster", "list", status=DOWN)
    ctl("cluster", "list", "--context", "here")
    ctl("context", "delete", "there")
    assert "secret" not in ctl("context", "list", "-o", "json").stdout
    (tmp_path / "contexts.json").write_text("{")
    assert "contexts.json:1:" in ctl("cluster", "list", status=USAGE).stderr


def test_completion_knows_the_table(bare):
    assert "topic" in bare("__complete").stdout.split()
    assert "purge" in bare("__complete", "topic").stdout.split()
    assert "--partitions" in bare("__complete", "topic", "create").stdout.split()
    assert "complete -o default -F" in bare("completion", "bash").stdout
    assert "there is bash and zsh" in bare("completion", "fish", status=USAGE).stderr


# ---- what would lose something without a word


def test_options_may_stand_anywhere(ctl):
    ctl("topic", "create", "x")
    for line in (["--yes", "topic", "delete", "x"], ["topic", "--yes", "delete", "x"], ["topic", "delete", "--yes", "x"]):
        ctl(*line)
        while ctl("topic", "show", "x", status=None).returncode != MISSING:
            pass
        ctl("topic", "create", "x")
    made = json.loads(ctl("--partitions", "3", "-o", "json", "topic", "--retention=7d", "create", "y").stdout)
    assert (made["partitions"], made["retention_ms"]) == (3, 7 * 86400000)
    assert "1 lines, 1 acknowledged" in ctl("--tag", "t", "produce", "orders", text="x\n").stderr
    assert "remove a topic" in ctl("--help", "topic", "delete").stdout


@pytest.mark.parametrize("line", [["--yes"], ["--quiet", "--yes"], ["--tenant", "topic"], ["--", "topic", "list"], ["--yes", "topic", "remove", "x"], ["--nonsense", "topic", "list"]])
def test_no_command_is_no_success(bare, line):
    done = bare(*line, status=USAGE)
    assert done.stderr.startswith("mqpaasctl: ")


def test_arguments_without_a_meaning_are_refused(ctl, tmp_path):
    (tmp_path / "body.json").write_text("{}")
    for line in (["topic", "list", "orders"], ["topic", "delete", "orders", "x", "--yes"], ["group", "show", "billing", "x"], ["topic", "show", "orders", "--file", str(tmp_path / "body.json")], ["topic", "create", "z", "--force"]):
        assert ctl(*line, status=USAGE).stdout == ""
    ctl("topic", "show", "orders")


WRONG_MESSAGES = [
    ({"bdoy": "x"}, '"bdoy" is not a member'),
    ({"body": "x", "prioriti": 1}, '"prioriti" is not a member'),
    ({"key": "k"}, "there is no body"),
    ({"body": 5}, "body is text"),
    ({"body": {"base64": "!"}}, "body is text"),
    ({"body": {"base64": "AA==", "x": 1}}, "body is text"),
    ({"body": "x", "key": 5}, "key is text"),
    ({"body": "x", "headers": "a"}, "headers are"),
    ({"body": "x", "headers": [["a"]]}, "headers are"),
    ({"body": "x", "headers": {"a": 5}}, "headers are"),
    ({"body": "x", "tag": 5}, "tag is text"),
    ({"body": "x", "created_ms": "now"}, "created_ms is a whole number"),
    ({"body": "x", "due_ms": -1}, "due_ms is a whole number"),
    ({"body": "x", "due_ms": 1.5}, "due_ms is a whole number"),
    ({"body": "x", "ttl_ms": 0}, "ttl_ms is a whole number"),
    ({"body": "x", "priority": 10}, "priority is a whole number from 0 to 9"),
    ({"body": "x", "partition": -1}, "partition is a whole number"),
]


def test_json_that_cannot_be_meant(ctl):
    for line, said in WRONG_MESSAGES:
        done = ctl("produce", "orders", "--format", "json", text=json.dumps(line) + "\n", status=USAGE)
        assert f"line 1 of standard input: {said}" in done.stderr
    assert ctl.json("group", "backlog", "billing")["backlog"] == 0


def test_json_members_have_their_effect(ctl):
    lines = [{"body": f"{n}", "partition": n % 2, "headers": {"a": "1", "b": None}, "priority": 7} for n in range(20)]
    lines += [{"body": "late", "due_ms": 4102444800000}, {"body": "short", "ttl_ms": 1, "created_ms": 1}, {"body": None, "key": "gone"}]
    ctl("produce", "orders", "--format", "json", text="".join(json.dumps(line) + "\n" for line in lines))
    got = [json.loads(line) for line in ctl("consume", "billing", "--format", "json", "--max", "21").stdout.splitlines()]
    assert not ctl("consume", "billing", "--wait", "1s").stdout
    numbered = [row for row in got if row["body"] and row["body"].isdigit()]
    assert len(numbered) == 20 and all(row["partition"] == int(row["body"]) % 2 and row["headers"] == [["a", "1"], ["b", None]] for row in numbered)
    assert [row["key"] for row in got if row["body"] is None] == ["gone"]
    assert "late" not in [row["body"] for row in got]
    assert ctl.json("group", "backlog", "billing")["delayed"] == 1
    # What consume has written can be sent again as it is.
    again = "".join(json.dumps(row) + "\n" for row in numbered)
    assert "20 acknowledged" in ctl("produce", "orders", "--format", "json", text=again).stderr
    assert "goes with --format lines" in ctl("produce", "orders", "--format", "json", "--tag", "t", text=again, status=USAGE).stderr
    assert "or it is null" in ctl("produce", "orders", "--key-field", "k", text='{"k": null}\n', status=USAGE).stderr


def full(ctl, *arguments, text=""):
    """Runs it with a full device as its output; returns (exit status, standard error)."""
    with open("/dev/full", "w", encoding="utf-8") as device:
        done = subprocess.run([CTL, *arguments], env=ctl.env, input=text, stdout=device, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def test_full_output_is_a_failure(ctl):
    for line in (["topic", "list"], ["topic", "show", "orders", "-o", "json"], ["definitions", "export", "-o", "yaml"], ["--help"], ["--version"], ["topic", "list", "--help"], ["context", "list"], ["completion", "bash"], ["__complete"]):
        status, said = full(ctl, *line)
        assert status == FAILED and "standard output could not be written" in said, line
    ctl("produce", "orders", text="a\n")
    assert full(ctl, "consume", "billing", "--max", "1")[0] == FAILED
    assert ctl("consume", "billing", "--max", "1").stdout == "a\n"  # what was not written was not acknowledged
    assert full(ctl, "perf", "produce", "orders", "--count", "10")[0] == FAILED


def test_secret_is_not_lost_with_the_output(ctl):
    for form in ("table", "json"):
        status, said = full(ctl, "key", "create", "-o", form)
        assert status == FAILED and "No space left" in said
        key = json.loads(said[said.index("{") : said.rindex("}") + 1])
        assert key["key_id"] in ctl("key", "list").stdout and len(key["secret"]) > 40
    status, said = full(ctl, "token", "create", "ci", "--role", "auditor")
    assert status == FAILED and '"token": "mqt_' in said
    assert "mqt_" in ctl("token", "create", "quiet", "--role", "auditor", "--quiet").stdout


def test_input_that_cannot_be_read(ctl, tmp_path):
    with open(tmp_path / "written", "wb") as unreadable:
        done = subprocess.run([CTL, "produce", "orders"], env=ctl.env, stdin=unreadable, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == FAILED and "standard input: " in done.stderr


class Thief:
    """A server that keeps the authorization it is sent."""

    def __enter__(self):
        seen = self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                seen.append(self.headers.get("Authorization"))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def test_a_token_stays_with_its_portal(ctl, tmp_path):
    with Thief() as thief:
        ctl("context", "set", "there", "--url", thief.url)
        saved = json.loads((tmp_path / "contexts.json").read_text())["contexts"]["there"]
        assert saved == {"url": thief.url}
        ctl("cluster", "list", "--context", "there")
        ctl("cluster", "list", "--url", thief.url)
        ctl.env["MQPAAS_URL"] = thief.url
        ctl("cluster", "list")
        del ctl.env["MQPAAS_URL"]
        assert thief.seen == [None] * 3
        ctl("cluster", "list", "--url", thief.url, "--token", "meant")
        ctl.env["MQPAAS_TOKEN"] = "meant"
        ctl("cluster", "list", "--url", thief.url)
        ctl("context", "set", "there", "--tenant", "x")  # the environment is not saved
        del ctl.env["MQPAAS_TOKEN"]
        assert thief.seen[3:] == ["Bearer meant"] * 2
        assert "token" not in json.loads((tmp_path / "contexts.json").read_text())["contexts"]["there"]
        assert "is not kept" in ctl("context", "set", "here", "--url", thief.url).stderr
        saved = json.loads((tmp_path / "contexts.json").read_text())["contexts"]["here"]
        assert "token" not in saved and saved["secret"]
    assert "nothing to set" in ctl("context", "set", "empty", status=USAGE).stderr


def test_leave_and_broken_glass(ctl):
    """An operator makes keys until the tenant has an administrator; then by leave only, or with an alarm."""
    ctl("user", "create", "ann", "--role", "tenant_admin", "--of-tenant", "acme", "--password", "-", text=rest.PASSWORD + "\n")
    assert ctl.json("access", "show")["guarded_since_ms"] is None
    session = ctl.json("me", "login", "ann", "--password", "-", text=rest.PASSWORD + "\n")
    assert session["break_glass"] is None and ctl.json("access", "show")["guarded_since_ms"]
    assert "operator-access" in ctl("key", "create", status=FAILED).stderr
    as_ann = ["--token", session["token"]]
    assert ctl.json(*as_ann, "access", "grant", "--valid", "1h", "--reason", "set up")["granted_by"] == "user:ann"
    ctl("key", "create")
    assert [row["name"] for row in ctl.json(*as_ann, "access", "users")["items"]] == ["ann"]
    assert ctl.json(*as_ann, "access", "tokens")["items"] == []
    assert ctl.json(*as_ann, "access", "withdraw")["granted_until_ms"] is None
    ctl("key", "create", status=FAILED)
    ctl("access", "break-glass", "ann", "--password", "-", "--reason", "ann has left", text=rest.PASSWORD + "2\n")
    assert "ann has left" in ctl("me", "login", "ann", "--password", "-", text=rest.PASSWORD + "2\n").stdout


# ---- what others wrote, on a terminal

ORDERS_TO_A_TERMINAL = "a\x1b]0;owned\x07\n\r\x9b2Jb\u202ec\u200bd"


def on_terminal(ctl, *arguments):
    """What a terminal is given."""
    leader, follower = pty.openpty()
    with subprocess.Popen([CTL, *arguments], env=ctl.env, stdin=subprocess.DEVNULL, stdout=follower, stderr=follower) as process:
        os.close(follower)
        parts = []
        while True:
            try:
                parts.append(os.read(leader, 65536))
            except OSError:
                break
            if not parts[-1]:
                break
        assert process.wait(60) == 0
    os.close(leader)
    return b"".join(parts).decode().replace("\r\n", "\n")


def clean(text):
    assert not [c for c in text if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u200b")], ascii(text)
    return text


def test_a_terminal_is_given_no_orders(ctl, daemon):
    key = ctl.json("key", "create", "--produce", "*", "--consume", "*")
    with wire.Connection("127.0.0.1", daemon.port, start=False) as conn:
        conn.hello(client_name=ORDERS_TO_A_TERMINAL, client_version=ORDERS_TO_A_TERMINAL[:20], client_id=ORDERS_TO_A_TERMINAL)
        conn.authenticate(key["key_id"], key["secret"])
        for form in ("table", "json", "yaml"):
            shown = clean(ctl("client", "list", "-o", form).stdout)
            assert "\\x1b]0;owned" in shown or "\\u001b]0;owned" in shown.lower()
        assert ctl.json("client", "list")["items"][0]["client_id"] == ORDERS_TO_A_TERMINAL  # an escape means the character
    assert len(ctl("client", "list").stdout.splitlines()) <= 2
    clean(ctl("topic", "create", "a\u202eb", status=FAILED).stderr)
    assert "a\\u202eb" in clean(ctl("topic", "show", "a\u202eb", status=MISSING).stderr)
    clean(ctl("topic", "create", "x", "--cluster", ORDERS_TO_A_TERMINAL, status=FAILED).stderr)
    line = json.dumps({"body": ORDERS_TO_A_TERMINAL, "key": ORDERS_TO_A_TERMINAL, "headers": {ORDERS_TO_A_TERMINAL: ORDERS_TO_A_TERMINAL}, "partition": 0}) + "\n"
    ctl("produce", "orders", "--format", "json", text=line)
    ctl("produce", "orders", "--format", "json", text=line)
    for form in ("table", "json", "yaml"):
        clean(ctl("topic", "messages", "orders", "--limit", "5", "-o", form).stdout)
    assert "\\x1b]0;owned\\x07\\n\\r" in clean(on_terminal(ctl, "consume", "billing", "--max", "1"))
    assert ctl("consume", "billing", "--max", "1").stdout.encode() == ORDERS_TO_A_TERMINAL.replace("\r", "\r").encode() + b"\n"  # a pipe gets the bytes
