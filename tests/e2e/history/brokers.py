"""Faults that every broker behind the service is put to, under a load that has begun. Each ends the load and returns its report."""
import statistics
import time

from history.load import times

EVERY_S = 20  # between two kills of a broker, in the long run
RECOVER_P95_S = 2


def clean(report):
    assert report.clean, report
    return report


def killed(load, broker, few, share, also=()):
    """With kill -9; the long run also says how fast all comes back, and what a kill every 20 s costs: at most `share` of the deliveries are duplicates.

    `also` names what counts as a duplicate on this kind of broker alone.
    """
    recoveries = []
    for _ in range(times(few, 25)):
        load.progress(500)
        if times(False, True):
            time.sleep(EVERY_S)
        with load.fault("broker killed"):
            broker.kill()
            broker.up()
        recoveries.append(load.recovery(broker.serving_since()))
    report = clean(load.finish())
    duplicates = sum(report.seen[what] for what in ("copies by resending", "redelivered by fault", "late", *also)) / report.seen["deliveries"]
    print(f"recovered after {recoveries}, duplicates {duplicates:.6f}")
    if times(False, True):
        assert statistics.quantiles(recoveries, n=20)[-1] <= RECOVER_P95_S, recoveries
        assert duplicates <= share, report
    return report


def daemon_killed(load, records):
    """With kill -9, after one to four times `records`: what was not settled comes again."""
    for number in range(times(2, 25)):
        load.progress(records * (1 + number % 4))
        load.kill_daemon(lives=1 + number % 2)
    report = clean(load.finish())
    assert report.seen["redelivered by fault"], report
    return report


def slow(taken):
    """The 99th percentile of times."""
    return statistics.quantiles(taken, n=100)[98]


def stopped(load, broker, seconds, many):
    """It is there and says nothing; the topic `beside` on another cluster does not notice."""
    for _ in range(times(2, many)):
        since = time.monotonic_ns()
        load.progress(500)
        usual = times(slow(load.answer_times("beside", since)), 0)  # in tests/run other tests keep the machine busy
        with load.fault("broker stopped"):
            since = time.monotonic_ns()
            with broker.paused():
                time.sleep(seconds)
                answered = load.answer_times("beside", since)
        assert slow(answered) < 1 + 2 * usual and max(answered) < 5, (usual, answered)
    return clean(load.finish())


def reset(load, resetter):
    """All connections to the broker at once, in the middle of whatever is on its way."""
    for _ in range(times(2, 40)):
        load.progress(500)
        with load.fault("reset"):
            assert resetter.reset() >= 4
    return clean(load.finish())
