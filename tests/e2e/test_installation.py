"""Several proxies of one installation, as an operator sets them up: invited, joined, followed, removed."""
import contextlib
import json
import os
import shutil
import socket
import ssl
import time

import daemon as daemons
import pytest
import wire
from ctl import Ctl
from rest import wait_for

pytest_plugins = ["daemon_fixtures"]

JOINED = ("--role", "proxy")


class Installation:
    """A standalone daemon with a cluster that lies on no machine, a tenant on it, and mqpaasctl logged in."""

    def __init__(self, start, folder):
        self.start = start
        self.portal = start("--control-listen", "127.0.0.1:0")
        self.fix_control()
        self.portal.make("clusters", {"name": "wide", "kind": "discard"})
        self.portal.make("tenants", {"name": "acme", "clusters": ["wide"]})
        self.portal.make("tenants/acme/topics", {"name": "orders"})
        made = self.portal.make("tenants/acme/access-keys", {"grants": [{"pattern": "*", "rights": ["produce", "consume"]}]})
        self.key = made["key_id"], made["secret"]
        self.ctl = Ctl(folder)
        url = f"http://127.0.0.1:{self.portal.rest_port}"
        self.ctl.env.update({"MQPAAS_URL": url, "MQPAAS_TOKEN": self.portal.token})

    def fix_control(self):
        """The address of the control links stays, as an operator's does."""
        at = self.portal.options.index("--control-listen") + 1
        self.portal.options[at] = self.portal.addresses["control"][0]

    @property
    def control(self):
        return self.portal.addresses["control"][0]

    def invite(self, name):
        return self.ctl.json("proxy", "invite", name)["token"]

    def joining(self, token):
        return (*JOINED, "--join", self.control, "--token", token)

    def join(self, name):
        proxy = self.start(*self.joining(self.invite(name)), portal=())
        proxy.key = self.key
        # What the next starts need not be told.
        del proxy.options[proxy.options.index("--join") :]
        return proxy

    def status(self, name):
        (row,) = [row for row in self.ctl.json("proxy", "list")["items"] if row["name"] == name]
        return row["status"]


@pytest.fixture
def installation(start, tmp_path):
    return Installation(start, tmp_path)


def send(proxy, topic="orders"):
    with proxy.connect() as conn:
        conn.open_topic(topic).send(wire.Record(body=b"one"))


def serves(proxy, topic="orders"):
    try:
        send(proxy, topic)
    except (wire.Refused, wire.Ended, OSError):
        return False
    return True


def test_joins_serves_and_follows(installation):
    proxy = installation.join("second")
    send(proxy)
    status = wait_for(lambda: (found := installation.status("second")).get("current") and found)
    assert status["connected"] and status["age_ms"] < 3000 and status["version"]
    # What changes reaches it, and what is revoked ends there.
    installation.portal.make("tenants/acme/topics", {"name": "later"})
    wait_for(lambda: serves(proxy, "later"), 5)
    began = time.monotonic()
    assert installation.portal.admin.delete(f"/api/v1/tenants/acme/access-keys/{installation.key[0]}").status == 204
    wait_for(lambda: not serves(proxy), 5)
    assert time.monotonic() - began < 2


def test_starts_again_without_token_and_portal(installation):
    proxy = installation.join("second")
    proxy.stop()
    proxy.start()
    wait_for(lambda: installation.status("second").get("current"))
    installation.portal.stop()
    proxy.wait_event("CONTROL-LINK", 3)
    send(proxy)
    proxy.kill()
    proxy.start()
    send(proxy)
    installation.portal.start()
    installation.portal.make("tenants/acme/topics", {"name": "later"})
    wait_for(lambda: serves(proxy, "later"), 15)


def test_removed_is_cut_off(installation):
    proxy = installation.join("second")
    options = {"bootstrap": "127.0.0.1:1", "security": "sasl_plaintext", "mechanism": "PLAIN", "user": "u"}
    installation.portal.make("clusters", {"name": "told", "kind": "kafka", "options": options, "secrets": {"password": "hush"}})
    conn = proxy.connect()
    topic = conn.open_topic("orders")
    topic.send(wire.Record(body=b"one"))
    proxy.expected = (0,)
    answer = installation.ctl("proxy", "delete", "second", "--yes", "-o", "json")
    assert json.loads(answer.stdout)["credentials"] == ["told"]
    assert proxy.wait() == 0
    assert proxy.events("CONTROL-REMOVED")
    assert not os.path.exists(os.path.join(proxy.data, "proxy.json")) and not os.path.exists(os.path.join(proxy.data, "catalog"))
    assert installation.ctl.json("proxy", "list")["items"] == []
    again = daemons.run(*proxy.options, "--join", installation.control, "--listen", "127.0.0.1:0")
    assert again.returncode != 0 and "mqpaasctl proxy invite" in again.stderr


def test_removed_while_it_was_away(installation):
    proxy = installation.join("second")
    proxy.stop()
    installation.ctl("proxy", "delete", "second", "--yes")
    proxy.start()
    proxy.expected = (0,)
    assert proxy.wait() == 0 and proxy.events("CONTROL-REMOVED")


def refusal(folder, *options):
    """What a daemon says that must not start."""
    done = daemons.run("--data-dir", str(folder), *options, "--listen", "127.0.0.1:0")
    assert done.returncode != 0
    return done.stderr


def test_tokens_are_good_once(installation, start, tmp_path):
    token = installation.invite("second")
    proxy = start(*installation.joining(token), portal=())
    assert "was used already: proxy second" in refusal(tmp_path / "third", *installation.joining(token))
    secret, dot, hash = token.partition(".")
    assert "not one that this installation has given out" in refusal(tmp_path / "third", *installation.joining(secret[:-2] + "AA" + dot + hash))
    assert "not one of mqpaasctl" in refusal(tmp_path / "third", *installation.joining(secret))
    other = start("--control-listen", "127.0.0.1:0")
    foreign = other.admin.post("/api/v1/proxies", {"name": "second"}).json["token"]
    assert "of another installation" in refusal(tmp_path / "third", *installation.joining(foreign))
    soon = other.admin.post("/api/v1/proxies", {"name": "soon", "expires_ms": int(time.time() * 1000) + 300}).json["token"]
    time.sleep(0.5)
    assert "has expired" in refusal(tmp_path / "third", *JOINED, "--join", other.addresses["control"][0], "--token", soon)
    assert other.admin.post("/api/v1/proxies", {"name": "late", "expires_ms": 1}).status == 400
    assert installation.ctl("proxy", "invite", "second", status=1).stderr
    actions = [(row["action"], row["resource"]) for row in installation.portal.admin.get("/api/v1/audit").json["items"] if row["kind"] == "proxy"]
    assert ("create", "second") in actions and ("join", "second") in actions
    proxy.stop()


def test_copied_data_directory(installation, start, tmp_path):
    proxy = installation.join("second")
    wait_for(lambda: installation.status("second").get("current"))
    folder = tmp_path / "copy"
    shutil.copytree(proxy.folder, folder)
    copy = start(*JOINED, folder=folder, portal=())
    wait_for(lambda: "was its data directory copied?" in copy.events("CONTROL-LINK")[-1]["message"])
    assert installation.status("second")["current"]
    proxy.stop()
    wait_for(lambda: any("follows" in event["message"] for event in copy.events("CONTROL-LINK")))


def test_unauthenticated_connections_hold_no_place(installation):
    """Neither silence, nor bytes that come one by one, nor what is no TLS keeps a connection to the control address open."""
    host, port = installation.control.split(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    silent, foreign = (socket.create_connection((host, int(port))) for _ in range(2))
    foreign.sendall(b"GET / HTTP/1.1\r\n\r\n")
    slow = context.wrap_socket(socket.create_connection((host, int(port))))
    began = time.monotonic()
    with pytest.raises(OSError):
        for byte in wire.PREFACE + wire.frame(0x42, bytes(100)):  # LINK_HELLO, that never ends
            slow.sendall(bytes([byte]))
            time.sleep(0.5)
    assert 5 < time.monotonic() - began < 20
    for other in (silent, foreign):
        other.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            while other.recv(4096):  # an alert of TLS may come first
                pass
    assert serves(installation.join("second"))


def test_portal_of_another_installation(installation, start):
    proxy = installation.join("second")
    proxy.stop()
    other = start("--control-listen", "127.0.0.1:0")
    proxy.options += ["--join", other.addresses["control"][0]]
    proxy.start()
    wait_for(lambda: "another installation" in proxy.events("CONTROL-LINK")[-1]["message"])
    send(proxy)
