"""A registry that is lost, emptied, damaged or put back: no id gets a second meaning, and what was revoked stays revoked."""
import errno
import glob
import os
import shutil

import power
import pytest
import rest
import wire
from daemon import Daemon, run, wait_for
from daemon_fixtures import start  # noqa: F401  pylint: disable=unused-import
from faults import WRITE, Faults

A = "/api/v1/tenants/acme"
GRANTS = [{"pattern": "*", "rights": ["produce", "consume"]}]


def database(one):
    return os.path.join(one.data, "registry.db")


def lose(one):
    for path in glob.glob(database(one) + "*"):
        os.unlink(path)


def back_up(one, name="monday"):
    assert one.admin.post("/api/v1/backups", {"name": name}).status == 201
    return os.path.join(one.data, "backups", name + ".db")


def refused(one):
    """What it says when it does not start."""
    done = run(*one.command()[1:])
    assert done.returncode == 1, done.stderr
    return done.stderr


def restore(one, path, *options, status=0):
    done = run("--data-dir", one.data, "--restore", path, *options)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def log_in(one, user="root", password=rest.PASSWORD):
    answer = one.anonymous.post("/api/v1/sessions", {"user": user, "password": password})
    assert answer.status == 201, answer.body
    one.token = answer.json["token"]


def send(one, topic, *bodies, key=None):
    with wire.Connection("127.0.0.1", one.port, *(key or one.key)) as conn:
        assert all(result.code == "OK" for result in conn.open_topic(topic).send(*(wire.Record(body=body) for body in bodies)))


def read(one, group, count, key=None):
    with wire.Connection("127.0.0.1", one.port, *(key or one.key)) as conn:
        return [delivery.record.body for delivery in conn.subscribe(group).receive(count)]


def new_tenant(one, name="eve"):
    one.make("tenants", {"name": name, "clusters": ["local"]})
    one.make(f"tenants/{name}/topics", {"name": "fresh"})
    one.make(f"tenants/{name}/groups", {"name": "readers", "topic": "fresh"})
    key = one.make(f"tenants/{name}/access-keys", {"grants": GRANTS})
    return key["key_id"], key["secret"]


def reads_nothing(one, key, group="readers"):
    with wire.Connection("127.0.0.1", one.port, *key) as conn:
        conn.subscribe(group).receive_nothing(0.5)


def state(one, path):
    answer = one.admin.get(f"{A}/{path}")
    return (answer.json["state"], answer.json["state_reason"]) if answer.status == 200 else answer.status


def take_up(one, path):
    assert one.admin.put(f"{A}/{path}", {}).status == 200
    wait_for(lambda: state(one, path)[0] == "ready", what=f"{path} does not become ready")


def ids(one):
    return {row["id"] for kind in ("topics", "groups", "access-keys") for row in one.admin.get(f"{A}/{kind}?limit=500").json["items"]}


def grown(start):
    """A daemon with a backup, and things that were made, deleted and revoked since: (daemon, backup, key that was revoked)."""
    one = start().world()
    one.make("tenants/acme/topics", {"name": "doomed"})
    one.make("tenants/acme/groups", {"name": "doomed-readers", "topic": "doomed"})
    revoked, limited = (one.make("tenants/acme/access-keys", {"grants": GRANTS}) for _ in range(2))
    send(one, "orders", b"kept")
    path = back_up(one)
    one.make("tenants/acme/topics", {"name": "late", "partitions": 2})
    one.make("tenants/acme/groups", {"name": "late-readers", "topic": "late"})
    send(one, "late", *(b"secret %d" % number for number in range(5)))
    assert one.admin.delete(f"{A}/topics/doomed?force=true").status in (202, 204)
    wait_for(lambda: one.admin.get(f"{A}/topics/doomed").status == 404)
    assert one.admin.delete(f"{A}/access-keys/{revoked['key_id']}").status == 204
    assert one.admin.put(f"{A}/access-keys/{limited['key_id']}", {"disabled": True}).status == 200
    return one, path, (revoked["key_id"], revoked["secret"]), limited["key_id"]


def refused_key(one, key):
    with pytest.raises(wire.Refused):
        wire.Connection("127.0.0.1", one.port, *key).close()


def check_grown(one, highest, revoked, limited):
    """After the restore, whatever way it went."""
    assert state(one, "topics/orders")[0] == "ready" and read(one, "billing", 1) == [b"kept"]
    made, gone = state(one, "topics/late"), state(one, "topics/doomed")
    assert made[0] == "failed" and "made after the backup" in made[1]
    assert gone[0] == "failed" and "deleted after the backup" in gone[1]
    assert state(one, "groups/late-readers")[0] == "failed" and state(one, "groups/doomed-readers")[0] == "failed"
    refused_key(one, revoked)
    assert one.admin.get(f"{A}/access-keys/{limited}").json["disabled"] is True
    key = new_tenant(one)
    reads_nothing(one, key)
    topic = one.admin.get("/api/v1/tenants/eve/topics/fresh").json
    assert topic["id"] > highest
    take_up(one, "topics/late")
    take_up(one, "groups/late-readers")
    assert sorted(read(one, "late-readers", 5)) == [b"secret %d" % number for number in range(5)]
    take_up(one, "topics/doomed")
    take_up(one, "groups/doomed-readers")
    send(one, "doomed", b"anew")
    assert read(one, "doomed-readers", 1) == [b"anew"]


def test_a_lost_registry_lets_nobody_read_anothers_messages(start):
    one, path, revoked, limited = grown(start)
    highest = max(ids(one))
    one.stop()
    lose(one)
    said = refused(one)
    assert "registry.db is missing" in said and "holds messages" in said and "mqpaasd --restore FILE" in said
    assert not os.path.exists(database(one))
    report = restore(one, path)
    assert f"access_key acme/{revoked[0]}" in report and "topic acme/late" in report and "topic acme/doomed" in report
    one.start()
    log_in(one)
    check_grown(one, highest, revoked, limited)
    entry = one.admin.get("/api/v1/audit?action=restore").json["items"][0]
    assert entry["new"]["lost_after"]["entries"] > entry["new"]["backup"]["entries"]
    assert one.admin.get("/api/v1/audit/verify").json["ok"] is True


def test_an_emptied_registry_refuses_to_start(start):
    one, path, revoked, limited = grown(start)
    highest = max(ids(one))
    one.stop()
    lose(one)
    other = start()  # what an operator would try: a registry that another installation's daemon made
    other.stop()
    shutil.copy(database(other), database(one))
    assert "registry.db is empty" in refused(one)
    restore(one, path)
    one.start()
    log_in(one)
    check_grown(one, highest, revoked, limited)


def test_a_registry_that_was_put_back_is_taken_as_a_restore(start):
    one = start()
    one.admin  # noqa: B018  pylint: disable=pointless-statement
    one.stop()
    one.start()
    one, _, revoked, limited = grown(lambda: one)
    highest = max(ids(one))
    one.stop()
    lose(one)
    shutil.copy(os.path.join(one.data, "backups", "monday.db"), database(one))
    one.start()
    assert one.events("REGISTRY-OLDER") and one.events("RESTORED")
    log_in(one)
    check_grown(one, highest, revoked, limited)
    one.stop()
    count = len(one.events("REGISTRY-OLDER"))
    one.start()
    assert len(one.events("REGISTRY-OLDER")) == count


def test_a_copy_of_a_registry_that_was_put_back_is_whole(start):
    one = start().world()
    path = back_up(one)
    one.stop()
    lose(one)
    shutil.copy(path, database(one))
    one.start()
    log_in(one)
    one.make("tenants/acme/topics", {"name": "more"})
    one.stop()
    shutil.copy(database(one), path)  # a plain copy, as a snapshot of the disk makes one
    one.start()
    one.make("tenants/acme/topics", {"name": "late"})
    one.stop()
    lose(one)
    shutil.copy(path, database(one))
    one.start()
    assert one.events("REGISTRY-OLDER")
    log_in(one)
    assert state(one, "topics/more")[0] == "ready" and state(one, "topics/late")[0] == "failed"


def test_a_restore_while_running_knows_what_happened_since(start):
    one, _, revoked, limited = grown(start)
    highest = max(ids(one))
    preview = one.admin.call("POST", "/api/v1/backups/monday/restore?preview=true")
    assert preview.status == 200 and preview.json["preview"] is True and preview.json["saved_as"] is None
    assert {(row["kind"], row["name"], row["since"]) for row in preview.json["revoked"]} == {
        ("access_key", revoked[0], "deleted"),
        ("access_key", limited, "disabled"),
    }
    assert {row["name"] for row in preview.json["topics"]} == {"late", "late-readers", "late-readers.dead", "doomed", "doomed-readers", "doomed-readers.dead"}
    assert state(one, "topics/late")[0] == "ready" and state(one, "topics/doomed") == 404
    done = one.admin.call("POST", "/api/v1/backups/monday/restore")
    assert done.status == 200 and done.json["topics"] == preview.json["topics"]
    log_in(one)
    check_grown(one, highest, revoked, limited)
    assert one.admin.get("/api/v1/audit/verify").json["ok"] is True


def test_revive_brings_back_what_was_revoked(start):
    one, _, revoked, limited = grown(start)
    done = one.admin.call("POST", "/api/v1/backups/monday/restore?revive=true")
    assert done.status == 200 and {row["name"] for row in done.json["revoked"]} == {revoked[0], limited}
    log_in(one)
    wire.Connection("127.0.0.1", one.port, *revoked).close()
    assert one.admin.get(f"{A}/access-keys/{limited}").json["disabled"] is False
    entry = one.admin.get("/api/v1/audit?action=restore").json["items"][0]
    assert entry["new"]["revive"] is True and len(entry["new"]["revoked"]) == 2


def test_the_audit_log_goes_on_through_a_restore(start):
    one, path, *_ = grown(start)
    before = one.admin.get("/api/v1/audit?limit=500").json["items"]
    head = one.admin.get("/api/v1/audit/verify").json["head"]
    assert one.admin.call("POST", "/api/v1/backups/monday/restore").status == 200
    log_in(one)
    after = one.admin.get("/api/v1/audit?limit=500").json["items"]
    assert [row["action"] for row in after[:-len(before)]] == ["login", "restore"] and after[-len(before):] == before
    assert one.admin.get(f"/api/v1/audit/verify?head={head[:12]}").json["head_found"] is True
    one.stop()
    told = [event["message"] for event in one.events("AUDIT-HEAD")]
    assert told and any(row["hash"] in line for line in told for row in after)
    with open(os.path.join(one.data, "audit-head"), encoding="ascii") as file:
        assert file.read().split() == [str(after[0]["seq"]), after[0]["hash"]]
    # Put back after all: what is lost is said, and an entry says it.
    restore(one, path)
    one.start()
    log_in(one)
    entries = one.admin.get("/api/v1/audit?limit=500").json["items"]
    assert [row for row in entries if row["seq"] <= after[0]["seq"]] == after  # the registry was there: nothing is lost


def test_without_registry_and_catalog_topics_are_looked_for(start):
    one, path, revoked, _ = grown(start)
    highest = max(ids(one))
    one.stop()
    lose(one)
    os.unlink(os.path.join(one.data, "catalog"))
    assert "holds messages" in refused(one)
    report = restore(one, path)
    assert f"access_key acme/{revoked[0]} cannot be compared" in report and "user root cannot be compared" in report
    one.start()
    log_in(one)
    wait_for(lambda: state(one, "topics/orders")[0] == "ready")
    wait_for(lambda: state(one, "topics/doomed")[0] == "failed")
    wait_for(lambda: state(one, "groups/billing")[0] == "ready")
    assert "does not have it" in state(one, "topics/doomed")[1]
    for key in (revoked, one.key):
        refused_key(one, key)
    assert one.admin.put(f"{A}/access-keys/{one.key[0]}", {"disabled": False}).status == 200
    assert read(one, "billing", 1) == [b"kept"]
    key = new_tenant(one)
    reads_nothing(one, key)
    assert one.admin.get("/api/v1/tenants/eve/topics/fresh").json["id"] > highest
    # What was made after the backup has no name any more: it is found, suspended, and can be taken up.
    lost = "/api/v1/tenants/found-in-stores"
    assert one.admin.get(lost).json["suspended"] is True
    topics = {topic["name"]: topic for topic in one.admin.get(f"{lost}/topics").json["items"]}
    late = next(topic for topic in topics.values() if topic["partitions"] == 2)
    assert late["state"] == "failed" and "found in a store" in late["state_reason"]
    assert one.admin.put(lost, {"suspended": False}).status == 200
    for path in (f"topics/{late['name']}", *(f"groups/{group['name']}" for group in one.admin.get(f"{lost}/groups").json["items"])):
        assert one.admin.put(f"{lost}/{path}", {}).status == 200
        wait_for(lambda path=path: one.admin.get(f"{lost}/{path}").json["state"] == "ready", what=path)
    key = one.admin.post(f"{lost}/access-keys", {"grants": GRANTS}).json
    group = next(group["name"] for group in one.admin.get(f"{lost}/groups").json["items"] if group["topic"] == late["name"])
    assert sorted(read(one, group, 5, (key["key_id"], key["secret"]))) == [b"secret %d" % number for number in range(5)]


@pytest.mark.parametrize("revive", (False, True))
def test_on_a_fresh_machine_nothing_is_known(start, revive):
    """What may have been revoked opens nothing, but for the first administrator, unless the copy is to be taken as it is."""
    old, one = start().world(), start()
    old.make("users", {"name": "second", "password": rest.PASSWORD, "role": "admin"})
    token = old.make("tokens", {"name": "ci", "role": "operator"})["token"]
    path = back_up(old)
    old.stop()
    one.stop()
    for name in ("registry.db", "catalog", "audit-head", "bootstrap-token"):
        os.unlink(os.path.join(one.data, name))
    shutil.rmtree(os.path.join(one.data, "clusters"))
    shutil.copy(os.path.join(old.data, "master.key"), one.data)
    report = restore(one, path, *(["--revive"] if revive else []))
    assert ("--revive takes all as in the copy" in report) is not revive
    for thing, as_now in ((f"access_key acme/{old.key[0]}", "disabled"), ("user second", "disabled"), ("token ci", "expired"), ("user root", "can log in")):
        line = next(line for line in report.splitlines() if line.startswith(thing + " cannot be compared"))
        assert ("as in the copy" if revive else as_now) in line
    one.start()
    log_in(one)
    assert one.anonymous.post("/api/v1/sessions", {"user": "second", "password": rest.PASSWORD}).status == (201 if revive else 401)
    assert rest.Rest(one.rest_port, token).get("/api/v1/tenants").status == (200 if revive else 401)
    if revive:
        wire.Connection("127.0.0.1", one.port, *old.key).close()
        return
    refused_key(one, old.key)
    assert one.admin.put(f"{A}/access-keys/{old.key[0]}", {"disabled": False}).status == 200
    assert one.admin.put("/api/v1/users/second", {"disabled": False}).status == 200
    wire.Connection("127.0.0.1", one.port, *old.key).close()
    assert one.anonymous.post("/api/v1/sessions", {"user": "second", "password": rest.PASSWORD}).status == 201


def test_what_nobody_used_begins_anew_in_silence(start):
    one = start()
    one.stop()
    lose(one)
    one.start().world()
    send(one, "orders", b"served")


def test_a_kill_while_the_first_store_is_made_is_no_loss(start):
    one = start()
    one.kill()
    clusters = glob.glob(os.path.join(one.data, "clusters", "*"))
    assert len(clusters) == 1
    shutil.rmtree(os.path.join(clusters[0], "d1"))
    file = os.path.join(clusters[0], "d2", "data.mdb")
    os.truncate(file, 4096)
    assert f"what {clusters[0]} holds cannot be read" in refused(one)
    os.truncate(file, 0)
    one.start().world()
    send(one, "orders", b"served")


def test_a_store_of_another_installation_is_refused(start):
    one, other = start().world(), start().world()
    one.stop()
    other.stop()
    shutil.rmtree(os.path.join(one.data, "clusters"))
    shutil.copytree(os.path.join(other.data, "clusters"), os.path.join(one.data, "clusters"))
    one.start()
    assert "of installation" in one.wait_event("CLUSTER-OPEN")["message"]
    assert "another installation" in restore(other, database(one), status=1)


def test_a_damaged_registry_is_set_aside_by_a_restore(start):
    one, path, revoked, limited = grown(start)
    highest = max(ids(one))
    one.stop()
    with open(database(one), "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))
    assert "mqpaasd --restore FILE" in refused(one)
    assert "what was there is" in restore(one, path)
    assert glob.glob(database(one) + ".before-restore-*")
    one.start()
    log_in(one)
    check_grown(one, highest, revoked, limited)


def alone(one):
    """Nothing beside it tells that there was a registry: as where all clusters are elsewhere."""
    shutil.rmtree(os.path.join(one.data, "clusters"))
    os.unlink(os.path.join(one.data, "catalog"))


def recorded_restore(one, path):
    """The disk's history of it: (power.Disk, where it was when each file had got another name)."""
    log = os.path.join(one.folder, "record")
    disk = power.Disk([], one.data).begin_with()
    done = run("--data-dir", one.data, "--restore", path, env=power.environment(one.data, log))
    assert done.returncode == 0, done.stderr
    disk.events = power.read(log)
    return disk, [number + 1 for number, event in enumerate(disk.events) if event.kind == power.RENAME]


@pytest.mark.parametrize("damaged", (False, True))
def test_a_restore_that_is_cut_short_is_finished_or_was_none(start, tmp_path, damaged):
    one = start().world()
    path = shutil.copy(back_up(one), tmp_path)
    one.make("tenants/acme/topics", {"name": "late"})
    if damaged:
        one.stop()
    else:
        one.kill()  # with a log beside it
    alone(one)
    if damaged:
        with open(database(one), "r+b") as file:
            file.write(b"x" * 4096)
    disk, cuts = recorded_restore(one, path)
    finished = 0
    for cut in cuts:
        disk.advance(cut)
        for mode in ("dropped", "kept"):
            other = Daemon(tmp_path / f"{cut}-{mode}", start=False)
            os.mkdir(other.folder)
            disk.write(other.data, mode, cut)
            if damaged and not glob.glob(database(other) + ".before-restore-*") and not os.path.exists(database(other) + ".restored"):
                assert "is damaged" in refused(other)  # nothing has happened yet
                continue
            try:
                other.start()
                log_in(other)
                finished += len(other.events("RESTORE-FINISHED"))
                assert other.admin.get("/api/v1/audit/verify").json["ok"] is True
                assert other.admin.get(f"{A}/topics/orders").status == 200
            finally:
                other.stop()
            assert not glob.glob(database(other) + ".restore*") and not glob.glob(database(other) + ".known*")
            shutil.rmtree(other.folder)
    assert finished >= 2


@pytest.mark.parametrize("emptied", (False, True))
def test_a_log_without_its_registry_is_no_new_one(start, tmp_path, emptied):
    one = start().world()
    path = shutil.copy(back_up(one), tmp_path)
    one.kill()
    alone(one)
    with open(database(one) + "-wal", "rb") as file:
        log = file.read()
    if emptied:
        os.truncate(database(one), 0)
    else:
        os.unlink(database(one))
    assert "registry.db-wal is what is left of one" in refused(one)
    restore(one, path, "--revive")
    with open(glob.glob(database(one) + ".before-restore-*-wal")[0], "rb") as file:
        assert file.read() == log
    one.start()
    log_in(one)
    assert one.admin.get(f"{A}/topics/orders").status == 200


@pytest.mark.parametrize("skip", (0, 3, 20))
def test_a_full_disk_during_a_restore_loses_nothing(start, tmp_path, skip):
    """It fails and says why, and everything is as it was."""
    one = start().world()
    path = shutil.copy(back_up(one), tmp_path)
    one.make("tenants/acme/topics", {"name": "late"})
    one.stop()
    faults = Faults(tmp_path)
    with faults.failing(WRITE, error=errno.ENOSPC, inside="/data/registry.db", skip=skip):
        done = run("--data-dir", one.data, "--restore", path, env=faults.environment)
    assert faults.failed and done.returncode == 1
    assert os.strerror(errno.ENOSPC) in done.stderr, done.stderr
    assert not glob.glob(database(one) + ".before-restore-*")
    one.start()
    log_in(one)
    assert state(one, "topics/late")[0] == "ready"
    assert one.admin.get("/api/v1/audit/verify").json["ok"] is True
    assert not glob.glob(database(one) + ".restore*") and not glob.glob(database(one) + ".known*")


def test_restores_that_cannot_be(start, tmp_path):
    one = start().world()
    path = back_up(one)
    one.stop()
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"x" * 8192)
    for source, said in ((broken, "damaged"), (tmp_path / "none.db", "none.db")):
        assert said in restore(one, str(source), status=1)
    assert "is in use" in restore(start(folder=one.folder), path, status=1)
    assert run("--data-dir", one.data, "--revive").returncode == 2
