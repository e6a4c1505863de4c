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


@group(
    Figure("discard.frames1", "frames of one message, 16 connections with one sender each that waits for its answer", "frames/s", 3e5, beside="bare server"),
)
def frames1(bench):
    seconds = bench.pick(3, 1)
    with lab.bare() as bare, lab.service("discard") as service:
        target = service.topic("frames")
        for _ in bench.rounds():
            yield {
                "discard.frames1": Sample(
                    lab.rate(lab.load("frames", **target, connections=16, seconds=seconds)),
                    lab.rate(lab.load("frames", address=bare.address, connections=16, seconds=seconds)),
                )
            }


@group(
    Figure("discard.sync.p50", "a synchronous send through the SDK, by an application that runs the SDK's loop itself, over the bare round trip", "ratio", 1.3, most=True, beside="ns, bare round trip"),
    Figure("discard.sync.p99", "the same, 99th percentile", "ratio", 1.5, most=True, beside="ns, bare round trip"),
)
def sync(bench):
    seconds = bench.pick(3, 1)
    with lab.bare() as bare, lab.service("discard") as service:
        target = service.topic("sync")
        for _ in bench.rounds():
            ours = lab.load("load", **target, mode="sync", io="app", seconds=seconds)
            trip = lab.load("frames", address=bare.address, seconds=seconds)
            yield {f"discard.sync.{point}": Sample(ours[f"{point}_ns"] / trip[f"{point}_ns"], trip[f"{point}_ns"]) for point in ("p50", "p99")}


def counted(service, target, frames, **shape):
    """User instructions of the proxy a frame: the difference of two lengths, so that what a connection costs once cancels out."""
    totals = []
    for length in (frames, 3 * frames):
        service.daemon.instructions()
        lab.load("frames", **target, **shape, frames=length)
        totals.append(service.daemon.instructions())
    return (totals[1] - totals[0]) / (2 * frames)


@group(
    Figure("discard.instr.100", "user instructions of the proxy a message of 100 bytes, replayed frames of 256, 8 at a time", "instr", 150, most=True),
    Figure("discard.instr.frame16", "user instructions of the proxy a frame of 16 such messages, 8 at a time", "instr", 7400, most=True),
    Figure("discard.instr.frame1", "user instructions of the proxy a frame of one message, one at a time", "instr", 5000, most=True),
)
def instructions(bench):
    with lab.service("discard", "--workers", "1", make=lab.Counted) as service:
        target = service.topic("counted")
        for _ in bench.rounds():
            yield {
                "discard.instr.100": Sample(counted(service, target, bench.pick(800, 160), frame=256, flight=8) / 256),
                "discard.instr.frame16": Sample(counted(service, target, bench.pick(8000, 1600), frame=16, flight=8)),
                "discard.instr.frame1": Sample(counted(service, target, bench.pick(8000, 1000), frame=1, flight=1)),
            }


@group(Figure("tls.hot.100", "discard.hot.100 over TLS, over the same in plaintext", "ratio", 0.7, beside="msg/s, plaintext"))
def tls(bench):
    seconds = bench.pick(4, 1)
    with lab.certificate() as (cert, key), lab.service("discard", "--tls-cert", cert, "--tls-key", key) as service:
        target = service.topic("tls")
        for _ in bench.rounds():
            plain = lab.rate(lab.load("load", **target, seconds=seconds))
            safe = lab.rate(lab.load("load", **{**target, "address": "tls://" + service.address}, ca=cert, seconds=seconds))
            yield {"tls.hot.100": Sample(safe / plain, plain)}
