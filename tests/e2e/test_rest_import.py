"""What lies on a cluster and is taken under a tenant; in place of the cluster an answer that says what is there."""
import pytest
from rest_fixtures import *  # noqa: F401,F403  pylint: disable=wildcard-import,unused-wildcard-import

EXISTING = {
    "topics": [{"name": "orders.v1", "partitions": 6, "replication": 3, "min_insync": 2}, {"name": "clicks", "partitions": 1, "replication": 1}],
    "groups": [
        {"name": "billing-app", "state": "Empty", "members": 0, "topics": ["orders.v1"]},
        {"name": "both", "state": "Empty", "members": 0, "topics": ["orders.v1", "clicks"]},
        {"name": "busy", "state": "Stable", "members": 2, "topics": ["clicks"]},
        {"name": "late", "state": "Unknown", "members": None, "topics": []},
    ],
}
IMPORT = "/api/v1/clusters/main/import"


@pytest.fixture
def there(world):  # pylint: disable=redefined-outer-name
    world.portal.answer("CLUSTER_EXISTING", EXISTING)
    return world


def take(world, status=200, tenant="a", **chosen):
    answer = world.admin.post(IMPORT, {"tenant": tenant, **chosen})
    assert answer.status == status, answer.body
    return answer.json


def test_what_exists_is_listed_with_its_owner(there):
    listed = there.admin.get("/api/v1/clusters/main/existing").json
    assert {row["name"]: row["owner"] for row in listed["topics"] + listed["groups"]} == dict.fromkeys(("orders.v1", "clicks", "billing-app", "both", "busy", "late"))
    take(there, topics=[{"physical": "orders.v1", "name": "theirs"}], groups=[{"physical": "billing-app"}])
    listed = there.admin.get("/api/v1/clusters/main/existing").json
    owners = {row["name"]: row["owner"] for row in listed["topics"] + listed["groups"] if row["owner"]}
    assert owners == {"orders.v1": {"tenant": "a", "name": "theirs"}, "billing-app": {"tenant": "a", "name": "billing-app"}}


def test_imported_resources_keep_what_they_have(there):
    made = take(there, topics=[{"physical": "orders.v1", "name": "theirs"}, {"physical": "clicks"}], groups=[{"physical": "billing-app", "dead_letter": False}])
    theirs, clicks = made["topics"]
    assert (theirs["name"], theirs["physical"], theirs["partitions"], theirs["native"], theirs["imported"], theirs["durability"]) == ("theirs", "orders.v1", 6, True, True, "D2")
    assert (clicks["name"], clicks["partitions"], clicks["durability"]) == ("clicks", 1, "D1")
    (group,) = made["groups"]
    assert (group["topic"], group["physical"], group["imported"], group["dead_letter_topic"]) == ("theirs", "billing-app", True, None)
    for path in ("topics/theirs", "topics/clicks", "groups/billing-app"):
        assert there.admin.get(f"/api/v1/tenants/a/{path}").json["imported"] is True
    audit = there.admin.get("/api/v1/audit?action=import&limit=10").json["items"]
    assert sorted(entry["resource"] for entry in audit) == ["billing-app", "clicks", "theirs"]


def test_what_is_made_beside_it_is_new(there):
    made = take(there, topics=[{"physical": "orders.v1"}], groups=[{"physical": "billing-app"}])
    dead = there.admin.get(f"/api/v1/tenants/a/topics/{made['groups'][0]['dead_letter_topic']}").json
    assert dead["imported"] is False and dead["physical"].startswith("mqp.a.")


def test_a_physical_name_belongs_to_one(there):
    there.admin.put("/api/v1/tenants/b", {"clusters": ["main"]})
    take(there, topics=[{"physical": "orders.v1"}], groups=[{"physical": "billing-app"}])
    for tenant, name in (("a", "other"), ("b", "orders.v1")):
        problem = take(there, 409, tenant, topics=[{"physical": "orders.v1", "name": name}])
        assert 'topic "orders.v1" of tenant "a"' in problem["detail"]
    take(there, 200, "b", topics=[{"physical": "clicks"}])
    assert 'group "billing-app" of tenant "a"' in take(there, 409, "b", groups=[{"physical": "billing-app", "topic": "clicks"}])["detail"]


def test_a_preview_and_a_refusal_change_nothing(there):
    chosen = {"topics": [{"physical": "orders.v1"}], "groups": [{"physical": "billing-app"}]}
    assert take(there, preview=True, **chosen)["preview"] is True
    problem = take(there, 404, topics=[*chosen["topics"], {"physical": "nothing"}])
    assert problem["errors"][0]["field"] == "/topics/1" and 'no topic "nothing"' in problem["detail"]
    assert [row["name"] for row in there.admin.get("/api/v1/tenants/a/topics").json["items"] if row["imported"]] == []
    take(there, **chosen)


def test_which_topic_a_group_reads(there):
    assert "import its topic too" in take(there, 400, groups=[{"physical": "both"}])["detail"]
    take(there, topics=[{"physical": "orders.v1"}, {"physical": "clicks"}])
    problem = take(there, 400, groups=[{"physical": "both"}])
    assert "several topics" in problem["detail"] and problem["errors"][0]["field"] == "/groups/0"
    assert take(there, groups=[{"physical": "both", "topic": "clicks"}])["groups"][0]["topic"] == "clicks"


def test_refusals(there):
    assert "2 members" in take(there, 409, topics=[{"physical": "clicks"}], groups=[{"physical": "busy"}])["detail"]
    assert "did not say in time" in take(there, 503, topics=[{"physical": "clicks"}], groups=[{"physical": "late"}])["detail"]
    assert "nothing is chosen" in take(there, 400)["detail"]
    take(there, 404, "nobody", topics=[{"physical": "clicks"}])
    there.admin.post("/api/v1/tenants", {"name": "unbound"})
    assert take(there, 400, "unbound", topics=[{"physical": "clicks"}])["errors"][0]["field"] == "/topics/0/cluster"
    problem = take(there, 409, topics=[{"physical": "clicks", "name": "orders"}])
    assert 'a topic "orders" already' in problem["detail"]
    there.portal.answer("CLUSTER_EXISTING", code="UNSUPPORTED_BY_BACKEND", text="nothing can be imported from a cluster of this kind")
    take(there, 422, topics=[{"physical": "clicks"}])


def test_names_that_cannot_be_ours_are_asked_for(there):
    long = "x" * 200
    there.portal.answer("CLUSTER_EXISTING", {"topics": [{"name": long, "partitions": 1, "replication": 1}], "groups": []})
    assert take(there, 400, topics=[{"physical": long}])["errors"][0]["field"] == "/topics/0/name"
    assert take(there, topics=[{"physical": long, "name": "short"}])["topics"][0]["physical"] == long
