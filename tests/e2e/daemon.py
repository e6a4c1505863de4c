"""mqpaasd itself: started on free ports with a directory of its own, stopped by its process id."""
import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import time

import rest
import wire
from rest import PATIENCE_S, wait_for

ROOT = rest.ROOT
MQPAASD = os.path.join(rest.BUILD, "server", "mqpaasd")
LOCAL = "127.0.0.1:0"
LOCAL_PORT = re.compile(re.escape(LOCAL) + r"(?!\d)")


def run(*options, timeout=PATIENCE_S, **more):
    """Runs it to its end; returns the finished process with its output as text."""
    return subprocess.run([MQPAASD, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False, **more)


class Daemon:
    """A running mqpaasd. Its data and log lie in `folder`; start() may be called again after stop() or kill()."""

    def __init__(self, folder, *options, listen=(LOCAL,), portal=(LOCAL,), start=True, **more):
        self.folder = str(folder)
        self.data = os.path.join(self.folder, "data")
        self.log_path = os.path.join(self.folder, "mqpaasd.log")
        self.options = ["--data-dir", self.data, *options]
        self.listen, self.portal = list(listen), list(portal)
        self.more = more
        self.process = None
        self.expected = ()  # exit statuses, once something has been done to end it
        self.token = None
        self.addresses, self.held = {"clients": [], "rest": [], "control": []}, []
        if start:
            self.start()

    def command(self):
        addresses = [("--listen", address) for address in self.listen] + [("--portal-listen", address) for address in self.portal]
        return [MQPAASD, *self.options, *(part for pair in addresses for part in pair)]

    def start(self, seconds=PATIENCE_S):
        """Starts it and waits until it says that it serves, and where: there again at the next start."""
        read_fd, write_fd = os.pipe()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.command(), "--ready-fd", str(write_fd)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[write_fd], **self.more
            )
        os.close(write_fd)
        self.expected = ()
        self.addresses = {"clients": [], "rest": [], "control": []}
        with os.fdopen(read_fd, "rb", buffering=0) as pipe:
            text, deadline = b"", time.monotonic() + seconds
            while not text.endswith(b"ready\n"):
                readable, _, _ = select.select([pipe], [], [], max(deadline - time.monotonic(), 0))
                assert readable, "not ready in time:\n" + self.log()[-4000:]
                part = pipe.read(4096)
                assert part, f"ended with {self.process.wait()}:\n" + self.log()[-4000:]
                text += part
        for line in text.decode().splitlines()[:-1]:
            what, address = line.split(" ")
            self.addresses[what].append(address)
        self.listen = [LOCAL_PORT.sub(bound, address) for address, bound in zip(self.listen, self.addresses["clients"])]
        self.portal = [LOCAL_PORT.sub(bound, address) for address, bound in zip(self.portal, self.addresses["rest"])]
        self._let_go()
        return self

    def _hold(self):
        """Keeps its addresses while it is away: no other program that asks for any port is given one of them. Connections are refused all the same."""
        for address in self.addresses["clients"] + self.addresses["rest"]:
            host, port = self._split(address)
            held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the daemon has it: both may have it, as one of them listens
            with contextlib.suppress(OSError):
                held.bind((host, port))
            self.held.append(held)

    def _let_go(self):
        for held in self.held:
            held.close()
        self.held = []

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def events(self, id):
        """The log lines with that id."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line["id"] == id]

    def wait_event(self, id, count=1, seconds=PATIENCE_S):
        return wait_for(lambda: len(events := self.events(id)) >= count and events, seconds, f"no {id} in the log:\n{self.log()[-4000:]}")[-1]

    # ---- Ending it

    def signal(self, number):
        self.expected = (0, 1, -signal.SIGKILL)
        self.process.send_signal(number)

    def wait(self, seconds=PATIENCE_S):
        status = self.process.wait(seconds)
        self._hold()
        return status

    def stop(self, seconds=PATIENCE_S):
        """As an operator does: SIGTERM, drain, exit status 0. Sanitizers report through the status too."""
        self.signal(signal.SIGTERM)
        status = self.wait(seconds)
        assert status == 0, f"ended with {status}:\n{self.log()[-4000:]}"

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait()

    def end(self):
        """However the test ended: nothing stays behind, what runs must end well, and nothing has ended by itself."""
        try:
            self._end()
        finally:
            self._let_go()

    def _end(self):
        if self.process and self.process.poll() is not None:
            assert self.process.returncode in self.expected, f"ended with {self.process.returncode}:\n{self.log()[-4000:]}"
        elif self.process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
                return
            self.kill()
            raise AssertionError("it did not end after SIGTERM:\n" + self.log()[-4000:])

    # ---- Speaking to it

    @staticmethod
    def _split(address):
        host, port = address.rsplit(":", 1)
        return host.strip("[]"), int(port)

    @property
    def port(self):
        return self._split(self.addresses["clients"][0])[1]

    @property
    def rest_port(self):
        return self._split(self.addresses["rest"][0])[1]

    @property
    def anonymous(self):
        return rest.Rest(self.rest_port)

    @property
    def admin(self):
        """REST as the first operator, who is made when this is first asked for."""
        if not self.token:
            with open(os.path.join(self.data, "bootstrap-token"), encoding="ascii") as file:
                token = file.read().strip()
            answer = self.anonymous.post("/api/v1/bootstrap", {"token": token, "user": "root", "password": rest.PASSWORD})
            assert answer.status == 201, answer.body
            self.token = answer.json["token"]
        return self.anonymous.with_token(self.token)

    def make(self, path, body):
        """POSTs a resource under /api/v1; returns what was made, once its backend has it."""
        answer = self.admin.post(f"/api/v1/{path}", body)
        assert answer.status == 201, answer.body
        made = answer.json
        if "state" in made:
            target = f"/api/v1/{path}/{rest.quote(made['name'])}"
            wait_for(lambda: self.admin.get(target).json["state"] == "ready", 60, f"{target} does not become ready")
        return made

    def world(self, tenant="acme", topic="orders", group="billing", partitions=1, cluster="local", **limits):
        """A tenant with a topic, a group and a key for both; the key is kept for connect()."""
        self.make("tenants", {"name": tenant, "clusters": [cluster], **({"limits": limits} if limits else {})})
        self.make(f"tenants/{tenant}/topics", {"name": topic, "partitions": partitions})
        self.make(f"tenants/{tenant}/groups", {"name": group, "topic": topic})
        key = self.make(f"tenants/{tenant}/access-keys", {"grants": [{"pattern": "*", "rights": ["produce", "consume"]}]})
        self.key = key["key_id"], key["secret"]
        return self

    def wait_down(self, cluster, *words):
        """Waits until state, list and probe all say why a cluster is down, with these words; returns the text of the state."""
        path = f"/api/v1/clusters/{cluster}"
        state = wait_for(lambda: (found := self.admin.get(f"{path}/state").json)["state"] == "down" and found, what=f"{cluster} is not down")

        def listed():
            return next(row["status"] for row in self.admin.get("/api/v1/clusters").json["items"] if row["name"] == cluster)

        wait_for(lambda: listed() and listed()["state"] == "down", what="not so in the list")
        probe = self.admin.call("POST", f"{path}/probe").json
        assert probe["reachable"] is False
        for text in (state["error"], listed()["error"], probe["error"]):
            assert all(word in text.lower() for word in words), (words, text)
        return state["error"]

    def connect(self, **more):
        return wire.Connection("127.0.0.1", self.port, *self.key, **more)
