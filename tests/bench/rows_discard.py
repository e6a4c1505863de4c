"""The proxy alone: what it takes to receive, check, charge, route and answer, in front of a backend that forgets."""
import lab
from figures import Figure, Sample, group

KAFKA = "librdkafka to its own mock"


def kafka_rate(**values):
    """What librdkafka sends to the mock broker it brings along; None where it is not installed."""
    return lab.rate(lab.load("kafka", **values)) if lab.program("kafka") else None


@group(
    Figure("discard.hot.100", "one producer, async, 100 bytes, through the SDK", "msg/s", 4e6, beside=KAFKA),
    Figure("discard.hot.1k", "the same with 1,000 bytes", "msg/s", 1e6, beside=KAFKA),
    Figure("discard.cpu.100", "CPU time of the proxy process a message, at the load of discard.hot.100", "ns", 60, most=True, beside="bare server"),
)
def hot(bench):
    seconds = bench.pick(4, 1)
    with lab.bare() as bare, lab.service("discard") as service:
        target = service.topic("hot")
        for _ in bench.rounds():
            yield hot_round(service, bare, target, seconds)


def load_with_cpu(pid, **values):
    """What a load printed, and the CPU time a message that it cost the process `pid`."""
    before = lab.cpu_ns(pid)
    found = lab.load("load", **values)
    return found, (lab.cpu_ns(pid) - before) / found["messages"]


def hot_round(service, bare, target, seconds):
    small, cpu = load_with_cpu(service.pid, **target, size=100, seconds=seconds)
    _, bare_cpu = load_with_cpu(bare.pid, address=bare.address, size=100, seconds=seconds)
    kafka_small = kafka_rate(size=100, seconds=seconds)
    large = lab.load("load", **target, size=1000, seconds=seconds)
    return {
        "discard.hot.100": Sample(lab.rate(small), kafka_small),
        "discard.cpu.100": Sample(cpu, bare_cpu),
        "discard.hot.1k": Sample(lab.rate(large), kafka_rate(size=1000, seconds=seconds)),
    }
