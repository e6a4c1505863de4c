"""What strangers may send to the HTTP server: each gets a clear refusal, holds nothing for long, and costs others nothing."""
import contextlib
import json
import socket
import time

import pytest
import rest


def serving(folder, **settings):
    """A portal with small limits; it serves before and after."""
    portal = rest.Portal(folder, body_bytes=4096, connections=8, **settings)
    yield portal
    rest.wait_for(lambda: portal.anonymous.get("/livez", check=False).status == 200)
    portal.stop()


@pytest.fixture(scope="module", name="portal")
def small_portal(tmp_path_factory):
    for portal in serving(tmp_path_factory.mktemp("hostile")):
        portal.admin = portal.bootstrap()
        yield portal


@pytest.fixture(scope="module")
def quick_portal(tmp_path_factory):
    """Its deadlines are so short that a slow machine misses them, too: for clients only that are to miss them."""
    yield from serving(tmp_path_factory.mktemp("quick"), head_ms=400, body_ms=400)


@contextlib.contextmanager
def connect(portal):
    with socket.create_connection(("127.0.0.1", portal.port), timeout=60) as connection:
        yield connection


def read_all(connection):
    """Everything until the server closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            data += part
    return data


def answer_of(data):
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return rest.Answer(int(lines[0].split(" ")[1]), headers, body)


def send(portal, data):
    with connect(portal) as connection:
        connection.sendall(data)
        return answer_of(read_all(connection))


def with_fields(*fields, method="POST", target="/api/v1/sessions", body=b""):
    return f"{method} {target} HTTP/1.1\r\n".encode() + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


LOGIN = json.dumps({"user": "root", "password": "wrong"}).encode()
HOST = b"Host: portal"
JSON = b"Content-Type: application/json"
LENGTH = b"Content-Length: %d" % len(LOGIN)

REFUSED = {
    "no host": with_fields(JSON, LENGTH, body=LOGIN),
    "two hosts": with_fields(HOST, b"Host: other", JSON, LENGTH, body=LOGIN),
    "empty host": with_fields(b"Host:", JSON, LENGTH, body=LOGIN),
    "two lengths": with_fields(HOST, JSON, LENGTH, LENGTH, body=LOGIN),
    "two different lengths": with_fields(HOST, JSON, LENGTH, b"Content-Length: 0", body=LOGIN),
    "list of lengths": with_fields(HOST, JSON, b"Content-Length: 5, 5", body=LOGIN),
    "negative length": with_fields(HOST, JSON, b"Content-Length: -1", body=LOGIN),
    "signed length": with_fields(HOST, JSON, b"Content-Length: +45", body=LOGIN),
    "hexadecimal length": with_fields(HOST, JSON, b"Content-Length: 0x2d", body=LOGIN),
    "length with a space": with_fields(HOST, JSON, b"Content-Length : 45", body=LOGIN),
    "huge length": with_fields(HOST, JSON, b"Content-Length: 99999999999999999999", body=LOGIN),
    "chunked": with_fields(HOST, JSON, b"Transfer-Encoding: chunked", body=b"2d\r\n" + LOGIN + b"\r\n0\r\n\r\n"),
    "chunked and length": with_fields(HOST, JSON, LENGTH, b"Transfer-Encoding: chunked", body=LOGIN),
    "chunked in disguise": with_fields(HOST, JSON, LENGTH, b"Transfer-Encoding: xchunked", body=LOGIN),
    "chunked with tab": with_fields(HOST, JSON, LENGTH, b"Transfer-Encoding:\tchunked", body=LOGIN),
    "folded field": with_fields(HOST, JSON, LENGTH, b"X: a", b" b", body=LOGIN),
    "bare line feed": with_fields(HOST, JSON, LENGTH, b"X: a\nTransfer-Encoding: chunked", body=LOGIN),
    "bare carriage return": with_fields(HOST, JSON, LENGTH, b"X: a\rb", body=LOGIN),
    "NUL in a field": with_fields(HOST, JSON, LENGTH, b"X: a\0b", body=LOGIN),
    "space in a name": with_fields(HOST, JSON, LENGTH, b"X Y: a", body=LOGIN),
    "no colon": with_fields(HOST, JSON, LENGTH, b"hello", body=LOGIN),
    "two tokens": with_fields(HOST, JSON, LENGTH, b"Authorization: Bearer a", b"Authorization: Bearer b", body=LOGIN),
    "no version": b"GET /livez\r\nHost: a\r\n\r\n",
    "spaces in the target": b"GET /livez x HTTP/1.1\r\nHost: a\r\n\r\n",
    "dots": with_fields(HOST, method="GET", target="/api/v1/../../livez"),
    "escaped dots": with_fields(HOST, method="GET", target="/api/v1/%2e%2e/livez"),
    "half an escape": with_fields(HOST, method="GET", target="/api/v1/tenants/%4"),
    "escaped NUL": with_fields(HOST, method="GET", target="/api/v1/tenants/a%00b"),
    "not UTF-8": with_fields(HOST, method="GET", target="/api/v1/tenants/%ff"),
    "parameter twice": with_fields(HOST, method="GET", target="/livez?a=1&a=1"),
    "body on GET": with_fields(HOST, b"Content-Length: 2", method="GET", target="/livez", body=b"{}"),
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)) + b"\r\n\r\n",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_ambiguous_requests_are_refused(portal, data):
    answer = send(portal, data)
    assert answer.status == 400 and answer.code == "BAD_REQUEST"
    assert answer.headers["connection"] == "close"
    assert len(answer.json["detail"]) > 10


def test_one_request_per_connection(portal):
    one = with_fields(HOST, method="GET", target="/livez")
    data = b""
    with connect(portal) as connection:
        connection.sendall(one + one + one)
        data = read_all(connection)
    assert data.count(b"HTTP/1.1 ") == 1


def test_body_ends_at_its_length(portal):
    """What follows the body is not a request."""
    answer = send(portal, with_fields(HOST, JSON, LENGTH, body=LOGIN + with_fields(HOST, method="GET", target="/livez")))
    assert answer.status in (401, 429)


def test_other_versions(portal):
    assert send(portal, b"GET /livez HTTP/2.0\r\nHost: a\r\n\r\n").status == 505
    assert send(portal, b"GET /livez HTTP/1.0\r\nHost: a\r\n\r\n").status == 200


def test_expect(portal):
    with connect(portal) as connection:
        connection.sendall(with_fields(HOST, JSON, LENGTH, b"Expect: 100-continue"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(LOGIN)
        assert answer_of(read_all(connection)).status in (401, 429)
    assert send(portal, with_fields(HOST, JSON, LENGTH, b"Expect: tea")).status == 417


@pytest.mark.parametrize("size", [8192, 100000])
def test_large_head(portal, size):
    answer = send(portal, with_fields(HOST, b"X: " + b"a" * size, method="GET", target="/livez"))
    assert answer.status == 431 and answer.code == "TOO_LARGE"


def test_largest_head_passes(portal):
    empty = with_fields(HOST, b"X: ", method="GET", target="/livez")
    assert send(portal, with_fields(HOST, b"X: " + b"a" * (8192 - len(empty)), method="GET", target="/livez")).status == 200
    assert send(portal, with_fields(HOST, b"X: " + b"a" * (8193 - len(empty)), method="GET", target="/livez")).status == 431


def test_many_fields(portal):
    assert send(portal, with_fields(HOST, *[b"X: a"] * 63, method="GET", target="/livez")).status == 200
    assert send(portal, with_fields(HOST, *[b"X: a"] * 64, method="GET", target="/livez")).status == 400


def test_body_limit(portal):
    """Refused from the length, before a byte of it is read."""
    assert send(portal, with_fields(HOST, JSON, b"Content-Length: 4097")).status == 413
    login = json.dumps({"user": "root", "password": "wrong"}).encode()
    answer = portal.anonymous.call("POST", "/api/v1/sessions", login + b" " * (4096 - len(login)))
    assert answer.status in (401, 429)


def test_large_body_is_told_why_although_it_is_still_being_sent(portal):
    answer = send(portal, with_fields(HOST, JSON, b"Content-Length: 900000", body=b"a" * 900000))
    assert answer.status == 413 and answer.code == "TOO_LARGE"


def test_nobody_without_a_token_sends_a_body(portal):
    """401 comes before the body, from the head alone."""
    answer = send(portal, with_fields(HOST, JSON, b"Content-Length: 4000", target="/api/v1/tenants"))
    assert answer.status == 401


def test_silent_connection_is_closed(quick_portal):
    started = time.monotonic()
    with connect(quick_portal) as connection:
        assert read_all(connection) == b""
        assert time.monotonic() - started >= 0.4


def test_slow_head_has_one_total_deadline(quick_portal):
    """A byte now and then does not extend it."""
    with connect(quick_portal) as connection:
        sent = 0
        for byte in b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100:
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                break
            sent += 1
            connection.settimeout(0.02)
            with contextlib.suppress(TimeoutError):
                if connection.recv(1, socket.MSG_PEEK):
                    break
        connection.settimeout(60)
        answer = answer_of(read_all(connection))
        assert answer.status == 408 and answer.code == "TIMEOUT"
        assert sent < 100  # of which each is sent before the deadline that it would have alone


def test_slow_body_has_one_total_deadline(quick_portal):
    started = time.monotonic()
    with connect(quick_portal) as connection:
        connection.sendall(with_fields(HOST, JSON, b"Content-Length: 1000", body=b"{"))
        answer = answer_of(read_all(connection))
        assert answer.status == 408 and answer.code == "TIMEOUT"
        assert time.monotonic() - started >= 0.4


def test_slow_connections_do_not_keep_others_out(quick_portal):
    """More idle connections than the server takes at a time: the next one is served when their deadline has passed."""
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connect(quick_portal))
        rest.wait_for(lambda: quick_portal.anonymous.get("/livez", check=False).status == 200)


def test_half_closed_client_gets_its_answer(portal):
    with connect(portal) as connection:
        connection.sendall(with_fields(HOST, method="GET", target="/livez"))
        connection.shutdown(socket.SHUT_WR)
        assert answer_of(read_all(connection)).status == 200


def test_client_that_goes_in_the_middle(portal):
    for data in (b"", b"GET", with_fields(HOST, JSON, b"Content-Length: 1000", body=b"{")):
        with connect(portal) as connection:
            connection.sendall(data)
    assert portal.anonymous.get("/livez").status == 200


BAD_JSON = {
    "empty": b"",
    "not JSON": b"hello",
    "array": b"[]",
    "string": b'"a"',
    "cut": b'{"name": "x"',
    "string cut": b'{"name": "x',
    "duplicate member": b'{"name": "x", "name": "y"}',
    "duplicate inside": b'{"name": "x", "limits": {"wait_ms": 1, "wait_ms": 2}}',
    "trailing": b'{"name": "x"} x',
    "two documents": b'{"name": "x"}{}',
    "wrong bracket": b'{"name": "x"]',
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "surrogate alone": b'{"name": "\\ud800"}',
    "escaped NUL": b'{"name": "a\\u0000b"}',
    "NUL": b'{"name": "x"}\0',
    "comment": b'{"name": "x"} // y',
    "single quotes": b"{'name': 'x'}",
    "infinity": b'{"name": "x", "limits": {"wait_ms": 1e999}}',
    "byte order mark": b'\xef\xbb\xbf{"name": "x"}',
}


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON.keys())
def test_bad_json(portal, body):
    answer = portal.admin.post("/api/v1/tenants", body)
    assert answer.status == 400 and answer.code == "BAD_REQUEST", answer.body
    assert portal.admin.get("/api/v1/tenants").json["items"] == []


@pytest.mark.parametrize("body", [b'{"a":' * 17 + b"1" + b"}" * 17, b'{"a":' + b"[" * 4000], ids=["deep", "deeper"])
def test_json_that_would_cost_much_is_not_parsed(portal, body):
    answer = portal.admin.post("/api/v1/tenants", body[:4096])
    assert answer.status == 413
    assert "nested" in answer.json["detail"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "", "application/json5", "multipart/form-data"])
def test_other_content_types(portal, kind):
    answer = portal.admin.post("/api/v1/tenants", b"{}", headers={"Content-Type": kind})
    assert answer.status == 415 and answer.code == "BAD_REQUEST"


def test_compressed_body(portal):
    answer = portal.admin.post("/api/v1/tenants", b"{}", headers={"Content-Encoding": "gzip"})
    assert answer.status == 415


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=-1", "limit=a", "limit=", "limit=1e2", "limit=99999999999999999999", "unknown=1", "cursor=", "limit=1&limit=2"])
def test_bad_query(portal, query):
    answer = portal.admin.get(f"/api/v1/tenants?{query}")
    assert answer.status == 400 and answer.code == "BAD_REQUEST"


@pytest.mark.parametrize("cursor", ["x", "AAAA", "%F0%9F%98%80", "1", "../../etc", "a" * 512])
def test_forged_cursor(portal, cursor):
    """A cursor that was never given is refused or names a place; it never fails."""
    for path in ("tenants", "audit", "clients", "backups", "users", "tokens", "clusters"):
        assert portal.admin.get(f"/api/v1/{path}?cursor={cursor}").status in (200, 400)


@pytest.mark.parametrize("match", ["x", "1", '"', '""', '"A"', '"01"', '"18446744073709551615"', '"999999999999999999999999"', ",", '"1" "2"', "", "*, *"])
def test_if_match_that_no_resource_has(portal, match):
    assert portal.admin.put("/api/v1/tenants/t", {}, headers={"If-Match": match}).code in ("PRECONDITION_FAILED", "NOT_FOUND")
    assert portal.admin.get("/api/v1/tenants/t").status == 404
