"""What takes long is done beside the portal's thread: everybody else is answered meanwhile.

No clock is asked: forty passwords keep the background jobs busy, and what is answered before they are is seen from the order of answers.
"""
import http.client
import json
import os
import select

import rest
from rest_fixtures import *  # noqa: F401,F403  pylint: disable=wildcard-import,unused-wildcard-import

ADDRESSES, TRIES = 5, 8  # an address may try ten at a time


class Open:
    """A request that has been sent and whose answer is not waited for yet."""

    def __init__(self, caller, target, body, address="127.0.0.1"):
        self.connection = http.client.HTTPConnection(caller.host, caller.port, timeout=60, source_address=(address, 0))
        headers = {"Authorization": f"Bearer {caller.token}"} if caller.token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.target = target
        self.connection.request("POST", target, body=None if body is None else json.dumps(body), headers=headers)

    def answered(self):
        return bool(select.select([self.connection.sock], [], [], 0)[0])

    def answer(self):
        response = self.connection.getresponse()
        answer = rest.Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        self.connection.close()
        rest.check_answer("POST", self.target, answer)
        return answer


def logins(world, password=rest.PASSWORD):
    body = {"user": "root", "password": password}
    return [Open(world.portal.anonymous, "/api/v1/sessions", body, f"127.0.0.{2 + n % ADDRESSES}") for n in range(ADDRESSES * TRIES)]


def test_others_are_answered_while_passwords_are_compared(world):
    waiting = logins(world)
    assert world.portal.anonymous.get("/livez").status == 200
    assert world.admin.post("/api/v1/tenants", {"name": "meanwhile"}).status == 201
    assert sum(login.answered() for login in waiting) < len(waiting) // 2
    assert [login.answer().status for login in waiting] == [201] * len(waiting)
    again = logins(world)  # what was right costs no credit
    assert [login.answer().status for login in again] == [201] * len(again)


def test_tries_side_by_side_cost_as_many(world):
    waiting = [Open(world.portal.anonymous, "/api/v1/sessions", {"user": "root", "password": f"guess number {n}"}) for n in range(12)]
    assert sorted(login.answer().status for login in waiting) == [401] * 10 + [429] * 2


def test_others_are_answered_while_a_backup_is_made(world):
    waiting = logins(world)
    backup = Open(world.admin, "/api/v1/backups", {"name": "slow"})
    assert world.portal.anonymous.get("/livez").status == 200
    assert world.admin.post("/api/v1/tenants", {"name": "meanwhile"}).status == 201
    assert not backup.answered()
    assert backup.answer().status == 201 and all(login.answer().status == 201 for login in waiting)


def test_a_restore_loses_nothing_that_is_changed_meanwhile(world):
    assert world.admin.post("/api/v1/backups", {"name": "before"}).status == 201
    waiting = logins(world)
    restore = Open(world.admin, "/api/v1/backups/before/restore", None)
    assert world.admin.call("POST", "/api/v1/backups/before/restore").json["detail"] == "another restore is under way"
    assert world.admin.post("/api/v1/tenants", {"name": "meanwhile"}).status == 201
    assert not restore.answered()
    restored = restore.answer()
    assert restored.status == 200 and all(login.answer().status == 201 for login in waiting)
    admin = world.roles["admin"]  # a machine's token; sessions end
    assert admin.get("/api/v1/tenants/meanwhile").status == 404
    assert not [name for name in os.listdir(world.portal.folder) if ".restore" in name]
    assert admin.call("POST", f"/api/v1/backups/{restored.json['saved_as']}/restore").status == 200
    assert admin.get("/api/v1/tenants/meanwhile").status == 200


def test_stopping_waits_for_what_is_under_way(world):
    waiting = logins(world)
    backup = Open(world.admin, "/api/v1/backups", {"name": "last"})
    assert world.portal.anonymous.get("/livez").status == 200  # what came before is being worked on
    world.portal.stop()
    assert backup.answer().status == 201 and all(login.answer().status == 201 for login in waiting)
    world.portal.start()


def test_a_restore_needs_its_right_when_it_is_done(world):
    assert world.admin.post("/api/v1/backups", {"name": "before"}).status == 201
    made = world.admin.post("/api/v1/tokens", {"name": "restorer", "role": "admin"}).json
    waiting = logins(world)
    restore = Open(world.portal.anonymous.with_token(made["token"]), "/api/v1/backups/before/restore", None)
    assert world.admin.post("/api/v1/tenants", {"name": "meanwhile"}).status == 201
    assert world.admin.delete(f"/api/v1/tokens/{made['id']}").status == 204
    assert not restore.answered()
    assert restore.answer().status == 401 and all(login.answer().status == 201 for login in waiting)
    assert world.admin.get("/api/v1/tenants/meanwhile").status == 200
    assert not [name for name in os.listdir(world.portal.folder) if ".restore" in name]
