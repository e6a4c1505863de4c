"""The daemon is killed under load: what it acknowledged is there afterwards, to the byte, and what was settled stays settled."""
import threading

import wire

pytest_plugins = ["daemon_fixtures"]
BATCH = 50


def send_until_gone(daemon, acknowledged, enough):
    """Sends numbered batches one after the other and notes the bodies that were acknowledged, until the connection ends."""
    with daemon.connect() as conn:
        topic = conn.open_topic("orders")
        number = 0
        while True:
            bodies = [b"%d" % n for n in range(number, number + BATCH)]
            number += BATCH
            try:
                results = topic.send(*bodies)
            except (wire.Ended, OSError):
                return
            acknowledged += [body for body, result in zip(bodies, results) if result.outcome == wire.OK]
            if len(acknowledged) >= 20 * BATCH:
                enough.set()


def test_killed_under_load_loses_nothing_acknowledged(daemon):
    daemon.world()
    acknowledged, enough = [], threading.Event()
    sender = threading.Thread(target=send_until_gone, args=(daemon, acknowledged, enough))
    sender.start()
    with daemon.connect() as conn:
        subscription = conn.subscribe("billing")
        settled = subscription.receive(BATCH)
        assert subscription.ack(*settled) == [("OK", 1)] * BATCH
        assert enough.wait(10)
        daemon.kill()
    sender.join(10)
    assert not sender.is_alive()
    daemon.start()
    missing = set(acknowledged) - {delivery.record.body for delivery in settled}
    came = []
    with daemon.connect() as conn:
        subscription = conn.subscribe("billing")
        while missing:
            deliveries = subscription.receive(1)
            subscription.ack(*deliveries)
            came += [delivery.record.body for delivery in deliveries]
            missing -= set(came[-1:])
    assert not set(came) & {delivery.record.body for delivery in settled}
    assert len(came) == len(set(came)) and came == sorted(came, key=int)
