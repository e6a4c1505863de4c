"""Groups over a queue: what the checker compares where a message has no position.

A delivery's offset counts within its channel: the same message comes again at another one. So deliveries are told apart by the id of their
message, and a copy by resending has the id of its original. What that changes:

- order is looked at when messages are first delivered, and all of a message's deliveries lie in one partition, as do all messages of a key;
  but a message without a key may be sent again to another partition
- of copies by resending with one id, whatever their partitions, one has to come to its end: the others are recognized by their id, and dropped
- one delivery more is explained by each attempt at the send that ended UNKNOWN
- what was settled just before the death of the broker may come again (`settles_survive`); it is counted, and RETURNED_S bounds how long before. The death of
  the daemon brings nothing back
"""
from history.checker import NO_KEY, OK, DeadCheck, GroupCheck

# When a settle that returns may have been answered, by fault: so long before its beginning, or until so long after it, when the broker is dead.
RETURNED_S = {"broker killed": (2, 1), "node killed": (2, 1)}
RETURNED = "returned by a death"


class ByMessage:
    """What both kinds of group do in another way."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        for one in self.deliveries:
            one.record = one.record._replace(offset=one.record.id)

    def check_stored_order(self):
        """Messages of a key that one producer handle sent lie in one partition."""
        where = {}
        for identity, sent in self.messages.items():
            for place in self.of_message.get(identity, ()) if sent.send.key != NO_KEY and sent.outcome == OK else ():
                before = where.setdefault((sent.send.producer, sent.send.key), place[0])
                if before != place[0]:
                    self.add("reordered", sent.send, f"is in partition {place[0]}, others of its key in {before}")

    def returned(self, ended, one):
        """It was settled just before a death, and came again after that."""
        deaths = [fault for fault in self.faults if fault.what in RETURNED_S and fault.begin <= one.record.time]
        return any(-RETURNED_S[fault.what][0] <= (ended.durable - fault.begin) / 1e9 <= RETURNED_S[fault.what][1] for fault in deaths)

    def again_after_end(self, ended, one):
        """Why it was delivered after its end; None: for no reason."""
        if self.is_late(one, ended):
            return "late"
        return RETURNED if self.returned(ended, one) else None

    def again_before_end(self, earlier, one):
        reason = self.explained(earlier, one)
        if reason:
            return "redelivered by " + reason
        return "late" if one.record.attempt < earlier.record.attempt else None

    def check_message(self, sent, ones):
        """All deliveries of a message in the order of time. What was sent twice may come to its end twice."""
        ended, earlier, copies = None, None, sent.unknown if sent.end else len(ones)
        for one in ones:
            is_after = ended is not None and one.record.time > ended.durable
            reason = None
            if is_after:
                reason = self.again_after_end(ended, one)
            elif earlier is not None:
                reason = self.again_before_end(earlier, one)
            if earlier is not None and not reason and copies:
                copies, reason = copies - 1, "copies by resending"
            if reason:
                self.report.seen[reason] += 1
            elif earlier is not None:
                why = "after its settle was answered" if is_after else "without a reason"
                self.add("duplicate", one.record, f"again at {place_and_time(one)}, first at {place_and_time(ones[0])}, {why}")
            if is_after and reason in (RETURNED, "copies by resending"):
                ended = None
            if one.durable and not (ended and ended.durable <= one.durable):
                ended = one
            earlier = one

    def to_be_ended(self, places):
        """The first place stands for all that have its id."""
        of_id = {}
        for place, ones in places.items():
            of_id.setdefault(place[1], (place, []))[1].extend(ones)
        return [(place, sorted(ones, key=lambda one: one.record.time)) for place, ones in of_id.values()]

    @staticmethod
    def elsewhere(sent, places):
        """How many copies by resending may lie in another partition: a message without a key goes anywhere each time."""
        if sent.send.key != NO_KEY or len({id for _, id in places}) > 1:
            return 0
        return sent.unknown if sent.end else len(places)

    def check_duplicates(self):
        for identity, places in self.of_message.items():
            if len(places) > 1 + self.elsewhere(self.messages[identity], places):
                self.add("corrupt", self.messages[identity].send, f"came in partitions or with ids {sorted(places)}")
            for ones in places.values():
                self.check_message(self.messages[identity], ones)


def place_and_time(one):
    return f"{one.record.partition}, attempt {one.record.attempt}, {one.record.time / 1e9:.3f}"


class QueueCheck(ByMessage, GroupCheck):
    """A group of a topic."""


class QueueDeadCheck(ByMessage, DeadCheck):
    """A group that reads dead letters."""

    check_stored_order = DeadCheck.check_stored_order

    def explained(self, earlier, later):
        """Published, then the original is acknowledged: a fault between the two makes a second copy, which may be read much later."""
        reason = super().explained(earlier, later)
        if reason:
            return reason
        begin = min(one.settle.time for one in self.rejections[later.record.producer, later.record.sequence])
        return "fault" if self.fault_between(begin, later.record.time) else None

    def again_after_end(self, ended, one):
        reason = super().again_after_end(ended, one)
        return reason or ("redelivered by fault" if self.explained(ended, one) == "fault" else None)


def over_queue(group):
    """The same group, judged as one over a queue."""
    group.judge = QueueDeadCheck if group.dead_of else QueueCheck
    return group
