"""Every second, what became of the messages of each group: sent + replayed = in the backlog, acked, dead, expired or skipped.

A queue does not know what was sent before its source was opened: there the parts of a backlog add up.
"""
import http.client
import threading
import time

from history import checker
from rest import TIMEOUT_S

BACKLOG = ("ready", "in_flight", "retrying", "delayed")
DONE = ("acked", "dead", "expired", "skipped")


def problems(answer, queue=False):
    """What does not add up in an answer of the backlog route."""
    found = []
    for row in [*answer["partitions"], {**answer, "end": answer["sent"]}]:
        parts = sum(row[name] for name in BACKLOG + DONE)
        if (not queue and row["end"] + row["replayed"] != parts) or row["backlog"] != sum(row[name] for name in BACKLOG):
            found.append(f"{row['end']} sent + {row['replayed']} replayed are not {parts}: {row}")
    return found


class Balance:
    """Looks until stopped. A daemon that is away, or does not know just now, says nothing; one that does says what adds up.

    `calls`: when each look began and ended; that it did so in time is the checker's business.
    """

    def __init__(self, daemon, groups, seconds=1):
        self.daemon, self.groups, self.seconds = daemon, groups, seconds
        self.samples, self.found, self.calls = 0, [], []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _look(self, group):
        """The answer; None: the daemon is away."""
        call = checker.Call(f"backlog of {group.name}", time.monotonic_ns(), TIMEOUT_S * 1000, answered=True)
        self.calls.append(call)
        try:
            return self.daemon.admin.get(f"/api/v1/tenants/acme/groups/{group.name}/backlog")
        except (OSError, http.client.HTTPException, KeyError, IndexError) as fault:
            call.answered = not isinstance(fault, TimeoutError)  # a connection that is refused or lost is an end, too
            return None
        finally:
            call.end = time.monotonic_ns()

    def _run(self):
        while not self.stopping.wait(self.seconds):
            for group in list(self.groups):
                answer = self._look(group)
                if answer and answer.status == 200:
                    self.samples += 1
                    self.found += [f"{group.name}: {text}" for text in problems(answer.json, queue=bool(group.judge))]

    def stop(self):
        """Returns what was found."""
        self.stopping.set()
        self.thread.join(60)
        return self.found

    def end(self):
        """Stops it; nothing may have been found."""
        self.stop()
        assert not self.found, self.found[:5]
