"""A disk that fails under the daemon: the sender is told, the operator is told, and what was acknowledged is there afterwards."""
import errno

import pytest
import wire
from daemon import Daemon, wait_for
from faults import SYNC, SYNC_WRITE, WRITE, Faults

pytest_plugins = ["daemon_fixtures"]
STORE = "/d2/data.mdb"
DOWN = "REJECTED", "BACKEND_DOWN"
FULL = "REJECTED", "BACKEND_FULL"
DOUBT = "UNKNOWN", "BACKEND_DOWN"
OUTCOMES = ("OK", "REJECTED", "UNKNOWN")


class Shop:
    """A daemon on a failing disk, a connection that sends to a topic of it, and what of that was acknowledged."""

    def __init__(self, daemon):
        self.daemon = daemon.world()
        self.kept, self.doubtful, self.number = [], [], 0
        self.open()

    def open(self):
        self.conn = self.daemon.connect()
        self.topic = self.conn.open_topic("orders")

    def send(self):
        """One message; how that ended: (outcome, code)."""
        self.number += 1
        body = b"order %d" % self.number
        (result,) = self.topic.send(body)
        outcome = OUTCOMES[result.outcome]
        if outcome != "REJECTED":
            (self.kept if outcome == "OK" else self.doubtful).append(body)
        return outcome, result.code

    def problem(self):
        """What the operator is told who asks for the cluster."""
        return self.daemon.admin.call("POST", "/api/v1/clusters/local/probe").json["error"]

    def restart(self):
        self.conn.close()
        self.daemon.kill()
        self.daemon.start()
        self.open()

    def check(self):
        """After a restart: all that was acknowledged, in order; nothing that was refused; of what is in doubt, any."""
        self.restart()
        backlog = self.daemon.admin.get("/api/v1/tenants/acme/groups/billing/backlog").json["ready"]
        subscription = self.conn.subscribe("billing")
        came = [delivery.record.body for delivery in subscription.receive(backlog)]
        subscription.receive_nothing(0.2)
        assert [body for body in came if body not in self.doubtful] == self.kept


@pytest.fixture
def faults(tmp_path):
    return Faults(tmp_path)


@pytest.fixture
def shop(faults, start):
    shop = Shop(start(env=faults.environment))
    yield shop
    faults.stop()
    shop.conn.close()


@pytest.mark.parametrize(
    "rule, answer, said",
    [
        ({"calls": SYNC}, DOWN, "the last write failed"),
        ({"calls": WRITE}, DOWN, "the last write failed"),
        ({"calls": WRITE, "error": errno.ENOSPC}, FULL, "is full"),
        ({"calls": WRITE, "error": errno.EDQUOT}, FULL, "is full"),
    ],
)
def test_it_fails_until_it_does_not(shop, faults, rule, answer, said):
    assert shop.send() == ("OK", "OK") and shop.problem() is None
    with faults.failing(inside=STORE, **rule):
        assert [shop.send() for _ in range(3)] == [answer] * 3
        assert said in shop.problem()
        state = shop.daemon.admin.get("/api/v1/clusters/local/state").json
        assert state["state"] == "down" and said in state["error"]
        # The only cluster takes no messages: nor does the daemon.
        ready = wait_for(lambda: (found := shop.daemon.admin.get("/readyz")).status == 503 and found.json)
        assert [said in check["detail"] for check in ready["checks"] if check["name"] == "cluster local"] == [True]
    assert faults.failed >= 3
    assert shop.daemon.events("STORE-WRITE") and shop.daemon.events("STORE-FULL" if answer == FULL else "STORE-FAILING")
    wait_for(lambda: shop.send() == ("OK", "OK"))
    assert shop.problem() is None and shop.daemon.events("STORE-OK")
    wait_for(lambda: shop.daemon.anonymous.get("/readyz").status == 200)
    shop.check()


@pytest.mark.parametrize("calls", [SYNC, WRITE])
@pytest.mark.parametrize("number", range(4))
def test_only_the_nth_fails(shop, faults, calls, number):
    """Wherever in a transaction it is: what it belongs to is refused as a whole, what comes before and behind is not."""
    with faults.failing(calls, inside=STORE, skip=number, count=1):
        ends = [shop.send() for _ in range(8)]
    assert faults.failed == 1 and ends.count(DOWN) == 1 and ends.count(("OK", "OK")) == 7
    shop.check()


def test_a_commit_in_doubt(shop, faults):
    """The write that makes a commit valid fails: what is stored is not known. It says so, takes nothing more, and a restart clears it up."""
    assert shop.send() == ("OK", "OK")
    with faults.failing(SYNC_WRITE, inside=STORE):
        assert shop.send() == DOUBT
    assert faults.failed
    assert [shop.send() for _ in range(3)] == [DOWN] * 3
    assert "failed" in shop.problem() and shop.daemon.events("STORE-FAILING")
    shop.restart()
    assert shop.problem() is None
    assert [shop.send() for _ in range(3)] == [("OK", "OK")] * 3
    shop.check()


def test_acknowledgements_that_are_not_durable(shop, faults):
    """A settle whose commit fails is told so; it is written again, and holds over the next life."""
    assert [shop.send() for _ in range(2)] == [("OK", "OK")] * 2
    subscription = shop.conn.subscribe("billing")
    first, second = subscription.receive(2)
    with faults.failing(SYNC, inside=STORE):
        assert subscription.ack(first) == [("BACKEND_DOWN", 0)]
    assert faults.failed
    wait_for(lambda: subscription.ack(second) == [("OK", 1)])  # a commit is of all that is settled
    shop.kept.clear()
    assert shop.send() == ("OK", "OK")
    shop.check()


@pytest.mark.parametrize("calls, error", [(SYNC, errno.EIO), (WRITE, errno.ENOSPC)])
def test_configuration_that_cannot_be_kept(shop, faults, calls, error):
    """A REST change that is not durable is refused and not made, now and after a restart."""
    with faults.failing(calls, error=error, inside="/registry"):
        refused = shop.daemon.admin.post("/api/v1/tenants", {"name": "lost", "clusters": ["local"]})
        assert refused.status >= 500, refused.body
    assert faults.failed
    assert shop.daemon.admin.get("/api/v1/tenants/lost").status == 404
    shop.daemon.make("tenants", {"name": "kept", "clusters": ["local"]})
    shop.restart()
    assert [shop.daemon.admin.get(f"/api/v1/tenants/{name}").status for name in ("lost", "kept")] == [404, 200]


def test_a_copy_of_the_catalog_that_cannot_be_written(shop, faults):
    """It goes on with what it knows, and is not ready: after a restart it would serve something older."""
    with faults.failing(SYNC, inside="/catalog"):
        shop.daemon.make("tenants", {"name": "later", "clusters": ["local"]})
        assert faults.failed
        ready = shop.daemon.anonymous.get("/readyz")
        assert ready.status == 503
        assert [check["name"] for check in ready.json["checks"] if not check["ok"]] == ["configuration"]
        assert shop.send() == ("OK", "OK")
    shop.daemon.make("tenants", {"name": "last", "clusters": ["local"]})
    wait_for(lambda: shop.daemon.anonymous.get("/readyz").status == 200)
    shop.check()


def test_a_start_on_a_failing_disk(tmp_path, faults):
    """It does not serve what it could not keep; the next start is a good one."""
    one = Daemon(tmp_path, env=faults.environment, start=False)
    with faults.failing(SYNC), pytest.raises(AssertionError, match="ended with 1"):
        one.start()
    assert faults.failed and "Input/output error" in one.log()
    one.start()
    one.end()
