"""Clusters, tenants, access keys, topics and groups: made, read, changed, listed and deleted."""
import time

import pytest
import rest
from rest_fixtures import *  # noqa: F401,F403  pylint: disable=wildcard-import,unused-wildcard-import

A = "/api/v1/tenants/a"

# path of the list, body of a new one, a change, name
KINDS = {
    "cluster": ("/api/v1/clusters", {"name": "x", "kind": "discard"}, {"options": {"a": "b"}}, "x"),
    "tenant": ("/api/v1/tenants", {"name": "x"}, {"suspended": True}, "x"),
    "topic": (f"{A}/topics", {"name": "x"}, {"retention_ms": 12345}, "x"),
    "group": (f"{A}/groups", {"name": "x", "topic": "orders"}, {"max_attempts": 3}, "x"),
    "user": ("/api/v1/users", {"name": "x", "role": "viewer", "tenant": "a", "password": rest.PASSWORD}, {"disabled": True}, "x"),
}


def gone(admin, path):
    """Waits until it is: a topic or group passes through "deleting" while its backend lets it go."""
    deadline = time.monotonic() + rest.PATIENCE_S
    while (answer := admin.get(path)).status != 404:
        assert time.monotonic() < deadline and answer.json.get("state") == "deleting", answer.body
        time.sleep(0.02)


def settled(admin, path):
    """Waits until its backend has made it; from then on it changes only when asked."""
    deadline = time.monotonic() + rest.PATIENCE_S
    while (answer := admin.get(path)).json.get("state", "ready") != "ready":
        assert time.monotonic() < deadline, answer.body
        time.sleep(0.02)
    return answer


EACH = pytest.mark.parametrize("path,body,change,name", KINDS.values(), ids=KINDS.keys())


def without_status(json):
    """A cluster is read with how it is doing, which is no part of what was written."""
    return {name: value for name, value in json.items() if name != "status"}


@EACH
def test_life_of_a_resource(world, path, body, change, name):
    admin, one = world.admin, f"{path}/{name}"
    assert admin.get(one).status == 404
    made = admin.post(path, body)
    assert made.status == 201 and made.headers["location"] == one
    again = admin.post(path, body)
    assert again.status == 409 and again.code == "CONFLICT"
    read = settled(admin, one)
    assert read.json["name"] == name and read.json["id"] == made.json["id"]
    changed = admin.put(one, change)
    assert changed.status == 200
    for member, value in change.items():
        assert changed.json[member] == value
    assert changed.headers["etag"] != read.headers["etag"]
    assert without_status(admin.get(one).json) == changed.json
    assert name in [item["name"] for item in admin.get(path).json["items"]]
    preview = admin.delete(f"{one}?preview=true")
    assert preview.status == 200 and name in [row["name"] for row in preview.json["affected"]]
    assert admin.get(one).status == 200
    assert admin.delete(f"{one}?force=true").status == 204
    gone(admin, one)
    assert admin.delete(one).status == 404


@EACH
def test_put_makes_and_may_be_repeated(world, path, body, change, name):
    body = {member: value for member, value in {**body, **change}.items() if member != "name"}
    first = world.admin.put(f"{path}/{name}", body)
    assert first.status == 201 and first.headers["location"] == f"{path}/{name}"
    second = world.admin.put(f"{path}/{name}", body)
    assert second.status == 200
    if "state" not in first.json and "password" not in body:  # a state moves by itself; a password given again is a change
        assert second.json == first.json and second.headers["etag"] == first.headers["etag"]


@EACH
def test_etags(world, path, body, change, name):
    admin, one = world.admin, f"{path}/{name}"
    assert admin.put(one, {}, headers={"If-Match": "*"}).status in (404, 412)
    old = admin.post(path, body).headers["etag"]
    assert admin.put(one, change, headers={"If-Match": '"999999"'}).code == "PRECONDITION_FAILED"
    new = admin.put(one, change, headers={"If-Match": old})
    assert new.status == 200
    lost = admin.put(one, {}, headers={"If-Match": old})
    assert lost.status == 412 and lost.code == "PRECONDITION_FAILED"
    assert admin.delete(f"{one}?force=true", headers={"If-Match": old}).status == 412
    weak = admin.put(one, {}, headers={"If-Match": "W/" + new.headers["etag"]})
    assert weak.status == 412
    assert admin.put(one, {}, headers={"If-Match": f'"5", {old}, W/"7", "x"'}).status == 412
    assert admin.put(one, {}, headers={"If-Match": f'{old},{admin.get(one).headers["etag"]} , "x"'}).status == 200
    assert admin.put(one, {}, headers={"If-Match": "*"}).status == 200
    assert admin.delete(f"{one}?force=true", headers={"If-Match": admin.get(one).headers["etag"]}).status == 204


@EACH
def test_faults_are_named_field_by_field(world, path, body, change, name):
    answer = world.admin.post(path, {**body, "colour": "red", "id": 7})
    assert answer.status == 400 and answer.code == "BAD_REQUEST"
    assert {error["field"] for error in answer.json["errors"]} >= {"/colour"}
    missing = world.admin.post(path, {})
    assert "/name" in {error["field"] for error in missing.json["errors"]}
    ill = world.admin.post(path, {**body, "name": 7, **{member: {"no": "such"} for member in change if member != "options"}})
    assert {error["field"] for error in ill.json["errors"]} >= {"/name"}
    assert world.admin.get(f"{path}/{name}").status == 404


NAMES = ["x", "with space", "a/b", "ü", "é" * 64, "日本語", "a%2Fb", "q?u&e=r#y", "😀", '"quoted"', "back\\slash", "-", "~", "a;b,c", "..."]


@pytest.mark.parametrize("name", NAMES)
def test_names(shared_world, name):
    one = f"{A}/topics/{rest.quote(name)}"
    made = shared_world.admin.post(f"{A}/topics", {"name": name})
    assert made.status == 201, made.body
    assert made.headers["location"] == one
    got = shared_world.admin.get(made.headers["location"])
    assert got.json["name"] == name
    physical = got.json["physical"]
    assert physical.isascii() and len(physical) <= 120 and "_" not in physical and physical == physical.lower()
    assert shared_world.admin.delete(f"{one}?force=true").status == 204


def test_names_are_the_same_in_every_normal_form(world):
    assert world.admin.post(f"{A}/topics", {"name": "cafe\u0301"}).json["name"] == "caf\u00e9"
    assert world.admin.get(f"{A}/topics/{rest.quote('cafe' + chr(0x301))}").status == 200
    assert world.admin.post(f"{A}/topics", {"name": "caf\u00e9"}).status == 409


@pytest.mark.parametrize("name", ["", "a" * 65, "a\nb", "a\u0000b", "\u0085", "\x7f", ".", ".."])
def test_bad_names(shared_world, name):
    assert shared_world.admin.post(f"{A}/topics", {"name": name}).status == 400


def test_lists_are_paged(world):
    for number in range(25):
        assert world.admin.post(f"{A}/topics", {"name": f"t{number:02}"}).status == 201
    names, cursor = [], ""
    while cursor is not None:
        page = world.admin.get(f"{A}/topics?limit=7" + (f"&cursor={rest.quote(cursor)}" if cursor else "")).json
        assert len(page["items"]) <= 7
        names += [item["name"] for item in page["items"]]
        cursor = page["next"]
    assert [name for name in names if name.startswith("t")] == [f"t{number:02}" for number in range(25)]
    assert len(set(names)) == len(names)
    assert [item["name"] for item in world.admin.get(f"{A}/topics?prefix=t2").json["items"]] == [f"t2{number}" for number in range(5)]
    assert world.admin.get(f"{A}/topics?cluster=main&limit=1").json["next"]


def test_tenants_see_themselves_only(shared_world):
    for role in rest.TENANT_ROLES:
        assert [tenant["name"] for tenant in shared_world.roles[role].get("/api/v1/tenants").json["items"]] == ["a"]
    for role in ("admin", "operator", "auditor"):
        assert {tenant["name"] for tenant in shared_world.roles[role].get("/api/v1/tenants").json["items"]} >= {"a", "b"}


def test_tenant_limits(world):
    limits = {"produce_tps": 100, "produce_bps": None, "connections": 5, "over": "reject", "wait_ms": 0}
    made = world.admin.put("/api/v1/tenants/c", {"limits": limits, "clusters": ["main"]})
    assert made.status == 201
    for name, value in limits.items():
        assert made.json["limits"][name] == value
    assert made.json["limits"]["groups"] is None and made.json["limits"]["in_flight"] == 100000
    changed = world.admin.put("/api/v1/tenants/c", {"limits": {"produce_tps": 7}})
    assert changed.json["limits"]["produce_tps"] == 7 and changed.json["limits"]["connections"] == 5
    assert world.admin.put("/api/v1/tenants/c", {"limits": {"in_flight": None}}).json["limits"]["in_flight"] is None
    wrong = world.admin.put("/api/v1/tenants/c", {"limits": {"produce_tps": 0, "over": "maybe", "speed": 1}})
    assert {error["field"] for error in wrong.json["errors"]} == {"/limits/produce_tps", "/limits/over", "/limits/speed"}
    assert world.admin.put("/api/v1/tenants/c", {"clusters": ["nowhere"]}).status == 400


def test_limit_of_topics(world):
    assert world.admin.put(A, {"limits": {"topics": 1}}).status == 200
    answer = world.admin.post(f"{A}/topics", {"name": "one-more"})
    assert answer.status == 403 and answer.code == "LIMIT_EXCEEDED"


@pytest.mark.parametrize("mode", ["shared", "exclusive", "failover"])
def test_modes_of_a_group(shared_world, mode):
    path = f"{A}/groups/mode-{mode}"
    assert shared_world.admin.put(path, {"topic": "orders", "mode": mode}).status == 201
    assert shared_world.admin.get(path).json["mode"] == mode
    answer = shared_world.admin.put(path, {"mode": "failover" if mode == "shared" else "shared"})
    assert (answer.status, answer.code) == (409, "CONFLICT")  # its consumers rely on it
    for unknown in ("key_shared", "broadcast", "alone"):
        answer = shared_world.admin.put(f"{A}/groups/other", {"topic": "orders", "mode": unknown})
        assert answer.status == 400 and b'\\"shared\\", \\"exclusive\\", \\"failover\\"' in answer.body, answer.body


def test_what_cannot_change(world):
    for path, body in ((f"{A}/topics/orders", {"durability": "D1"}), (f"{A}/groups/billing", {"dead_letter": False}), ("/api/v1/clusters/main", {"kind": "discard"})):
        answer = world.admin.put(path, body)
        assert answer.status == 409 and answer.code == "CONFLICT"
    assert world.admin.put(f"{A}/topics/orders", {"durability": "D2"}).status == 200
    answer = world.admin.put(f"{A}/topics/orders", {"partitions": 1})
    assert answer.status == 409 and "cannot become less" in str(answer.json["errors"])


def test_deletion_in_use(world):
    """Refused with what stands in the way; forced it takes all of it."""
    admin = world.admin
    answer = admin.delete(f"{A}/topics/orders")
    assert answer.status == 409 and answer.code == "IN_USE"
    assert {(row["kind"], row["name"]) for row in answer.json["affected"]} >= {("group", "billing")}
    preview = admin.delete(f"{A}/topics/orders?preview=true").json
    assert preview["in_use"] and {row["kind"] for row in preview["affected"]} >= {"topic", "group"}
    assert admin.delete("/api/v1/clusters/main").code == "IN_USE"
    assert admin.delete(A).code == "IN_USE"
    assert admin.get(f"{A}/groups/billing").status == 200
    assert admin.delete(f"{A}/topics/orders?force=true").status == 204
    gone(admin, f"{A}/topics/orders")
    gone(admin, f"{A}/groups/billing")
    assert admin.delete(f"{A}?force=true").status == 204
    gone(admin, A)
    assert admin.get(f"{A}/topics").status == 404


def test_dead_letter_topic_comes_with_the_group(world):
    group = world.admin.get(f"{A}/groups/billing").json
    topic = world.admin.get(f"{A}/topics/{group['dead_letter_topic']}").json
    assert topic["dead_letter_of"] == "billing"
    plain = world.admin.post(f"{A}/groups", {"name": "plain", "topic": "orders", "dead_letter": False}).json
    assert plain["dead_letter_topic"] is None


def test_access_key_secrets_are_shown_once(world):
    made = world.admin.post(f"{A}/access-keys", {"description": "shop", "grants": [{"pattern": "orders", "rights": ["produce"]}], "allow": ["10.0.0.0/8", "::1"], "deny": ["10.1.2.3"]})
    assert made.status == 201
    secret, one = made.json["secret"], f"{A}/access-keys/{made.json['key_id']}"
    assert len(secret) >= 43 and made.headers["location"] == one
    assert "secret" not in world.admin.get(one).json
    everything = b"".join(world.admin.get(path).body for path in (f"{A}/access-keys", "/api/v1/audit?limit=500", "/api/v1/definitions"))
    assert secret.encode() not in everything
    changed = world.admin.put(one, {"disabled": True, "expires_ms": 1})
    assert changed.json["disabled"] and changed.json["expires_ms"] == 1
    assert changed.json["grants"] == made.json["grants"] and changed.json["deny"] == ["10.1.2.3"]
    assert world.admin.put(f"{A}/access-keys/none", {}).status == 404
    assert world.admin.delete(one).status == 204
    assert world.admin.get(one).status == 404


def test_access_key_rotation(world):
    old = world.keys["a"]
    new = world.admin.post(f"{A}/access-keys/{old}/rotate", {"old_valid_ms": 60000})
    assert new.status == 201 and new.json["key_id"] != old and new.json["secret"]
    assert new.headers["location"] == f"{A}/access-keys/{new.json['key_id']}"
    assert new.json["grants"] == world.admin.get(f"{A}/access-keys/{old}").json["grants"]
    assert world.admin.get(f"{A}/access-keys/{old}").json["expires_ms"] is not None
    assert world.admin.post(f"{A}/access-keys/{old}/rotate").code == "CONFLICT"


@pytest.mark.parametrize("field,value", [("allow", ["10.0.0.0/33"]), ("allow", ["host"]), ("deny", ["::1/129"]), ("grants", [{"pattern": "", "rights": ["produce"]}]), ("grants", [{"pattern": "a", "rights": []}]), ("grants", [{"pattern": "a", "rights": ["fly"]}]), ("grants", [{"pattern": "a"}]), ("expires_ms", "soon"), ("disabled", 1)])
def test_bad_access_keys(shared_world, field, value):
    answer = shared_world.admin.post(f"{A}/access-keys", {field: value})
    assert answer.status == 400
    assert any(error["field"].startswith(f"/{field}") for error in answer.json["errors"]), answer.json


def test_cluster_credentials_are_kept_to_themselves(world):
    made = world.admin.post("/api/v1/clusters", {"name": "x", "kind": "embedded", "secrets": {"password": "s3cr3t-of-x"}})
    assert made.json["has_secrets"] is True and "secrets" not in made.json
    everything = made.body + b"".join(world.admin.get(path).body for path in ("/api/v1/clusters", "/api/v1/clusters/x", "/api/v1/audit?limit=500", "/api/v1/definitions"))
    assert b"s3cr3t-of-x" not in everything
    with open(f"{world.portal.folder}/registry.db", "rb") as file:
        assert b"s3cr3t-of-x" not in file.read()
    assert world.admin.put("/api/v1/clusters/x", {"secrets": None}).json["has_secrets"] is False


def test_exclusive_cluster(world):
    assert world.admin.post("/api/v1/clusters", {"name": "own", "kind": "embedded", "exclusive_tenant": "a"}).status == 201
    assert world.admin.put("/api/v1/tenants/b", {"clusters": ["main", "own"]}).status in (400, 409)
    assert world.admin.put("/api/v1/tenants/a", {"clusters": ["main", "own"]}).status == 200


def test_unknown_kind_of_cluster(world):
    for answer in (world.admin.post("/api/v1/clusters", {"name": "x", "kind": "pigeon"}), world.admin.put("/api/v1/clusters/x", {"kind": "pigeon"})):
        assert answer.status == 400 and answer.json["errors"][0]["field"] == "/kind"


def test_everything_is_there_after_a_restart(world):
    before = {path: world.admin.get(path).json for path in ("/api/v1/clusters", "/api/v1/tenants", f"{A}/topics", f"{A}/groups", f"{A}/access-keys")}
    world.portal.kill()
    world.portal.start()
    admin = rest.Rest(world.portal.port, world.admin.token)
    assert {path: admin.get(path).json for path in before} == before


@pytest.mark.parametrize("role", ["tenant_admin", "developer"])
def test_clusters_of_others_do_not_exist(world, role):
    """A tenant's caller cannot find out by guessing what the platform's clusters are called."""
    assert world.admin.post("/api/v1/clusters", {"name": "foreign", "kind": "discard"}).status == 201
    caller = world.roles[role]
    for act in (
        lambda name: caller.post(f"{A}/topics", {"name": "x", "cluster": name}),
        lambda name: caller.put(f"{A}/topics/x", {"cluster": name}),
        lambda name: caller.put(f"{A}/topics/orders", {"cluster": name}),
        lambda name: caller.get(f"{A}/topics?cluster={name}"),
        lambda name: caller.get(f"/api/v1/clusters/{name}"),
        lambda name: caller.post("/api/v1/clusters", {"name": name, "kind": "discard"}),
    ):
        foreign, missing = act("foreign"), act("missing")
        assert foreign.status == missing.status and foreign.body.replace(b"foreign", b"X") == missing.body.replace(b"missing", b"X"), (foreign.body, missing.body)
    told = world.admin.post(f"{A}/topics", {"name": "x", "cluster": "foreign"})  # a caller that may see clusters is told what is wrong
    assert told.json["errors"] == [{"field": "/cluster", "detail": "is not one of the tenant's clusters"}]
