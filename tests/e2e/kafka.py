"""A real Kafka for tests: brought up and down by deploy/brokers/kafka, and looked at with a native client (librdkafka)."""
import contextlib
import datetime
import functools
import os
import re
import signal
import socket
import struct
import subprocess
import time

import confluent_kafka
import confluent_kafka.admin
from history.relay import Reader
from rest import ROOT, wait_for

SCRIPT = os.path.join(ROOT, "deploy", "brokers", "kafka")
OFFSET_FETCH = 9  # a request of Kafka's protocol
SMALL = "--heap", "256", "--quick-start"  # where its speed does not matter


def register(daemon, broker, name="kafka", secrets=None, ready=True, **options):
    """Makes a cluster of it; ready: waits until the daemon has reached it."""
    body = {"name": name, "kind": "kafka", "options": {"bootstrap": broker.bootstrap, **options}}
    daemon.make("clusters", {**body, **({"secrets": secrets} if secrets else {})})
    if ready:
        wait_for(lambda: daemon.admin.get(f"/api/v1/clusters/{name}/state").json["state"] == "ready", what="the cluster does not become ready")
    return daemon


class Kafka:
    """The brokers in `folder`. Options are those of deploy/brokers/kafka: ("--nodes", "3"), ("--tls",), ("--sasl",), …"""

    def __init__(self, folder, *options):
        self.folder = str(folder)
        self.options = options
        self.bootstrap = ""

    def script(self, verb, *options):
        done = subprocess.run(
            [SCRIPT, verb, "--dir", self.folder, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"deploy/brokers/kafka {verb}:\n{done.stdout}"
        return done.stdout

    def up(self):
        """Starts it, or the nodes of it that have died; where it listens stays the same."""
        told = dict(line.split(" ", 1) for line in self.script("up", *self.options).splitlines() if " " in line)
        self.bootstrap = told["bootstrap"]
        return self

    def down(self):
        self.script("down")

    # ---- Its nodes, counted from 1

    def pid(self, node=1):
        with open(os.path.join(self.folder, f"node-{node}", "pid"), encoding="ascii") as file:
            return int(file.read())

    def kill(self, node=1):
        """SIGKILL; up() starts it again."""
        pid = self.pid(node)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self._alive(pid), what=f"node {node} does not die")

    @staticmethod
    def _alive(pid):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
        return False

    def pause(self, node=1):
        os.kill(self.pid(node), signal.SIGSTOP)

    def resume(self, node=1):
        os.kill(self.pid(node), signal.SIGCONT)

    @contextlib.contextmanager
    def paused(self, node=1):
        self.pause(node)
        try:
            yield
        finally:
            self.resume(node)

    def serving_since(self, node=1):
        """When the node said that it serves, as time.monotonic_ns() would have."""
        with open(os.path.join(self.folder, f"node-{node}", "log"), encoding="utf-8", errors="replace") as file:
            line = next(line for line in file if "Kafka Server started" in line)
        told = datetime.datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").timestamp()
        return time.monotonic_ns() - int((time.time() - told) * 1e9)

    def whole(self):
        """Whether every replica of every partition, Kafka's own included, has caught up."""
        with contextlib.suppress(confluent_kafka.KafkaException):
            topics = self.admin.list_topics(timeout=5).topics.values()
            return all(one.leader >= 0 and len(one.isrs) == len(one.replicas) for topic in topics for one in topic.partitions.values())
        return False

    # ---- What a native client sees and does

    def settings(self, **more):
        return {"bootstrap.servers": self.bootstrap, **{name.replace("_", "."): value for name, value in more.items()}}

    @functools.cached_property
    def admin(self):
        return confluent_kafka.admin.AdminClient(self.settings())

    def create(self, topic, partitions=1, replication=1, **config):
        """Makes a topic and waits until every broker knows it."""
        wanted = confluent_kafka.admin.NewTopic(topic, partitions, replication, config={name.replace("_", "."): str(value) for name, value in config.items()})
        self.admin.create_topics([wanted])[topic].result(30)
        wait_for(lambda: topic in self.topics(), what=f"{topic} is not there")

    def delete(self, topic):
        self.admin.delete_topics([topic])[topic].result(30)

    def grow(self, topic, partitions):
        self.admin.create_partitions([confluent_kafka.admin.NewPartitions(topic, partitions)])[topic].result(30)

    def truncate(self, topic, kept):
        """Deletes what lies below {partition: offset}, as retention does; -1: everything."""
        wanted = [confluent_kafka.TopicPartition(topic, number, offset) for number, offset in kept.items()]
        for done in self.admin.delete_records(wanted).values():
            done.result(30)

    def config(self, topic):
        """What is set for a topic itself: {name: value}."""
        wanted = confluent_kafka.admin.ConfigResource(confluent_kafka.admin.ResourceType.TOPIC, topic)
        found = self.admin.describe_configs([wanted])[wanted].result(30)
        own = confluent_kafka.admin.ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        return {name: entry.value for name, entry in found.items() if entry.source == own}

    def set(self, topic, **config):
        """Sets something for a topic, and leaves the rest."""
        words = confluent_kafka.admin
        entries = [words.ConfigEntry(name.replace("_", "."), str(value), incremental_operation=words.AlterConfigOpType.SET) for name, value in config.items()]
        wanted = words.ConfigResource(words.ResourceType.TOPIC, topic, incremental_configs=entries)
        self.admin.incremental_alter_configs([wanted])[wanted].result(30)

    def _places(self, topic, spec):
        wanted = {confluent_kafka.TopicPartition(topic, number): spec for number in range(self.topics()[topic])}
        return {one.partition: done.result(30).offset for one, done in self.admin.list_offsets(wanted).items()}

    def ends(self, topic):
        """{partition: offset that will be written next}"""
        return self._places(topic, confluent_kafka.admin.OffsetSpec.latest())

    def begins(self, topic):
        """{partition: offset of the first message that is kept}"""
        return self._places(topic, confluent_kafka.admin.OffsetSpec.earliest())

    @contextlib.contextmanager
    def throttled(self, **rates):
        """All clients get quotas, as producer_byte_rate: the broker answers a client late that goes beyond."""
        self.configure("--add-config", ",".join(f"{name}={rate}" for name, rate in rates.items()))
        try:
            yield
        finally:
            self.configure("--delete-config", ",".join(rates))

    def configure(self, *options):
        """Kafka's own command: quotas are beyond librdkafka."""
        self.script("tool", "kafka.admin.ConfigCommand", "--bootstrap-server", self.bootstrap, "--alter", "--entity-type", "clients", "--entity-default", *options)

    def topics(self):
        """{name: number of partitions}, without Kafka's own."""
        found = self.admin.list_topics(timeout=10).topics
        return {name: len(topic.partitions) for name, topic in found.items() if not name.startswith("__")}

    def send(self, topic, messages, partition=None, **more):
        """Sends and waits for the acknowledgement of each; a message is a dict of produce()'s arguments (key, value, headers, timestamp)."""
        failed = []
        producer = confluent_kafka.Producer(self.settings(acks="all", **more))

        def told(error, _):
            if error:
                failed.append(error)

        for message in messages:
            producer.produce(topic, on_delivery=told, **({} if partition is None else {"partition": partition}), **message)
            producer.poll(0)
        assert producer.flush(30) == 0 and not failed, failed

    def read(self, topic, count=None, seconds=20):
        """Messages of all partitions from their beginnings: all that are there now, or `count` as soon as they are."""
        settings = self.settings(group_id="tests-read", enable_auto_commit=False, isolation_level="read_uncommitted", enable_partition_eof=True)
        consumer = confluent_kafka.Consumer(settings)
        try:
            partitions = [confluent_kafka.TopicPartition(topic, number, confluent_kafka.OFFSET_BEGINNING) for number in range(self.topics()[topic])]
            open_ones = {one.partition for one in partitions}  # whose end has not been told: positions may hold nothing
            consumer.assign(partitions)
            found, deadline = [], time.monotonic() + seconds
            while open_ones if count is None else len(found) < count:
                assert time.monotonic() < deadline, f"{len(found)} of {count or 'all'} messages of {topic} came"
                for message in consumer.consume(1000 if count is None else count - len(found), 0.5):
                    if message.error() and message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                        open_ones.discard(message.partition())
                    else:
                        assert not message.error(), message.error()
                        found.append(message)
            return found
        finally:
            consumer.close()

    def committed(self, group):
        """{(topic, partition): offset} of a consumer group."""
        wanted = confluent_kafka.ConsumerGroupTopicPartitions(group)
        answer = self.admin.list_consumer_group_offsets([wanted])[group].result(30)
        return {(one.topic, one.partition): one.offset for one in answer.topic_partitions}

    def commits(self, group):
        """{(topic, partition): (offset, metadata)} of a consumer group, beside a single broker.

        Asked by the protocol itself (OffsetFetch 2, which Kafka 3 and 4 know): the Python client reads metadata up to a zero byte that librdkafka does not write.
        """
        head = struct.pack(">hhi", OFFSET_FETCH, 2, 1) + struct.pack(">h", -1)
        request = head + struct.pack(">h", len(group)) + group.encode() + struct.pack(">i", -1)
        host, port = self.bootstrap.split(",")[0].rsplit(":", 1)
        with socket.create_connection((host, int(port)), 30) as connection, connection.makefile("rb") as file:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = Reader(file.read(struct.unpack(">i", file.read(4))[0]))
        answer.number("i")  # the correlation id

        def place():
            partition, offset, metadata, error = answer.number("i"), answer.number("q"), answer.string(), answer.number("h")
            assert not error, f"OffsetFetch of {group}: error {error}"
            return partition, (offset, metadata)

        topics = answer.array(lambda: (answer.string(), answer.array(place)))
        error = answer.number("h")
        assert not error, f"OffsetFetch of {group}: error {error}"
        return {(topic, partition): commit for topic, partitions in topics for partition, commit in partitions}

    def commit(self, group, topic, offsets, **more):
        """Commits as a consumer of the group would that has read up to {partition: offset}; `more`: metadata."""
        consumer = confluent_kafka.Consumer(self.settings(group_id=group, enable_auto_commit=False))
        try:
            consumer.commit(offsets=[confluent_kafka.TopicPartition(topic, number, offset, **more) for number, offset in offsets.items()], asynchronous=False)
        finally:
            consumer.close()

    @contextlib.contextmanager
    def member(self, group, topic):
        """A native consumer that is in the group and has partitions."""
        consumer = confluent_kafka.Consumer(self.settings(group_id=group, auto_offset_reset="earliest", enable_auto_commit=False))
        assigned = []
        consumer.subscribe([topic], on_assign=lambda _, partitions: assigned.extend(partitions))
        try:
            wait_for(lambda: consumer.poll(0.1) or assigned, what="no partitions are assigned")
            yield consumer
        finally:
            consumer.close()

    @contextlib.contextmanager
    def rights(self, user, rows, **login):
        """Gives a user rights for a while: (resource, name, pattern, operations), in Kafka's words."""
        admin = confluent_kafka.admin.AdminClient(self.settings(**login))
        words = confluent_kafka.admin
        resources = {"Topic": words.ResourceType.TOPIC, "Group": words.ResourceType.GROUP, "Cluster": words.ResourceType.BROKER}

        def bind(kind, resource, name, pattern, operation):
            operation = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()
            return kind(
                resources[resource], name, words.ResourcePatternType[pattern.upper()], f"User:{user}", "*", words.AclOperation[operation], words.AclPermissionType.ALLOW
            )

        def each(kind):
            return [bind(kind, resource, name, pattern, operation) for resource, name, pattern, operations in rows for operation in operations]

        for future in admin.create_acls(each(words.AclBinding)).values():
            future.result(30)
        try:
            yield
        finally:
            for future in admin.delete_acls(each(words.AclBindingFilter)).values():
                future.result(30)
