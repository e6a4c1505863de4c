"""The sending side of the RabbitMQ adapter (tests/rabbitmq/send_tool.c) against a real broker, well and not."""
import collections
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest
from rest import BUILD, wait_for

pytest_plugins = ["rabbitmq_fixtures"]

TOOL = os.path.join(BUILD, "tests", "rabbitmq", "rabbitmq_send_tool")


class Tool:
    """The tool in a process of its own. Every message is answered once and in order, or it dies of an assertion."""

    def __init__(self, host, tmp_path, **options):
        self.folder = tmp_path
        self.process = subprocess.Popen([TOOL, json.dumps({**host.options(), **options})], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines, self.news = [], threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        self.logs = 0

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.strip())
                self.news.notify_all()
        with self.news:
            self.lines.append("ended")
            self.news.notify_all()

    def tell(self, *words):
        print(*words, file=self.process.stdin, flush=True)

    def expect(self, pattern, seconds=60):
        """The match of the first line that fits; lines before it stay, it is taken."""
        deadline = time.monotonic() + seconds
        with self.news:
            while True:
                for number, line in enumerate(self.lines):
                    if found := re.match(pattern, line):
                        del self.lines[number]
                        return found
                left = deadline - time.monotonic()
                assert left > 0 and "ended" not in self.lines, f"no line {pattern!r}: {self.lines}"
                self.news.wait(left)

    def topic(self, name, partitions=1, flags="imported"):
        self.tell("topic", name, partitions, flags)
        self.expect(f"open {name}")

    def begin(self, name, count, size=10, batch=100):
        """Sends; the answer is a function that waits for the answers: {"OK/OK": [numbers], …}."""
        self.logs += 1
        log = self.folder / f"answers-{self.logs}"
        self.tell("send", name, count, size, batch, log)

        def answers(seconds=60):
            self.expect(f"sent {name} ", seconds)
            found = collections.defaultdict(list)
            for line in log.read_text().splitlines():
                outcome, code, number = line.split()
                found[f"{outcome}/{code}"].append(int(number))
            assert sorted(sum(found.values(), [])) == list(range(min(map(min, found.values())), max(map(max, found.values())) + 1))
            assert sum(map(len, found.values())) == count
            return dict(found)

        return answers

    def send(self, *arguments, **more):
        return self.begin(*arguments, **more)()

    def post(self, queue, count):
        self.tell("post", queue, count)
        return self.expect(f"sent {queue} \\d+ (.*)").group(1)

    def state(self):
        self.tell("state")
        return self.expect("state (.*)").group(1)

    def stop(self, seconds=60):
        if self.process.poll() is None:
            self.tell("stop")
            self.expect("stopped", seconds)
        assert self.process.wait(60) == 0


@pytest.fixture
def tool(tmp_path):
    """tool(host, options…): one that is stopped in the end."""
    begun = []

    def begin(host, **options):
        begun.append(Tool(host, tmp_path, **options))
        return begun[-1]

    yield begin
    for one in begun:
        one.stop()


def stored(host, queue):
    """The numbers of the messages in a queue, in its order."""
    with host.channel() as channel:
        found = []
        for method, _, body in channel.consume(queue, inactivity_timeout=2):
            if not method:
                break
            found.append(int(body.split()[0]))
            channel.basic_ack(method.delivery_tag)
        channel.cancel()
        return found


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_messages_are_stored_in_order(host, tool, kind):
    sender = tool(host)
    for name in ("one", "two"):
        host.declare("t." + name, "q." + name, x_queue_type=kind)
        sender.topic("t." + name, 3)
    answers = [sender.begin("t.one", 5000, batch=256), sender.begin("t.two", 3000, batch=1), sender.begin("t.one", 2000, batch=7)]
    assert [list(answer()) for answer in answers] == [["OK/OK"]] * 3
    assert stored(host, "q.one") == list(range(7000))
    assert stored(host, "q.two") == list(range(3000))
    assert sender.state().startswith("READY 0")


def test_a_large_message_and_one_that_is_too_large(host, tool):
    host.declare("t", "q", x_queue_type="quorum")
    sender = tool(host, memory_bytes=1 << 30)  # room for three of the largest: else how many are refused depends on how fast the first one fails
    sender.topic("t")
    most = 134217728 if host.broker.version.startswith("3.") else 16777216
    assert list(sender.send("t", 3, 5 << 20, batch=1)) == ["OK/OK"]
    answers = sender.send("t", 3, most + 1, batch=1)  # the first closes the channel, and says how large they may be
    assert answers["REJECTED/TOO_LARGE"] and set(answers) <= {"REJECTED/TOO_LARGE", "UNKNOWN/CONNECTION_LOST"}
    assert list(sender.send("t", 3, most + 1, batch=1)) == ["REJECTED/TOO_LARGE"]
    assert list(sender.send("t", 10)) == ["OK/OK"]


def test_without_a_route_it_is_refused(host, tool):
    host.declare("t.none")
    host.declare("t.some", "q")
    sender = tool(host)
    sender.topic("t.none")
    sender.topic("t.some")
    none, some = sender.begin("t.none", 6000, batch=10), sender.begin("t.some", 6000, batch=10)
    assert list(none()) == ["REJECTED/NO_ROUTE"] and list(some()) == ["OK/OK"]
    assert stored(host, "q") == list(range(6000))
    assert sender.post("q", 500) == "OK/OK:500"
    assert sender.post("nowhere", 500) == "REJECTED/NO_ROUTE:500"


def test_a_missing_exchange_is_found_when_it_comes(host, tool):
    sender = tool(host)
    sender.topic("t")
    assert list(sender.send("t", 100)) == ["REJECTED/NOT_FOUND"]
    sender.topic("ours", 1, "-")
    host.declare("ours", "q.ours")  # of another incarnation: its marker is not there
    assert list(sender.send("ours", 10)) == ["REJECTED/NOT_FOUND"]
    assert stored(host, "q.ours") == []
    host.declare("t", "q")
    deadline = time.monotonic() + 10
    while list(sender.send("t", 1)) != ["OK/OK"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_topic_that_goes_harms_no_other(host, tool):
    """t0 and t4 have one lane, t1 another."""
    sender = tool(host)
    for number in range(5):
        host.declare(f"t{number}", f"q{number}")
        sender.topic(f"t{number}")
        assert list(sender.send(f"t{number}", 10)) == ["OK/OK"]
    host.delete("t0")
    assert list(sender.send("t0", 1)) == ["REJECTED/NOT_FOUND"]
    gone, beside, other = sender.begin("t0", 100), sender.begin("t4", 3000, batch=1), sender.begin("t1", 3000, batch=1)
    assert list(gone()) == ["REJECTED/NOT_FOUND"]
    assert list(beside()) == list(other()) == ["OK/OK"]
    host.delete("t1")
    answers = sender.send("t1", 1000, batch=1)  # what was on its way when the broker said so
    assert set(answers) <= {"REJECTED/NOT_FOUND", "UNKNOWN/CONNECTION_LOST"}
    assert max(answers.get("UNKNOWN/CONNECTION_LOST", (0,))) < min(answers["REJECTED/NOT_FOUND"])
    assert list(sender.send("t4", 100)) == ["OK/OK"]
    assert stored(host, "q4") == list(range(3110))


def test_a_full_queue_is_no_success(host, tool):
    host.declare("t", "q", x_queue_type="classic", x_max_length=100, x_overflow="reject-publish")
    sender = tool(host)
    sender.topic("t")
    answers = sender.send("t", 1000, batch=10)
    assert set(answers) == {"OK/OK", "UNKNOWN/BACKEND_FULL"}
    assert stored(host, "q") == answers["OK/OK"]


def test_an_alarm_throttles(own_rabbitmq, tool):
    broker = own_rabbitmq()
    host = broker.host()
    host.declare("t", "q", x_queue_type="quorum")
    sender = tool(host, timeout_ms=2000)
    sender.topic("t")
    assert list(sender.send("t", 10)) == ["OK/OK"]
    with broker.alarm():
        sender.send("t", 1)  # the broker says BLOCKED to the first one that publishes
        assert "alarm" in sender.state()
        begun = time.monotonic()
        assert list(sender.send("t", 1000)) == ["REJECTED/THROTTLED"]
        assert 1.5 < time.monotonic() - begun < 5
    deadline = time.monotonic() + 20
    while list(sender.send("t", 1)) != ["OK/OK"]:
        assert time.monotonic() < deadline
    assert sender.state().startswith("READY")


def test_a_broker_that_is_paused_is_waited_for(own_rabbitmq, tool):
    broker = own_rabbitmq()
    host = broker.host()
    host.declare("t", "q", x_queue_type="quorum")
    sender = tool(host)
    sender.topic("t")
    assert list(sender.send("t", 10)) == ["OK/OK"]
    with broker.paused():
        answers = sender.begin("t", 3000)
        time.sleep(6)  # 3 s of silence, then probes
        assert sender.state().startswith("DOWN")
        assert list(sender.send("t", 10)) == ["REJECTED/BACKEND_DOWN"]  # at once
    assert list(answers()) == ["OK/OK"]
    deadline = time.monotonic() + 5
    while not sender.state().startswith("READY"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert list(sender.send("t", 10)) == ["OK/OK"]
    assert [number for number in stored(host, "q") if number < 3010] == list(range(3010))


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_a_broker_that_dies_costs_no_answer(own_rabbitmq, tool, kind):
    """Killed with thousands under way: every message has one answer, and what is OK is stored."""
    broker = own_rabbitmq()
    host = broker.host()
    host.declare("t", "q", x_queue_type=kind)
    sender = tool(host, timeout_ms=60000)
    sender.topic("t")
    assert list(sender.send("t", 100)) == ["OK/OK"]
    time.sleep(2 if kind == "classic" else 62)  # on 3.10 a young quorum queue may be lost with its node
    rounds = []
    for _ in range(2):
        before = host.ready("q")
        answers = sender.begin("t", 10000, batch=10)
        wait_for(lambda: host.ready("q") > before + 500)  # pylint: disable=cell-var-from-loop
        broker.kill()
        broker.up()
        rounds.append(answers(120))
        assert rounds[-1]["OK/OK"] and set(rounds[-1]) <= {"OK/OK", "UNKNOWN/CONNECTION_LOST", "REJECTED/BACKEND_DOWN", "REJECTED/CONNECTION_LOST"}
    found = stored(host, "q")
    assert set(found) >= {number for answers in rounds for number in answers["OK/OK"]}
    assert all(answers.get("UNKNOWN/CONNECTION_LOST") for answers in rounds)  # it did die under them
    refused = {number for answers in rounds for how in answers for number in answers[how] if how.startswith("REJECTED")}
    assert not refused & set(found)
    assert found == sorted(found)


def test_a_batch_that_broke_is_not_continued(own_rabbitmq, tool):
    """What its sender sends again would come behind the rest of it."""
    broker = own_rabbitmq()
    host = broker.host()
    host.declare("t", "q")
    sender = tool(host, timeout_ms=60000)
    sender.topic("t")
    assert list(sender.send("t", 100)) == ["OK/OK"]
    before = host.ready("q")
    answers = sender.begin("t", 60000, batch=60000)
    wait_for(lambda: host.ready("q") > before + 500)
    broker.kill()
    broker.up()
    ended = answers(120)
    first = min(ended["UNKNOWN/CONNECTION_LOST"])
    assert max(ended.get("OK/OK", [0])) < first and ended["REJECTED/CONNECTION_LOST"][-1] == 60099
    assert max(stored(host, "q"), default=0) < min(ended["REJECTED/CONNECTION_LOST"])


def test_no_broker_is_no_hang(host, tool):
    sender = tool(host, addresses="127.0.0.1:1", timeout_ms=1000)
    sender.topic("t")
    begun = time.monotonic()
    answers = sender.send("t", 10)
    assert list(answers) == ["REJECTED/BACKEND_DOWN"]
    assert time.monotonic() - begun < 5
    deadline = time.monotonic() + 10
    while not sender.state().startswith("DOWN"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert list(sender.send("t", 10)) == ["REJECTED/BACKEND_DOWN"]
    sender.stop(10)


def test_closing_answers_what_is_under_way(own_rabbitmq, tool):
    broker = own_rabbitmq()
    host = broker.host()
    host.declare("t", "q")
    sender = tool(host, timeout_ms=3000)
    sender.topic("t")
    assert list(sender.send("t", 10)) == ["OK/OK"]
    answers = sender.begin("t", 20000, batch=10)
    sender.tell("stop")
    assert list(answers()) == ["OK/OK"]
    assert sender.process.wait(60) == 0
    sender = tool(host, timeout_ms=3000)
    sender.topic("t")
    with broker.paused():
        answers = sender.begin("t", 20000, batch=10)
        time.sleep(0.5)
        begun = time.monotonic()
        sender.tell("stop")
        assert set(answers()) <= {"UNKNOWN/CONNECTION_LOST", "UNKNOWN/TIMEOUT", "REJECTED/SHUTTING_DOWN", "REJECTED/BACKEND_DOWN"}
        assert sender.process.wait(60) == 0
        assert time.monotonic() - begun < 15


def test_the_socket_of_a_hung_broker_is_cut(own_rabbitmq, tool):
    """More than fits into the socket, to a broker that stands still: the link is inside a send until it is cut."""
    broker = own_rabbitmq()
    host = broker.host()
    host.declare("t", "q")
    sender = tool(host, timeout_ms=2000)
    sender.topic("t")
    assert list(sender.send("t", 10)) == ["OK/OK"]
    pid = broker.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        answers = sender.begin("t", 200, 100000, batch=1)(20)
        assert "OK/OK" not in answers
    finally:
        os.kill(pid, signal.SIGCONT)
    deadline = time.monotonic() + 10
    while list(sender.send("t", 1)) != ["OK/OK"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
