"""Running it: audit log, definitions, backups, health and metrics."""
import os
import sqlite3

import rest
from rest_fixtures import *  # noqa: F401,F403  pylint: disable=wildcard-import,unused-wildcard-import

A = "/api/v1/tenants/a"


def test_every_change_is_in_the_audit_log_with_old_and_new(world):
    assert world.roles["operator"].put(A, {"limits": {"produce_tps": 5}}).status == 200
    entry = world.admin.get("/api/v1/audit?limit=1").json["items"][0]
    assert (entry["actor"], entry["action"], entry["kind"], entry["resource"], entry["tenant"]) == ("token:operator-None", "update", "tenant", "a", "a")
    assert entry["old"]["limits"]["produce_tps"] is None and entry["new"]["limits"]["produce_tps"] == 5
    assert entry["address"] == "127.0.0.1"
    assert world.admin.delete(f"{A}/groups/billing?force=true").status == 204
    gone = world.admin.get("/api/v1/audit?action=delete").json["items"]
    assert any(row["resource"] == "billing" and row["new"] is None for row in gone)


def test_refused_changes_leave_no_trace(world):
    before = world.admin.get("/api/v1/audit/verify").json["entries"]
    for body in ({"limits": {"produce_tps": 0}}, {"nothing": 1}, {"clusters": ["nowhere"]}):
        assert world.admin.put(A, body).status == 400
    assert world.admin.put(A, {"suspended": True}, headers={"If-Match": '"1000000"'}).status == 412
    assert world.roles["viewer"].put(A, {"suspended": True}).status == 403
    assert world.admin.put(A, {}).status == 200
    assert world.admin.get("/api/v1/audit/verify").json["entries"] == before


def test_audit_pages_and_filters(world):
    entries, cursor = [], None
    while True:
        page = world.admin.get("/api/v1/audit?limit=4" + (f"&cursor={rest.quote(cursor)}" if cursor else "")).json
        entries += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    numbers = [entry["seq"] for entry in entries]
    assert numbers == list(range(len(numbers), 0, -1))
    own = world.roles["tenant_admin"].get(f"{A}/audit?limit=500").json["items"]
    assert own and all(entry["tenant"] == "a" for entry in own)
    assert world.roles["developer"].get(f"{A}/audit").status == 403


def test_tampering_is_found(world):
    assert world.admin.get("/api/v1/audit/verify").json["ok"] is True
    world.portal.stop()
    database = sqlite3.connect(os.path.join(world.portal.folder, "registry.db"))
    table = next(name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if "audit" in name)
    database.execute(f"UPDATE {table} SET actor = 'user:mallory' WHERE rowid = 3")
    database.commit()
    database.close()
    world.portal.start()
    verdict = rest.Rest(world.portal.port, world.admin.token).get("/api/v1/audit/verify").json
    assert verdict["ok"] is False and verdict["first_bad"] == 3


def test_definitions_travel(world, tmp_path_factory):
    document = world.admin.get("/api/v1/definitions").json
    assert {tenant["name"] for tenant in document["tenants"]} == {"a", "b"}
    again = world.admin.put("/api/v1/definitions", document).json
    assert (again["created"], again["updated"]) == (0, 0) and again["unchanged"] > 0
    other = rest.Portal(tmp_path_factory.mktemp("other"))
    admin = other.bootstrap()
    preview = admin.put("/api/v1/definitions?preview=true", document).json
    assert preview["preview"] is True and preview["created"] > 0
    assert admin.get("/api/v1/tenants").json["items"] == []
    done = admin.put("/api/v1/definitions", document).json
    assert done["created"] == preview["created"] and done["changes"] == preview["changes"]
    assert admin.get("/api/v1/definitions").json == document
    other.stop()


def test_definitions_are_all_or_nothing(world):
    document = {"format": 1, "tenants": [{"name": "c", "clusters": ["main"]}, {"name": "d", "clusters": ["nowhere"]}]}
    answer = world.admin.put("/api/v1/definitions", document)
    assert answer.status == 400
    assert {tenant["name"] for tenant in world.admin.get("/api/v1/tenants").json["items"]} == {"a", "b"}
    assert world.admin.put("/api/v1/definitions", {"format": 2}).status == 400


def test_large_definitions(world):
    topics = [{"name": f"topic-{number}"} for number in range(5000)]
    answer = world.admin.put("/api/v1/definitions", {"format": 1, "tenants": [{"name": "a", "topics": topics}]})
    assert answer.status == 200 and answer.json["created"] == 5000


def test_backup_and_restore_while_running(world):
    made = world.admin.post("/api/v1/backups", {"name": "monday"})
    assert made.status == 201 and made.headers["location"] == "/api/v1/backups/monday" and made.json["bytes"] > 0
    assert world.admin.post("/api/v1/backups", {"name": "monday"}).status == 409
    revision = world.admin.get("/api/v1/system").json["revision"]
    assert world.admin.delete(f"{A}?force=true").status == 204
    restored = world.admin.call("POST", "/api/v1/backups/monday/restore")
    assert restored.status == 200 and restored.json["revision"] > revision
    admin = world.portal.anonymous.with_token(world.portal.anonymous.post("/api/v1/sessions", {"user": "root", "password": rest.PASSWORD}).json["token"])
    assert admin.get(f"{A}/topics/orders").status == 200
    names = [backup["name"] for backup in admin.get("/api/v1/backups").json["items"]]
    assert names == sorted(names) and {"monday", restored.json["saved_as"]} <= set(names)
    assert admin.get("/api/v1/audit/verify").json["ok"] is True
    assert admin.call("POST", f"/api/v1/backups/{restored.json['saved_as']}/restore").status == 200


def test_backups_that_are_not(world):
    assert world.admin.call("POST", "/api/v1/backups/none/restore").status == 404
    for name in ("..", "a/b", "", "A", "-x", "x" * 65, "a.db"):
        assert world.admin.post("/api/v1/backups", {"name": name}).status == 400
    folder = os.path.join(world.portal.folder, "backups")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "broken.db"), "wb") as file:
        file.write(b"SQLite format 3\0" + b"x" * 5000)
    assert world.admin.call("POST", "/api/v1/backups/broken/restore").status == 400
    assert world.admin.get(A).status == 200


def test_backups_are_paged(world):
    for name in "abcde":
        assert world.admin.post("/api/v1/backups", {"name": name}).status == 201
    first = world.admin.get("/api/v1/backups?limit=3").json
    second = world.admin.get(f"/api/v1/backups?limit=3&cursor={first['next']}").json
    assert [row["name"] for row in first["items"] + second["items"]] == list("abcde") and second["next"] is None


def test_health(world):
    assert world.portal.anonymous.get("/livez").json == {"status": "ok"}
    ready = world.portal.anonymous.get("/readyz")
    assert ready.status == 200 and {check["name"]: check["ok"] for check in ready.json["checks"]} == {"registry": True, "configuration": True, "proxy": True}


def test_strangers_learn_nothing_about_clusters(world):
    """How many are not well; which, where and why is for callers that may see clusters."""
    id = world.admin.get("/api/v1/clusters/main").json["id"]
    world.portal.answer("CLUSTER_STATES", {"clusters": [{"id": id, "state": "down", "circuit": "open", "latency_us": None, "error": "10.1.2.3:9092: librdkafka: refused"}]})
    rest.wait_for(lambda: world.portal.anonymous.get("/readyz").status == 503)
    for caller in (world.portal.anonymous, world.portal.anonymous.with_token("wrong"), world.roles["tenant_admin"], world.roles["viewer"]):
        answer = caller.get("/readyz")
        checks = {check["name"]: check["detail"] for check in answer.json["checks"] if not check["ok"]}
        assert answer.status == 503 and checks == {"clusters": "1 of 1 not ready; with a token: which and why"}
    for role in ("admin", "operator", "auditor"):
        checks = {check["name"]: check["detail"] for check in world.roles[role].get("/readyz").json["checks"] if not check["ok"]}
        assert checks == {"cluster main": "down: 10.1.2.3:9092: librdkafka: refused"}


def test_not_ready_without_a_proxy(portal):
    portal.stop()
    portal.answer("TOTALS", code="TIMEOUT")
    portal.start()
    ready = portal.anonymous.get("/readyz")
    assert ready.status == 503 and ready.json["ready"] is False
    assert {check["name"]: check["ok"] for check in ready.json["checks"]}["proxy"] is False
    assert portal.anonymous.get("/livez").status == 200


def test_system(world):
    system = world.roles["viewer"].get("/api/v1/system").json
    assert system["version"] == "standin" and system["bootstrapped"] and system["uptime_ms"] >= 0
