#!/usr/bin/python3
"""Plants a bug at one end of a boundary, and fails unless a test program is stopped by the assertion that stands at the other, or before it.

    planted.py BUILD [--pairs NAME,...]     ends with "N passed, N failed"
    planted.py --table                      the list as it stands in README.md
"""
import argparse
import concurrent.futures
import dataclasses
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tools"))
sys.dont_write_bytecode = True

import plant  # noqa: E402
from tree import ROOT  # noqa: E402

TIMEOUT = 300


@dataclasses.dataclass(frozen=True)
class End:
    """A text of a file: the expression of an assertion, or the check that refuses what comes from outside."""

    file: str
    text: str

    def stands(self):
        with open(os.path.join(ROOT, self.file), encoding="utf-8") as file:
            return self.text in " ".join(file.read().split())

    def __str__(self):
        return f"`{self.file}`: `{self.text.replace('|', chr(92) + '|')}`"


@dataclasses.dataclass(frozen=True)
class Pair:
    name: str
    boundary: str
    stop: End  # the assertion that stops the bug
    other: End  # what is asserted or checked at the other end
    file: str
    old: str
    new: str
    says: str
    program: tuple  # that is stopped, and its arguments


PAIRS = (
    Pair("buffer-without-a-reference", "handle", End("core/base/buf.c", "before > 0"),
         End("core/base/buf.c", "if (before == 1)"),
         "core/base/buf.c", "buf->refs = 1;",
         "buf->refs = 0;",
         "a new buffer has no reference of its maker", ("tests/unit/test_base",)),
    Pair("object-without-a-reference", "handle", End("core/model/model.c", "before > 0"),
         End("core/model/model.c", "if (before == 1)"),
         "core/model/model.c", "object->refs = 1;",
         "object->refs = 0;",
         "a new object has no reference of its maker", ("tests/unit/test_catalog",)),
    Pair("topic-without-a-reference", "handle", End("adapters/store/topic.c", "topic->refs > 0"),
         End("adapters/store/topic.c", "topic->refs > 1"),
         "adapters/store/topic.c", "topic->refs = 1;",
         "topic->refs = 0;",
         "the opener of a topic of a store holds no reference", ("tests/contract/contract", "embedded", "d2", "offset of what it stored")),
    Pair("admin-handle-not-entered", "handle", End("adapters/kafka/client/admin_handle.c", "handle->users > 0"),
         End("adapters/kafka/client/admin_handle.c", "++current->users;"),
         "adapters/kafka/client/admin_handle.c", "\t++current->users;\n",
         "",
         "a caller of the administrative client is not counted", ("tests/contract/contract", "--table")),
    Pair("leave-posted-twice", "mailbox", End("core/loop/loop.c", "newest != task"),
         End("core/loop/loop.c", "task->fn"),
         "proxy/client/leave_queue.c", "\telse if (queue->out < LEAVE_QUEUE_OUT)",
         "\tif (queue->out < LEAVE_QUEUE_OUT)",
         "a leave that is posted at once is posted in its turn as well", ("tests/unit/test_proxy_parts",)),
    Pair("pump-deferred-twice", "mailbox", End("core/loop/loop.c", "loop->deferred_end != &task->next"),
         End("core/loop/loop.c", "task->fn"),
         "adapters/log/source_state.c", "\tif (source->pump_posted)\n\t\treturn;\n",
         "",
         "a source defers its pump while it waits already", ("tests/contract/contract", "embedded", "d2", "thousands that are due")),
    Pair("answer-without-a-caller", "mailbox", End("core/loop/loop.c", "task->fn"),
         End("core/loop/loop.c", "newest != task"),
         "adapters/log/source_read.c", ".task = {.fn = done},",
         ".task = {.fn = NULL},",
         "a read of new positions comes back to no caller", ("tests/contract/contract", "embedded", "d2", "lets a topic grow")),
    Pair("timer-cancelled-twice", "timer", End("core/loop/timer.c", "timer == heap->first || timer->prev"),
         End("core/loop/timer.c", "timer != heap->first && !timer->prev"),
         "core/loop/loop.c", "\tif (timer->at_ns == 0)\n\t\treturn;\n",
         "",
         "a timer that is not set is taken out of the heap", ("tests/unit/test_loop",)),
    Pair("timer-set-twice", "timer", End("core/loop/timer.c", "timer != heap->first && !timer->prev"),
         End("core/loop/timer.c", "timer == heap->first || timer->prev"),
         "core/loop/loop.c", "\tloop_timer_cancel(timer);\n\ttimer->at_ns",
         "\ttimer->at_ns",
         "a timer that is moved stands in the heap twice", ("tests/unit/test_loop",)),
    Pair("timer-outlives-its-source", "timer", End("core/loop/loop.c", "!loop->timers.first"),
         End("core/loop/loop.c", "!current || current == timer->loop"),
         "adapters/log/source.c", "\tloop_timer_cancel(&source->timer);\n\tfor (",
         "\tfor (",
         "a source that is closed leaves its timer set", ("tests/contract/contract", "embedded", "d2", "gives every group")),
    Pair("executor-drops-its-queue", "executor", End("core/loop/executor.c", "!executor->first && !executor->running"),
         End("core/loop/executor.c", "!executor->stopping"),
         "core/loop/executor.c", "= take_task(executor);",
         "= executor->stopping ? NULL : take_task(executor);",
         "an executor that ends drops what waits", ("tests/unit/test_executor",)),
    Pair("frame-without-a-settle", "wire", End("core/wire/settle.c", "head->count > 0"),
         End("core/wire/settle.c", "return ret->count > 0"),
         "sdk/c/src/settle_queue.c", "return queue->open.count ? open_leave(queue, max_entries) : NULL;",
         "return open_leave(queue, max_entries);",
         "a SETTLE leaves that holds nothing", ("tests/sdk/test_consume",)),
    Pair("settle-of-no-message", "wire", End("core/wire/settle.c", "entry->count > 0 && entry->offset + entry->count > entry->offset"),
         End("core/wire/settle.c", "if (entry.count == 0 || entry.offset + entry.count < entry.offset)"),
         "sdk/c/src/delivery.c", ".count = 1,",
         ".count = 0,",
         "a settle covers no message", ("tests/sdk/test_consume",)),
    Pair("record-larger-than-its-room", "wire", End("sdk/c/src/producer.c", "record_size(record) == taking->size"),
         End("core/wire/record.c", "size < RECORD_HEAD_SIZE || size > left"),
         "core/wire/record.c", "(uint64_t)parts->key.size + parts->body.size;",
         "(uint64_t)parts->key.size / 2 + parts->body.size;",
         "a record with a key is longer than what was reserved for it", ("tests/sdk/test_produce",)),
    Pair("room-not-reserved", "send queue", End("sdk/c/src/batch.h", "batch->size + record_size <= batch->buf->size"),
         End("sdk/c/src/producer.c", "record_size(record) == taking->size"),
         "sdk/c/src/batch.c", "if (need > batch->buf->size &&",
         "if (need > batch->buf->size + 64ull &&",
         "a batch is not made larger for the last bytes of a record", ("tests/unit/test_send_queue",)),
    Pair("memory-of-entries-not-counted", "send queue", End("sdk/c/src/send_queue.c", "charge >= batch_charge(batch) && queue->memory >= charge - batch_charge(batch)"),
         End("sdk/c/src/send_queue.c", "queue->memory += charge;"),
         "sdk/c/src/send_queue.c", "queue->memory += charge;",
         "queue->memory += record_size;",
         "what a message takes beside its record is given back and was never taken", ("tests/sdk/test_produce",)),
    Pair("begun-before-received", "hand", End("sdk/c/src/hand.c", "sub->want >= sub->telling && sub->want <= sub->received"),
         End("proxy/engine/dispatch_reclaim.c", "begun <= consumer->given_messages"),
         "sdk/c/src/hand.c", "MAX(item->sub->want, item->number)",
         "MAX(item->sub->want, item->number + 1)",
         "a begin is told of a delivery that has not come", ("tests/sdk/test_begin",)),
    Pair("begin-not-counted", "hand", End("sdk/c/src/barrier.c", "before > 0"),
         End("sdk/c/src/barrier.c", "atomic_load(&hand->running) > 0"),
         "sdk/c/src/hand.c", "\t\tatomic_fetch_add(&hand->running, 1);\n",
         "",
         "a suspect that runs is not counted, and its end is", ("tests/sim/sim", "hand", "--schedules", "2000", "--whole")),
    Pair("marks-one-too-many", "window", End("adapters/log/window_text.c", "window->mark_count <= WINDOW_MARKS"),
         End("adapters/log/window_text.c", "count > WINDOW_MARKS ? WINDOW_E_FOREIGN"),
         "adapters/log/window.c", "if (window->mark_count == WINDOW_MARKS)",
         "if (window->mark_count > WINDOW_MARKS)",
         "the limit of marks is off by one", ("tests/contract/contract", "embedded", "d2", "any number of messages")),
    Pair("attempts-without-end", "window", End("adapters/log/window_text.c", "marks[i].attempts > 0 && marks[i].attempts <= WINDOW_ATTEMPTS"),
         End("adapters/log/window_text.c", "attempts / 2 > WINDOW_ATTEMPTS"),
         "adapters/log/window.c", "if (attempt > WINDOW_ATTEMPTS || mark_set",
         "if (mark_set",
         "a mark counts more attempts than the text of a window holds", ("tests/contract/contract", "embedded", "d2", "attempts without end")),
    Pair("base-left-behind", "window", End("adapters/log/window_text.c", "!(map[0] & 1)"),
         End("adapters/log/window_text.c", "if ((map[0] & 1) || map[size - 1] == 0)"),
         "adapters/log/window.c", "while (window->count && window->states[window->head] == WINDOW_DONE) {",
         "while (window->count > 1 && window->states[window->head] == WINDOW_DONE) {",
         "the base stops before the last position that is done", ("tests/contract/contract", "embedded", "d2", "keeps the order")),
    Pair("open-position-not-found", "window", End("adapters/log/window.c", "offset < window_next(window)"),
         End("adapters/log/window.c", "if (window->open == 0)"),
         "adapters/log/window.c", "\tif (state == WINDOW_OPEN)\n\t\twindow->open_from = MIN(window->open_from, offset);\n",
         "",
         "what is opened again below the last one is looked for above it", ("tests/unit/test_window",)),
    Pair("answer-before-the-question", "source and store", End("adapters/log/source_read.c", "!fetch->count || fetch->entries[0].offset >= fetch->offset"),
         End("adapters/log/ring.c", "chunk->entries[first].offset >= fetch->offset"),
         "adapters/log/ring.c", "fetch->entries = &chunk->entries[first];",
         "fetch->entries = &chunk->entries[0];",
         "a read from memory is answered from the beginning of its chunk", ("tests/contract/contract", "embedded", "d2", "delivers a nacked")),
    Pair("entry-found-too-early", "source and store", End("adapters/log/ring.c", "chunk->entries[first].offset >= fetch->offset"),
         End("adapters/log/source_read.c", "!part->fetch.count || part->fetch.entries[0].offset >= part->fetch.offset"),
         "adapters/log/ring.c", "return (uint32_t)MIN(offset - chunk->entries[0].offset, (uint64_t)high);",
         "return (uint32_t)MIN(offset - chunk->entries[0].offset - 1, (uint64_t)high);",
         "a chunk is entered one position too early", ("tests/unit/test_ring",)),
    Pair("answer-beyond-its-end", "source and store", End("adapters/log/source_read.c", "!part->fetch.count || part->fetch.entries[part->fetch.count - 1].offset < part->fetch.next"),
         End("adapters/log/ring.c", "!chunk->count || chunk->entries[chunk->count - 1].offset < next"),
         "adapters/store/range.c", "fetch->next = entries[-1].offset + 1;",
         "fetch->next = entries[-1].offset;",
         "a read from the disk says to go on with what it has brought", ("tests/contract/contract", "embedded", "d2", "lets a topic grow")),
    Pair("ring-ends-too-early", "source and store", End("adapters/log/ring.c", "!chunk->count || chunk->entries[chunk->count - 1].offset < next"),
         End("adapters/log/source_read.c", "!part->fetch.count || part->fetch.entries[part->fetch.count - 1].offset < part->fetch.next"),
         "adapters/store/tail.c", "chunk, chunk->offset + chunk->count);",
         "chunk, chunk->offset + chunk->count - 1);",
         "a chunk in memory ends before its last record", ("tests/contract/contract", "embedded", "d2", "keeps the order")),
    Pair("cursor-beyond-the-end", "source and store", End("adapters/store/source_requests.c", "wanted->position <= end_of(commit->topic, partition)"),
         End("adapters/store/source_requests.c", "if (!r && partition && cursor->position > end)"),
         "adapters/log/source_commit.c", ".position = part->window.base, .text",
         ".position = part->window.base + 1, .text",
         "a cursor is committed one position behind the base of its window", ("tests/contract/contract", "embedded", "d2", "keeps the order")),
    Pair("read-ahead-kept-at-the-close", "source and memory", End("adapters/log/source.c", "source->new_bytes == 0 && source->open_bytes == 0"),
         End("adapters/log/source_memory.c", "*kind >= *held"),
         "adapters/log/source.c", "\tloop_timer_cancel(&source->timer);\n\tfor (uint32_t i = 0; i < source->part_count; ++i)\n\t\tsource_read_drop(&source->parts[i]);\n",
         "\tloop_timer_cancel(&source->timer);\n",
         "a source that is closed keeps what it has read ahead", ("tests/sim/sim", "source", "--schedules", "500", "--whole")),
    Pair("write-not-counted", "retry rows", End("adapters/log/source_retry.c", "inflight && inflight->pending"),
         End("adapters/log/source_retry.c", "++inflight->pending;"),
         "adapters/log/source_retry.c", "\t++inflight->pending;\n",
         "",
         "a write of the retry store is not counted, and its end is", ("tests/sim/sim", "source", "--schedules", "500", "--whole")),
    Pair("attempt-nought-from-the-store", "retry rows", End("adapters/log/source_delivery.h", "delivery->attempt > 0"),
         End("proxy/engine/dispatch.c", "delivery->attempt > 0"),
         "adapters/log/source_retry.c", ".attempt = inflight->attempts + 1,",
         ".attempt = inflight->attempts,",
         "what comes out of the retry store has the number of its last attempt", ("tests/sim/sim", "source", "--schedules", "500", "--whole")),
    Pair("attempt-nought-from-the-window", "source and dispatch", End("adapters/log/source_delivery.h", "delivery->attempt > 0"),
         End("proxy/engine/dispatch.c", "delivery->attempt > 0"),
         "adapters/log/window.c", "return attempts_of(window, offset) + 1;",
         "return attempts_of(window, offset);",
         "what is read again has the number of its last attempt", ("tests/sim/sim", "group", "--schedules", "500", "--whole")),
    Pair("attempt-lost-on-the-way", "source and dispatch", End("proxy/engine/dispatch.c", "delivery->attempt > 0"),
         End("adapters/log/source_delivery.h", "delivery->attempt > 0"),
         "adapters/log/source_delivery.c", "\tsource->delivery_count = 0;\n",
         "\tsource->delivery_count = 0;\n\tsource->deliveries[0].attempt = 0;\n",
         "a delivery loses its number between source and dispatch", ("tests/sim/sim", "group", "--schedules", "500", "--whole")),
    Pair("row-due-at-nought", "retry rows", End("adapters/store/retry.c", "kept->record && retry->due_ms > 0"),
         End("adapters/log/source_retry.c", ".due_ms = MAX(due_ms, 1ull)"),
         "adapters/log/source_retry.c", ".due_ms = MAX(due_ms, 1ull),",
         ".due_ms = due_ms,",
         "a row is due at the time that stands for the beginning", ("tests/contract/contract", "embedded", "d2", "for its copy")),
    Pair("chunk-behind-a-gap", "store", End("adapters/store/append.c", "offset == partition->chunks_end && count > 0 && size > 0"),
         End("adapters/store/range.c", "(found->count && chunk.offset != found->next)"),
         "adapters/store/append.c", "if (!partition->open_size)\n\t\tpartition->open_offset",
         "if (!partition->open_offset)\n\t\tpartition->open_offset",
         "a chunk is filed under the offset of the one before", ("tests/unit/test_committer",)),
    Pair("commit-without-its-last-chunk", "store", End("adapters/store/append.c", "partition->chunks_end == partition->next.end"),
         End("adapters/store/partition_row.c", "chunk.offset + chunk.count == row->end"),
         "adapters/store/append.c", "\t\tint r = open_chunk_flush(append, txn, partition);\n\n\t\tif (r < 0)\n\t\t\treturn r;\n\t\tassert(",
         "\t\tint r = 0;\n\n\t\tassert(",
         "a transaction ends without the chunk that is being put together", ("tests/unit/test_committer",)),
    Pair("deleted-beyond-the-end", "store", End("adapters/store/append.c", "partition->next.first <= partition->next.end"),
         End("adapters/store/partition_row.c", "if (!r && ret->first > ret->end)"),
         "adapters/store/append.c", "partition->next.first = store_key_offset(key->mv_data) + le32_get(&chunk->count);",
         "partition->next.first = store_key_offset(key->mv_data) + le32_get(&chunk->count) + 1;",
         "a partition begins behind its end when all of it is deleted", ("tests/contract/contract", "embedded", "d2", "keeps nothing longer")),
    Pair("records-miscounted", "store", End("adapters/store/tail.c", "at == (uint8_t *)(chunk->entries + count) + size"),
         End("adapters/store/range.c", "return size >= RECORD_HEAD_SIZE && size <= left ? size : 0;"),
         "adapters/store/append.c", "return end - at;",
         "return end - at > 1 ? end - at - 1 : 1;",
         "a run counts one record less than its bytes hold", ("tests/contract/contract", "embedded", "d2", "ends sources")),
    Pair("runs-beyond-the-batch", "store", End("adapters/store/append.c", "at == submit->count"),
         End("adapters/submit.c", "submit->run_count < submit->count"),
         "adapters/store/append.c", "return end - at;",
         "return end - at + 1;",
         "the results of a batch cover more than its records", ("tests/unit/test_committer",)),
    Pair("job-without-an-answer", "store", End("adapters/store/committer.c", "job->apply && job->done"),
         End("adapters/store/committer.c", "r <= 0"),
         "adapters/store/group_job.c", "\tjob->job.done = done;\n",
         "",
         "a request about a group is never answered", ("tests/contract/contract", "embedded", "d2", "groups idempotently")),
    Pair("read-still-waits", "executor", End("core/loop/executor.c", "executor->queued == 0"),
         End("core/loop/executor.c", "executor->queued > 0"),
         "core/loop/executor.c", "\texecutor->queued -= 1;\n",
         "",
         "a read that has begun counts as waiting", ("tests/contract/contract", "embedded", "d2", "keeps what it stored")),
    Pair("delivery-not-counted", "dispatch", End("proxy/engine/dispatch_settle.c", "consumer->in_flight > 0"),
         End("proxy/engine/dispatch_reclaim.c", "consumer->in_flight == 0"),
         "proxy/engine/dispatch.c", "\t\tconsumer->in_flight += (uint32_t)n;\n",
         "",
         "what a consumer is given is not counted, and what it settles is", ("tests/unit/test_dispatch",)),
    Pair("flight-kept-by-a-leaver", "dispatch", End("proxy/engine/dispatch_reclaim.c", "consumer->in_flight == 0"),
         End("proxy/engine/dispatch_settle.c", "consumer->in_flight > 0"),
         "proxy/engine/dispatch_held.c", "\tif (held->count == held->room && !make_room(dispatch, consumer))\n\t\treturn;\n",
         "\tif (held->room && held->count == held->room)\n\t\treturn;\n\tif (held->count == held->room && !make_room(dispatch, consumer))\n\t\treturn;\n",
         "what a consumer holds beyond the first few is forgotten when it leaves", ("tests/unit/test_dispatch",)),
    Pair("pending-beyond-its-ring", "dispatch", End("proxy/engine/dispatch.c", "dispatch->pending_count < dispatch->pending_room"),
         End("proxy/engine/dispatch.c", "while (dispatch->pending_count + more > room)"),
         "proxy/engine/dispatch.c", "while (dispatch->pending_count + more > room)",
         "while (more > room)",
         "the ring of what waits is not made larger", ("tests/unit/test_dispatch",)),
    Pair("consumer-left-in-the-list", "dispatch", End("proxy/engine/dispatch.c", "list_empty(&dispatch->consumers)"),
         End("proxy/engine/dispatch_reclaim.c", "consumer->in_flight == 0"),
         "proxy/engine/dispatch_reclaim.c", "\tlist_unlink(&consumer->all);\n",
         "",
         "a consumer that has left is still served", ("tests/unit/test_dispatch",)),
    Pair("memory-given-back-whole", "budget", End("proxy/resource/budget.c", "before >= bytes && all >= bytes"),
         End("proxy/resource/budget.c", "share->used[i] == 0"),
         "proxy/resource/budget.c", "budget_give_back(share, use, before - after);",
         "budget_give_back(share, use, before + after);",
         "what shrinks is given back and what is left of it too", ("tests/unit/test_budget",)),
    Pair("turn-ended-twice", "quota", End("quota/quota.c", "before > 0"),
         End("quota/quota.c", "messages > 0 && ret->ledger == NULL"),
         "quota/quota.c", "\tcount_down(&ledger->turns);\n\t*turn = (struct quota_turn){0};\n",
         "\tcount_down(&ledger->turns);\n",
         "a turn that has ended is one still", ("tests/unit/test_quota",)),
    Pair("storage-released-unasked", "budget", End("proxy/resource/storage.c", "ended <= __atomic_load_n(&tenant->taken, __ATOMIC_ACQUIRE)"),
         End("proxy/resource/storage.c", "tenant->taken == tenant->ended"),
         "proxy/resource/storage.c", "&taken, taken + bytes, true,",
         "&taken, taken + bytes / 2, true,",
         "half of what is on its way to a backend is counted", ("tests/unit/test_proxy_parts",)),
    Pair("down-after-gone", "source and group", End("adapters/log/source_state.c", "state_table_has(STATE_TABLE_MOVES(SOURCE_STATES), source->state, state)"),
         End("proxy/group/group.c", "home->source_state == GROUP_SOURCE_OPEN"),
         "adapters/log/source_state.c", "\tif (source->phase != PHASE_GONE)\n\t\tsource_state_set(source, SOURCE_DOWN",
         "\tsource_state_set(source, SOURCE_DOWN",
         "a read that fails when the source is gone is told as a failure", ("tests/unit/test_log_source",)),
    Pair("source-left-open", "source and group", End("proxy/group/group.c", "home->source_state == GROUP_SOURCE_OPEN"),
         End("adapters/log/source_delivery.c", "if (count && !source->closing && source->phase != PHASE_GONE)"),
         "proxy/group/group.c", "\thome->topic->backend->ops->source_close(home->source, on_source_closed, home);\n",
         "",
         "the source of a group without consumers is not closed", ("tests/unit/test_proxy",)),
    Pair("hold-not-counted", "group", End("proxy/group/group.c", "home->held > 0"),
         End("proxy/group/group.c", "++home->held;"),
         "proxy/group/group.c", "\t\t++home->held;\n",
         "",
         "a group whose source is held closed does not know it", ("tests/unit/test_proxy",)),
    Pair("stop-not-counted", "group and member", End("proxy/group/member.c", "member->home->stopping > 0"),
         End("proxy/group/group.c", "home->ahead == 0 && home->stopping == 0"),
         "proxy/group/member.c", "\t++member->home->stopping;\n",
         "",
         "a member that stops is not counted, and its end is", ("tests/unit/test_proxy",)),
    Pair("delivery-not-in-the-budget", "group and member", End("proxy/resource/budget.c", "before >= bytes && all >= bytes"),
         End("proxy/group/member.c", "budget_add(event->memory, BUDGET_OUTPUT, event->bytes);"),
         "proxy/group/member.c", "\tbudget_add(event->memory, BUDGET_OUTPUT, event->bytes);\n",
         "",
         "a connection gives back memory of deliveries that was never taken", ("tests/unit/test_proxy",)),
    Pair("member-left-on-its-link", "member and subscription", End("proxy/client/subscription.c", "!link->member && link->requests == 0"),
         End("proxy/group/member.c", "!link->member && !link->left"),
         "proxy/group/member.c", "\tmember->link->member = NULL;\n",
         "",
         "a member that is gone can still be reached by its link", ("tests/unit/test_proxy",)),
    Pair("settle-not-counted", "member and subscription", End("proxy/group/member.c", "link->requests > 0"),
         End("proxy/client/subscription.c", "!link->member && link->requests == 0"),
         "proxy/group/member.c", "\t++event->link->requests;\n",
         "",
         "a settle that is under way does not keep its link", ("tests/unit/test_proxy",)),
    Pair("unstopped-not-counted", "member and subscription", End("proxy/client/subscription.c", "subscription->conn->session.unstopped > 0"),
         End("proxy/client/conn.c", "conn->session.unstopped == 0"),
         "proxy/client/subscription.c", "\t++subscription->conn->session.unstopped;\n",
         "",
         "a connection that leaves does not wait for its subscriptions", ("tests/unit/test_proxy",)),
    Pair("use-freed-under-its-users", "handle", End("proxy/resource/topic.c", "list_empty(&use->users)"),
         End("proxy/resource/topic.c", "!use || use->refs > 0"),
         "proxy/resource/topic.c", "\t++use->refs;\n\t*ret = use;",
         "\t*ret = use;",
         "the second user of a topic on a worker has no reference", ("tests/unit/test_proxy",)),
    Pair("use-not-in-its-counters", "handle", End("proxy/resource/topic.c", "use->stats->uses > 0"),
         End("proxy/resource/topic.c", "if (!stats->gone || stats->uses)"),
         "proxy/resource/topic.c", "\t++use->stats->uses;\n",
         "",
         "the counters of a topic do not know that they are used", ("tests/unit/test_proxy",)),
    Pair("backend-not-counted", "handle", End("proxy/resource/backends.c", "(before & ~ROW_OPEN) > 0"),
         End("proxy/resource/backends.c", "(row->word & ~ROW_OPEN) <= 1"),
         "proxy/resource/backends.c", "&word, word + 1, true,",
         "&word, word, true,",
         "a handle of a cluster is given out without a reference", ("tests/unit/test_proxy",)),
    Pair("backend-closed-in-use", "handle", End("proxy/resource/backends.c", "__atomic_load_n(&row->word, __ATOMIC_ACQUIRE) == 0"),
         End("proxy/resource/backends.c", "(before & ~ROW_OPEN) > 0"),
         "proxy/resource/backends.c", "\tif (before == 1)\n",
         "\tif (before <= 2)\n",
         "a cluster is closed while one topic of it is in use", ("tests/unit/test_proxy",)),
    Pair("frame-longer-than-its-records", "wire", End("proxy/client/native/consume.c", "at == buf->data + buf->size"),
         End("core/wire/deliver.c", "return at == size ? NULL"),
         "proxy/client/native/consume.c", "size += DELIVER_ENTRY_SIZE + deliveries[n++].size;",
         "size += DELIVER_ENTRY_SIZE + deliveries[n++].size + 8;",
         "a DELIVER goes on after its last record", ("tests/unit/test_proxy",)),
    Pair("attempt-nought-on-the-wire", "wire", End("core/wire/deliver.c", "entry->attempt > 0"),
         End("core/wire/deliver.c", "le32_get(payload + at + 16) == 0"),
         "proxy/client/native/consume.c", ".attempt = delivery->attempt,",
         ".attempt = delivery->attempt - 1,",
         "a DELIVER counts the attempts that have ended", ("tests/unit/test_proxy",)),
    Pair("answer-beyond-its-room", "wire", End("proxy/client/native/produce.c", "size + PRODUCED_RUN_SIZE <= room"),
         End("core/wire/produced.c", "(size - PRODUCED_HEAD_SIZE) % PRODUCED_RUN_SIZE"),
         "proxy/client/native/produce.c", "batch_runs_most(batch) + 2 *",
         "batch_runs_most(batch) - 2 + 2 *",
         "a PRODUCED has more runs than there is room for", ("tests/unit/test_proxy",)),
    Pair("run-of-nothing", "wire", End("core/wire/produced.c", "run->count > 0"),
         End("core/wire/produced.c", "le32_get(payload + at) == 0"),
         "proxy/client/native/produce.c", ".count = run.count,",
         ".count = run.count - 1,",
         "the runs of a PRODUCED cover one message less than they should", ("tests/unit/test_proxy",)),
    Pair("rest-that-is-no-time", "ticker", End("core/loop/ticker.c", "ticker->stopping || ticker->poked || r == ETIMEDOUT"),
         End("core/loop/ticker.c", "while (!ticker->stopping && !ticker->poked && r == 0)"),
         "core/loop/ticker.c", "(long)(until_ns % S_NS)",
         "(long)(until_ns % S_NS + S_NS)",
         "a ticker rests until a time that there is not, so that it does not rest at all", ("tests/unit/test_executor",)),
)

# For a short run: one of each kind of boundary.
FEW = ("executor-drops-its-queue", "settle-of-no-message", "marks-one-too-many", "runs-beyond-the-batch", "delivery-not-counted", "charge-closed-twice", "begun-before-received", "object-without-a-reference", "backend-not-counted", "member-left-on-its-link", "source-left-open", "rest-that-is-no-time")


def table():
    rows = [f"| `{pair.name}` | {pair.boundary} | {pair.stop} | {pair.other} | {pair.says} (`{pair.file}`) | `{' '.join(pair.program)}` |" for pair in PAIRS]
    head = "| bug | boundary | stopped by the assertion | at the other end | what is wrong | in the program |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows]) + "\n"


def find(pair, scratch):
    """Returns (stopped, what there is to say)."""
    for end in (pair.stop, pair.other):
        if not end.stands():
            return False, f"{end} does not stand there"
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        made, fault = scratch.make(plant.Edit(pair.file, pair.old, pair.new), pair.program[0], folder)
        if fault:
            return False, fault
        try:
            result = scratch.run([made, *pair.program[1:]], TIMEOUT)
        except subprocess.TimeoutExpired:
            return False, f"no result after {TIMEOUT} s"
    wanted = f"Assertion `{pair.stop.text}' failed"
    if result.returncode == 0 or wanted not in result.stderr or f"{os.path.basename(pair.stop.file)}:" not in result.stderr:
        return False, f"ends with {result.returncode}, not by its assertion:\n{result.stderr[-1000:]}"
    case = [line for line in result.stderr.splitlines() if line.startswith("# ")][-1:]
    return True, f"stopped in {' '.join([pair.stop.file, *case])}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", nargs="?")
    parser.add_argument("--pairs", help="names, with commas; 'few' for the short list; all when left out")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print(table(), end="")
        return 0
    names = FEW if options.pairs == "few" else options.pairs.split(",") if options.pairs else [pair.name for pair in PAIRS]
    chosen = [pair for pair in PAIRS if pair.name in names]
    scratch = plant.Scratch(options.build)
    with open(os.path.join(HERE, "README.md"), encoding="utf-8") as file:
        failed = int(table() not in file.read())
    if failed:
        print("README.md does not hold the list: put the output of planted.py --table there")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for pair, (stopped, what) in zip(chosen, pool.map(lambda pair: find(pair, scratch), chosen)):
            failed += not stopped
            print(f"{pair.name:32}{what}", flush=True)
    print(f"{len(chosen) + 1 - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
