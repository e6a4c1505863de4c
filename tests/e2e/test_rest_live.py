"""What only the proxies know: backlog, reset, purge, messages, probes, clients, statistics; and what REST says when they cannot answer."""
import time

import pytest
import rest
from rest import wait_for
from rest_fixtures import *  # noqa: F401,F403  pylint: disable=wildcard-import,unused-wildcard-import

A = "/api/v1/tenants/a"


def ids(world):
    return {kind: world.admin.get(path).json["id"] for kind, path in (("tenant", A), ("topic", f"{A}/topics/orders"), ("group", f"{A}/groups/billing"), ("cluster", "/api/v1/clusters/main"))}


def test_topics_and_groups_reach_their_backend(world):
    ready = lambda: all(world.admin.get(path).json["state"] == "ready" for path in (f"{A}/topics/orders", f"{A}/groups/billing"))
    wait_for(ready)
    assert {"topic": ids(world)["topic"]} in [{"topic": asked["topic"]} for asked in world.portal.asked("TOPIC_CREATE")]


def test_topic_that_its_backend_does_not_take(world):
    world.portal.answer("TOPIC_CREATE", code="BACKEND_DOWN", text="cluster main cannot be reached")
    assert world.admin.post(f"{A}/topics", {"name": "late"}).json["state"] == "creating"
    reason = wait_for(lambda: world.admin.get(f"{A}/topics/late").json["state_reason"])
    assert "cannot be reached" in reason
    world.portal.answer("TOPIC_CREATE")
    wait_for(lambda: world.admin.get(f"{A}/topics/late").json["state"] == "ready")


def test_topic_grows_when_its_backend_has_grown(world):
    orders = lambda: {name: world.admin.get(f"{A}/topics/orders").json[name] for name in ("partitions", "growing_to", "state", "state_reason")}
    ready = {"partitions": 2, "growing_to": None, "state": "ready", "state_reason": None}
    assert orders() == ready
    world.portal.answer("TOPIC_CHANGE", code="BACKEND_DOWN", text="cluster main cannot be reached")
    answer = world.admin.put(f"{A}/topics/orders", {"partitions": 5})
    assert answer.status == 200 and (answer.json["partitions"], answer.json["growing_to"]) == (2, 5)
    wait_for(lambda: orders() == {**ready, "growing_to": 5, "state_reason": "cluster main cannot be reached"})
    assert {"topic": ids(world)["topic"], "partitions": 5} in world.portal.asked("TOPIC_CHANGE")
    world.portal.answer("TOPIC_CHANGE")
    wait_for(lambda: orders() == {**ready, "partitions": 5})
    assert world.admin.get(f"{A}/audit?action=grown").json["items"][0]["new"]["partitions"] == 5
    world.portal.answer("TOPIC_CHANGE", code="UNSUPPORTED_BY_BACKEND", text="no more than 5")
    assert world.admin.put(f"{A}/topics/orders", {"partitions": 6}).json["growing_to"] == 6
    wait_for(lambda: orders() == {**ready, "partitions": 5, "state_reason": "no more than 5"})


def test_backlog_adds_up(world):
    partition = {"first": 0, "end": 100, "committed": 40, "window_full": False}
    world.portal.answer("BACKLOG", {
        "partitions": [{"partition": 0, "ready": 10, "in_flight": 2, "retrying": 3, "delayed": 4, "acked": 74, "dead": 7, **partition}, {"partition": 1, "ready": 1, "in_flight": 0, "retrying": 0, "delayed": 5, "acked": 90, "expired": 3, "skipped": 2, "replayed": 1, **partition}],
        "dead": 1, "at_most": False})
    backlog = world.admin.get(f"{A}/groups/billing/backlog").json
    assert (backlog["ready"], backlog["in_flight"], backlog["retrying"], backlog["delayed"], backlog["dead"]) == (11, 2, 3, 9, 7)
    assert {name: backlog[name] for name in ("sent", "acked", "expired", "skipped", "replayed")} == {"sent": 200, "acked": 164, "expired": 3, "skipped": 2, "replayed": 1}
    assert backlog["backlog"] == 25 and [row["backlog"] for row in backlog["partitions"]] == [19, 6]
    assert world.portal.asked("BACKLOG") == [{"group": ids(world)["group"]}]


def test_backlog_without_positions(world):
    """What only a log has is null; the rest adds up, and a refused dead letter is told."""
    log = dict.fromkeys(("first", "end", "committed", "window_full"))
    world.portal.answer("BACKLOG", {
        "partitions": [{"partition": 0, "ready": 10, "in_flight": 2, "retrying": 3, "delayed": 4, "acked": 74, "dead": 7, **log}],
        "dead": 1, "dead_letter_refused": "NO_ROUTE", "at_most": True, "at_most_reason": "backend"})
    backlog = world.admin.get(f"{A}/groups/billing/backlog").json
    assert (backlog["backlog"], backlog["acked"], backlog["dead"], backlog["sent"]) == (19, 74, 7, None)
    assert backlog["partitions"][0] == {"partition": 0, "ready": 10, "in_flight": 2, "retrying": 3, "delayed": 4, "backlog": 19, "acked": 74, "dead": 7, "expired": 0, "skipped": 0, "replayed": 0, **log}
    assert backlog["dead_letter_refused"] == "NO_ROUTE"
    told = wait_for(lambda: world.admin.get(f"{A}/groups/billing").json["state_reason"], 25)
    assert told.startswith("dead-letter topic billing.dead refuses copies: NO_ROUTE, ") and "stands still" in told
    group = wait_for(lambda: next((row for row in world.admin.get(f"{A}/backlogs").json["items"] if row["group"] == "billing" and row["backlog"] == 19), None))
    assert (group["sent"], group["acked"], group["ready"], group["oldest_ms"]) == (None, 74, 10, None)


def test_a_topic_that_came_to_harm_says_so(world):
    row = {"class": "D2", "kind": "topic", "topic": ids(world)["topic"], "group": None, "partition": 0, "first": 0, "end": 0, "found_ms": 1}
    orders = lambda: world.admin.get(f"{A}/topics/orders").json["state_reason"]
    world.portal.answer("DAMAGE", {"damage": [{**row, "kind": "messages", "problem": "some are lost"}, {**row, "problem": "its exchange is gone"}]})
    wait_for(lambda: orders() == "its exchange is gone", 25)
    assert [one["state_reason"] for one in world.admin.get(f"{A}/topics").json["items"] if one["name"] == "orders"] == ["its exchange is gone"]
    world.portal.answer("DAMAGE", code="BACKEND_DOWN", text="it cannot be asked")
    time.sleep(11)
    assert orders() == "its exchange is gone"
    world.portal.answer("DAMAGE", {"damage": []})
    wait_for(lambda: orders() is None, 25)


RESETS = [({"at": "earliest"}, {"earliest": True}), ({"at": "latest"}, {"latest": True}), ({"at": "time", "time_ms": 5}, {"time_ms": 5}),
          ({"at": "positions", "positions": [{"partition": 0, "offset": 3}]}, {"positions": [{"partition": 0, "offset": 3}]})]


@pytest.mark.parametrize("to,asked", RESETS)
@pytest.mark.parametrize("preview", [True, False])
def test_reset(world, to, asked, preview):
    answer = world.admin.post(f"{A}/groups/billing/reset", {"to": to, "preview": preview})
    assert answer.status == 200 and answer.json["preview"] is preview and answer.json["partitions"][0]["replayed"] == 5
    assert world.portal.asked("GROUP_RESET") == [{"group": ids(world)["group"], "to": asked, "preview": preview}]
    noted = [entry for entry in world.admin.get(f"{A}/audit?action=reset").json["items"]]
    assert len(noted) == (0 if preview else 1)


@pytest.mark.parametrize("to", [{}, {"at": "noon"}, {"at": "time"}, {"at": "earliest", "time_ms": 5}, {"at": "positions"}, {"at": "positions", "positions": []}, {"at": "positions", "positions": [{"partition": 0}]}, "earliest", None])
def test_bad_reset(shared_world, to):
    assert shared_world.admin.post(f"{A}/groups/billing/reset", {"to": to}).status == 400
    assert shared_world.portal.asked("GROUP_RESET") == []


def test_purges_are_noted(world):
    for path, action, numbers in (("groups/billing", "group", {"messages": 5}), ("topics/orders", "topic", {"messages": 5, "bytes": 500})):
        assert world.admin.post(f"{A}/{path}/purge", {"preview": True}).json == {"preview": True, **numbers}
        assert world.admin.post(f"{A}/{path}/purge").json == {"preview": False, **numbers}
        noted = [entry for entry in world.admin.get(f"{A}/audit?action=purge").json["items"] if entry["kind"] == action]
        assert len(noted) == 1 and noted[0]["new"] == numbers


MESSAGE = {"partition": 0, "offset": 4, "id": "0" * 32, "stored_ms": 1, "created_ms": None, "key": "aw==", "tag": None, "headers": [{"name": "h", "value": None}, {"name": "h", "value": "AA=="}], "size": 3, "body": "c2hz"}


def test_bodies_are_a_right_of_their_own(world):
    world.portal.answer("MESSAGES", {"messages": [MESSAGE], "next": 5})
    target = f"{A}/topics/orders/messages?partition=0&offset=4"
    for role in ("tenant_admin", "developer"):
        plain = world.roles[role].get(target).json
        assert plain["messages"][0]["body"] is None and not plain["messages"][0]["body_shown"] and plain["next"] == 5
        full = world.roles[role].get(f"{target}&bodies=true").json
        assert full["messages"][0]["body"] == "c2hz" and full["messages"][0]["body_shown"]
    for role in ("admin", "operator"):
        assert world.roles[role].get(target).json["messages"][0]["body"] is None
        refused = world.roles[role].get(f"{target}&bodies=true")
        assert refused.status == 403 and refused.code == "FORBIDDEN"
    assert world.roles["viewer"].get(target).status == 403
    assert world.roles["developer"].get(f"{target}&time_ms=1").status == 400


def test_damage_is_listed_and_given_up(world):
    (row,) = world.admin.get("/api/v1/clusters/main/damage").json["damage"]
    assert (row["first"], row["end"], row["topic_name"]) == (5, 9, None)
    given_up = [{"partition": 0, "first": 5, "end": 9}]
    assert world.admin.post(f"{A}/topics/orders/skip-damage", {"preview": True}).json == {"preview": True, "partitions": given_up}
    assert not world.admin.get(f"{A}/audit?action=skip").json["items"]
    assert world.admin.post(f"{A}/topics/orders/skip-damage").json == {"preview": False, "partitions": given_up}
    assert len(world.admin.get(f"{A}/audit?action=skip").json["items"]) == 1


def test_probe_and_state(world):
    assert world.admin.call("POST", "/api/v1/clusters/main/probe").json["durability"] == "D2"
    assert world.admin.get("/api/v1/clusters/main/state").json == {"state": "ready", "circuit": "closed", "latency_us": 5, "error": None}
    assert world.admin.get("/api/v1/clusters/none/state").status == 404


QUESTIONS = {
    "BACKLOG": ("GET", f"{A}/groups/billing/backlog", None),
    "GROUP_RESET": ("POST", f"{A}/groups/billing/reset", {"to": {"at": "latest"}}),
    "GROUP_PURGE": ("POST", f"{A}/groups/billing/purge", {}),
    "TOPIC_SKIP": ("POST", f"{A}/topics/orders/skip-damage", {}),
    "DAMAGE": ("GET", "/api/v1/clusters/main/damage", None),
    "TOPIC_PURGE": ("POST", f"{A}/topics/orders/purge", {}),
    "TOPIC_DESCRIBE": ("GET", f"{A}/topics/orders/partitions", None),
    "MESSAGES": ("GET", f"{A}/topics/orders/messages", None),
    "PROBE": ("POST", "/api/v1/clusters/main/probe", None),
    "CLUSTER_STATE": ("GET", "/api/v1/clusters/main/state", None),
    "CLIENTS": ("GET", f"{A}/clients", None),
}
CODES = {"BACKEND_DOWN": 503, "BACKEND_ERROR": 502, "TIMEOUT": 504, "UNSUPPORTED_BY_BACKEND": 422, "NOT_READY": 503, "IN_USE": 409, "OVERLOADED": 503}


@pytest.mark.parametrize("ask", QUESTIONS)
def test_what_proxies_refuse_is_passed_on(shared_world, ask):
    method, target, body = QUESTIONS[ask]
    caller = shared_world.roles["developer"] if ask == "MESSAGES" else shared_world.admin
    for code, status in CODES.items():
        if ask == "CLIENTS" and code in ("UNSUPPORTED_BY_BACKEND", "IN_USE", "BACKEND_ERROR") or ask in ("PROBE", "CLUSTER_STATE", "DAMAGE") and code == "IN_USE" or ask == "CLUSTER_STATE" and code == "UNSUPPORTED_BY_BACKEND":
            continue
        shared_world.portal.answer(ask, code=code, text=f"because of {code}")
        answer = caller.call(method, target, body)
        assert (answer.status, answer.code, answer.json["detail"]) == (status, code, f"because of {code}")
    shared_world.portal.answer(ask)
    assert not [entry for entry in shared_world.admin.get(f"{A}/audit").json["items"] if entry["action"] in ("purge", "reset")]


def test_answer_that_comes_after_the_deadline(tmp_path):
    portal = rest.Portal(tmp_path, work_ms=300)
    world = rest.World(portal)
    portal.answer("BACKLOG", {"partitions": [], "dead": 0, "at_most": False}, delay_ms=800)
    answer = world.admin.get(f"{A}/groups/billing/backlog")
    assert answer.status == 504 and answer.code == "TIMEOUT"
    portal.stop()  # waits for the late answer, and drops it


def totals(tenant, topic, group, sent, delivered, uptime_ms=1):
    counters = {"messages": sent, "bytes": sent * 100, "ok": sent, "rejected": 1, "unknown": 2, "dropped": 3, "throttled": 4}
    consumed = {"messages": delivered, "bytes": delivered * 100, "acked": delivered - 1, "nacked": 0, "rejected": 0, "released": 0, "timeouts": 0, "lost": 0, "dead": 0}
    return {"proxy": "standin", "uptime_ms": uptime_ms, "connections": 3, "tenants": [{"id": tenant, "connections": 2, "produce": counters, "consume": consumed,
            "topics": [{"id": topic, **counters}], "groups": [{"id": group, **consumed}]}]}


def test_counts_are_fresh_and_go_on_after_a_restart(world):
    known = ids(world)
    say = lambda sent, delivered: world.portal.answer("TOTALS", totals(known["tenant"], known["topic"], known["group"], sent, delivered))
    say(1000, 500)
    tenant = world.admin.get(f"{A}/stats").json
    assert tenant["produce"]["stored"] == 1000 and tenant["consume"]["acked"] == 499 and tenant["connections"] == 2 and tenant["complete"]
    say(1001, 501)  # no waiting for the next sample
    assert world.admin.get(f"{A}/topics/orders/stats").json["produce"]["stored"] == 1001
    assert world.admin.get(f"{A}/groups/billing/stats").json["consume"]["messages"] == 501
    platform = world.admin.get("/api/v1/stats").json
    assert platform["produce"]["stored"] == 1001 and platform["connections"] == 3 and platform["tenants"][0]["name"] == "a"
    world.portal.stop()
    say(7, 7)
    world.portal.start()
    admin = rest.Rest(world.portal.port, world.admin.token)
    assert admin.get(f"{A}/stats").json["produce"]["stored"] == 1008
    assert admin.get(f"{A}/topics/orders/stats").json["produce"]["stored"] == 1008
    assert admin.get("/api/v1/tenants/b/stats").json["produce"]["stored"] == 0


def test_counts_go_on_when_only_the_proxy_was_restarted(world):
    known = ids(world)
    say = lambda sent, uptime_ms: world.portal.answer("TOTALS", totals(known["tenant"], known["topic"], known["group"], sent, sent, uptime_ms))
    stored = lambda: world.admin.get(f"{A}/stats").json["produce"]["stored"]
    say(100, 5000)
    assert stored() == 100
    say(30, 6000)  # something that had counted is gone: it stays counted
    assert stored() == 100
    say(40, 7000)
    assert stored() == 110
    say(5, 10)
    assert stored() == 115


def test_dead_is_counted_since_the_group_was_made(world):
    known = ids(world)
    answer = totals(known["tenant"], known["topic"], known["group"], 5, 5)
    answer["tenants"][0]["groups"][0]["dead"] = 3
    world.portal.answer("TOTALS", answer)
    assert world.admin.get(f"{A}/groups/billing/stats").json["consume"]["dead"] == 3
    world.portal.stop()
    world.portal.answer("TOTALS")
    world.portal.start()
    assert rest.Rest(world.portal.port, world.admin.token).get(f"{A}/groups/billing/stats").json["consume"]["dead"] == 3


def test_rates_and_quota_use(world):
    known = ids(world)
    assert world.admin.put(A, {"limits": {"produce_tps": 1000, "connections": 4}}).status == 200
    wait_for(lambda: world.portal.asked("TOTALS"))
    started = time.monotonic()

    def shown():
        """After 3.5 s of 500 a second; as long as it takes where the samples come late."""
        while (passed := time.monotonic() - started) < 3.5:
            world.portal.answer("TOTALS", totals(known["tenant"], known["topic"], known["group"], int(500 * passed), 0))
            time.sleep(0.1)
        world.portal.answer("TOTALS", totals(known["tenant"], known["topic"], known["group"], int(500 * passed), 0))
        stats = world.admin.get(f"{A}/stats").json
        return all(200 < stats["rates"][window]["produce_tps"] < 800 for window in ("s1", "s10")) and stats

    stats = wait_for(shown)
    assert stats["rates"]["s10"]["window_s"] <= 10.5
    quota = stats["quota"]
    assert quota["produce_tps"]["limit"] == 1000
    assert quota["produce_tps"]["ratio"] == pytest.approx(stats["rates"]["s10"]["produce_tps"] / 1000)
    assert quota["connections"] == {"limit": 4, "used": 2, "ratio": 0.5}
    assert quota["topics"]["used"] == 1 and quota["topics"]["limit"] is None and quota["topics"]["ratio"] is None
    assert stats["topics"][0]["name"] == "orders" and stats["groups"][0]["name"] == "billing"


def test_statistics_without_a_proxy(world):
    known = ids(world)
    world.portal.answer("TOTALS", totals(known["tenant"], known["topic"], known["group"], 10, 0))
    assert world.admin.get(f"{A}/stats").json["complete"] is True
    world.portal.answer("TOTALS", code="TIMEOUT")
    stats = world.admin.get(f"{A}/stats").json
    assert stats["complete"] is False and stats["produce"]["stored"] == 10


def client(session, tenant, key):
    return {"session": session, "tenant": tenant, "access_key": key, "address": "127.0.0.1:5", "tls": False, "sdk": "c", "sdk_version": "0.1.0", "client_id": "x", "connected_ms": 1, "topics": ["orders"], "groups": [], "in_flight": 0}


def test_clients(world):
    known = ids(world)
    world.portal.answer("CLIENTS", {"clients": [client(n, known["tenant"], world.keys["a"]) for n in range(1, 8)]})
    seen, cursor = [], None
    while True:
        page = world.admin.get(f"{A}/clients?limit=3" + (f"&cursor={cursor}" if cursor else "")).json
        seen += [(row["session"], row["tenant"]) for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [(str(n), "a") for n in range(1, 8)]
    assert world.portal.asked("CLIENTS")[0] == {"tenant": known["tenant"]}
    assert len(world.admin.get("/api/v1/clients").json["items"]) == 7


def test_kick(world):
    known = ids(world)
    world.portal.answer("CLIENTS", {"clients": [client(5, known["tenant"], world.keys["a"])]})
    world.portal.answer("KICK", {"kicked": 1})
    assert world.roles["tenant_admin"].delete(f"{A}/clients/5").status == 204
    assert world.portal.asked("KICK") == [{"session": 5}]
    assert world.admin.get(f"{A}/audit?action=kick").json["items"][0]["resource"] == "5"
    assert world.admin.post(f"{A}/clients/kick", {"access_key": world.keys["a"]}).json == {"kicked": 1}
    assert world.admin.post(f"{A}/clients/kick").json == {"kicked": 1}
    assert world.portal.asked("KICK")[1:] == [{"access_key": world.keys["a"]}, {"tenant": known["tenant"]}]


def test_kick_reaches_ones_own_clients_only(world):
    world.portal.answer("CLIENTS", {"clients": []})
    world.portal.answer("KICK", {"kicked": 1})
    for session in ("6", "x", "9" * 30):
        assert world.roles["tenant_admin"].delete(f"{A}/clients/{session}").status == 404
    assert world.roles["tenant_admin"].post(f"{A}/clients/kick", {"access_key": world.keys["b"]}).status == 404
    assert world.portal.asked("KICK") == []
