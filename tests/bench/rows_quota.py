"""How exactly a quota holds, from a trickle to a million messages a second."""
import concurrent.futures

import lab
from figures import Figure, Sample, group

BURST_SECONDS = 0.2  # of a limit that may pass at once
CASES = [(10, 2), (10, 10), (10, 100), (1000, 2), (1000, 10), (1000, 100)]  # limit, offered as many times as much
FAST = (1000000, 2)


def deviation(limit, found):
    """By how many percent what was admitted differs from the quota, beyond the one burst that is allowed."""
    allowed = limit * found["seconds"]
    burst = max(1, BURST_SECONDS * limit)
    return 100 * max(0, abs(found["admitted"] - allowed) - burst) / allowed


def offered_enough(limit, found):
    """On a machine that is too busy to send more than the quota, nothing can be said about it."""
    return found["offered"] >= 1.2 * limit * found["seconds"]


def offer(service, limit, times, seconds, round_number):
    """A tenant of its own each time, whose bucket is full when it begins."""
    name = f"t{limit}-{times}-{round_number}"
    key = service.tenant(name, {"produce_tps": limit, "over": "reject"})
    service.daemon.make(f"tenants/{name}/topics", {"name": "orders", "partitions": 1})
    found = lab.load("quota", address=service.address, **key, topic="orders", rate=limit * times, seconds=seconds)
    return found


@group(Figure("quota.error", "deviation from the quota beyond one burst, worst of limits 10, 1,000 and 1,000,000 offered 2 to 100 times as much", "%", 1, most=True))
def quota(bench):
    seconds = bench.pick(10, 2)
    with lab.service("discard") as service, concurrent.futures.ThreadPoolExecutor(len(CASES)) as pool:
        for number in bench.rounds():
            found = list(pool.map(lambda case, n=number: offer(service, *case, seconds, n), CASES))
            cases = [*zip(CASES, found), (FAST, offer(service, *FAST, seconds, number))]
            told = [deviation(limit, one) for (limit, _), one in cases if offered_enough(limit, one)]
            if not bench.quick and len(told) < len(cases):
                raise RuntimeError("not every case could be offered more than its quota")
            yield {"quota.error": Sample(max(told))}
