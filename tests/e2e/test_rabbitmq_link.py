"""One link of the RabbitMQ adapter against real brokers and against one that lies: what its channels are told, and in which words."""
import contextlib
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest
from rest import BUILD, wait_for

pytest_plugins = ["rabbitmq_fixtures"]

TOOL = os.path.join(BUILD, "tests", "rabbitmq", "rabbitmq_link_tool")
SUM = sum(range(256))  # of a body of 256 bytes


class Link:
    """tests/rabbitmq/link_tool.c: lines that it is told, and lines that it says."""

    def __init__(self, options, secrets=None):
        self.said, self.seen, self.more = [], 0, threading.Condition()
        command = [TOOL, json.dumps(options), *([json.dumps(secrets)] if secrets else [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # pylint: disable=consider-using-with
        self.errors = []
        self.threads = [threading.Thread(target=self._listen), threading.Thread(target=lambda: self.errors.extend(self.process.stderr))]
        for thread in self.threads:
            thread.start()

    def _listen(self):
        for line in self.process.stdout:
            with self.more:
                self.said.append(line.rstrip("\n"))
                self.more.notify_all()

    def tell(self, *lines):
        for line in lines:
            self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self, pattern, seconds=20):
        """The next line that the pattern matches, behind those that were heard before."""
        deadline = time.monotonic() + seconds
        with self.more:
            while True:
                for at in range(self.seen, len(self.said)):
                    if match := re.match(pattern, self.said[at]):
                        self.seen = at + 1
                        return match
                left = deadline - time.monotonic()
                assert left > 0 and self.more.wait(left), f"{pattern!r} was not said behind {self.said[self.seen:][-20:]}\n{''.join(self.errors)[-3000:]}"

    def count(self, pattern):
        return sum(bool(re.match(pattern, line)) for line in self.said)

    def stop(self):
        """It ends without a complaint of a sanitizer; again: nothing. Returns how long that took."""
        since = time.monotonic()
        if self.process.poll() is None:
            self.tell("stop")
        self.hear("stopped")
        took = time.monotonic() - since
        assert self.process.wait(30) == 0, "".join(self.errors)
        for thread in self.threads:
            thread.join()
        assert not re.search("Sanitizer|runtime error", "".join(self.errors)), "".join(self.errors)
        self.seen = self.said.index("stopped")
        return took


@contextlib.contextmanager
def linked(options, secrets=None, up=True):
    link = Link(options, secrets)
    try:
        if up:
            link.hear("up OK ")
        yield link
        link.stop()
    finally:
        link.process.kill()


def options_of(host, **more):
    options = {key: value for key, value in {**host.options(), **more}.items() if value is not None}
    return options


def test_messages_are_confirmed_and_delivered(host):
    with linked(options_of(host)) as link:
        link.tell("open 1")
        link.hear("opened 1")
        link.tell("queue 1 e2e.q quorum", "confirm 1", "publish 1 - e2e.q 256 3", "publish 1 - e2e.q 1048576 1", "publish 1 - e2e.q 0 1")
        wait_for(lambda: link.count("ack 1 ") and re.match(r"ack 1 5 ", [line for line in link.said if line.startswith("ack")][-1]), what="no confirm")
        link.tell("open 2")
        link.hear("opened 2")
        link.tell("consume 2 e2e.q 10")
        for tag, size, total in [(1, 256, SUM), (2, 256, SUM), (3, 256, SUM), (4, 1 << 20, SUM * 4096), (5, 0, 0)]:
            link.hear(rf"delivered 2 {tag} 0 {size} \S+ e2e.q")
            link.hear(rf"body 2 {total}$")
            link.tell(f"ack 2 {tag}")
        link.tell("publish 1 - e2e.none 256 1")
        link.hear("returned 1 312 e2e.none")
        link.hear(f"body 1 {SUM}$")
        for number in (2, 1):  # one after the other: the broker answers two in any order
            link.tell(f"close {number}")
            link.hear(f"closed {number} OK 0 ")
        link.tell("version")
        link.hear(re.escape(f"version {host.broker.version}"))
    assert host.ready("e2e.q") == 0
    assert not [row for row in host.broker.api("GET", "connections") if row.get("vhost") == host.name and row["state"] == "running"]


def test_a_queue_answers_a_get(host):
    with linked(options_of(host)) as link:
        link.tell("open 1")
        link.hear("opened 1")
        link.tell("queue 1 e2e.get quorum", "get 1 e2e.get")
        link.hear("method 1 AMQP_BASIC_GET_EMPTY_METHOD")
        link.tell("confirm 1", "publish 1 - e2e.get 256 1")
        link.hear("ack 1 1")
        link.tell("get 1 e2e.get", "get 1 e2e.get")
        link.hear("got 1 1 0 256  e2e.get")
        link.hear(f"body 1 {SUM}")
        link.hear("method 1 AMQP_BASIC_GET_EMPTY_METHOD")
        link.tell("ack 1 1")


def test_a_refused_request_ends_its_channel_only(host):
    host.declare(queue="e2e.classic")
    with linked(options_of(host)) as link:
        link.tell(*(f"open {n}" for n in (1, 2, 3, 4)))
        link.hear("opened 4")
        link.tell("look 1 e2e.none")
        link.hear(r"closed 1 NOT_FOUND 404 cluster c: NOT_FOUND - no queue 'e2e.none'")
        link.tell("queue 2 e2e.classic quorum")
        link.hear(r"closed 2 CONFLICT 406 cluster c: .*x-queue-type")
        link.tell("kill 3")
        link.hear(r"closed 3 CONFLICT 406 .*unknown delivery tag")
        link.tell("table 4 100000")
        link.hear("sent 0")
        link.hear("closed 4 TOO_LARGE 0 ")
        link.tell("open 1", "open 4")
        link.hear("opened 4")
        link.tell("look 4 e2e.classic")
        link.hear("declared 4 0 0")
        assert link.count("up ") == 1 and not link.count("down ")


def test_channels_are_bounded(host):
    with linked(options_of(host)) as link:
        link.tell(*(f"open {n}" for n in range(2002)))
        link.hear("closed 2000 OVERLOADED 0 ")
        wait_for(lambda: link.count("opened ") == 2000, what="channels do not open")
        link.tell("close 7")
        link.hear("closed 7 OK")
        link.tell("open 2001")
        link.hear("opened 2001")


@pytest.mark.parametrize(
    "change, secrets, expected",
    [
        ({"user": "guest"}, {"password": "wrong"}, r"down FORBIDDEN cluster c, \S+: user or password is not accepted: ACCESS_REFUSED .*\(403\)"),
        ({"vhost": "e2e-none"}, None, r"down FORBIDDEN cluster c, \S+: the virtual host is refused: NOT_ALLOWED - vhost e2e-none not found \(530\)"),
        ({"addresses": "127.0.0.1:1"}, None, r"down BACKEND_DOWN cluster c, 127.0.0.1:1: connection refused"),
        ({"addresses": "no-host.invalid"}, None, r"down BACKEND_DOWN cluster c, no-host.invalid:5672: the host name is not found"),
        ({"tls": True}, None, r"down BACKEND_ERROR cluster c, \S+: TLS: this port does not speak TLS"),
    ],
)
def test_what_is_wrong_is_named(host, change, secrets, expected):
    with linked(options_of(host, **change), secrets, up=False) as link:
        link.hear(expected)
        link.hear(expected)  # again, after a wait


def test_addresses_are_tried_in_turn(host):
    with linked(options_of(host, addresses="127.0.0.1:1,no-host.invalid," + host.broker.addresses), up=False) as link:
        link.hear("down .* 127.0.0.1:1: ")
        link.hear("down .* no-host.invalid:5672: ")
        link.hear("up OK ")


def test_a_broker_that_dies_comes_back(own_rabbitmq):
    broker = own_rabbitmq()
    host = broker.host()
    with linked(options_of(host)) as link:
        link.tell("open 1", "open 2")
        link.hear("opened 2")
        broker.kill()
        link.hear(r"down \w+ cluster c, \S+: the connection was (reset|closed) by the other side")
        link.hear(r"closed 1 CONNECTION_LOST 0 cluster c, ")
        link.hear(r"closed 2 CONNECTION_LOST 0 cluster c, ")
        link.tell("open 3")  # waits for the connection
        link.hear("down BACKEND_DOWN .*refused")
        broker.up()
        link.hear("up OK ", 3)
        link.hear("opened 3")
        host.broker.control("rabbitmqctl", "close_all_connections", "--global", "e2e says so")
        link.hear(r"down CONNECTION_LOST .*on an operator's order: CONNECTION_FORCED - e2e says so \(320\)")
        link.hear("closed 3 CONNECTION_LOST 0 ")
        link.hear("up OK ")


def test_a_broker_in_alarm_says_so(own_rabbitmq):
    host = own_rabbitmq().host()
    host.declare(queue="e2e.q")
    with linked(options_of(host)) as link:
        link.tell("open 1")
        link.hear("opened 1")
        link.tell("confirm 1", "watch 1000")
        link.hear("method 1 AMQP_CONFIRM_SELECT_OK_METHOD")
        with host.broker.alarm():
            link.tell("publish 1 - e2e.q 1000000 40")  # more than the socket takes
            link.hear("published 1 all")  # no send waits for a broker that does not read
            link.hear("blocked low on memory")
            time.sleep(2.5)  # longer than the watch's limit
            assert not link.count("down ") and not link.count("ack ")
        link.hear("unblocked")
        wait_for(lambda: any(line.startswith("ack 1 40 ") for line in link.said), what="no confirm")
    assert host.ready("e2e.q") == 40


def test_a_send_that_does_not_move_is_cut(own_rabbitmq):
    broker = own_rabbitmq()
    host = broker.host()
    host.declare(queue="e2e.q")
    with linked(options_of(host, heartbeat_s=60)) as link:
        link.tell("open 1")
        link.hear("opened 1")
        link.tell("watch 1500")
        with broker.paused():
            link.tell("publish 1 - e2e.q 16000000 8")  # more than is buffered: the send itself waits
            since = time.monotonic()
            link.hear("published 1 [0-7]$")
            assert 1.4 < time.monotonic() - since < 5
            link.hear("down ")
            link.hear("closed 1 CONNECTION_LOST 0 ")
        link.hear("up OK ")


def test_a_silent_broker_is_given_up(own_rabbitmq):
    broker = own_rabbitmq()
    with linked(options_of(broker.host(), heartbeat_s=2)) as link:
        time.sleep(6)  # heartbeats of both sides keep it up
        assert not link.count("down ")
        with broker.paused():
            since = time.monotonic()
            link.hear("down CONNECTION_LOST .*silent for two heartbeats")
            assert 2 < time.monotonic() - since < 7
            link.hear("down TIMEOUT .*no answer", 10)
        link.hear("up OK ")


def test_stopping_waits_for_nothing(own_rabbitmq):
    broker = own_rabbitmq()
    host = broker.host()
    host.declare(queue="e2e.q")
    with linked(options_of(host)) as link:
        link.tell("open 1")
        link.hear("opened 1")
        assert link.stop() < 1
        assert link.count("closed 1 OK 0 ") == 1
    with linked(options_of(host, addresses="127.0.0.1:1"), up=False) as link:
        link.tell("open 1")  # waits for a connection that does not come
        link.hear("down ")
        assert link.stop() < 1
        assert link.count("closed 1 OK 0 ") == 1
    with linked(options_of(host)) as link:
        link.tell("open 1")
        link.hear("opened 1")
        with broker.paused():
            link.tell("publish 1 - e2e.q 16000000 8")  # inside of a send
            time.sleep(1)
            assert link.stop() < 5
        assert link.count("published 1 [0-7]$")
    with lying() as options, linked(options, up=False) as link:
        time.sleep(1)  # inside of a login
        assert link.stop() < 1


def test_a_certificate_logs_in(own_rabbitmq):
    names = "--set", "ssl_cert_login_from=common_name"
    broker = own_rabbitmq("--tls", *names, "--set", "auth_mechanisms.1=EXTERNAL", "--set", "auth_mechanisms.2=PLAIN")
    broker.control("rabbitmq-plugins", "enable", "rabbitmq_auth_mechanism_ssl")
    broker.control("rabbitmqctl", "add_user", "client", "no-password-is-used")
    broker.control("rabbitmqctl", "set_permissions", "client", ".*", ".*", ".*")
    folder = os.path.join(broker.folder, "tls")
    shown = {name + "_pem": read(os.path.join(folder, file)) for name, file in (("ca", "ca.pem"), ("certificate", "client.pem"))}
    with linked({"addresses": broker.addresses, "tls": True, **shown}, {"key_pem": read(os.path.join(folder, "client.key"))}) as link:
        assert re.search(r"client\b", broker.control("rabbitmqctl", "list_connections", "user"))
        link.tell("open 1")
        link.hear("opened 1")


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


@contextlib.contextmanager
def tls_server(folder, days, name):
    """Something that speaks TLS with a certificate for a name, and nothing else: options that trust it."""
    certificate, key, request, names = (os.path.join(folder, file) for file in ("certificate.pem", "key.pem", "request", "names"))
    with open(names, "w", encoding="ascii") as file:
        file.write(f"subjectAltName={name}")
    for command in (
        ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=e2e", "-keyout", key, "-out", request],
        ["x509", "-req", "-in", request, "-signkey", key, "-days", str(days), "-extfile", names, "-out", certificate],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    time.sleep(0 if days else 2)  # it ends with the second in which it was made
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def serve():
            server.settimeout(0.1)
            while not over.is_set():
                with contextlib.suppress(OSError):
                    stream, _ = server.accept()
                    stream.settimeout(5)
                    with context.wrap_socket(stream, server_side=True) as secured:
                        secured.recv(8)
                        secured.sendall(b"no AMQP")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield {"tls": True, "ca_pem": read(certificate)}, server.getsockname()[1]
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(
    "days, name, dialled, words",
    [
        (2, "DNS:localhost", "localhost", "at login: what it sends is no AMQP 0-9-1"),
        (2, "IP:127.0.0.1", "127.0.0.1", "at login: what it sends is no AMQP 0-9-1"),
        (2, "DNS:other.example", "localhost", "TLS: the broker's certificate is for another host name"),
        (2, "IP:127.0.0.2", "127.0.0.1", "TLS: the broker's certificate is for another IP address"),
        (0, "DNS:localhost", "localhost", "TLS: the broker's certificate has expired"),
    ],
)
def test_certificates_are_verified(tmp_path, days, name, dialled, words):
    with tls_server(tmp_path, days, name) as (options, port), linked({"addresses": f"{dialled}:{port}", **options}, up=False) as link:
        link.hear(rf"down \w+ cluster c, \S+: {words}")


def test_tls(rabbitmq_brokers):
    broker = rabbitmq_brokers("--tls")
    host = {"addresses": broker.addresses}  # its first virtual host: the management API wants TLS, too
    folder = os.path.join(broker.folder, "tls")
    good = {"tls": True, "ca_pem": read(os.path.join(folder, "ca.pem"))}
    client = {"certificate_pem": read(os.path.join(folder, "client.pem"))}, {"key_pem": read(os.path.join(folder, "client.key"))}
    with linked({**host, **good}) as link:
        link.tell("open 1")
        link.hear("opened 1")
        link.tell("queue 1 e2e.q classic", "confirm 1", "publish 1 - e2e.q 3000000 10")
        wait_for(lambda: any(line.startswith("ack 1 10 ") for line in link.said), what="no confirm")
        link.tell("consume 1 e2e.q 10")
        link.hear(r"delivered 1 10 ")
        link.hear(rf"body 1 {sum(i % 256 for i in range(3000000))}$")
    with linked({**host, **good, **client[0], "user": "guest"}, {"password": "guest", **client[1]}):
        pass
    wrong = [
        ({**host, "tls": True}, None, r"TLS: the broker's certificate is not trusted: "),
        ({**host, "tls": True, "ca_pem": "nonsense"}, None, r"TLS: ca_pem holds no certificate"),
        ({**host, **good, **client[0]}, {"key_pem": "nonsense"}, r"TLS: key_pem is no private key"),
        ({**host, **good, **client[0]}, client[1], r"at login: it does not let users log in by certificate \(EXTERNAL\)"),
        (host, None, r"at login: it speaks TLS, and the option tls is not set|at login: the connection was"),
    ]
    for options, secrets, words in wrong:
        with linked(options, secrets, up=False) as link:
            link.hear(rf"down \w+ cluster c, \S+: ({words})")


# ---- A broker that lies


def short(text):
    return bytes([len(text)]) + text


def long(text):
    return struct.pack(">I", len(text)) + text


def frame(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(channel, number, index, payload=b""):
    return frame(1, channel, struct.pack(">HH", number, index) + payload)


START = method(0, 10, 10, b"\x00\x09" + long(b"") + long(b"AMQPLAIN PLAIN") + long(b"en_US"))
TUNE = method(0, 10, 30, struct.pack(">HIH", 2047, 131072, 60))
OPEN_OK = method(0, 10, 41, short(b""))
LOGIN = [START, TUNE, OPEN_OK]
DELIVER = method(1, 60, 60, short(b"tag") + struct.pack(">QB", 1, 0) + short(b"") + short(b"q"))


def header(size, properties=b"\x00\x00"):
    return frame(2, 1, struct.pack(">HHQ", 60, 0, size) + properties)


def nested(depth):
    """A table with tables inside of each other."""
    table = b""
    for _ in range(depth):
        table = long(b"\x01tF" + table) if table else long(b"")
    return table


@contextlib.contextmanager
def lying(*answers, then=b""):
    """A broker that answers whatever comes with the next of these, and a channel that is opened with `then` behind it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        over = threading.Event()

        def serve():
            while not over.is_set():
                with contextlib.suppress(OSError):
                    stream, _ = server.accept()
                    with stream:
                        for answer in (*answers, *([method(1, 20, 11, long(b"")) + then] if then else [])):
                            stream.settimeout(10)
                            stream.recv(65536)
                            stream.sendall(answer)
                        while stream.recv(65536):
                            pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield {"addresses": f"127.0.0.1:{server.getsockname()[1]}"}
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(
    "answers, words",
    [
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "what it sends is no AMQP 0-9-1"),
        ([b"AMQP\x00\x01\x00\x00"], "what it sends is no AMQP 0-9-1"),
        ([b"\x15\x03\x03\x00\x02\x02\x28"], "it speaks TLS, and the option tls is not set"),
        ([b"\x01\x00\x00\xff\xff\xff\xff"], "it sends a frame that is larger than agreed"),
        ([frame(1, 0, b"")], "it sends a method that no broker sends"),
        ([method(0, 10, 10, b"\x00\x09" + nested(10000))], "it sends a method that cannot be read"),
        ([method(0, 10, 10, b"\x00\x09" + long(b"\x01kS\xff\xff\xff\xff"))], "it sends a method that cannot be read"),
        ([TUNE], "it does not answer the login as AMQP 0-9-1 says"),
        ([START, method(0, 10, 30, struct.pack(">HIH", 1, 8, 1))], "it wants frames that are smaller than AMQP allows"),
        ([method(0, 10, 10, b"\x00\x09" + long(b"") + long(b"GSSAPI") + long(b"en_US"))], r"it does not let users log in by password \(PLAIN\)"),
    ],
)
def test_a_lie_at_login(answers, words):
    with lying(*answers) as options, linked(options, up=False) as link:
        link.hear(rf"down \w+ cluster c, \S+: at login: {words}")


def test_silence_at_login():
    with lying() as options, linked(options, up=False) as link:
        since = time.monotonic()
        link.hear(r"down TIMEOUT cluster c, \S+: at login: no answer in time", 15)
        assert 4 < time.monotonic() - since < 8


@pytest.mark.parametrize(
    "lie, words",
    [
        (method(2, 60, 80, struct.pack(">QB", 1, 0)), "it sends on a channel that is not open"),
        (method(0xFFFF, 60, 80, struct.pack(">QB", 1, 0)), "it sends on a channel that is not open"),
        (method(1, 20, 11, long(b"")), "it opens or closes a channel that was not to be"),
        (method(1, 10, 60, short(b"")), "it sends a method of the connection on a channel"),
        (method(0, 10, 30, struct.pack(">HIH", 1, 8, 1)), "it sends a method of logging in, after that"),
        (method(1, 60, 40, b"\x00\x00" + short(b"") + short(b"") + b"\x00"), "it sends a method that no broker sends"),
        (frame(3, 0, b"body"), "it sends a message that belongs to no channel"),
        (frame(3, 1, b"body"), "it sends more of a body than it announced"),
        (header(4), "it sends properties without a message"),
        (DELIVER + DELIVER, "it sends a method in the middle of a message"),
        (DELIVER + header(3) + frame(3, 1, b"body"), "it sends more of a body than it announced"),
        (DELIVER + header(4) + frame(3, 1, b"body") + frame(3, 1, b"more"), "it sends more of a body than it announced"),
        (DELIVER + header(4, b"\x20\x00" + nested(15000)), "it sends properties of a message that cannot be read"),
        (DELIVER + header(4, b"\x20\x01" * 6000 + b"\x20\x00"), "it sends properties of a message that cannot be read"),
        (DELIVER + header(4, b"\xff\xfe"), "it sends properties of a message that cannot be read"),
        (method(1, 60, 60, short(b"x" * 255)[:100]), "it sends a method that cannot be read"),
        (b"\x01\x00\x01\x00\x00\x00\x01\x00\x00", "it sends a frame that does not end where it says"),
        (b"\x01\x00\x01\x00\x02\x00\x00", "it sends a frame that is larger than agreed"),
    ],
)
def test_a_lie_costs_the_connection(lie, words):
    with lying(*LOGIN, then=lie) as options, linked(options, up=False) as link:
        link.tell("open 1")
        link.hear(rf"down PROTOCOL cluster c, \S+: {words}")
        link.hear("closed 1 CONNECTION_LOST 0 ")
        link.hear("up OK ")


def test_what_comes_behind_the_end_of_a_channel_is_ignored():
    closed = method(1, 20, 40, struct.pack(">H", 404) + short(b"NOT_FOUND - e2e") + b"\0\0\0\0")
    behind = DELIVER + header(4) + frame(3, 1, b"body")
    with lying(*LOGIN, then=closed + behind) as options, linked(options, up=False) as link:
        link.tell("open 1")
        link.hear("closed 1 NOT_FOUND 404 cluster c: NOT_FOUND - e2e")
        time.sleep(0.5)
        assert not link.count("down ") and not link.count("delivered ")
