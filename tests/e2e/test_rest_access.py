"""Who may come in: the first user, logging in and out, tokens, guessing, and rights that are taken meanwhile."""
import concurrent.futures
import http.client
import json
import os
import time

import pytest
import rest
from rest_fixtures import *  # noqa: F401,F403  pylint: disable=wildcard-import,unused-wildcard-import


def test_bootstrap_works_once_and_only_with_the_token(portal):
    with open(os.path.join(portal.folder, "bootstrap-token"), encoding="ascii") as file:
        token = file.read().strip()
    body = {"token": "guess", "user": "root", "password": rest.PASSWORD}
    assert portal.anonymous.post("/api/v1/bootstrap", body).status in (401, 403)
    made = portal.anonymous.post("/api/v1/bootstrap", {**body, "token": token})
    assert made.status == 201 and made.json["role"] == "admin" and made.json["tenant"] is None
    assert portal.anonymous.post("/api/v1/bootstrap", {**body, "token": token}).status in (403, 409)
    assert portal.anonymous.with_token(made.json["token"]).get("/api/v1/system").json["bootstrapped"] is True


def test_there_is_no_default_password(portal):
    for user in ("root", "admin", "operator"):
        for password in ("admin", "root", "password", "mqpaas", user):
            assert portal.anonymous.post("/api/v1/sessions", {"user": user, "password": password}).status in (401, 429)


def test_short_password_is_refused(portal):
    answer = portal.anonymous.post("/api/v1/bootstrap", {"token": "x", "user": "root", "password": "short"})
    assert answer.status == 400 and answer.json["errors"][0]["field"] == "/password"


def test_login_and_logout(portal):
    portal.bootstrap()
    session = portal.anonymous.post("/api/v1/sessions", {"user": "root", "password": rest.PASSWORD})
    assert session.status == 201 and session.headers["location"] == "/api/v1/me"
    caller = portal.anonymous.with_token(session.json["token"])
    me = caller.get("/api/v1/me").json
    assert (me["kind"], me["name"], me["role"]) == ("session", "root", "admin")
    assert me["expires_ms"] == session.json["expires_ms"] > time.time() * 1000
    assert caller.delete("/api/v1/me/session").status == 204
    assert caller.get("/api/v1/me").status == 401


def test_wrong_name_and_wrong_password_answer_alike(portal):
    portal.bootstrap()
    unknown = portal.anonymous.post("/api/v1/sessions", {"user": "nobody", "password": rest.PASSWORD})
    wrong = portal.anonymous.post("/api/v1/sessions", {"user": "root", "password": rest.PASSWORD + "x"})
    assert unknown.status == wrong.status == 401 and unknown.body == wrong.body


def test_guessing_is_slowed_down(portal):
    portal.bootstrap()
    answers = [portal.anonymous.post("/api/v1/sessions", {"user": "root", "password": f"guess number {n}"}) for n in range(12)]
    assert [answer.status for answer in answers[:10]] == [401] * 10
    assert answers[-1].status == 429 and answers[-1].code == "THROTTLED"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert portal.anonymous.post("/api/v1/sessions", {"user": "root", "password": rest.PASSWORD}).status == 429


def test_password_change_ends_other_sessions(portal):
    admin = portal.bootstrap()
    other = portal.anonymous.with_token(portal.anonymous.post("/api/v1/sessions", {"user": "root", "password": rest.PASSWORD}).json["token"])
    assert admin.put("/api/v1/me/password", {"old": "wrong", "new": rest.PASSWORD + "2"}).status == 403
    assert other.get("/api/v1/me").status == 200
    assert admin.put("/api/v1/me/password", {"old": rest.PASSWORD, "new": rest.PASSWORD + "2"}).status == 204
    assert other.get("/api/v1/me").status == 401
    assert admin.get("/api/v1/me").status == 200
    assert portal.anonymous.post("/api/v1/sessions", {"user": "root", "password": rest.PASSWORD}).status == 401
    assert portal.anonymous.post("/api/v1/sessions", {"user": "root", "password": rest.PASSWORD + "2"}).status == 201


def test_disabled_user(world):
    assert world.admin.post("/api/v1/users", {"name": "ann", "role": "viewer", "tenant": "a", "password": rest.PASSWORD}).status == 201
    ann = world.portal.anonymous.with_token(world.portal.anonymous.post("/api/v1/sessions", {"user": "ann", "password": rest.PASSWORD}).json["token"])
    assert ann.get("/api/v1/tenants/a").status == 200
    assert world.admin.put("/api/v1/users/ann", {"disabled": True}).status == 200
    assert ann.get("/api/v1/tenants/a").status == 401
    assert world.portal.anonymous.post("/api/v1/sessions", {"user": "ann", "password": rest.PASSWORD}).status == 401


def test_tokens_of_machines(world):
    made = world.admin.post("/api/v1/tokens", {"name": "ci", "role": "developer", "tenant": "a"})
    token, one = made.json["token"], made.headers["location"]
    assert one == f"/api/v1/tokens/{made.json['id']}"
    assert "token" not in world.admin.get(one).json
    assert token.encode() not in world.admin.get("/api/v1/tokens").body + world.admin.get("/api/v1/audit?limit=500").body
    machine = world.portal.anonymous.with_token(token)
    assert machine.get("/api/v1/me").json["kind"] == "token"
    assert machine.delete("/api/v1/me/session").status == 409
    assert machine.put("/api/v1/me/password", {"old": "x", "new": rest.PASSWORD}).status == 409
    assert world.admin.delete(one).status == 204
    assert machine.get("/api/v1/me").status == 401


def test_expired_token(world):
    made = world.admin.post("/api/v1/tokens", {"name": "old", "role": "viewer", "tenant": "a", "expires_ms": 1000})
    if made.status == 201:
        assert world.portal.anonymous.with_token(made.json["token"]).get("/api/v1/me").status == 401
    else:
        assert made.status == 400


def test_roles_and_tenants_fit(world):
    for body in ({"role": "viewer"}, {"role": "admin", "tenant": "a"}, {"role": "viewer", "tenant": "nowhere"}, {"role": "king"}):
        assert world.admin.post("/api/v1/tokens", {"name": "x", **body}).status == 400
        assert world.admin.post("/api/v1/users", {"name": "x", "password": rest.PASSWORD, **body}).status == 400


def test_the_last_admin_stays(world):
    """No administrator can lock all others out."""
    assert world.admin.delete("/api/v1/users/root").status == 409
    assert world.admin.put("/api/v1/users/root", {"disabled": True}).status == 409
    assert world.admin.put("/api/v1/users/root", {"role": "auditor"}).status == 409
    assert world.admin.get("/api/v1/me").status == 200


def test_tokens_and_passwords_are_not_in_any_file(world):
    token = world.roles["admin"].token
    for name in ("registry.db", "registry.db-wal", "catalog.copy"):
        path = os.path.join(world.portal.folder, name)
        if os.path.exists(path):
            with open(path, "rb") as file:
                data = file.read()
            assert token.encode() not in data and rest.PASSWORD.encode() not in data


def test_sessions_survive_a_restart(world):
    world.portal.stop()
    world.portal.start()
    assert rest.Rest(world.portal.port, world.admin.token).get("/api/v1/me").status == 200


# ---- a right that is taken between the first look and its use


class Slow:
    """A request whose head has been judged and whose body is held back."""

    def __init__(self, caller, method, target, body):
        self.body = json.dumps(body).encode()
        self.connection = http.client.HTTPConnection(caller.host, caller.port, timeout=60)
        self.connection.putrequest(method, target)
        for name, value in {"Authorization": f"Bearer {caller.token}", "Content-Type": "application/json", "Content-Length": len(self.body), "Expect": "100-continue"}.items():
            self.connection.putheader(name, value)
        self.connection.endheaders()
        assert self.connection.sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"

    def status(self):
        self.connection.send(self.body)
        response = self.connection.getresponse()
        response.read()
        self.connection.close()
        return response.status


def login(world, name, role, tenant="a"):
    assert world.admin.post("/api/v1/users", {"name": name, "role": role, "tenant": tenant, "password": rest.PASSWORD}).status == 201
    return world.portal.anonymous.with_token(world.portal.anonymous.post("/api/v1/sessions", {"user": name, "password": rest.PASSWORD}).json["token"])


@pytest.mark.parametrize("how, status", [("nothing", 201), ("disable", 401), ("delete", 401), ("password", 401), ("role", 403), ("tenant", 404)])
def test_right_is_taken_while_the_body_arrives(world, how, status):
    ann = login(world, "ann", "developer")
    request = Slow(ann, "POST", "/api/v1/tenants/a/topics", {"name": "late"})
    if how == "delete":
        assert world.admin.delete("/api/v1/users/ann").status == 204
    elif how != "nothing":
        change = {"disable": {"disabled": True}, "password": {"password": rest.PASSWORD + "2"}, "role": {"role": "viewer"}, "tenant": {"tenant": "b"}}[how]
        assert world.admin.put("/api/v1/users/ann", change).status == 200
    assert request.status() == status
    assert (world.admin.get("/api/v1/tenants/a/topics/late").status == 200) == (status == 201)


def test_tokens_right_is_taken_while_the_body_arrives(world):
    made = world.admin.post("/api/v1/tokens", {"name": "late", "role": "admin"}).json
    request = Slow(world.portal.anonymous.with_token(made["token"]), "POST", "/api/v1/users", {"name": "eve", "role": "admin", "password": rest.PASSWORD})
    assert world.admin.delete(f"/api/v1/tokens/{made['id']}").status == 204
    assert request.status() == 401
    assert world.admin.get("/api/v1/users/eve").status == 404


def test_right_is_taken_while_the_proxies_are_asked(world):
    """What was read for a user is not shown once the user may not read it any more."""
    row = {"partition": 0, "offset": 1, "time_ms": 1, "key": None, "body": "c2VjcmV0", "headers": [], "attempt": 1}
    world.portal.answer("MESSAGES", {"messages": [row], "next": None}, delay_ms=2500)
    ann = login(world, "ann", "developer")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(ann.get, "/api/v1/tenants/a/topics/orders/messages?bodies=true", check=False)
        rest.wait_for(lambda: world.portal.asked("MESSAGES"))
        assert world.admin.put("/api/v1/users/ann", {"role": "viewer"}).status == 200
        assert reading.result().status == 403


def test_import_needs_its_right_when_it_is_done(world):
    world.portal.answer("CLUSTER_EXISTING", {"topics": [{"name": "old", "partitions": 1, "replication": 1}], "groups": []}, delay_ms=2500)
    made = world.admin.post("/api/v1/tokens", {"name": "importer", "role": "operator"}).json
    importer = world.portal.anonymous.with_token(made["token"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        importing = pool.submit(importer.post, "/api/v1/clusters/main/import", {"tenant": "a", "topics": [{"physical": "old"}]}, check=False)
        rest.wait_for(lambda: world.portal.asked("CLUSTER_EXISTING"))
        assert world.admin.delete(f"/api/v1/tokens/{made['id']}").status == 204
        assert importing.result().status == 401
    assert world.admin.get("/api/v1/tenants/a/topics/old").status == 404


def test_sessions_end_with_a_disabled_user_and_a_set_password(world):
    ann = login(world, "ann", "viewer")
    assert world.admin.put("/api/v1/users/ann", {"disabled": True}).status == 200
    assert world.admin.put("/api/v1/users/ann", {"disabled": False}).status == 200
    assert ann.get("/api/v1/me").status == 401
    again = world.portal.anonymous.with_token(world.portal.anonymous.post("/api/v1/sessions", {"user": "ann", "password": rest.PASSWORD}).json["token"])
    assert world.admin.put("/api/v1/users/ann", {"password": rest.PASSWORD + "2"}).status == 200
    assert again.get("/api/v1/me").status == 401
