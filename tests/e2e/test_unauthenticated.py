"""Unauthenticated clients: they keep no other client out and fill no log, with the limits as they come; and the client that a balancer names."""
import collections
import contextlib
import os
import re
import socket
import struct
import threading
import time

import daemon as daemons
import pytest
import wire
from daemon_fixtures import daemon, start  # pylint: disable=unused-import
from rest import wait_for

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def from_address(address, port):
    """A connection from an address of loopback that is ours to choose; it says nothing."""
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(address, 0))


class Silent:
    """Connections that say nothing and come again when they are closed: of each address as many at a time."""

    def __init__(self, port, addresses, each, first=b""):
        self.port, self.first, self.stop = port, first, threading.Event()
        self.threads = [threading.Thread(target=self.keep, args=(address, each)) for address in addresses]
        self.opened = 0

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def keep(self, address, each):
        conns = collections.deque()
        while not self.stop.is_set():
            with contextlib.suppress(OSError):
                conns.append(from_address(address, self.port))
                conns[-1].sendall(self.first)
                self.opened += 1
            if len(conns) > each:
                conns.popleft().close()
            if len(conns) == each:
                self.stop.wait(0.005)
        for conn in conns:
            conn.close()


# ---- the data plane


@pytest.mark.parametrize("addresses", [1, 8])
def test_silent_connections_keep_nobody_out(start, addresses):
    """4,000 of one address, or of eight: each newcomer from another gets in at once, connected clients notice nothing."""
    daemon = start().world()
    with daemon.connect() as inside, Silent(daemon.port, [f"127.9.0.{n + 1}" for n in range(addresses)], 4000 // addresses) as silent:
        began, slow, topic = time.monotonic(), 0, inside.open_topic("orders")
        wait_for(lambda: silent.opened > 3000, 120, "the silent ones do not come")
        for _ in range(20):
            since = time.monotonic()
            with daemon.connect() as conn:
                assert conn.ping()
            assert topic.send(b"x")[0].code == "OK"
            slow += time.monotonic() - since > 5
        assert slow <= 2  # the silent ones keep this process busy, too
        lines = at_most(time.monotonic() - began, os.cpu_count())
    assert len(daemon.events("CONN-CLOSE")) < 100 + lines < 3000
    assert "OVERLOADED" in daemon.wait_event("CONN-REFUSED")["message"]


def at_most(seconds, workers):
    """Lines of refusals: twenty in each period of 10 s that may have begun meanwhile, and worker."""
    return 20 * workers * (2 + int(seconds / 10))


def test_failed_logins_are_counted(start):
    """Twenty lines a period and worker, then one that says how many more there were."""
    daemon = start("--workers", "1").world()
    tries, began = 150, time.monotonic()
    for _ in range(tries):
        with pytest.raises(wire.Refused):
            wire.Connection("127.0.0.1", daemon.port, daemon.key[0], "wrong")
    line = daemon.wait_event("CONN-REFUSED")
    refused = [e for e in daemon.events("CONN-CLOSE") if "UNAUTHENTICATED" in e["message"]]
    assert len(refused) <= at_most(time.monotonic() - began, 1) and len(refused) < tries
    wait_for(lambda: len(refused) + sum(counted(e, "UNAUTHENTICATED") for e in daemon.events("CONN-REFUSED")) >= tries, what=line["message"])
    assert line["peer"].startswith("127.0.0.1:")


def test_reconnecting_clients_are_counted(start):
    """A hundred lines a period, tenant and worker, then one that says how many more there were."""
    daemon = start("--workers", "1").world()
    rounds = 300
    for _ in range(rounds):
        daemon.connect().close()
    daemon.stop()
    told = [[int(number) for number in re.findall(r"\d+", event["message"])[:2]] for event in daemon.events("CONN-COUNTED")]
    for id, more in (("CONN-READY", sum(begun for begun, _ in told)), ("CONN-CLOSE", sum(ended for _, ended in told))):
        assert len(daemon.events(id)) + more == rounds and more > 0, (id, more)
    assert all(event["tenant"] == "acme" for event in daemon.events("CONN-COUNTED"))


def counted(event, code):
    for part in event["message"].replace(";", ",").split(","):
        words = part.replace(":", "").split()
        if code in words:
            return int(words[-1])
    return 0


# ---- REST


@pytest.mark.parametrize("first", [b"", b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"], ids=["silent", "body"])
def test_silent_rest_connections_keep_nobody_out(daemon, first):
    """600 of one address, 256 fit: others' probes and requests are answered at once."""
    admin = daemon.admin
    with Silent(daemon.rest_port, ["127.9.0.1"], 600, first) as silent:
        wait_for(lambda: silent.opened >= 600, what="the silent ones do not come")
        slow = 0
        for _ in range(10):
            for path in ("/livez", "/readyz", "/metrics", "/api/v1/tenants"):
                began = time.monotonic()
                assert admin.get(path).status == 200, path
                slow += time.monotonic() - began > 3
        assert slow <= 4  # of forty


# ---- behind a balancer


def v1(address, port):
    return f"PROXY TCP4 {address} 10.0.0.1 {port} 7300\r\n".encode()


def v2(address, port, tlv=b""):
    body = socket.inet_aton(address) + socket.inet_aton("10.0.0.1") + struct.pack(">HH", port, 7300) + tlv
    return V2 + struct.pack(">BBH", 0x21, 0x11, len(body)) + body


def through(daemon, header, pieces=1):
    """Logs in behind that header, which comes in `pieces` pieces."""
    conn = wire.Connection("127.0.0.1", daemon.port, start=False)
    step = max(1, -(-len(header) // pieces))
    for at in range(0, len(header), step):
        conn.send_raw(header[at : at + step])
        time.sleep(0.01 if pieces > 1 else 0)
    conn.hello()
    conn.authenticate(*daemon.key)
    return conn


def test_proxy_protocol(start):
    """The client's address is the header's, in the log, in lists of the key and for the operator; without a header no client gets in."""
    daemon = start("--proxy-protocol-from", "127.0.0.0/8").world()
    made = daemon.make("tenants/acme/access-keys", {"grants": [{"pattern": "*", "rights": ["produce"]}], "allow": ["203.0.113.0/24"]})
    for pieces in (1, 5, 40):
        for header in (v1("203.0.113.7", 4711), v2("203.0.113.7", 4711), v2("203.0.113.7", 4711, b"\x04\0\x02ab")):
            with through(daemon, header, pieces) as conn:
                assert conn.ping()
    assert {e["peer"] for e in daemon.events("CONN-READY")} == {"203.0.113.7:4711"}
    daemon.key = made["key_id"], made["secret"]
    with through(daemon, v2("203.0.113.9", 1)) as conn:
        assert conn.ping()
    with pytest.raises(wire.Refused, match="FORBIDDEN"):
        through(daemon, v2("198.51.100.1", 1))
    for header in (b"", b"PROXY nonsense\r\n", V2 + b"\x21\x11\xff\xff"):
        with pytest.raises((wire.Ended, wire.Refused, OSError)):
            through(daemon, header)


def test_proxy_protocol_is_not_taken_from_others(start):
    daemon = start("--proxy-protocol-from", "192.0.2.1").world()
    with daemon.connect() as conn:
        assert conn.ping()
    with pytest.raises((wire.Ended, wire.Refused, OSError)):
        through(daemon, v1("203.0.113.7", 4711))


def test_client_header(start):
    """Believed from the balancer only: the rightmost address that is not a balancer's."""
    daemon = start("--client-header", "X-Forwarded-For", "--client-header-from", "127.0.0.1", "--client-header-from", "10.0.0.0/8")
    admin = daemon.admin
    cases = [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.66, 203.0.113.8, 10.0.0.2", "203.0.113.8"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::7]:80, 10.1.2.3", "2001:db8::7"),
        ("nonsense", "127.0.0.1"),
        ("203.0.113.10, nonsense", "127.0.0.1"),
    ]
    for n, (header, address) in enumerate(cases):
        answer = admin.post("/api/v1/tenants", {"name": f"t{n}"}, headers={"X-Forwarded-For": header})
        assert answer.status == 201, answer.body
        newest = admin.get("/api/v1/audit?limit=1").json["items"][0]
        assert (newest["resource"], newest["address"]) == (f"t{n}", address)


def test_client_header_is_not_taken_from_others(start):
    daemon = start("--client-header", "X-Forwarded-For", "--client-header-from", "192.0.2.1")
    assert daemon.admin.post("/api/v1/tenants", {"name": "t"}, headers={"X-Forwarded-For": "203.0.113.7"}).status == 201
    assert daemon.admin.get("/api/v1/audit?limit=1").json["items"][0]["address"] == "127.0.0.1"


def test_balancer_settings_that_are_wrong(tmp_path):
    for options in (["--proxy-protocol-from", "10.0.0.0/33"], ["--client-header", "X-Real-IP"], ["--client-header-from", "10.0.0.1"]):
        ended = daemons.run("--data-dir", str(tmp_path), *options)
        assert ended.returncode != 0 and options[0].lstrip("-") in ended.stderr
