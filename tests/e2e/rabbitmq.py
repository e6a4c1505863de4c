"""A real RabbitMQ for tests: brought up and down by deploy/brokers/rabbitmq, and looked at with a native client (pika) and its management API."""
import base64
import contextlib
import datetime
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pika
from rest import ROOT, wait_for

SCRIPT = os.path.join(ROOT, "deploy", "brokers", "rabbitmq")
OPTIONS = tuple(os.environ.get("MQPAAS_RABBITMQ_OPTIONS", "").split())  # of every broker that tests start
PERMISSIONS = {"configure": ".*", "write": ".*", "read": ".*"}


def quote(name):
    return urllib.parse.quote(name, safe="")


def register(daemon, host, name="rabbitmq", secrets=None, ready=True, **options):
    """Makes a cluster of a virtual host; ready: waits until the daemon has reached it."""
    body = {"name": name, "kind": "rabbitmq", "options": {**host.options(), **options}}
    body["options"] = {key: value for key, value in body["options"].items() if value is not None}
    daemon.make("clusters", {**body, **({"secrets": secrets} if secrets else {})})
    if ready:
        wait_for(lambda: daemon.admin.get(f"/api/v1/clusters/{name}/state").json["state"] == "ready", what="the cluster does not become ready")
    return daemon


class Rabbitmq:
    """The brokers in `folder`. Options are those of deploy/brokers/rabbitmq: ("--nodes", "3"), ("--tls",), ("--users",), …"""

    def __init__(self, folder, *options):
        self.folder = str(folder)
        self.options = (*options, *OPTIONS)
        self.addresses = self.management = self.version = ""
        self.user = ("admin", "admin-secret") if "--users" in options else ("guest", "guest")
        self.hosts = 0

    def script(self, verb, *options):
        done = subprocess.run(
            [SCRIPT, verb, "--dir", self.folder, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"deploy/brokers/rabbitmq {verb}:\n{done.stdout}"
        return done.stdout

    def up(self):
        """Starts it, or the nodes of it that have died; where it listens stays the same."""
        told = dict(line.split(" ", 1) for line in self.script("up", *self.options).splitlines() if " " in line)
        self.addresses, self.management, self.version = told["amqp"], told["management"], told["version"]
        return self

    def down(self):
        self.script("down")

    def control(self, *command):
        """rabbitmqctl, or another command of RabbitMQ's own."""
        return self.script("tool", *command)

    # ---- Its nodes, counted from 1

    def pid(self, node=1):
        with open(os.path.join(self.folder, f"node-{node}", "pid"), encoding="ascii") as file:
            return int(file.read())

    def kill(self, node=1):
        """SIGKILL; up() starts it again."""
        pid = self.pid(node)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self._alive(pid), what=f"node {node} does not die")

    @staticmethod
    def _alive(pid):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
        return False

    @contextlib.contextmanager
    def paused(self, node=1):
        os.kill(self.pid(node), signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid(node), signal.SIGCONT)

    def serving_since(self, node=1):
        """When the node listened for clients, as time.monotonic_ns() would have."""
        with open(os.path.join(self.folder, f"node-{node}", "log"), encoding="utf-8", errors="replace") as file:
            line = [line for line in file if "started TCP listener on" in line or "started TLS (SSL) listener on" in line][-1]
        told = datetime.datetime.strptime(line[:26], "%Y-%m-%d %H:%M:%S.%f").timestamp()
        return time.monotonic_ns() - int((time.time() - told) * 1e9)

    def whole(self, host):
        """Whether all members of all quorum queues of a host run."""
        rows = self.api("GET", f"queues/{quote(host)}") or []
        return all(len(row.get("online", ())) == len(row.get("members", ())) for row in rows if row.get("type") == "quorum")

    @contextlib.contextmanager
    def alarm(self):
        """The alarm for memory: it reads no connection any more that publishes."""
        self.control("rabbitmqctl", "set_vm_memory_high_watermark", "absolute", "1")
        try:
            yield
        finally:
            self.control("rabbitmqctl", "set_vm_memory_high_watermark", "0.4")

    # ---- The management API

    def api(self, method, path, body=None):
        """What it answers, as JSON; None: that is not there."""
        request = urllib.request.Request(f"{self.management.split(',', maxsplit=1)[0]}/api/{path}", method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(":".join(self.user).encode()).decode())
        request.add_header("Content-Type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, data, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise AssertionError(f"{method} {path}: {error.code} {error.read()!r}") from error
        return json.loads(text) if text else {}

    def host(self, name=None):
        """A virtual host, new unless it is named, where the first user may do everything."""
        self.hosts += 1
        name = name or f"tests-{os.getpid()}-{self.hosts}"
        self.api("PUT", f"vhosts/{quote(name)}", {})
        self.permit(name, self.user[0])
        return Host(self, name)

    def permit(self, host, user, **permissions):
        self.api("PUT", f"permissions/{quote(host)}/{quote(user)}", {**PERMISSIONS, **permissions})


class Host:
    """A virtual host of a broker, as a native client sees it."""

    def __init__(self, broker, name):
        self.broker, self.name = broker, name

    def options(self):
        """Of a cluster, with everything that it needs on this host but secrets."""
        user = {} if self.broker.user[0] == "guest" else {"user": self.broker.user[0]}
        return {"addresses": self.broker.addresses, "management": self.broker.management, "vhost": self.name, **user}

    def gone(self):
        self.broker.api("DELETE", f"vhosts/{quote(self.name)}")

    def connect(self):
        """A connection of its own; to be closed."""
        address, port = self.broker.addresses.split(",")[0].rsplit(":", 1)
        return pika.BlockingConnection(pika.ConnectionParameters(address, int(port), self.name, pika.PlainCredentials(*self.broker.user), heartbeat=0))

    @contextlib.contextmanager
    def channel(self):
        """A channel with confirms on a connection of its own."""
        connection = self.connect()
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            if connection.is_open:
                connection.close()

    def publish(self, exchange, *messages, routing_key=""):
        """Sends and waits for the confirm of each; a message is its body, or (body, {a property: its value})."""
        with self.channel() as channel:
            for message in messages:
                body, more = message if isinstance(message, tuple) else (message, {})
                key = more.get("routing_key", routing_key)
                rest = {name: value for name, value in more.items() if name != "routing_key"}
                channel.basic_publish(exchange, key, body, pika.BasicProperties(**{"delivery_mode": 2, **rest}), mandatory=True)

    def take(self, queue, count=None, seconds=20):
        """Consumes and acknowledges `count` messages, or all that are there: (method, properties, body) of each."""
        found, deadline = [], time.monotonic() + seconds
        with self.channel() as channel:
            while len(found) != count:
                method, properties, body = channel.basic_get(queue)
                if method:
                    found.append((method, properties, body))
                    channel.basic_ack(method.delivery_tag)
                elif count is None:
                    break
                else:
                    assert time.monotonic() < deadline, f"{len(found)} of {count} messages of {queue} came"
                    time.sleep(0.02)
            self._barrier(channel, queue)
        return found

    @staticmethod
    def _barrier(channel, queue):
        """Behind it the broker has everything that was acknowledged."""
        channel.queue_declare(queue, passive=True)

    def ready(self, queue):
        """How many messages a queue has ready; 0 where it is not there."""
        try:
            with self.channel() as channel:
                return channel.queue_declare(queue, passive=True).method.message_count
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code != 404:
                raise
            return 0

    def purge(self, queue):
        with self.channel() as channel:
            channel.queue_purge(queue)

    def queues(self):
        """{name: its row of the management API}; counts in it are seconds old."""
        return {row["name"]: row for row in self.broker.api("GET", f"queues/{quote(self.name)}")}

    def exchanges(self):
        """{name: its row}, without those that every host has."""
        return {row["name"]: row for row in self.broker.api("GET", f"exchanges/{quote(self.name)}") if row["name"] and not row["name"].startswith("amq.")}

    def declare(self, exchange=None, queue=None, kind="fanout", **arguments):
        """A durable exchange, a durable queue, or both with a binding."""
        with self.channel() as channel:
            if exchange:
                channel.exchange_declare(exchange, kind, durable=True)
            if queue:
                channel.queue_declare(queue, durable=True, arguments={name.replace("_", "-"): value for name, value in arguments.items()})
            if exchange and queue:
                channel.queue_bind(queue, exchange)

    def bind(self, exchange, queue, routing_key=""):
        with self.channel() as channel:
            channel.queue_bind(queue, exchange, routing_key)

    def delete(self, exchange=None, queue=None):
        with self.channel() as channel:
            if exchange:
                channel.exchange_delete(exchange)
            if queue:
                channel.queue_delete(queue)

    @contextlib.contextmanager
    def policy(self, pattern, apply_to="queues", **definition):
        """A policy of an operator's, for a while: message_ttl=1000, …"""
        path = f"policies/{quote(self.name)}/tests"
        self.broker.api("PUT", path, {"pattern": pattern, "apply-to": apply_to, "definition": {name.replace("_", "-"): value for name, value in definition.items()}})
        try:
            yield
        finally:
            self.broker.api("DELETE", path)
