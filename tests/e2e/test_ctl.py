"""mqpaasctl against a real daemon: what operators and scripts do with it, its outputs, exit statuses and messages."""
import json
import os

import pytest
import rest
import yaml
from ctl import Ctl
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
