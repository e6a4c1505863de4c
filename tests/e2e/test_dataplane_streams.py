"""How streams end (section 2.1 of docs/protocol.md): everything is answered before CLOSED, nothing comes after it, and every crossing has one meaning."""
import glob
import json
import os
import time

import pytest
import wire
from plane import REJECT, ROOT, WAIT
from plane_fixtures import plane, plane_with  # pylint: disable=unused-import
from wire import Record

EXCHANGES = sorted(glob.glob(os.path.join(ROOT, "tests", "vectors", "exchange-*.json")))


def on_stream(conn, stream):
    """The frames of a stream that wait in the inbox, in order; taken out."""
    frames = [frame for frame in conn.inbox if frame.stream == stream.id]
    conn.inbox = [frame for frame in conn.inbox if frame.stream != stream.id]
    return frames


def until_closed(conn, stream, timeout=None):
    """Waits for CLOSED. Returns the frames before it and its fields; a PING shows that nothing follows."""
    conn.pump_until(lambda: stream.id in conn.ended, timeout)
    assert conn.ping()
    *before, closed = on_stream(conn, stream)
    assert closed.type == wire.CLOSED
    return before, wire.code_name(wire.fields_read(closed.payload)["code"])


def codes(frame):
    assert frame.type == wire.PRODUCED
    return [result.code for result in wire.results_of(wire.produced_read(frame.payload)[1])]


def stored(plane):
    return plane.totals()["produce"]["ok"]


# ---- the vectors


def expect_frame(conn, item):
    frame = conn.read_frame()
    payload = bytes.fromhex(item["payload"])
    assert (frame.type, frame.stream) == (getattr(wire, item["type"]), item["stream"])
    if frame.type == wire.DELIVER:  # it has the time of storing
        (got,), (want,) = wire.deliver_read(frame.payload), wire.deliver_read(payload)
        assert (got.offset, got.epoch, got.attempt, got.record) == (want.offset, want.epoch, want.attempt, want.record)
    else:
        assert frame.payload == payload


def play(plane, topic, items):
    """Sends what the client sends and expects, byte for byte, what the server sends."""
    with plane.connect() as conn:
        for item in items:
            if "because" in item:
                plane.gone("topic", topic)
            if item["sender"] == "client":
                conn.send_frame(getattr(wire, item["type"]), bytes.fromhex(item["payload"]), item["stream"])
            else:
                expect_frame(conn, item)


@pytest.mark.parametrize("path", EXCHANGES, ids=lambda path: os.path.basename(path)[len("exchange-") : -len(".json")])
def test_exchanges(plane, path):
    topic = plane.topic("orders")
    plane.group("readers", topic)
    with open(path, encoding="utf-8") as file:
        play(plane, topic, json.load(file)["value"])


def test_there_are_exchanges():
    assert len(EXCHANGES) == 6


# ---- answers come first


def test_batches_in_flight_are_answered_before_closed(plane):
    plane.topic("orders", physical="slow")
    with plane.connect() as conn:
        topic = conn.open_topic("orders")
        for n in range(5):
            topic.produce([Record(body=b"%d" % n)] * 3)
        conn.send_close(topic.id)
        before, closed = until_closed(conn, topic)
        assert sorted(wire.produced_read(frame.payload)[0] for frame in before) == [1, 2, 3, 4, 5]
        assert all(codes(frame) == ["OK"] * 3 for frame in before) and closed == "OK"
        assert stored(plane) == 15


def test_oneway_in_flight_is_over_before_closed(plane):
    plane.topic("orders", physical="slow")
    with plane.connect() as conn:
        topic = conn.open_topic("orders")
        topic.produce([Record(body=b"x")], oneway=True)
        assert topic.close()["code"] == 0
        assert stored(plane) == 1


def test_an_unasked_closed_comes_behind_the_answers(plane):
    orders = plane.topic("orders", physical="slow")
    with plane.connect() as conn:
        topic = conn.open_topic("orders")
        taken = topic.produce([Record(body=b"taken")])
        assert conn.ping()
        plane.gone("topic", orders)
        late = topic.produce([Record(body=b"late")])  # taken, refused, or not read in time
        before, closed = until_closed(conn, topic)
        answers = {wire.produced_read(frame.payload)[0]: codes(frame) for frame in before}
        assert answers[taken] == ["OK"] and answers.get(late) in (["OK"], ["NOT_FOUND"], None) and closed == "NOT_FOUND"
        assert conn.closing == {topic.id} and stored(plane) == list(answers.values()).count(["OK"])


def test_a_deleted_topic_refuses_what_waits_for_the_quota(plane):
    plane.tenant(produce_tps=1, over=WAIT, wait_ms=600000)
    orders = plane.topic("orders")
    with plane.connect() as conn:
        topic = conn.open_topic("orders")
        topic.produce([Record(body=b"%d" % n) for n in range(50)])
        assert conn.ping()
        plane.gone("topic", orders)
        (answer,), closed = until_closed(conn, topic, 20)
        assert closed == "NOT_FOUND"
        assert set(codes(answer)) == {"OK", "NOT_FOUND"} and codes(answer).count("OK") == stored(plane)


@pytest.mark.parametrize("over, code", [(WAIT, "THROTTLED"), (REJECT, "THROTTLED")])
def test_close_waits_as_long_as_the_quota_makes_wait(plane, over, code):
    plane.tenant(produce_tps=1, over=over, wait_ms=700)
    plane.topic("orders")
    with plane.connect() as conn:
        topic = conn.open_topic("orders")
        begun = time.monotonic()
        topic.produce([Record(body=b"%d" % n) for n in range(50)])
        conn.send_close(topic.id)
        (answer,), closed = until_closed(conn, topic)
        assert codes(answer)[-1] == code and closed == "OK"
        assert time.monotonic() - begun >= (0.6 if over == WAIT else 0)


def test_settles_are_answered_before_closed(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        conn.open_topic("orders").send(*(b"%d" % n for n in range(20)))
        subscription = conn.subscribe("readers")
        got = subscription.receive(20)
        for n, delivery in enumerate(got):
            conn.send_frame(wire.SETTLE, wire.settle_write(n + 1, [wire.Entry(wire.ACK, delivery.partition, delivery.epoch, delivery.offset, 1, 1)]), subscription.id)
        conn.send_close(subscription.id)
        before, closed = until_closed(conn, subscription)
        assert [wire.settled_read(frame.payload) for frame in before] == [(n + 1, [("OK", 1)]) for n in range(20)] and closed == "OK"


def test_a_group_that_is_deleted_answers_before_closed(plane):
    group = plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        conn.open_topic("orders").send(b"one")
        subscription = conn.subscribe("readers")
        (got,) = subscription.receive()
        plane.gone("group", group)
        conn.send_frame(wire.SETTLE, wire.settle_write(5, [wire.Entry(wire.ACK, got.partition, got.epoch, got.offset, 1, 1)]), subscription.id)
        before, closed = until_closed(conn, subscription)
        assert closed == "NOT_FOUND"
        assert [wire.settled_read(frame.payload)[0] for frame in before] in ([], [5])  # it was read before, or crossed


def test_open_and_close_at_once(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        for stream, (type, name, answer) in enumerate([(wire.OPEN_TOPIC, {"topic": "orders"}, wire.TOPIC_OPENED), (wire.SUBSCRIBE, {"group": "readers"}, wire.SUBSCRIBED)], 1):
            conn.closing.add(stream)
            conn.send_raw(wire.frame(type, wire.fields_write(**name), stream) + wire.frame(wire.CLOSE, b"", stream))
            conn.pump_until(lambda stream=stream: stream in conn.ended)
            assert conn.ping()
            assert [frame.type for frame in conn.inbox if frame.stream == stream] == [answer, wire.CLOSED]


# ---- what crosses is ignored, and costs nothing


def test_what_crosses_an_unasked_closed_gives_its_window_back(plane):
    orders, _ = plane.topic("orders"), plane.topic("others")
    with plane.connect() as conn:
        conn.answer_closed = False
        topic, other = conn.open_topic("orders"), conn.open_topic("others")
        plane.gone("topic", orders)
        assert until_closed(conn, topic)[1] == "NOT_FOUND"
        for _ in range(40):  # several windows
            topic.produce([Record(body=b"x" * 500_000)])
        assert other.send(b"still")[0].outcome == wire.OK
        assert stored(plane) == 1 and plane.totals()["produce"]["messages"] == 1
        conn.send_close(topic.id)
        assert conn.ping() and not conn.inbox


def test_an_id_is_free_only_after_both_have_closed(plane):
    orders, _ = plane.topic("orders"), plane.topic("others")
    with plane.connect() as conn:
        conn.answer_closed = False
        topic = conn.open_topic("orders")
        plane.gone("topic", orders)
        until_closed(conn, topic)
        conn.send_frame(wire.OPEN_TOPIC, wire.fields_write(topic="others"), topic.id)
        assert conn.expect_end().code == "PROTOCOL"


def test_streams_that_ended_count_until_they_are_closed(plane_with):
    plane = plane_with(streams=3)
    plane.topic("others")
    with plane.connect() as conn:
        conn.answer_closed = False
        for n in range(3):
            orders = plane.topic("orders", incarnation=n + 1)
            topic = conn.open_topic("orders")
            plane.gone("topic", orders)
            until_closed(conn, topic)
        with pytest.raises(wire.Refused) as refused:
            conn.open_topic("others")
        assert refused.value.code == "LIMIT_EXCEEDED"
        conn.send_close(topic.id)
        assert conn.open_topic("others").send(b"x")[0].outcome == wire.OK


def test_a_leaving_client_gets_its_closed(plane):
    plane.topic("orders", physical="slow")
    with plane.connect() as conn:
        topic = conn.open_topic("orders")
        topic.produce([Record(body=b"x")])
        conn.send_close(topic.id)
        conn.leave()
        assert conn.expect_end() is None
        assert [frame.type for frame in on_stream(conn, topic)] == [wire.PRODUCED, wire.CLOSED]
