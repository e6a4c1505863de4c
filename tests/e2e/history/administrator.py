"""An administrator beside the load: topics, groups and keys are made, listed, changed, reset, purged and deleted, over and over, whatever fails.

Each call is noted with its beginning and end, and so is the time until what was made is there; that they end in time is the
checker's business. The last round comes when nothing fails any more: all of its calls must succeed.
"""
import http.client
import itertools
import threading
import time

from history import checker
from rest import TIMEOUT_S

READY_MS = 60000  # until what was made is there, also when the daemon and its backend were away for a while
PAUSE_S = 0.1
BROKEN = (OSError, http.client.HTTPException, KeyError, IndexError)  # the daemon is away, or just starting


class Away(Exception):
    """A call had no answer, or not the one that the round needs."""


class Administrator:
    """Works until ended. `options`: what topics are made of, in turn."""

    def __init__(self, daemon, options, tenant="acme"):
        self.daemon, self.options, self.base = daemon, list(options), f"/api/v1/tenants/{tenant}"
        self.calls, self.refused, self.rounds = [], [], 0
        self.last = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _call(self, what, method, path, body=None):
        """The answer, of whatever status; each is noted."""
        call = checker.Call(f"{what} ({method} {path})", time.monotonic_ns(), TIMEOUT_S * 1000, answered=True)
        self.calls.append(call)
        try:
            answer = self.daemon.admin.call(method, self.base + path, body)
        except BROKEN as fault:
            call.answered = not isinstance(fault, TimeoutError)
            raise Away(f"{what}: {fault!r}") from fault
        finally:
            call.end = time.monotonic_ns()
        return answer

    def _do(self, what, method, path, body=None):
        time.sleep(PAUSE_S)
        answer = self._call(what, method, path, body)
        if answer.status >= 300:
            raise Away(f"{what}: {answer.status} {answer.body[:300]}")
        return answer.json if answer.body else None

    def _ready(self, path):
        """Waits until it is there; a daemon that is away is asked again."""
        call = checker.Call(f"until {path} is ready", time.monotonic_ns(), READY_MS, answered=True, until=time.monotonic_ns())
        self.calls.append(call)
        while True:
            try:
                answer = self._call("state", "GET", path)
            except Away:
                answer = None
            call.until = time.monotonic_ns()
            if answer and (answer.status == 404 or (answer.status == 200 and answer.json["state"] in ("ready", "failed"))):
                call.end = call.until
                if answer.status == 200 and answer.json["state"] == "failed":
                    raise Away(f"{path}: {answer.json['state_reason']}")
                return
            if call.until - call.begin > 2 * READY_MS * 1_000_000:
                raise Away(f"{path} is not ready: {answer and answer.body[:300]}")
            time.sleep(PAUSE_S)

    def _round(self, name, options):
        topic, group = f"/topics/{name}", f"/groups/{name}"
        self._do("make topic", "POST", "/topics", {"name": name, "partitions": 1, **options})
        self._ready(topic)
        self._do("make group", "POST", "/groups", {"name": name, "topic": name})
        self._ready(group)
        key = self._do("make key", "POST", "/access-keys", {"grants": [{"pattern": name, "rights": ["consume"]}]})
        for kind in ("topics", "groups", "access-keys"):
            self._do(f"list {kind}", "GET", f"/{kind}")
        self._do("change topic", "PUT", topic, {"retention_ms": 3600000})
        self._do("change group", "PUT", group, {"visibility_ms": 20000})
        self._do("change key", "PUT", f"/access-keys/{key['key_id']}", {"description": "of this round"})
        self._do("reset", "POST", f"{group}/reset", {"to": {"at": "earliest"}})
        self._do("purge", "POST", f"{topic}/purge", {})
        self._do("delete key", "DELETE", f"/access-keys/{key['key_id']}")
        self._do("delete group", "DELETE", group)
        self._do("delete topic", "DELETE", f"{topic}?force=true")

    def _run(self):
        for number, options in zip(itertools.count(1), itertools.cycle(self.options)):
            last = self.last.is_set()
            try:
                self._round(f"beside-{number}", options)
                self.rounds += 1
            except Away as fault:
                self.refused.append(str(fault))
                self.failure = str(fault) if last else None
                time.sleep(PAUSE_S)
            if last:
                return

    def end(self):
        """After a last round, in which nothing may fail."""
        self.last.set()
        self.thread.join(300)
        assert not self.thread.is_alive() and not self.failure, (self.failure, self.refused[-5:])
