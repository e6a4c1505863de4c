"""The contract, the routes and the permission table say the same; every role gets what the table says and no more."""
import json
import os
import re

import pytest
import rest
from rest_fixtures import *  # noqa: F401,F403  pylint: disable=wildcard-import,unused-wildcard-import


def test_json_and_yaml_are_the_same_document():
    with open(os.path.join(rest.ROOT, "portal-api", "openapi.json"), encoding="utf-8") as file:
        assert json.load(file) == rest.contract()


def test_served_contract_is_the_one_in_the_tree(world):
    with open(os.path.join(rest.ROOT, "portal-api", "openapi.yaml"), "rb") as file:
        assert world.portal.anonymous.get("/api/v1/openapi.yaml").body == file.read()
    assert world.portal.anonymous.get("/api/v1/openapi.json").json == rest.contract()


def test_every_object_of_the_contract_is_closed():
    """No schema of ours takes or gives members that are not named, but for maps that say what their values are."""

    def walk(node, where):
        if isinstance(node, dict):
            if node.get("type") == "object" and "properties" in node:
                assert node.get("additionalProperties") is False, where
            for key, value in node.items():
                walk(value, f"{where}/{key}")
        elif isinstance(node, list):
            for index, value in enumerate(node):
                walk(value, f"{where}/{index}")

    walk(rest.contract()["components"]["schemas"], "")


def test_routes_are_the_contract(world):
    """The page is written from the daemon's table of routes: it names each operation with its permission, and no other."""
    page = world.portal.anonymous.get("/docs").body.decode()
    rows = re.findall(r"<tr><td>(\w+)</td><td><code>(.*?)</code></td><td>(.*?)</td><td>(.*?)</td></tr>", page)
    assert sorted((method, path, permission, summary) for method, path, summary, permission in rows) == sorted(
        (method, path, operation.get("x-permission", ""), operation["summary"]) for method, path, operation in rest.operations()
    )


def test_permission_table_names_every_permission_of_the_contract(world):
    rows = world.admin.get("/api/v1/permissions").json["permissions"]
    used = {}
    for method, path, operation in rest.operations():
        if "x-permission" in operation:
            used.setdefault(operation["x-permission"], []).append(f"{method} {path}")
    assert {row["name"] for row in rows} >= set(used)
    for row in rows:
        assert sorted(row["routes"]) == sorted(used.get(row["name"], []))


# Bodies that are right, so that a role that may do it gets past the checks.
BODIES = {
    "bootstrap": {"token": "x", "user": "u", "password": rest.PASSWORD},
    "login": {"user": "nobody", "password": "wrong"},
    "change_password": {"old": "x", "new": rest.PASSWORD},
    "create_cluster": {"name": "new-cluster", "kind": "discard"},
    "put_cluster": {"options": {}},
    "cluster_import": {"tenant": "a", "topics": [{"physical": "there"}], "preview": True},
    "create_tenant": {"name": "new-tenant"},
    "put_tenant": {"suspended": False},
    "create_access_key": {},
    "put_access_key": {"description": "x"},
    "rotate_access_key": {},
    "grant_operator_access": {"valid_ms": 60000, "reason": "x"},
    "break_glass": {"user": "new-admin", "password": rest.PASSWORD, "reason": "x"},
    "create_topic": {"name": "new-topic"},
    "put_topic": {"retention_ms": 5},
    "create_group": {"name": "new-group", "topic": "orders"},
    "put_group": {"max_attempts": 3},
    "create_user": {"name": "new-user", "role": "viewer", "tenant": "a", "password": rest.PASSWORD},
    "put_user": {"disabled": True},
    "create_token": {"name": "new-token", "role": "viewer", "tenant": "a"},
    "invite_proxy": {"name": "new-proxy"},
    "purge_topic": {"preview": True},
    "skip_damage": {"preview": True},
    "purge_group": {"preview": True},
    "reset_group": {"to": {"at": "earliest"}, "preview": True},
    "kick_clients": {},
    "import_definitions": {"format": 1},
    "create_backup": {"name": "of-a-role"},
}


def target_of(path, tenant, key_id):
    """The path with parameters that exist, but for those whose deletion or restore would end the world: these do not."""
    values = {"tenant": tenant, "cluster": "main", "topic": "orders", "group": "billing", "key_id": key_id, "user": "nobody", "token_id": "999999", "session": "7", "backup": "none", "proxy": "none"}
    return re.sub(r"\{(\w+)\}", lambda match: values[match.group(1)], path)


CASES = [(method, path, operation) for method, path, operation in rest.operations() if "x-permission" in operation]


@pytest.mark.parametrize("role", rest.ROLES)
@pytest.mark.parametrize("method,path,operation", CASES, ids=[operation["operationId"] for _, _, operation in CASES])
def test_each_route_for_each_role(shared_world, role, method, path, operation):
    """Allowed: anything but 401 and FORBIDDEN. Denied: FORBIDDEN inside one's own tenant, NOT_FOUND in another one."""
    world = shared_world
    rows = {row["name"]: row["roles"] for row in world.admin.get("/api/v1/permissions").json["permissions"]}
    allowed = role in rows[operation["x-permission"]]
    body = BODIES.get(operation["operationId"])
    assert ("requestBody" in operation) == (body is not None), "BODIES is not complete"
    if method == "DELETE":  # a preview: what is there stays there
        path += "?preview=true" if any("Preview" in p.get("$ref", "") for p in operation.get("parameters", [])) else ""
    caller = world.roles[role]
    answer = caller.call(method, target_of(path, "a", world.keys["a"]), body)
    if allowed:
        assert answer.status != 401 and answer.code != "FORBIDDEN", answer.body
    else:
        assert answer.status == 403 and answer.code == "FORBIDDEN", answer.body
    if "{tenant}" in path and role in rest.TENANT_ROLES:
        foreign = caller.call(method, target_of(path, "b", world.keys["b"]), body)
        missing = caller.call(method, target_of(path, "nowhere", world.keys["b"]), body)
        assert foreign.status == missing.status == 404
        assert foreign.body.replace(b'\\"b\\"', b"X") == missing.body.replace(b'\\"nowhere\\"', b"X")


@pytest.mark.parametrize("method,path,operation", CASES, ids=[operation["operationId"] for _, _, operation in CASES])
def test_each_route_without_a_token(shared_world, method, path, operation):
    for token in (None, "wrong", "mqt_" + "A" * 43):
        caller = shared_world.portal.anonymous.with_token(token)
        answer = caller.call(method, target_of(path, "a", shared_world.keys["a"]), BODIES.get(operation["operationId"]))
        assert answer.status == 401 and answer.code == "UNAUTHENTICATED"
        assert answer.headers["www-authenticate"] == "Bearer"


PATHS = list(rest.contract()["paths"])


@pytest.mark.parametrize("path", PATHS)
def test_methods_a_path_does_not_know(shared_world, path):
    known = {method.upper() for method in rest.contract()["paths"][path]}
    known |= {"OPTIONS"} | ({"HEAD"} if "GET" in known else set())
    target = target_of(path, "a", shared_world.keys["a"])
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"):
        if method not in known:
            answer = shared_world.admin.call(method, target, check=False)
            assert answer.status == 405, (method, answer.body)
            assert set(answer.headers["allow"].split(", ")) == known
    answer = shared_world.admin.call("OPTIONS", target, check=False)
    assert answer.status == 204 and set(answer.headers["allow"].split(", ")) == known


def test_head_is_get_without_the_body(shared_world):
    got = shared_world.admin.get("/api/v1/tenants/a")
    head = shared_world.admin.call("HEAD", "/api/v1/tenants/a")
    assert head.status == 200 and head.body == b""
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.headers["etag"] == got.headers["etag"]


@pytest.mark.parametrize("target", ["/", "/api", "/api/v1", "/api/v2/tenants", "/api/v1/tenants/", "/api/v1/nothing", "/livez/x"])
def test_unknown_paths(shared_world, target):
    answer = shared_world.admin.get(target)
    assert answer.status == 404 and answer.code == "NOT_FOUND"
