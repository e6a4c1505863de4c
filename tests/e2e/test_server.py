"""mqpaasd as its operator meets it: configuration, files, addresses, signals, start and end."""
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import threading
import time

import daemon as daemons
import pytest
import rest
import wire
from ctl import Ctl
from daemon import run, wait_for
from daemon_fixtures import daemon, start  # noqa: F401  pylint: disable=unused-import

SANITIZED = "san" in os.path.basename(rest.BUILD)
NOBODY = 65534


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def certificate(folder, name):
    """A self-signed certificate with its key: (path of both in one file, path of the certificate alone)."""
    key, cert, both = (folder / f"{name}.{kind}" for kind in ("key", "crt", "pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    subprocess.run([*command, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
    both.write_text(cert.read_text() + key.read_text())
    both.chmod(0o600)
    return str(both), str(cert)


def trusting(cert):
    return ssl.create_default_context(cafile=cert)


def seen_certificate(address):
    """The common name that a listener shows."""
    host, port = address.rsplit(":", 1)
    text = ssl.get_server_certificate((host, int(port)))
    name = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=text, capture_output=True, text=True, check=True).stdout
    return name.rsplit("=", 1)[-1].strip()  # "CN = name", and "CN=name" from OpenSSL 3.2 on


# ---- configuration


def test_help_and_version():
    version = run("--version")
    assert version.returncode == 0 and re.fullmatch(r"mqpaasd \d+\.\d+\.\d+\n", version.stdout)
    shown = run("--help")
    assert shown.returncode == 0
    for line in run("--print-settings").stdout.splitlines()[2:]:
        assert f"  --{line.split('`')[1]} " in shown.stdout


@pytest.mark.parametrize(
    "text, said",
    [
        ("log-level = info\ndrian = 10s\n", '2:1: there is no setting "drian"; did you mean drain?'),
        ("drain = 10s\ndrain = 20s\n", "2:1: drain is set on line 1 already"),
        ("  drain = soon", '1:11: drain: "soon" is not a duration such as 500ms, 30s, 5m, 12h or 7d'),
        ("# fine\n\nworkers = 65\n", '3:11: workers: "65" is outside 0 to 64'),
        ("role = broker\n", '1:8: role: "broker" is not one of standalone|proxy|portal'),
        ("role: proxy\n", "1:7: expected name = value"),
        ('data-dir = "/tmp\n', "1:12: the quotation mark is not closed"),
    ],
)
@pytest.mark.parametrize("how", [["--check-config"], []])
def test_bad_file(tmp_path, text, said, how):
    path = write(tmp_path / "mqpaasd.conf", text)
    done = run("--config", path, "--data-dir", str(tmp_path / "data"), *how)
    assert (done.returncode, done.stderr) == (2, f"mqpaasd: {path}:{said}\n")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "options, said",
    [
        (["--drian", "1s"], 'there is no setting "drian"; did you mean drain?'),
        (["--drain"], "--drain: the value is missing"),
        (["standalone"], '"standalone" is not an option; mqpaasd --help lists those there are'),
        (["--portal-plain=maybe"], 'portal-plain: "maybe" is not yes or no'),
        (["--config", "/nowhere/mqpaasd.conf"], "/nowhere/mqpaasd.conf: No such file or directory"),
        (["--ready-fd", "77"], "--ready-fd: 77 is not open"),
        (["--ready-fd", "one"], '--ready-fd: "one" is not a descriptor'),
        (["--check-config", "--listen", "7300"], 'listen: "7300" is not an address such as 127.0.0.1:7300, [::]:7300 or 0.0.0.0:7300'),
        (["--check-config", "--listen", "127.0.0.1:0 as here"], 'listen: "here" is not what clients could be told: NAME:PORT or tls://NAME:PORT'),
        (["--check-config", "--listen", "127.0.0.1:0 as tls://here:1"], "listen: tls://here:1 needs tls-cert"),
        (["--check-config", "--portal-listen", "tls://127.0.0.1:0"], "portal-listen: tls://127.0.0.1:0 needs tls-cert"),
        (["--check-config", "--tls-key", "/x"], "tls-key is set, but tls-cert is not"),
        (["--check-config", "--tls-cert", "/nowhere.pem"], "TLS: certificate /nowhere.pem: No such file or directory"),
        (["--check-config", "--proxy-id", "x" * 65], "proxy-id: longer than 64 bytes"),
    ],
)
def test_bad_options(options, said):
    done = run(*options)
    assert (done.returncode, done.stderr) == (2, f"mqpaasd: {said}\n")


def test_options_win_over_the_file(tmp_path, start):
    path = write(tmp_path / "mqpaasd.conf", 'log-level = error # quiet\nproxy-id = "from the file"\n')
    one = start("--config", path, "--log-level", "info")
    assert one.events("LISTEN")
    assert run("--config", path, "--check-config").returncode == 0


def test_the_example_is_right():
    done = run("--config", os.path.join(rest.ROOT, "deploy", "mqpaasd.conf"), "--check-config")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_takes_the_unit(tmp_path):
    with open(os.path.join(rest.ROOT, "deploy", "systemd", "mqpaasd.service"), encoding="utf-8") as file:
        text = file.read()
    unit = tmp_path / "mqpaasd.service"
    unit.write_text(text.replace("/usr/bin/mqpaasd", os.path.join(rest.BUILD, "server", "mqpaasd")), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")  # what it ignores it only says


def test_check_config_starts_nothing(tmp_path):
    both, _ = certificate(tmp_path, "one")
    done = run("--check-config", "--data-dir", str(tmp_path / "data"), "--tls-cert", both, "--portal-listen", "tls://127.0.0.1:0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "data").exists()


def test_certificates_that_do_not_fit(tmp_path):
    both, cert = certificate(tmp_path, "one")
    _, other = certificate(tmp_path, "two")
    garbage = write(tmp_path / "garbage.pem", "not a certificate\n")
    wrong_key = write(tmp_path / "wrong.pem", (tmp_path / "two.key").read_text())
    for options, said in (
        (["--tls-cert", cert], f"TLS: private key {cert}: "),
        (["--tls-cert", garbage], f"TLS: certificate {garbage}: "),
        (["--tls-cert", other, "--tls-key", both], ""),
        (["--tls-cert", cert, "--tls-key", wrong_key], ""),
    ):
        done = run("--data-dir", str(tmp_path / "data"), *options)
        assert done.returncode == 1 and done.stderr.startswith(f"mqpaasd: {said or 'TLS: '}")
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be refused by")
def test_files_of_somebody_else(tmp_path):
    os.chmod(tmp_path, 0o755)
    both, _ = certificate(tmp_path, "one")
    os.chmod(both, 0o600)
    readable = tmp_path
    while readable != readable.parent:
        os.chmod(readable, os.stat(readable).st_mode | 0o055)
        readable = readable.parent
    (tmp_path / "data").mkdir(mode=0o700)
    program = shutil.copy(daemons.MQPAASD, tmp_path)  # the tree may lie where the other user cannot go

    def run_as_nobody(*options):
        return subprocess.run([program, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")

    done = run_as_nobody("--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1 and done.stderr == f"mqpaasd: data directory {tmp_path}/data belongs to user 0, and this is user {NOBODY}; chown it, or start as its owner\n"
    done = run_as_nobody("--data-dir", str(tmp_path / "other"))
    assert done.returncode == 1 and done.stderr == f"mqpaasd: data directory {tmp_path}/other: Permission denied\n"
    done = run_as_nobody("--check-config", "--tls-cert", both)
    assert done.returncode == 2 and done.stderr == f"mqpaasd: TLS: certificate {both}: Permission denied\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be refused for")
def test_secrets_of_somebody_else(start):
    """What another user has put there, that user knows."""
    one = start()
    one.stop()
    for name in ("master.key", "salt.key"):
        path = os.path.join(one.data, name)
        os.chown(path, NOBODY, -1)
        done = run(*one.command()[1:])
        assert done.returncode == 1 and f"{path} belongs to user {NOBODY}, and this is user 0" in done.stderr
        os.chown(path, 0, -1)
    one.start()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o703])
def test_data_directory_that_others_can_write(tmp_path, mode):
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(mode)
    done = run("--data-dir", str(data))
    assert done.returncode == 1 and done.stderr == f"mqpaasd: data directory {data} can be written by others; make it private: chmod 700 {data}\n"
    assert not list(data.iterdir())


@pytest.mark.parametrize("how", ["link", "dangling", "second name", "fifo"])
def test_planted_lock(tmp_path, how):
    """A lock that a user has put there makes the daemon write where it should not."""
    data, precious = tmp_path / "data", tmp_path / "precious"
    data.mkdir(mode=0o700)
    if how != "dangling":
        precious.write_text("keep me")
    if how == "second name":
        os.link(precious, data / "lock")
    elif how == "fifo":
        os.mkfifo(data / "lock")
    else:
        (data / "lock").symlink_to(precious)
    done = run("--data-dir", str(data))
    assert done.returncode == 1 and f"{data}/lock is " in done.stderr and "remove it" in done.stderr
    assert (precious.read_text() == "keep me") if how != "dangling" else not precious.exists()


def test_private_key_that_others_can_read(start, tmp_path):
    both, _ = certificate(tmp_path, "one")
    for mode in (0o644, 0o604, 0o660):
        os.chmod(both, mode)
        done = run("--check-config", "--tls-cert", both)
        assert done.returncode == 2 and done.stderr.startswith(f"mqpaasd: private key {both} can be read or changed by others; make it private: chmod 600 ")
    os.chmod(both, 0o640)  # a group for certificates is usual
    one = start("--tls-cert", both)
    os.chmod(both, 0o644)
    one.signal(signal.SIGHUP)
    assert "can be read" in one.wait_event("RELOAD-REFUSED")["message"]


def test_no_image_of_the_memory(start):
    one = start()
    with open(f"/proc/{one.process.pid}/limits", encoding="ascii") as file:
        assert re.search(r"Max core file size\s+(\d+)\s+(\d+)", file.read()).groups() == ("0", "0")
    with open(os.path.join(rest.ROOT, "deploy", "systemd", "mqpaasd.service"), encoding="utf-8") as file:
        assert "LimitCORE=0\n" in file.read()


def test_limit_on_the_size_of_the_log(start):
    """Its lines are written by every thread; those of the proxy would be ended by SIGXFSZ, and all with them."""
    one = start().world()
    resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (os.path.getsize(one.log_path) + 50, resource.RLIM_INFINITY))
    for _ in range(3):
        one.connect().close()
    assert one.admin.post("/api/v1/tenants", {"name": "x"}).status == 503  # nor can the registry be written
    resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert one.admin.post("/api/v1/tenants", {"name": "x"}).status == 201
    with one.connect() as conn:
        assert conn.open_topic("orders").send(b"x")[0].code == "OK"


def test_limit_on_the_size_of_files(start):
    """The kernel sends SIGXFSZ at the write that would pass it; to us it is a full disk, and it comes back by itself."""
    one = start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (68 << 20, resource.RLIM_INFINITY))).world()  # 64 MiB of it are the reserve
    with one.connect() as conn:
        topic = conn.open_topic("orders")
        codes = [topic.send(os.urandom(100000))[0].code for _ in range(80)]
        assert codes[0] == "OK" and codes[-1] in (refused := {"BACKEND_FULL", "BACKEND_DOWN"}) and set(codes) <= {"OK", *refused}  # LMDB says EIO where a write came to half
        assert one.process.poll() is None
        resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_for(lambda: topic.send(b"again")[0].code == "OK")
        subscription = conn.subscribe("billing")
        subscription.credit(200, 1 << 24)
        assert len(subscription.receive(codes.count("OK") + 1, timeout=30, credit=False)) >= codes.count("OK") + 1


# ---- the data directory


def test_second_daemon(daemon):
    done = run(*daemon.command()[1:])
    assert done.returncode == 1
    assert done.stderr == f"mqpaasd: data directory {daemon.data} is in use by process {daemon.process.pid}; stop it, or choose another with --data-dir\n"
    assert daemon.anonymous.get("/readyz").status in (200, 503)
    # A lock whose holder has died is free again.
    daemon.kill()
    daemon.start()


def test_everything_is_private(daemon):
    daemon.world()
    for folder, folders, files in os.walk(daemon.data):
        for name in folders + files + ["."]:
            path = os.path.join(folder, name)
            assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0, path


@pytest.mark.parametrize("name", ["master.key", "salt.key"])
def test_secret_that_others_can_read(start, name):
    one = start()
    one.stop()
    path = os.path.join(one.data, name)
    os.chmod(path, 0o640)
    done = run(*one.command()[1:])
    assert (done.returncode, done.stderr) == (1, f"mqpaasd: {path} can be read by others; make it private: chmod 600 {path}\n")
    os.chmod(path, 0o600)
    one.start()


def test_lost_master_key(start):
    """It is not made anew: the stored credentials would be lost without a word."""
    one = start()
    one.stop()
    path = os.path.join(one.data, "master.key")
    os.rename(path, path + ".away")
    done = run(*one.command()[1:])
    assert (done.returncode, done.stderr) == (1, f"mqpaasd: {path} is missing; without it the clusters' credentials cannot be read: restore it from a copy\n")
    assert not os.path.exists(path)
    os.rename(path + ".away", path)
    one.start()


@pytest.mark.parametrize("damage", ["cut", "flipped", "garbage"])
def test_damaged_last_good_copy(start, damage):
    """It is set aside, said so, and made anew from the registry; nothing else suffers."""
    one = start().world()
    one.stop()
    path = os.path.join(one.data, "catalog")
    with open(path, "r+b") as file:
        content = bytearray(file.read())
        content = {"cut": content[:20], "flipped": content[:30] + bytes([content[30] ^ 1]) + content[31:], "garbage": b"\xff" * 500}[damage]
        file.seek(0)
        file.truncate()
        file.write(content)
    one.start()
    assert one.events("CATALOG-DAMAGED") and os.path.exists(path + ".damaged")
    with one.connect() as conn:
        assert conn.open_topic("orders").send(wire.Record(body=b"after"))[0].code == "OK"
    wait_for(lambda: one.anonymous.get("/readyz").status == 200)


def test_damaged_registry(start):
    one = start().world()
    one.stop()
    path = os.path.join(one.data, "registry.db")
    shutil.copy(path, path + ".copy")
    with open(path, "r+b") as file:
        file.seek(0)
        file.write(os.urandom(8192))
    done = run(*one.command()[1:])
    assert done.returncode == 1 and done.stderr.endswith(f"mqpaasd: registry {path}: is damaged, or not a registry; put a backup back with mqpaasd --restore FILE\n")
    # The data plane needs no registry: with the last good copy it serves all the same.
    proxy = start("--role", "proxy", folder=one.folder, portal=())
    proxy.key = one.key
    with proxy.connect() as conn:
        assert conn.open_topic("orders").send(wire.Record(body=b"served"))[0].code == "OK"
    proxy.stop()
    shutil.copy(path + ".copy", path)
    one.start()


def test_locked_registry(start):
    one = start()
    one.stop()
    path = os.path.join(one.data, "registry.db")
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        done = run(*one.command()[1:], timeout=60)
        other.execute("ROLLBACK")
    other.close()
    assert done.returncode == 1 and path in done.stderr and re.search("locked|another process", done.stderr), done.stderr
    one.start()


# ---- addresses


def test_ports_in_use(daemon, start, tmp_path):
    taken = daemon.addresses["clients"][0]
    done = run("--data-dir", str(tmp_path / "a"), "--listen", taken, "--portal-listen", daemons.LOCAL)
    assert (done.returncode, done.stderr) == (1, f"mqpaasd: {taken}: cannot listen: Address already in use\n")
    taken = daemon.addresses["rest"][0]
    done = run("--data-dir", str(tmp_path / "b"), "--listen", daemons.LOCAL, "--portal-listen", taken)
    assert done.returncode == 1 and done.stderr.endswith(f"mqpaasd: {taken}: cannot listen: Address already in use\n")
    with socket.socket() as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind(("127.0.0.1", 0))
        shared.listen()
        taken = f"127.0.0.1:{shared.getsockname()[1]}"
        done = run("--data-dir", str(tmp_path / "c"), "--listen", taken, "--portal-listen", daemons.LOCAL)
        assert (done.returncode, done.stderr) == (1, f"mqpaasd: {taken}: cannot listen: Address already in use\n")


def test_a_journal_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "totals.journal").mkdir()
    tmp_path.chmod(0o700)
    done = run("--data-dir", str(tmp_path), "--listen", daemons.LOCAL, "--portal-listen", daemons.LOCAL)
    assert done.returncode == 1 and done.stderr.endswith("mqpaasd: the portal does not start: Is a directory\n")
    assert f"{tmp_path}/totals.journal: Is a directory" in done.stderr


def test_several_addresses(start):
    one = start("--listen", "127.0.0.1:0 as mq.example.org:7300", listen=("127.0.0.1:0", "[::1]:0"), portal=("127.0.0.1:0", "127.0.0.1:0")).world()
    assert len(one.addresses["clients"]) == 3 and len(one.addresses["rest"]) == 2
    for address in one.addresses["clients"]:
        host, port = address.rsplit(":", 1)
        with wire.Connection(host.strip("[]"), int(port), *one.key) as conn:
            assert sorted(conn.addresses) == sorted([*one.addresses["clients"][1:], "mq.example.org:7300"])


def test_plain_rest_stays_on_loopback(start, tmp_path):
    done = run("--data-dir", str(tmp_path / "data"), "--listen", daemons.LOCAL, "--portal-listen", "0.0.0.0:0")
    assert done.returncode == 1
    assert done.stderr.endswith("mqpaasd: portal-listen: 0.0.0.0:0 is not loopback and has no TLS; use tls://0.0.0.0:0 with tls-cert, or set portal-plain = yes\n")
    one = start("--portal-plain", portal=("0.0.0.0:0",))
    assert one.anonymous.get("/livez").status == 200


def test_limits_of_rest_are_settings(start):
    one = start("--portal-body=4KiB", "--portal-import=64KiB")
    admin = one.admin
    assert admin.post("/api/v1/tenants", {"name": "a", "display_name": "x" * 4096}).status == 413
    assert admin.put("/api/v1/definitions", {"format": 1, "tenants": [{"name": f"tenant-{n}"} for n in range(1000)]}).status == 200
    assert admin.put("/api/v1/definitions", {"format": 1, "tenants": [{"name": f"tenant-{n:0100}"} for n in range(600)]}).status == 413


def test_deadlines_of_rest_are_settings(start):
    """So short that nothing else is asked of this one: the one that asks may be slow, too."""
    one = start("--portal-head-timeout=100ms", "--portal-body-timeout=200ms", "--portal-connections=1")
    with socket.create_connection(("127.0.0.1", one.rest_port), timeout=60) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
    with socket.create_connection(("127.0.0.1", one.rest_port), timeout=60) as slow:
        slow.sendall(b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
    with socket.create_connection(("127.0.0.1", one.rest_port), timeout=60) as first:
        assert first.recv(1) == b""  # it says nothing and is closed
    with socket.create_connection(("127.0.0.1", one.rest_port), timeout=60):
        wait_for(lambda: one.anonymous.get("/livez", check=False).status == 200)  # after that one was


def test_tls_everywhere(start, tmp_path):
    both, cert = certificate(tmp_path, "one")
    one = start("--tls-cert", both, portal=("127.0.0.1:0", "tls://127.0.0.1:0")).world()
    host, port = one.addresses["rest"][1].rsplit(":", 1)
    client = http.client.HTTPSConnection(host, int(port), context=trusting(cert), timeout=60)
    client.request("GET", "/livez")
    assert client.getresponse().status == 200
    client.close()
    with one.connect(tls=trusting(cert), server_name="localhost") as conn:
        assert conn.open_topic("orders").send(wire.Record(body=b"over TLS"))[0].code == "OK"
    with one.connect() as conn:
        assert conn.open_topic("orders").send(wire.Record(body=b"plain, on the same port"))[0].code == "OK"


# ---- reload


def test_reload(start, tmp_path):
    both, _ = certificate(tmp_path, "first")
    config = tmp_path / "mqpaasd.conf"
    write(config, f"tls-cert = {both}\nlog-level = info\nworkers = 1\nkeepalive = 30s\n")
    one = start("--config", str(config), portal=("127.0.0.1:0", "tls://127.0.0.1:0")).world()
    assert one.connect().welcome["keepalive_ms"] == 30000
    for address in (one.addresses["clients"][0], one.addresses["rest"][1]):
        assert seen_certificate(address) == "first"
    staying = one.connect()
    second, _ = certificate(tmp_path, "second")
    write(config, f"tls-cert = {second}\nlog-level = debug\nworkers = 2\nkeepalive = 20s\n")
    one.signal(signal.SIGHUP)
    one.wait_event("RELOADED")
    said = {event["message"].split(" ")[0] for event in one.events("RELOAD-TAKEN")}
    assert said == {"tls-cert", "log-level", "keepalive"}
    assert [event["message"] for event in one.events("RELOAD-LATER")] == ["workers has changed and takes effect at the next start"]
    wait_for(lambda: one.connect().welcome["keepalive_ms"] == 20000)
    for address in (one.addresses["clients"][0], one.addresses["rest"][1]):
        assert seen_certificate(address) == "second"
    assert staying.ping()


@pytest.mark.parametrize(
    "text, said",
    [
        ("log-level = info\nkeepalive = never\n", ':2:13: keepalive: "never" is not a duration'),
        ("keepalive = 20s\ntls-cert = /nowhere.pem\n", "TLS: certificate /nowhere.pem: No such file or directory"),
        (None, "No such file or directory"),
    ],
)
def test_bad_reload_changes_nothing(start, tmp_path, text, said):
    config = tmp_path / "mqpaasd.conf"
    write(config, "keepalive = 30s\n")
    one = start("--config", str(config)).world()
    if text is None:
        config.unlink()
    else:
        write(config, text)
    one.signal(signal.SIGHUP)
    assert said in one.wait_event("RELOAD-REFUSED")["message"]
    assert not one.events("RELOADED")
    assert one.connect().welcome["keepalive_ms"] == 30000


def test_reloaded_drain_time_counts(start, tmp_path):
    config = tmp_path / "mqpaasd.conf"
    write(config, "drain = 60s\n")
    one = start("--config", str(config)).world()
    conn = one.connect()
    held = conn.subscribe("billing")
    conn.open_topic("orders").send(wire.Record(body=b"held"))
    held.receive(1)
    write(config, "drain = 300ms\n")
    one.signal(signal.SIGHUP)
    one.wait_event("RELOADED")
    began = time.monotonic()
    one.stop()
    assert time.monotonic() - began < 50


# ---- start


def first_answer(one):
    """From exec to the first bytes that a client is answered with, in seconds."""
    began = time.monotonic()
    one.start()
    return time.monotonic() - began


def test_starts_fast_and_small(start):
    one = start()
    one.stop()
    starts = []
    for _ in range(5):
        starts.append(first_answer(one))
        with open(f"/proc/{one.process.pid}/status", encoding="ascii") as file:
            resident_kb = int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1))
        one.stop()
    # Ten times the goals, for machines that do something else as well; sanitizers take their own.
    assert min(starts) < (5 if SANITIZED else 0.5)
    assert SANITIZED or resident_kb < 30 * 1024


def test_ready_is_told(tmp_path):
    """To the manager's socket, by the protocol of sd_notify(3); STOPPING when it ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        one = daemons.Daemon(tmp_path, env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(100) == b"READY=1"
        one.stop()
        assert manager.recv(100) == b"STOPPING=1"


def test_pid_file(start, tmp_path):
    path = tmp_path / "pid"
    one = start("--pid-file", str(path))
    assert path.read_text() == f"{one.process.pid}\n"
    one.stop()
    assert not path.exists()


def test_descriptors_are_raised(start):
    soft = 100
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    one = start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, limits[1])))
    with open(f"/proc/{one.process.pid}/limits", encoding="ascii") as file:
        assert int(re.search(r"Max open files\s+(\d+)", file.read()).group(1)) == limits[1]


def test_bootstrap_token(start):
    """No password comes with the product: a user that can read the file makes the first operator, once."""
    one = start()
    path = os.path.join(one.data, "bootstrap-token")
    with open(path, encoding="ascii") as file:
        first = file.read().strip()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and len(first) > 40
    assert first not in one.log()
    one.stop()
    one.start()
    with open(path, encoding="ascii") as file:
        second = file.read().strip()
    assert first != second
    body = {"user": "root", "password": rest.PASSWORD}
    assert one.anonymous.post("/api/v1/bootstrap", {"token": first, **body}).status == 401
    assert one.anonymous.post("/api/v1/bootstrap", {"token": second, **body}).status == 201
    assert not os.path.exists(path)
    assert one.anonymous.post("/api/v1/bootstrap", {"token": second, **body}).status != 201
    one.stop()
    one.start()
    assert not os.path.exists(path)


# ---- roles


def test_proxy_alone_serves_the_last_good_copy(start):
    one = start().world()
    with one.connect() as conn:
        conn.open_topic("orders").send(wire.Record(body=b"before"))
    one.stop()
    proxy = start("--role", "proxy", folder=one.folder, portal=())
    proxy.key = one.key
    assert proxy.addresses["rest"] == []
    with proxy.connect() as conn:
        group = conn.subscribe("billing")
        (delivery,) = group.receive(1)
        assert delivery.record.body == b"before"
        group.ack(delivery)
    proxy.stop()


def test_portal_alone_answers(start):
    portal = start("--role", "portal", listen=())
    assert portal.addresses["clients"] == []
    assert portal.admin.get("/api/v1/clusters").json["items"][0]["name"] == "local"
    assert portal.anonymous.get("/readyz").status == 503  # no proxy answers
    assert portal.admin.post("/api/v1/tenants", {"name": "t", "clusters": ["local"]}).status == 201
    assert portal.admin.get("/metrics", check=False).status == 200


# ---- the end


def test_settles_while_draining(start):
    """A consumer that holds deliveries is told to leave, may settle them, and then nothing is left to wait for."""
    one = start("--drain", "60s").world()
    conn = one.connect()
    group = conn.subscribe("billing")
    conn.open_topic("orders").send(*(wire.Record(body=b"%d" % n) for n in range(10)))
    deliveries = group.receive(10)
    one.signal(signal.SIGTERM)
    conn.pump_until(lambda: conn.goaway)
    assert conn.goaway["deadline_ms"] <= 60000
    wait_for(lambda: one.anonymous.get("/readyz").status == 503)
    assert {check["name"]: check["ok"] for check in one.anonymous.get("/readyz").json["checks"]}["leaving"] is False
    with pytest.raises(ConnectionRefusedError):
        one.connect()
    began = time.monotonic()
    group.ack(*deliveries)
    assert one.wait() == 0
    assert time.monotonic() - began < 50
    assert one.events("STOPPED")
    one.start()
    with one.connect() as again:
        group = again.subscribe("billing")
        group.credit(10)
        assert group.receive_nothing(0.5)


def test_drain_has_an_end(start):
    one = start("--drain", "300ms").world()
    conn = one.connect()
    group = conn.subscribe("billing")
    conn.open_topic("orders").send(wire.Record(body=b"kept"))
    group.receive(1)
    one.stop()
    one.start()
    with one.connect() as again:
        (delivery,) = again.subscribe("billing").receive(1)
        assert delivery.record.body == b"kept"


def test_second_signal_ends_at_once(start, tmp_path):
    one = start("--drain", "60s", "--pid-file", str(tmp_path / "pid")).world()
    conn = one.connect()
    group = conn.subscribe("billing")
    conn.open_topic("orders").send(wire.Record(body=b"kept"))
    group.receive(1)
    one.signal(signal.SIGTERM)
    one.wait_event("STOPPING")
    began = time.monotonic()
    one.signal(signal.SIGTERM)
    assert one.wait() == 1
    assert time.monotonic() - began < 50
    assert one.events("STOP-NOW") and not one.events("STOPPED") and not (tmp_path / "pid").exists()
    one.start()
    with one.connect() as again:
        assert again.subscribe("billing").receive(1)[0].record.body == b"kept"


class Sender(threading.Thread):
    """Sends until it is told to leave; keeps the bodies that were acknowledged."""

    def __init__(self, one, name):
        super().__init__()
        self.conn, self.name, self.acknowledged = one.connect(), name, []
        self.wrong = None

    def run(self):
        topic, number = self.conn.open_topic("orders"), 0
        try:
            while not self.conn.goaway:
                bodies = [f"{self.name}-{number + n}".encode() for n in range(20)]
                number += 20
                results = topic.send(*(wire.Record(body=body) for body in bodies))
                self.acknowledged += [body for body, result in zip(bodies, results) if result.code == "OK"]
                if any(result.code not in ("OK", "SHUTTING_DOWN") for result in results):
                    self.wrong = results
            self.conn.close()
        except wire.Ended as error:  # a batch that was sent while GOAWAY was on its way
            self.wrong = None if self.conn.goaway else error
        except wire.Refused as error:
            self.wrong = error


def test_stop_under_load(start):
    """Every send gets an answer before the end; what was acknowledged is there afterwards; the totals miss nothing."""
    one = start().world(partitions=4)
    senders = [Sender(one, f"s{n}") for n in range(4)]
    for sender in senders:
        sender.start()
    wait_for(lambda: all(len(sender.acknowledged) > 100 for sender in senders))
    one.stop()
    for sender in senders:
        sender.join(60)
        assert not sender.is_alive() and sender.wrong is None
    acknowledged = {body for sender in senders for body in sender.acknowledged}
    one.start()
    totals = one.admin.get("/api/v1/tenants/acme/stats").json
    assert totals["produce"]["stored"] == len(acknowledged)
    with one.connect() as conn:
        group, found = conn.subscribe("billing"), set()
        while len(found) < len(acknowledged):
            deliveries = group.receive(min(500, len(acknowledged) - len(found)))
            group.ack(*deliveries, wait=False)
            found |= {delivery.record.body for delivery in deliveries}
    assert found == acknowledged


# ---- metrics


def samples(text):
    """{(name, ((label, value), …)): value} of an exposition that is checked on the way."""
    found, described = {}, set()
    for line in text.splitlines():
        if line.startswith("#"):
            kind, name = line.split(" ")[1:3]
            assert kind in ("HELP", "TYPE") and (kind, name) not in described
            described.add((kind, name))
            continue
        name, labels, value = re.fullmatch(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)', line).groups()
        assert ("TYPE", name) in described or ("TYPE", re.sub("_(bucket|sum|count)$", "", name)) in described
        key = name, tuple(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', labels or ""))
        assert key not in found, f"twice: {key}"
        found[key] = float(value)
    return found


def metrics(one, detailed=False):
    answer = one.admin.get("/metrics" + ("?detailed=true" if detailed else ""), check=False)
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples(answer.body.decode())


def test_metrics_agree_with_what_happened(daemon):
    daemon.world(produce_tps=1000000)
    with daemon.connect() as conn:
        group = conn.subscribe("billing")
        conn.open_topic("orders").send(*(wire.Record(body=b"x") for _ in range(7)))
        deliveries = group.receive(7)
        group.ack(*deliveries[:4])
        group.reject(*deliveries[4:])
        wait_for(lambda: metrics(daemon).get(("mqpaas_tenant_dead_messages_total", (("tenant", "acme"),))) == 3)
        found = metrics(daemon, detailed=True)
        assert found["mqpaas_tenant_connections", (("tenant", "acme"),)] == 1
    tenant, topic, group = ("tenant", "acme"), ("topic", "orders"), ("group", "billing")
    for prefix, labels in (("tenant", (tenant,)), ("topic", (tenant, topic))):
        assert found[f"mqpaas_{prefix}_offered_messages_total", labels] == found[f"mqpaas_{prefix}_stored_messages_total", labels] == 7
        assert found[f"mqpaas_{prefix}_offered_bytes_total", labels] == found[f"mqpaas_{prefix}_stored_bytes_total", labels] == 7 * 41
        assert found[f"mqpaas_{prefix}_produce_outcomes_total", (*labels, ("outcome", "ok"))] == 7
    for prefix, labels in (("tenant", (tenant,)), ("group", (tenant, group))):
        assert found[f"mqpaas_{prefix}_delivered_messages_total", labels] >= 7
        assert found[f"mqpaas_{prefix}_settled_messages_total", (*labels, ("how", "ack"))] == 4
        assert found[f"mqpaas_{prefix}_settled_messages_total", (*labels, ("how", "reject"))] == 3
    assert found["mqpaas_tenant_quota_limit", (tenant, ("direction", "produce"), ("unit", "messages"))] == 1000000
    assert found["mqpaas_resources", (("kind", "topic"), ("state", "ready"))] == 2  # and the dead letters'
    assert found["mqpaas_configuration_revision", (("held_by", "proxy"),)] == found["mqpaas_configuration_revision", (("held_by", "registry"),)]
    assert found["mqpaas_configuration_stored", ()] == 1 and found["mqpaas_proxy_answer_age_seconds", ()] < 60
    assert abs(found["process_start_time_seconds", ()] - time.time()) < 180
    assert found["process_open_fds", ()] > 10 and found["process_resident_memory_bytes", ()] > 1 << 20
    assert not any("topic" in dict(labels) for _, labels in metrics(daemon))


def test_the_start_of_the_process_stands_still(start):
    """Counting restarts by changes of it counts none that was not one."""
    one = start()
    shown = {metrics(one)["process_start_time_seconds", ()] for _ in range(20)}
    assert len(shown) == 1, shown


def test_shown_use_is_what_was_admitted(daemon):
    """Ten times of what a quota takes is offered: REST and metrics tell both apart, and the use shown is not above the quota."""
    daemon.world(produce_tps=100, over="reject")
    offered, began, shown = 0, time.monotonic(), []
    with daemon.connect() as conn:
        topic = conn.open_topic("orders")
        while (taken := time.monotonic() - began) < 6 or not any(0.5 < use for use in shown[-10:]):
            assert taken < 60, shown
            topic.send(*(wire.Record(body=b"x") for _ in range(100)))
            offered += 100
            time.sleep(0.1)
            if taken > 5:
                shown.append(daemon.admin.get("/api/v1/tenants/acme/stats").json["quota"]["produce_tps"]["used"] / 100)
        taken = time.monotonic() - began
    stats = daemon.admin.get("/api/v1/tenants/acme/stats").json
    produce, found, labels = stats["produce"], metrics(daemon), (("tenant", "acme"),)
    assert produce["offered"] == offered == produce["stored"] + produce["throttled"]
    assert 300 <= produce["stored"] <= 100 * (taken + 1) and produce["stored_bytes"] == 41 * produce["stored"] and produce["offered_bytes"] == 41 * offered
    assert found["mqpaas_tenant_stored_messages_total", labels] == produce["stored"]
    assert max(shown) <= 1.1, shown


def test_metrics_go_on_across_restarts(start):
    one = start().world()
    labels = (("tenant", "acme"),)
    for total in (3, 6):
        with one.connect() as conn:
            conn.open_topic("orders").send(*(wire.Record(body=b"x") for _ in range(3)))
        one.stop()
        one.start()
        assert metrics(one)["mqpaas_tenant_offered_messages_total", labels] == total


def test_a_broken_glass_is_counted_for_good(daemon):
    """Each break-glass reset of a tenant's administrator, also after kill -9 and a restore; a refused one is none."""
    total = lambda: metrics(daemon)["mqpaas_break_glass_total", ()]
    path, told = "/api/v1/tenants/acme/break-glass", {"password": rest.PASSWORD, "reason": "all have left"}
    daemon.make("tenants", {"name": "acme", "clusters": ["local"]})
    assert total() == 0
    assert daemon.admin.post("/api/v1/backups", {"name": "before"}).status == 201
    assert daemon.admin.post(path, {**told, "user": "root"}).status == 409  # the platform's
    for number, user in enumerate(("ann", "bob", "ann"), 1):
        assert daemon.admin.post(path, {**told, "user": user}).status == 200
        assert total() == number
    daemon.kill()
    daemon.start()
    assert total() == 3
    assert daemon.admin.call("POST", "/api/v1/backups/before/restore").status == 200
    daemon.token = daemon.anonymous.post("/api/v1/sessions", {"user": "root", "password": rest.PASSWORD}).json["token"]  # sessions are in no backup
    wait_for(lambda: metrics(daemon).get(("mqpaas_break_glass_total", ())) == 3, 30, "the restore has changed the count")


def test_every_metric_is_in_the_page(daemon):
    daemon.world()
    with open(os.path.join(rest.ROOT, "docs", "metrics.md"), encoding="utf-8") as file:
        page = set(re.findall(r"^\| `([a-z_]+)`", file.read(), re.M))
    text = daemon.admin.get("/metrics?detailed=true", check=False).body.decode()
    assert {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")} == page


def monitored():
    """Every series that the alert rules and the dashboard ask for: (metric, labels of its selector)."""
    folder = os.path.join(rest.ROOT, "deploy", "monitoring")
    with open(os.path.join(folder, "alerts.yaml"), encoding="utf-8") as file:
        expressions = re.findall(r"expr: (?:>-\n)?((?:.|\n)*?)\n +(?:for|labels):", file.read())
    with open(os.path.join(folder, "dashboard.json"), encoding="utf-8") as file:
        panels = json.load(file)["panels"]
    expressions += [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(expressions) > 30
    for expression in expressions:
        for name, selector in re.findall(r"\b((?:mqpaas|process)_[a-z_]+)(?:{([^}]*)})?", expression):
            yield name.removesuffix("_bucket"), set(re.findall(r"(\w+)=", selector)) - {"job", "instance"}


def test_alerts_and_dashboard_ask_for_what_there_is():
    with open(os.path.join(rest.ROOT, "docs", "metrics.md"), encoding="utf-8") as file:
        page = {name: set(labels.split(",")) for name, labels in re.findall(r"^\| `([a-z_]+)`[^|]*\|[^|]*\|[^|]*\| ([^|]*) \|", file.read(), re.M)}
    for name, labels in monitored():
        assert name in page and labels <= page[name], f"{name} {labels}"


def test_alert_rules_fire_for_what_they_are_for():
    """Each rule fires with the series of its case, most of them without traffic, and is silent with those of a healthy installation."""
    folder = os.path.join(rest.ROOT, "deploy", "monitoring")
    done = subprocess.run(["promtool", "test", "rules", os.path.join(folder, "alerts_test.yaml")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    with open(os.path.join(folder, "alerts.yaml"), encoding="utf-8") as file:
        rules = re.findall(r"- alert: (\w+)", file.read())
    with open(os.path.join(folder, "alerts_test.yaml"), encoding="utf-8") as file:
        cases = re.findall(r'alertname="(\w+)".*\n.*\n.*value: ([01])', file.read())
    assert len(rules) > 20 and sorted(cases) == sorted((rule, value) for rule in rules for value in "01")


def test_backlogs_are_told_without_being_asked(daemon):
    """In metrics and in one call, also of a group without consumers; the oldest message gets older."""
    daemon.world()
    path, labels = "/api/v1/tenants/acme/backlogs", (("tenant", "acme"),)
    daemon.make("tenants/acme/groups", {"name": "idle", "topic": "orders"})
    with daemon.connect() as conn:
        group = conn.subscribe("billing")
        conn.open_topic("orders").send(*(wire.Record(body=b"x") for _ in range(7)))
        group.ack(*group.receive(7)[:4])
        rows = wait_for(
            lambda: (now := {row["group"]: row for row in daemon.admin.get(path).json["items"]}).get("idle", {}).get("ready") == 7 and now["billing"]["in_flight"] == 3 and now,
            30,
            "the backlogs are not told",
        )
        assert rows["billing"]["backlog"] == 3 and abs(rows["idle"]["oldest_ms"] / 1000 - time.time()) < 60
        assert sorted(row["group"] for row in daemon.admin.get("/api/v1/backlogs").json["items"]) == ["billing", "idle"]
        found = metrics(daemon, detailed=True)
        assert found["mqpaas_tenant_backlog_messages", (*labels, ("state", "ready"))] == 7
        assert found["mqpaas_tenant_backlog_messages", (*labels, ("state", "in_flight"))] == 3
        assert found["mqpaas_group_backlog_messages", (*labels, ("group", "idle"), ("state", "ready"))] == 7
        before = found["mqpaas_group_oldest_unacked_seconds", (*labels, ("group", "idle"))]
        assert 0 < before < 60 and found["mqpaas_tenant_oldest_unacked_seconds", labels] >= before
        time.sleep(1)
        assert metrics(daemon)["mqpaas_tenant_oldest_unacked_seconds", labels] >= before + 1
        idle = conn.subscribe("idle")
        idle.ack(*idle.receive(7))
        wait_for(lambda: metrics(daemon, detailed=True)["mqpaas_group_oldest_unacked_seconds", (*labels, ("group", "idle"))] == 0, what="it is still old")


def test_clusters_stores_and_latencies_are_metrics(daemon):
    daemon.world()
    daemon.make("clusters", {"name": "gone", "kind": "kafka", "options": {"bootstrap": "127.0.0.1:1"}})
    wait_for(lambda: metrics(daemon).get(("mqpaas_cluster_state", (("cluster", "gone"), ("state", "down")))) == 1, what="a dead cluster raises nothing")
    with daemon.connect() as conn:
        group = conn.subscribe("billing")
        conn.open_topic("orders").send(*(wire.Record(body=b"x") for _ in range(7)))
        group.ack(*group.receive(7))
    found = wait_for(lambda: (now := metrics(daemon)).get(("mqpaas_message_latency_seconds_count", (("what", "settle"),))) and now, what="no settle is counted")
    assert found["mqpaas_cluster_state", (("cluster", "local"), ("state", "ready"))] == 1
    assert found["mqpaas_cluster_circuit", (("cluster", "local"), ("circuit", "closed"))] == 1
    assert sum(value for (name, labels), value in found.items() if name == "mqpaas_cluster_circuit" and dict(labels)["cluster"] == "gone") == 1
    for part in ("used", "left"):
        assert found["mqpaas_cluster_store_bytes", (("cluster", "local"), ("part", part))] > 1 << 12
    for what in ("send", "deliver"):
        assert found["mqpaas_message_latency_seconds_count", (("what", what),)] == 7
        assert found["mqpaas_message_latency_seconds_bucket", (("what", what), ("le", "+Inf"))] == 7
        buckets = [value for (name, labels), value in found.items() if name == "mqpaas_message_latency_seconds_bucket" and dict(labels)["what"] == what]
        assert len(buckets) == 17 and buckets == sorted(buckets)
        assert 0 <= found["mqpaas_message_latency_seconds_sum", (("what", what),)] < 70


def test_top_shows_the_oldest_first(daemon, tmp_path):
    daemon.world()
    with daemon.connect() as conn:
        conn.open_topic("orders").send(*(wire.Record(body=b"x") for _ in range(5)))
    wait_for(lambda: [row["ready"] for row in daemon.admin.get("/api/v1/backlogs").json["items"]] == [5], what="the backlog is not told")
    ctl = Ctl(tmp_path)
    ctl.env.update(MQPAAS_URL="http://" + daemon.addresses["rest"][0], MQPAAS_TENANT="acme", MQPAAS_TOKEN=daemon.admin.token)
    shown = [line.split() for line in ctl("top", "--rounds", "1").stdout.splitlines()]
    assert ["local", "embedded", "ready", "closed"] in [line[:4] for line in shown]
    assert ["acme", "billing", "5", "5", "0", "0", "0"] in [line[:7] for line in shown]
    assert [row["group"] for row in ctl.json("group", "backlogs")["items"]] == ["billing"]


def test_metrics_need_a_token(daemon, start):
    assert daemon.anonymous.get("/metrics", check=False).status == 401
    assert start("--open-metrics").anonymous.get("/metrics", check=False).status == 200


def test_log_lines_are_json(daemon):
    daemon.world()
    for line in daemon.log().splitlines():
        assert {"time", "level", "id", "message"} <= json.loads(line).keys()
