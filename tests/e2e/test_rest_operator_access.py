"""Platform roles and what opens a tenant: free until the tenant has an administrator of its own, then by its leave only."""
import pytest
import rest
from rest_fixtures import *  # noqa: F401,F403  pylint: disable=wildcard-import,unused-wildcard-import

A = "/api/v1/tenants/a"
ACCESS = f"{A}/operator-access"
LEAVE = {"valid_ms": 3600000, "reason": "set up the new consumers"}
GRANTS = [{"pattern": "*", "rights": ["consume"]}]


def login(world, name, password=rest.PASSWORD):
    answer = world.portal.anonymous.post("/api/v1/sessions", {"user": name, "password": password})
    assert answer.status == 201, answer.body
    return world.portal.anonymous.with_token(answer.json["token"])


@pytest.fixture
def guarded(world):  # pylint: disable=redefined-outer-name
    """Tenant `a` has an administrator, who has logged in. What the platform made before is there."""
    for name, role in (("ann", "tenant_admin"), ("dev", "developer"), ("old", "viewer")):
        assert world.admin.post("/api/v1/users", {"name": name, "role": role, "tenant": "a", "password": rest.PASSWORD, "disabled": name == "old"}).status == 201
    assert world.admin.post("/api/v1/users", {"name": "own", "role": "operator", "password": rest.PASSWORD}).status == 201
    world.spare = world.admin.post(f"{A}/access-keys", {"disabled": True, "expires_ms": 9000000000000}).json["key_id"]
    assert world.admin.get(ACCESS).json["guarded_since_ms"] is None
    world.ann = login(world, "ann")
    assert world.admin.get(ACCESS).json["guarded_since_ms"] > 0
    return world


def acts(world, role):
    """What would open the tenant to a platform role: (method, target, body)."""
    yield "POST", f"{A}/access-keys", {"grants": GRANTS}
    yield "POST", f"{A}/access-keys/{world.keys['a']}/rotate", {}
    yield "PUT", f"{A}/access-keys/{world.keys['a']}", {"grants": GRANTS}
    yield "PUT", f"{A}/access-keys/{world.keys['a']}", {"allow": ["127.0.0.1"]}
    yield "PUT", f"{A}/access-keys/{world.spare}", {"disabled": False}
    yield "PUT", f"{A}/access-keys/{world.spare}", {"expires_ms": None}
    yield "PUT", f"{A}/access-keys/{world.spare}", {"expires_ms": 9000000000001}
    if role == "admin":
        yield "POST", "/api/v1/tokens", {"name": "mine", "role": "developer", "tenant": "a"}
        yield "POST", "/api/v1/users", {"name": "mine", "role": "developer", "tenant": "a", "password": rest.PASSWORD}
        yield "PUT", "/api/v1/users/mine", {"role": "developer", "tenant": "a", "password": rest.PASSWORD}
        yield "PUT", "/api/v1/users/dev", {"password": rest.PASSWORD + "2"}
        yield "PUT", "/api/v1/users/dev", {"role": "tenant_admin"}
        yield "PUT", "/api/v1/users/dev", {"tenant": "b"}
        yield "PUT", "/api/v1/users/old", {"disabled": False}
        yield "PUT", "/api/v1/users/own", {"role": "developer", "tenant": "a"}


@pytest.mark.parametrize("role", ["admin", "operator", "auditor"])
def test_platform_roles_make_nothing_that_opens_a_guarded_tenant(guarded, role):
    before = guarded.admin.get(f"{A}/access-keys").json, guarded.admin.get("/api/v1/users").json, guarded.admin.get("/api/v1/tokens").json
    for method, target, body in acts(guarded, role):
        answer = guarded.roles[role].call(method, target, body)
        assert (answer.status, answer.code) == (403, "FORBIDDEN"), (method, target, body, answer.body)
        assert role == "auditor" or "operator-access" in answer.json["detail"]
    assert before == (guarded.admin.get(f"{A}/access-keys").json, guarded.admin.get("/api/v1/users").json, guarded.admin.get("/api/v1/tokens").json)
    assert guarded.roles[role].get(f"{A}/topics/orders/messages?bodies=true").status == 403
    assert guarded.roles[role].call("PUT", ACCESS, LEAVE).status == 403


def test_before_the_first_login_nothing_is_harder(world):
    """A single person's installation: the same acts by the same administrator."""
    world.spare = world.admin.post(f"{A}/access-keys", {"disabled": True, "expires_ms": 9000000000000}).json["key_id"]
    for name in ("dev", "old"):
        assert world.admin.post("/api/v1/users", {"name": name, "role": "viewer", "tenant": "a", "password": rest.PASSWORD, "disabled": name == "old"}).status == 201
    assert world.admin.post("/api/v1/users", {"name": "own", "role": "operator", "password": rest.PASSWORD}).status == 201
    login(world, "dev")  # not an administrator
    for method, target, body in acts(world, "admin"):
        answer = world.admin.call(method, target, body)
        assert answer.status in (200, 201) or answer.code == "CONFLICT", (target, body, answer.body)


def test_other_tenants_and_the_platform_are_free(guarded):
    assert guarded.admin.post("/api/v1/tenants/b/access-keys", {"grants": GRANTS}).status == 201
    assert guarded.admin.post("/api/v1/tokens", {"name": "x", "role": "viewer", "tenant": "b"}).status == 201
    assert guarded.admin.post("/api/v1/tokens", {"name": "y", "role": "auditor"}).status == 201
    assert guarded.admin.put("/api/v1/users/own", {"password": rest.PASSWORD + "2"}).status == 200


def test_taking_away_is_always_allowed(guarded):
    operator, admin = guarded.roles["operator"], guarded.admin
    assert operator.put(f"{A}/access-keys/{guarded.keys['a']}", {"expires_ms": 8000000000000, "description": "ends"}).status == 200
    assert operator.put(f"{A}/access-keys/{guarded.keys['a']}", {"disabled": True}).status == 200
    assert operator.delete(f"{A}/access-keys/{guarded.keys['a']}").status == 204
    assert admin.put("/api/v1/users/dev", {"disabled": True}).status == 200
    assert admin.delete("/api/v1/users/dev").status == 204
    token = next(row for row in admin.get("/api/v1/tokens?tenant=a").json["items"] if row["role"] == "viewer")
    assert admin.delete(f"/api/v1/tokens/{token['id']}").status == 204


def test_the_tenant_does_it_itself(guarded):
    made = guarded.ann.post(f"{A}/access-keys", {"grants": GRANTS})
    assert made.status == 201
    assert guarded.ann.put(f"{A}/access-keys/{made.json['key_id']}", {"allow": ["127.0.0.1"]}).status == 200
    assert guarded.ann.post(f"{A}/access-keys/{made.json['key_id']}/rotate", {}).status == 201
    assert guarded.ann.put("/api/v1/me/password", {"old": rest.PASSWORD, "new": rest.PASSWORD + "2"}).status == 204


def test_leave_of_the_tenant(guarded):
    assert guarded.ann.put(ACCESS, {"valid_ms": 1000, "reason": "too short"}).status == 400
    assert guarded.ann.put(ACCESS, {"valid_ms": 31 * 86400000, "reason": "too long"}).status == 400
    assert guarded.ann.put(ACCESS, {"valid_ms": 3600000}).status == 400
    assert guarded.roles["tenant_admin"].put(ACCESS, LEAVE).status == 409  # a token that the platform made
    granted = guarded.ann.put(ACCESS, LEAVE)
    assert granted.status == 200 and granted.json["granted_by"] == "user:ann" and granted.json["reason"] == LEAVE["reason"]
    assert guarded.admin.get(ACCESS).json == granted.json
    assert guarded.roles["operator"].post(f"{A}/access-keys", {"grants": GRANTS}).status == 201
    assert guarded.admin.put("/api/v1/users/dev", {"password": rest.PASSWORD + "2"}).status == 200
    assert guarded.roles["admin"].get(f"{A}/topics/orders/messages?bodies=true").status == 403  # bodies are no part of it
    withdrawn = guarded.ann.delete(ACCESS)
    assert withdrawn.status == 200 and withdrawn.json["granted_until_ms"] is None
    assert guarded.roles["operator"].post(f"{A}/access-keys", {"grants": GRANTS}).status == 403
    rows = [row for row in guarded.ann.get(f"{A}/audit?limit=100").json["items"] if row["action"] in ("guard", "grant", "withdraw")]
    assert [(row["action"], row["actor"]) for row in rows] == [("withdraw", "user:ann"), ("grant", "user:ann"), ("guard", "user:ann")]
    assert rows[1]["new"]["granted_until_ms"] == granted.json["granted_until_ms"]


def test_breaking_the_glass_is_told(guarded):
    told = {"user": "ann", "password": rest.PASSWORD + "3", "reason": "ann has left"}
    for role in ("operator", "auditor", "tenant_admin", "developer", "viewer"):
        assert guarded.roles[role].post(f"{A}/break-glass", told).status == 403
    assert guarded.admin.post(f"{A}/break-glass", {**told, "user": "own"}).status == 409  # the platform's
    assert guarded.ann.get("/api/v1/me").json["break_glass"] is None
    broken = guarded.admin.post(f"{A}/break-glass", told)
    assert broken.status == 200 and broken.json["guarded_since_ms"]
    alarm = broken.json["break_glass"]
    assert (alarm["by"], alarm["user"], alarm["reason"]) == ("user:root", "ann", "ann has left")
    assert guarded.ann.get("/api/v1/me").status == 401
    session = guarded.portal.anonymous.post("/api/v1/sessions", {"user": "ann", "password": told["password"]}).json
    assert session["break_glass"] == alarm
    for caller in (guarded.portal.anonymous.with_token(session["token"]), login(guarded, "dev"), guarded.roles["viewer"]):
        assert caller.get("/api/v1/me").json["break_glass"] == alarm
    assert guarded.admin.get("/api/v1/me").json["break_glass"] is None
    (row,) = [row for row in guarded.roles["tenant_admin"].get(f"{A}/audit?limit=100").json["items"] if row["action"] == "break_glass"]
    assert row["actor"] == "user:root" and row["new"] == {"user": "ann", "reason": "ann has left"}
    assert guarded.admin.post(f"{A}/access-keys", {"grants": GRANTS}).status == 403  # the guard stands


def test_breaking_the_glass_of_a_tenant_without_users(guarded):
    for name in ("ann", "dev", "old"):
        assert guarded.admin.delete(f"/api/v1/users/{name}").status == 204
    assert guarded.admin.post(f"{A}/break-glass", {"user": "new", "password": rest.PASSWORD, "reason": "all left"}).status == 200
    assert login(guarded, "new").put(ACCESS, LEAVE).status == 200


def test_a_tenant_sees_and_ends_its_own_accounts(guarded):
    assert {row["name"] for row in guarded.ann.get(f"{A}/users").json["items"]} == {"ann", "dev", "old"}
    tokens = {row["name"]: row["id"] for row in guarded.ann.get(f"{A}/tokens").json["items"]}
    assert set(tokens) == {"tenant_admin-a", "developer-a", "viewer-a"}
    foreign = guarded.admin.post("/api/v1/tokens", {"name": "b", "role": "viewer", "tenant": "b"}).json["id"]
    for missing in (foreign, 999999):
        assert guarded.ann.delete(f"{A}/tokens/{missing}").status == 404
    for missing in ("own", "root", "nobody"):
        assert guarded.ann.delete(f"{A}/users/{missing}").status == 404
    assert guarded.ann.delete(f"{A}/tokens/{tokens['developer-a']}").status == 204
    assert guarded.roles["developer"].get("/api/v1/me").status == 401
    assert guarded.ann.delete(f"{A}/users/dev").status == 204
    assert guarded.admin.get("/api/v1/users/dev").status == 404


def test_an_older_state_takes_nothing_back(guarded):
    """Neither the guard nor an alarm goes by restoring an earlier backup, and no leave comes back."""
    assert guarded.ann.put(ACCESS, LEAVE).status == 200
    assert guarded.admin.post("/api/v1/backups", {"name": "with-leave"}).status == 201
    assert guarded.ann.delete(ACCESS).status == 200
    assert guarded.admin.post(f"{A}/break-glass", {"user": "ann", "password": rest.PASSWORD + "3", "reason": "test"}).status == 200
    wanted = guarded.admin.get(ACCESS).json
    admin = guarded.roles["admin"]  # sessions end with a restore
    assert admin.call("POST", "/api/v1/backups/with-leave/restore").status == 200
    assert admin.get(ACCESS).json == wanted and wanted["break_glass"] and wanted["granted_until_ms"] is None
    assert admin.post(f"{A}/access-keys", {"grants": GRANTS}).status == 403


def test_a_backup_of_before_the_guard(world):
    assert world.admin.post("/api/v1/backups", {"name": "before"}).status == 201
    assert world.admin.post("/api/v1/users", {"name": "ann", "role": "tenant_admin", "tenant": "a", "password": rest.PASSWORD}).status == 201
    login(world, "ann")
    admin = world.roles["admin"]
    assert admin.call("POST", "/api/v1/backups/before/restore").status == 200
    assert admin.get(ACCESS).json["guarded_since_ms"]
    assert admin.post(f"{A}/access-keys", {"grants": GRANTS}).status == 403
