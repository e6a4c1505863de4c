"""Every second, what became of the messages of each group: sent + replayed = in the backlog, acked, dead, expired or skipped."""
import http.client
import threading

BACKLOG = ("ready", "in_flight", "retrying", "delayed")
DONE = ("acked", "dead", "expired", "skipped")


def problems(answer):
    """What does not add up in an answer of the backlog route."""
    found = []
    for row in [*answer["partitions"], {**answer, "end": answer["sent"]}]:
        parts = sum(row[name] for name in BACKLOG + DONE)
        if row["end"] + row["replayed"] != parts or row["backlog"] != sum(row[name] for name in BACKLOG):
            found.append(f"{row['end']} sent + {row['replayed']} replayed are not {parts}: {row}")
    return found


class Balance:
    """Looks until stopped. A daemon that is away, or does not know just now, says nothing; one that does says what adds up."""

    def __init__(self, daemon, groups, seconds=1):
        self.daemon, self.groups, self.seconds = daemon, groups, seconds
        self.samples, self.found = 0, []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping.wait(self.seconds):
            for group in list(self.groups):
                try:
                    answer = self.daemon.admin.get(f"/api/v1/tenants/acme/groups/{group.name}/backlog")
                except (OSError, http.client.HTTPException, KeyError, IndexError):
                    continue
                if answer.status == 200:
                    self.samples += 1
                    self.found += [f"{group.name}: {text}" for text in problems(answer.json)]

    def end(self):
        """Stops it; nothing may have been found."""
        self.stopping.set()
        self.thread.join(60)
        assert not self.found, self.found[:5]
