"""The REST interface from outside: a small client, and the portal with stand-in proxies to speak to.

Nothing is shared with the daemon's code: requests are written with http.client, answers checked against openapi.yaml.
"""
import dataclasses
import functools
import http.client
import json
import os
import signal
import subprocess
import time
import urllib.parse

import jsonschema
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MQPAAS_BUILD", os.path.join(ROOT, "build"))
PASSWORD = "correct horse battery"
ROLES = ("admin", "operator", "auditor", "tenant_admin", "developer", "viewer")
TENANT_ROLES = ROLES[3:]
TIMEOUT_S = 60  # of a call
PATIENCE_S = 60  # until a condition is true: a machine may be slow, and a long wait has found a fault in any case


def wait_for(condition, seconds=PATIENCE_S, what="it did not come about"):
    """The first true answer of `condition`, asked again until then; what happens is waited for, and no clock fails a slow machine."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
    return answer


def assert_fast(measure, limit_s, tries=5):
    """What `measure` returns is below the limit: at best, for a loaded machine adds to a time now and then, and a fault to each."""
    taken = []
    while not taken or taken[-1] >= limit_s:
        assert len(taken) < tries, taken
        taken.append(measure())


@functools.cache
def contract():
    with open(os.path.join(ROOT, "portal-api", "openapi.yaml"), encoding="utf-8") as file:
        return yaml.safe_load(file)


def operations():
    """(method, path template, operation) of the whole contract."""
    for path, methods in contract()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The stable code of a problem; OK otherwise."""
        return self.json["code"] if self.headers.get("content-type") == "application/problem+json" else "OK"


def find_operation(method, target):
    parts = urllib.parse.urlsplit(target).path.split("/")
    best = None
    for template in contract()["paths"]:
        wanted = template.split("/")
        if len(wanted) == len(parts) and all(w == p or w.startswith("{") for w, p in zip(wanted, parts)):
            if best is None or template.count("{") < best.count("{"):
                best = template
    return contract()["paths"].get(best, {}).get(method.lower()) if best else None


def resolve(node):
    while "$ref" in node:
        target = contract()
        for part in node["$ref"].split("/")[1:]:
            target = target[part]
        node = target
    return node


def check_answer(method, target, answer):
    """Fails unless the contract lists this answer and its body fits the schema."""
    if answer.headers.get("content-type") == "application/problem+json":
        jsonschema.validate(answer.json, {"$ref": "#/components/schemas/Problem", "components": contract()["components"]})
        assert answer.json["status"] == answer.status
    operation = find_operation(method, target)
    if operation is None or method == "HEAD":
        return
    responses = operation["responses"]
    assert str(answer.status) in responses, f"{method} {target}: {answer.status} is not in the contract: {answer.body[:300]}"
    response = resolve(responses[str(answer.status)])
    for name, header in response.get("headers", {}).items():
        assert not header.get("required") or name.lower() in answer.headers, f"{method} {target}: no {name}"
    content = response.get("content")
    if not content:
        assert answer.body == b""
        return
    kind = answer.headers["content-type"].split(";")[0]
    assert kind in content, f"{method} {target}: {kind} is not in the contract"
    if kind.endswith("json"):
        jsonschema.validate(answer.json, {**content[kind]["schema"], "components": contract()["components"]})


class Rest:
    """Calls with one token. Every answer is checked against the contract."""

    def __init__(self, port, token=None, host="127.0.0.1"):
        self.host, self.port, self.token = host, port, token

    def with_token(self, token):
        return Rest(self.port, token, self.host)

    def call(self, method, target, body=None, headers=None, check=True):
        headers = dict(headers or {})
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()
        if check:
            check_answer(method, target, answer)
        return answer

    def get(self, target, **more):
        return self.call("GET", target, **more)

    def post(self, target, body=None, **more):
        return self.call("POST", target, {} if body is None else body, **more)

    def put(self, target, body, **more):
        return self.call("PUT", target, body, **more)

    def delete(self, target, **more):
        return self.call("DELETE", target, **more)


def quote(name):
    return urllib.parse.quote(name, safe="")


# What the stand-in proxies say unless a test says otherwise.
ANSWERS = {
    "TOTALS": {"proxy": "standin", "uptime_ms": 1, "connections": 0, "tenants": []},
    "CLIENTS": {"clients": []},
    "KICK": {"kicked": 0},
    "BACKLOG": {"partitions": [], "dead": 0, "at_most": False},
    "PROBE": {"reachable": True, "version": "1", "nodes": 1, "durability": "D2", "durability_reason": "group commit", "capabilities": {"history": True}, "latency_us": 5},
    "CLUSTER_STATE": {"state": "ready", "circuit": "closed", "latency_us": 5},
    "CLUSTER_STATES": {"clusters": []},
    "CLUSTER_EXISTING": {"topics": [], "groups": []},
    "DAMAGE": {"damage": [{"class": "D2", "kind": "messages", "topic": 0, "group": None, "partition": 0, "first": 5, "end": 9, "found_ms": 1, "problem": "gone"}]},
    "TOPIC_CREATE": {},
    "TOPIC_CHANGE": {},
    "TOPIC_DELETE": {},
    "TOPIC_DESCRIBE": {"partitions": [{"partition": 0, "first": 0, "end": 5, "messages": None, "bytes": 500, "oldest_ms": 1}]},
    "GROUP_CREATE": {},
    "GROUP_DELETE": {},
    "GROUP_RESET": {"partitions": [{"partition": 0, "from": 5, "to": 0, "skipped": 0, "replayed": 5}]},
    "GROUP_PURGE": {"messages": 5},
    "TOPIC_PURGE": {"messages": 5, "bytes": 500},
    "TOPIC_SKIP": {"partitions": [{"partition": 0, "first": 5, "end": 9}]},
    "MESSAGES": {"messages": [], "next": None},
}


class Portal:
    """A portal_standin process and its folder."""

    def __init__(self, folder, **settings):
        self.folder = str(folder)
        self.settings = [f"{name}={value}" for name, value in settings.items()]
        self.answers = {ask: {"code": "OK", "answer": answer} for ask, answer in ANSWERS.items()}
        self.write_answers()
        self.start()

    def write_answers(self):
        path = os.path.join(self.folder, "answers.json")
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.answers, file)
        os.replace(path + ".new", path)

    def answer(self, ask, answer=None, code="OK", text=None, delay_ms=0):
        """What the proxies say to a query from now on."""
        self.answers[ask] = {"code": code, "answer": ANSWERS[ask] if answer is None else answer, "text": text, "delay_ms": delay_ms}
        self.write_answers()

    def asked(self, ask):
        """The parameters of every such query so far."""
        try:
            with open(os.path.join(self.folder, "asked.jsonl"), encoding="utf-8") as file:
                lines = [json.loads(line) for line in file]
        except FileNotFoundError:
            return []
        return [line["parameters"] for line in lines if line["query"] == ask]

    def start(self):
        program = os.path.join(BUILD, "tests", "portal_standin")
        self.process = subprocess.Popen([program, self.folder, *self.settings], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())
        self.anonymous = Rest(self.port)

    def stop(self):
        """Ends it in order; sanitizers report through the exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE_S)
        self.process.stdin.close()
        self.process.stdout.close()
        assert status == 0

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def bootstrap(self):
        with open(os.path.join(self.folder, "bootstrap-token"), encoding="ascii") as file:
            token = file.read().strip()
        answer = self.anonymous.post("/api/v1/bootstrap", {"token": token, "user": "root", "password": PASSWORD})
        assert answer.status == 201, answer.body
        return self.anonymous.with_token(answer.json["token"])


class World:
    """A portal with two tenants that each have a topic, a group, a key, and one caller per role in tenant `a`."""

    def __init__(self, portal):
        self.portal = portal
        self.admin = portal.bootstrap()
        assert self.admin.post("/api/v1/clusters", {"name": "main", "kind": "embedded"}).status == 201
        self.keys = {}
        for tenant in "ab":
            assert self.admin.post("/api/v1/tenants", {"name": tenant, "clusters": ["main"]}).status == 201
            base = f"/api/v1/tenants/{tenant}"
            assert self.admin.post(f"{base}/topics", {"name": "orders", "partitions": 2}).status == 201
            assert self.admin.post(f"{base}/groups", {"name": "billing", "topic": "orders"}).status == 201
            key = self.admin.post(f"{base}/access-keys", {"grants": [{"pattern": "*", "rights": ["produce", "consume"]}]})
            assert key.status == 201
            self.keys[tenant] = key.json["key_id"]
        self.roles = {role: self.caller(role, "a" if role in TENANT_ROLES else None) for role in ROLES}
        wait_for(self.is_made, what="topics and groups that are ready")

    def is_made(self):
        """Whether the backend has everything: what the portal does by itself later would mix with a test's own changes."""
        rows = [row for tenant in "ab" for kind in ("topics", "groups") for row in self.admin.get(f"/api/v1/tenants/{tenant}/{kind}").json["items"]]
        return all(row["state"] == "ready" for row in rows)

    def caller(self, role, tenant, name=None):
        body = {"name": name or f"{role}-{tenant}", "role": role}
        if tenant:
            body["tenant"] = tenant
        answer = self.admin.post("/api/v1/tokens", body)
        assert answer.status == 201, answer.body
        return self.portal.anonymous.with_token(answer.json["token"])
