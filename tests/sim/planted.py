#!/usr/bin/python3
"""Plants a bug into an engine, builds the simulation with it, and fails unless the simulation finds it.

A bug is a small edit: text that stands once in a file, and what stands there instead. The edited file is compiled in a
scratch folder and linked in front of the library, so nothing in the tree or the build changes.

    planted.py BUILD [--bugs NAME,...] [--schedules N]     ends with "N passed, N failed"
    planted.py --table                                     the list as it stands in README.md
"""
import dataclasses
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tools"))
sys.dont_write_bytecode = True

import plant  # noqa: E402

PROGRAM = "tests/sim/sim"
SCHEDULES = 10000


@dataclasses.dataclass(frozen=True)
class Bug:
    name: str
    engine: str
    file: str
    old: str
    new: str
    says: str
    schedules: int = SCHEDULES  # in which it is found


WINDOW, TEXT = "adapters/log/window.c", "adapters/log/window_text.c"
SOURCE, COMMIT, RETRY = "adapters/log/source.c", "adapters/log/source_commit.c", "adapters/log/source_retry.c"
READ, SETTLES = "adapters/log/source_read.c", "adapters/log/source_settle.c"
CLOCK, MEMORY, DELIVERY, LOOK = "adapters/log/source_clock.c", "adapters/log/source_memory.c", "adapters/log/source_delivery.c", "adapters/log/source_look.c"
ROWS, INDEX = "adapters/kafka/retry/retry_rows.c", "adapters/kafka/retry/retry_index.c"
KAFKA, BROKER = "tests/sim/kafka.c", "tests/sim/broker.c"
DISPATCH, SETTLE, RECLAIM = "proxy/engine/dispatch.c", "proxy/engine/dispatch_settle.c", "proxy/engine/dispatch_reclaim.c"
HAND, BARRIER, HAND_SIM = "sdk/c/src/hand.c", "sdk/c/src/barrier.c", "tests/sim/hand_client.c"
GCRA, QUOTA, FAIR = "quota/gcra.c", "quota/quota.c", "proxy/engine/fair.c"
HELD_WRITE, HELD_ACK, HELD_ARRIVE, HELD_ID, HELD_DUE = "adapters/queue/held_write.c", "adapters/queue/held_ack.c", "adapters/queue/held_arrive.c", "adapters/queue/held_id.c", "adapters/queue/held_due.c"
HELD_DELIVER, HELD_SETTLE, HELD_WAITER, HELD, HELD_CONSUME = "adapters/queue/held_deliver.c", "adapters/queue/held_settle.c", "adapters/queue/held_waiter.c", "adapters/queue/held.c", "adapters/queue/held_consume.c"

BUGS = (
    Bug("ack-any-attempt", "window", WINDOW, "return attempt == (window->mark_count ? attempts_of(window, offset) : 0) + 1;", "return attempt > 0;",
        "a settle of an attempt that has ended counts for the one under way"),
    Bug("base-off-by-one", "window", WINDOW, "while (window->count && window->states[window->head] == WINDOW_DONE) {", "while (window->count > 1 && window->states[window->head] == WINDOW_DONE) {",
        "the base stops before the last position that is done"),
    Bug("mark-forgotten", "window", WINDOW, "\t\tif (window->mark_count)\n\t\t\tmark_remove(window, offset);\n", "",
        "attempts of a position stay behind when it is done"),
    Bug("hash-chain-broken", "window", WINDOW, "if (((at - home) & mask) < ((at - hole) & mask))\n\t\t\tcontinue;", "if (at == home)\n\t\t\tbreak;",
        "a removal cuts the chain of the marks behind it"),
    Bug("due-ignored", "window", WINDOW, "if (mark->due_ms > now_ms) {", "if (mark->due_ms > now_ms + 1000) {",
        "what waits is woken up to a second early"),
    Bug("marks-one-too-many", "window", WINDOW, "if (window->mark_count == WINDOW_MARKS)", "if (window->mark_count > WINDOW_MARKS)",
        "the limit of marks is off by one"),
    Bug("gap-map-short", "window", TEXT, "size = i / 8 + 1;", "size = i / 8;",
        "the gap map of a commit ends a byte early"),
    Bug("attempt-reset", "window", TEXT, "at = varint_put(at, marks[i].attempts * 2ull + waits);", "at = varint_put(at, 2ull + waits);",
        "a restart forgets all attempts but one"),
    Bug("due-lost-at-commit", "window", TEXT, "uint64_t due_ms = waits ? written_ms + number_take(reader) : 0;", "uint64_t due_ms = waits ? written_ms + number_take(reader) % 256 : 0;",
        "a restart keeps only the low byte of how long a position must wait"),
    Bug("stale-epoch-settles", "source", SETTLES, "if (part && settle->epoch == source->epoch && source->phase == PHASE_OPEN)", "if (part && source->phase == PHASE_OPEN)",
        "a receipt of an earlier life settles in this one"),
    Bug("credit-not-taken-off", "source", DELIVERY, "\tsource->delivery_count = 0;\n", "\tsource->delivery_count = 0;\n\tsource->demand_messages += (uint32_t)((count + 1) / 2);\n",
        "every other delivery is not taken off the demand"),
    Bug("window-limit-ignored", "source", READ, "\tif (!window_fits(&part->window, entry->offset))\n\t\treturn false;\n", "",
        "a position behind a wide gap is added beyond the limit of the window"),
    Bug("own-due-time-ignored", "source", READ, "\tif (due_ms > now_ms)\n\t\treturn pass_over(part, entry, due_ms);\n", "",
        "a message with a due time of its own is handed out at once"),
    Bug("expired-is-delivered", "source", READ, "\tif (now_ms > expiry_ms)\n\t\treturn pass_over(part, entry, 0);\n", "",
        "a new message whose time is over is handed out"),
    Bug("again-read-forgets-the-end", "source", READ, "\tfor (; passed < end; ++passed)\n\t\tagain_gone(part, passed);\n", "\tfor (; passed < fetch->until; ++passed)\n\t\tagain_gone(part, passed);\n",
        "a short answer to a read of open positions drops the rest"),
    Bug("stash-dropped", "source", READ, "\tpart->read_at = window_next(&part->window);\n}", "}",
        "what was read ahead and dropped is not read again"),
    Bug("retry-put-off", "source", SOURCE, "\t\tif (!source->again_ns)\n", "",
        "what failed is tried again only when nothing else happens for a second"),
    Bug("commit-not-retried", "source", COMMIT, "\t\tcommit_undo(source);\n", "",
        "a commit that failed counts as done"),
    Bug("waiter-too-early", "source", COMMIT, "\tif (!hurry && now_ns < source->commit_at_ns)\n\t\treturn source->commit_at_ns;\n", "\tif (source->waiters)\n\t\twaiters_call(waiters_take(source), CODE_OK);\n\tif (!hurry && now_ns < source->commit_at_ns)\n\t\treturn source->commit_at_ns;\n",
        "a settle is told OK before the commit that holds it"),
    Bug("close-forgets-settles", "source", SOURCE, "\tif (source->phase == PHASE_OPEN && source_commit_pending(source) && !source->commit_failed)\n\t\treturn false;\n", "",
        "a source closes without its last commit"),
    Bug("gap-map-dropped-at-commit", "source", COMMIT, "window_text_encode(&part->window, source->epoch, now_ms)", "window_text_encode(&(struct window){.base = part->window.base}, source->epoch, now_ms)",
        "a commit holds the position without what is acked above it"),
    Bug("retry-row-forgotten", "source", COMMIT, "\tmemcpy(items + commit->retry_count, list->items, list->count * sizeof *items);\n", "\tmemcpy(items + commit->retry_count, list->items, list->count * sizeof *items);\n\tall = commit->retry_count;\n",
        "writes of the retry store that come while a commit fails are lost"),
    Bug("retry-attempt-reset", "source", RETRY, "\tinflight->attempts = waiting->attempts;\n", "\tinflight->attempts = MIN(waiting->attempts, 1u);\n",
        "what comes out of the retry store has failed once at most"),
    Bug("retry-due-ignored", "source", RETRY, "\t\t.until_ms = until_ms,\n", "\t\t.until_ms = until_ms + 1000,\n",
        "what waits in the retry store comes up to a second early"),
    Bug("retry-rewind-forgotten", "source", LOOK, "source->due_rewound = true; // the point is not known yet", "source->due_rewound = false;",
        "a row written behind a look that is under way is never seen", 100_000),
    Bug("retry-row-not-removed", "source", RETRY, "\t\tinflight->state = INFLIGHT_LEAVING;\n\t\twrite_add(part, inflight, 0, false);\n\t\tbreak;", "\t\tinflight->state = INFLIGHT_LEAVING;\n\t\twrite_add(part, inflight, 0, true);\n\t\tbreak;",
        "an acked message stays in the retry store"),
    Bug("released-without-a-row", "source", RETRY, "\tif (inflight->lost && !inflight->pending) {", "\tif (false) {",
        "a message that is nowhere any more stays in the backlog (found by this simulation)"),
    Bug("rejected-without-a-row", "source", RETRY, "\t\tif (inflight->rejected) {\n\t\t\tmake_ready(part, inflight); // comes without a record\n\t\t\treturn;\n\t\t}\n", "\t\tinflight->rejected = false;\n",
        "a rejected message that is nowhere any more is never ended (found by this simulation)"),
    Bug("reject-waits-for-demand", "source", RETRY, "(source->inflight.copies && source_delivery_allowed(source, true))", "false",
        "a rejected message is taken out of the retry store only when others that are due have been handed out (found by a history on Kafka)"),
    Bug("passed-over-is-forgotten", "source", RETRY, "source->due_passed = false;\n\t\tsource_look_rewind(source, 0);", "source->due_passed = false;",
        "what is passed over while rejected messages are looked for is never looked at again"),
    Bug("delays-by-the-wall-clock", "source", CLOCK, "if (step_ms >= STEP_MS || step_ms <= -STEP_MS)", "if (false)",
        "a nack that waits follows the wall clock when it is set"),
    Bug("shift-lost-at-commit", "source", COMMIT, "part->window.shift_ms = source->clock.shift_ms;", "part->window.shift_ms = 0;",
        "the next owner does not know that the clock was set"),
    Bug("one-look-for-both-clocks", "source", LOOK, "return source->clock.shift_ms ? LOOKS : 1;", "return 1;",
        "delays in the retry store are looked at by the wall clock"),
    Bug("due-times-by-the-steady-clock", "source", LOOK, "return look == LOOK_DELAYS ? now.steady_ms : now.wall_ms;", "return now.steady_ms;",
        "due times of messages do not follow the wall clock when it is set"),
    Bug("ttl-from-the-producers-clock", "source", DELIVERY, "(uint64_t)MAX(entry->stored_ms, 0))", "(uint64_t)MAX(view.created_ms, 0))",
        "a time to live counts from when the producer's clock says that it was made"),
    Bug("expired-counts-as-acked", "source", READ, "\tpart->window.counts.expired += !due_ms;\n", "",
        "a message that has expired is told as acknowledged"),
    Bug("counts-lost-at-commit", "source", TEXT, "at = bits_put(at, window->counts.expired, COUNT_BITS);", "at = bits_put(at, 0, COUNT_BITS);",
        "the next owner does not know how many have expired"),
    Bug("no-read-beyond-the-room", "source", MEMORY, "return held ? 0 : MIN(bytes, LEAST_BYTES);", "return 0;",
        "a source without room for what it reads stands still"),
    Bug("room-is-not-asked-for", "source", MEMORY, "\tif (room)\n", "\tif (true)\n",
        "every partition reads ahead, whatever memory there is"),
    Bug("read-ahead-not-given-back", "source", READ, "\tpart->stash.buf = buf_unref(part->stash.buf);\n\tstash_hold(part, 0);\n", "\tpart->stash.buf = buf_unref(part->stash.buf);\n",
        "what has been handed out counts as held for ever"),
    Bug("offsets-before-rows", "kafka", BROKER, "\tcase 0: // rows\n", "\tcase 0: // rows\n\t\tfor (uint32_t i = 0; !work->life->dead && i < commit->count; ++i)\n\t\t\tbroker_commit(commit->cursors[i].partition, commit->cursors[i].position, commit->cursors[i].text);\n",
        "a commit writes the offsets before the rows that they count on"),
    Bug("rows-read-before-offsets", "kafka", BROKER, "\tSIM_EQUAL(retry_rows_fit(&life->rows, load->cursors,", "\tfor (uint32_t p = 0; p < load->count; ++p)\n\t\tfree(load->cursors[p].text);\n\tbroker_offsets_read(load->cursors);\n\tSIM_EQUAL(retry_rows_fit(&life->rows, load->cursors,",
        "an owner begins with offsets that are younger than the rows it knows"),
    Bug("reset-without-fence", "kafka", KAFKA, "\t\tif (moving->rows.index.count)\n\t\t\tbroker_fence_put(moving->epoch, moving->to);\n\t\telse\n\t\t\tmove_offsets(moving);\n", "\t\tmove_offsets(moving);\n",
        "a reset takes rows away that a late commit counts on"),
    Bug("fence-by-the-time-alone", "kafka", BROKER, "MAX(now_ms(), (epoch >> 20) + 1) << 20);\n\treturn broker.epoch_floor;", "now_ms() << 20);\n\treturn now_ms() << 20;",
        "a reset behind a clock that was set back has a weaker fence than the one before"),
    Bug("fence-by-committed-epochs", "kafka", KAFKA, "moving->epoch = broker_epoch_above(moving->epoch);", "moving->epoch += 2;",
        "a fence is no younger than an owner whose commit a staler one has overwritten (found by this simulation)"),
    Bug("fences-share-a-key", "kafka", ROWS, "retry_rows_key_put(room, 0, FENCE_OFFSET, epoch);", "retry_rows_key_put(room, 0, FENCE_OFFSET, 0);",
        "of two resets at once the weaker fence stays when the topic is compacted (found by this simulation)"),
    Bug("void-cursor-counts", "kafka", ROWS, "if (r != 0 || !*cursor->text || fitting->epoch >= fence->epoch) {", "if (true) {",
        "a cursor from before a fence stands"),
    Bug("other-generation-counts", "kafka", ROWS, "\tif (names.generation < retry_rows_generation(rows, names.partition))\n\t\treturn 0;\n", "",
        "what is written about rows from before a fence changes those from after it"),
    Bug("fence-in-parts", "kafka", BROKER, "\t\tbroker_fence_put(life->log_life, NULL);\n\t\twork->stage = 1;\n", "\t\tbroker_fence_put(life->log_life, work->at % 2 ? (uint64_t[]){0, UINT64_MAX} : (uint64_t[]){UINT64_MAX, 0});\n\t\twork->stage = work->at % 2 ? 3 : 1;\n",
        "an owner that sees the fence of one partition alone takes its epoch for the others, too (found by this simulation)"),
    Bug("stale-owner-writes-rows", "kafka", BROKER, "\t\twork->stage = STALE;\n", "\t\t{}\n",
        "an owner that a fence has made void removes rows of a later owner (found by this simulation)"),
    Bug("new-life-without-fence", "kafka", BROKER, "if (!fence_wanted(work)) {", "if (true) {",
        "rows of a topic that was deleted pass messages of the one that was made anew"),
    Bug("reset-before-the-fence", "kafka", KAFKA, "if (!broker_is_fenced(&moving->rows, broker.life)) {", "if (false) {",
        "a reset in a new generation gives its epoch to an owner that knows nothing of that generation (found by this simulation)"),
    Bug("mark-outlives-its-topic", "kafka", BROKER, "\tbroker.marked = false;\n", "",
        "no owner sees that a topic was made anew, and a late commit passes its messages"),
    Bug("row-before-its-fence", "kafka", ROWS, "\tif (generation_apply(rows, names.partition, names.generation) < 0)\n\t\treturn -ENOMEM;\n", "\tif (names.generation > retry_rows_generation(rows, names.partition))\n\t\treturn 0;\n",
        "a row is forgotten whose fence was written once more behind it (found by this simulation)"),
    Bug("hole-before-a-row-is-done", "kafka", ROWS, "r = window_restore(window, window_next(window), WINDOW_OPEN, 0, 0);", "r = window_restore(window, window_next(window), WINDOW_DONE, 0, 0);",
        "what lies between the window and a row behind it counts as done"),
    Bug("open-before-its-time", "kafka", READ, "\t} else if (state == WINDOW_OPEN && due_ms > now_ms && !was_due) {\n\t\tagain_too_early(part, entry->offset, due_ms);\n", "",
        "an open position comes before the due time of its own (found by this simulation)"),
    Bug("row-lost-in-the-order", "kafka", INDEX, "*link = left ? left : right;", "*link = left;",
        "a removal takes others out of the order of due times"),
    Bug("row-stays-in-the-order", "kafka", INDEX, "\ttree_remove(index, at);\n\tchain_remove(index, at);\n\tindex->rows[at].written = FREE;", "\tchain_remove(index, at);\n\t--index->count;\n\treturn;\n\tindex->rows[at].written = FREE;",
        "a row that is removed is still looked at when it is due"),
    Bug("redelivery-forgotten-on-leave", "group", RECLAIM, "\tif (consumer->in_flight)\n\t\tsweep_held(dispatch, &all, consumer);\n", "",
        "what a consumer held when it went does not come again"),
    Bug("timeout-too-early", "group", RECLAIM, "if (flight->deadline_ns <= sweep->now_ns)", "if (flight->deadline_ns <= sweep->now_ns + 20 * MS_NS)",
        "messages time out before their time"),
    Bug("extend-adds-up", "group", SETTLE, "flight->deadline_ns = now_ns + MIN(", "flight->deadline_ns += MIN(",
        "an extension counts from the old deadline"),
    Bug("in-flight-off-by-one", "group", DISPATCH, "credit_left(dispatch->policy.in_flight_max, busy));", "credit_left(dispatch->policy.in_flight_max + 1, busy));",
        "the group's limit is off by one"),
    Bug("credit-not-spent", "group", DISPATCH, "\t\tconsumer->given_messages += n;\n", "\t\tconsumer->given_messages += n - (n > 1);\n",
        "a batch costs one message less than it holds"),
    Bug("one-attempt-too-many", "group", SETTLE, "attempt >= policy->max_attempts;", "attempt > policy->max_attempts;",
        "the last attempt is not the last"),
    Bug("pause-ignored", "group", DISPATCH, "if (dispatch->paused || dispatch->ready_count == 0)", "if (dispatch->ready_count == 0)",
        "a drain goes on handing out what is pending"),
    Bug("anyone-may-settle", "group", SETTLE, " && flight->consumer == consumer &&", " &&",
        "a consumer settles what another one holds"),
    Bug("failover-serves-all", "group", DISPATCH, "return dispatch->policy.mode != GROUP_FAILOVER ||", "return dispatch->policy.mode != GROUP_EXCLUSIVE ||",
        "the second consumer of a failover group is served too"),
    Bug("reset-keeps-deadlines", "group", DISPATCH, "\tdispatch->owned = 0;\n", "",
        "what was in flight when the source closed counts for ever"),
    Bug("first-loss-counts", "group", RECLAIM, "if (!flight->suspect && make_suspect(", "if (flight->number == 0 && make_suspect(",
        "what had begun costs an attempt when its consumer is lost for the first time"),
    Bug("mark-lost-at-release", "group", SETTLE, "\tflight->consumer = NULL;\n\tif (flight->suspect && !dispatch->policy.marks_by_id)\n\t\tflight->state = FLIGHT_SUSPECT;\n\telse\n", "\tdispatch->suspects -= flight->suspect;\n",
        "a suspect that is released is none any more"),
    Bug("unbegun-counts", "group", RECLAIM, "\tif (!dispatch_has_begun(flight)) {\n\t\trelease_delivery(", "\tif (flight->number == 0) {\n\t\trelease_delivery(",
        "what had not begun is treated as what had"),
    Bug("pending-not-given-back", "group", DISPATCH, "\tif (dispatch->any_released)\n\t\tdispatch_give_back_above(dispatch);\n", "",
        "what waits in the engine overtakes what is released"),
    Bug("receipt-without-number", "group", SETTLE, "(!consumer->tells_begun || (uint32_t)flight->number == settle->number + i)", "i < settle->count",
        "the receipt of an earlier delivery settles the next one"),
    Bug("crash-loop-without-delay", "group", RECLAIM, "dispatch_scheduled_delay_ms(&dispatch->policy, flight->attempt), NULL);", "0, NULL);",
        "a loss that counts comes again at once"),
    Bug("overdue-before-silent", "group", RECLAIM, "now_ns >= consumer->last_active_ns + visibility_ns / 2) {", "now_ns >= consumer->last_active_ns + visibility_ns) {",
        "attempts of a consumer that is silent count as late ones"),
    Bug("drain-counts", "group", RECLAIM, ".what = why == DISPATCH_LOST ? SWEEP_LOST : SWEEP_ENDED,", ".what = SWEEP_LOST,",
        "an end that the proxy decided is a loss"),
    Bug("suspect-beside-others", "group", DISPATCH, "\t\treturn consumer->in_flight == 0;\n", "\t\treturn 1;\n",
        "a suspect goes to a consumer that does not tell what it begins and holds something"),
    Bug("receipt-of-the-lost-channel", "group", SETTLE, "flight->epoch == settle->epoch && ", "",
        "a receipt from before a loss of the source settles what has the same offset now"),
    Bug("late-copy-ends-another", "group", SETTLE, "flight->epoch != epoch || ", "",
        "a dead-letter copy from before a loss of the source ends what has the same offset now"),
    Bug("settle-of-the-next-epoch", "group", SETTLE, "{.epoch = flight->epoch,", "{.epoch = flight->epoch + (verb == SETTLE_DEAD),",
        "a settle goes on under another epoch than its delivery's"),
    Bug("loss-keeps-what-waits", "group", DISPATCH, "{\n\tpending_drop(dispatch, dispatch->pending_count);\n\tfor (uint32_t i = 0; i < dispatch->partition_count; ++i) {\n", "{\n\tfor (uint32_t i = 0; i < dispatch->partition_count; ++i) {\n",
        "what waits in the engine when the source loses it is handed out all the same"),
    Bug("demand-ends-with-the-channel", "group", DISPATCH, "\tdrop_everything(dispatch);\n\tdispatch_run(dispatch, now_ns);\n", "\tdrop_everything(dispatch);\n\tLIST_FOREACH(pos, next, &dispatch->consumers)\n\tLIST_ENTRY(pos, struct dispatch_consumer, all)->credit_messages = 0;\n\tdispatch_run(dispatch, now_ns);\n",
        "consumers lose their credit when the source has lost what it handed out"),
    Bug("read-again-overtakes", "group", READ, "(state == WINDOW_OPEN && !again_overtakes(part))", "state == WINDOW_OPEN",
        "what is being read again comes before what was released below it meanwhile (found by this simulation)"),
    Bug("begun-told-late", "hand", HAND, "return !item->sub->tells || item->number <= item->sub->told;", "return item->number > 0;",
        "a callback begins before that is in the socket"),
    Bug("begun-before-settles", "hand", HAND_SIM, "\tsettles_send(cons);\n\tif (cons->credit_due || hand_due(&cons->hand, cons->sub))\n\t\tcredit_send(cons);\n", "\tif (cons->credit_due || hand_due(&cons->hand, cons->sub))\n\t\tcredit_send(cons);\n\telse\n\t\tsettles_send(cons);\n",
        "what begins next is told before what is finished is settled"),
    Bug("no-barrier", "hand", HAND, "return item->suspect && !item->beside && item->sub->tells;", "return item->suspect && item->beside && item->sub->tells;",
        "suspects run beside others"),
    Bug("barrier-of-one-consumer", "hand", HAND_SIM, "hand_init(&cons->hand, &process->barriers[0],", "hand_init(&cons->hand, &process->barriers[g],",
        "a suspect does not wait for the other consumers of its process"),
    Bug("alone-settle-later", "hand", BARRIER, "\t\tbarrier->phase = BARRIER_SETTLES;\n", "\t\tcome_down(barrier);\n",
        "others begin before the suspect's settle has left"),
    Bug("lead-over-a-suspect", "hand", HAND, "for (; item && hand->ahead < hand->lead && !goes_alone(item); item = item->next) {", "for (; item && hand->ahead < hand->lead; item = item->next) {",
        "begins are told ahead past a suspect"),
    Bug("lead-by-count-alone", "hand", HAND, "fit = HAND_AHEAD_NS / hand->average_ns;", "fit = HAND_LEAD_MAX;",
        "as many deliveries are told ahead whether callbacks take one microsecond or fifty"),
    Bug("lead-outlives-a-slow-callback", "hand", HAND, "\tif (hand->ahead > hand->lead)\n\t\tplan_again(hand);\n", "",
        "what was planned while callbacks were short is told behind one that took long"),
    Bug("last-attempt-beside-kept", "hand", BARRIER, "nothing_runs(barrier, item->last && !late)", "nothing_runs(barrier, false)",
        "a suspect at its last attempt does not wait for what the application keeps"),
    Bug("last-attempt-not-alone", "hand", BARRIER, "(item->last ? limit_ns : BARRIER_ALONE_NS)", "BARRIER_ALONE_NS",
        "others wait no longer for a suspect at its last attempt"),
    Bug("front-is-released", "hand", HAND_SIM, "\twhile ((item = hand_remove(&cons->hand, cons->sub)))\n\t\tnote(", "\tif ((item = hand_remove(&cons->hand, cons->sub)))\n\t\tnote(",
        "a hand that is stuck is given back from its front, not as a whole"),
    Bug("given-back-before-drained", "hand", HAND_SIM, "\tcons->stuck_begins = cons->hand.begins;\n\tcredit_totals_drain(&cons->credit);\n", "\tgive_back(cons);\n\tcons->stuck = false;\n\tcredit_totals_drain(&cons->credit);\n",
        "a hand that is stuck is given back while more is on its way"),
    Bug("told-ahead-not-extended", "hand", HAND_SIM, "\t\tif (item->number <= cons->sub->told)\n", "\t\tif (item->number == 0)\n",
        "what is told ahead and waits is not extended"),
    Bug("barrier-outlives-its-message", "hand", BARRIER, "barrier->phase <= BARRIER_GRANTED)\n\t\tcome_down(barrier);\n\tpthread_mutex_unlock(&barrier->lock);\n}\n\nvoid barrier_drop_sub(struct barrier *barrier, const struct hand_sub *sub)\n{\n\tpthread_mutex_lock(&barrier->lock);\n\tif (barrier->phase != BARRIER_DOWN &&", "barrier->phase < BARRIER_WAITS)\n\t\tcome_down(barrier);\n\tpthread_mutex_unlock(&barrier->lock);\n}\n\nvoid barrier_drop_sub(struct barrier *barrier, const struct hand_sub *sub)\n{\n\tpthread_mutex_lock(&barrier->lock);\n\tif (barrier->phase > BARRIER_GRANTED &&",
        "the barrier stays up when its message leaves the hand unbegun", schedules=40000),
    Bug("waiters-wake-each-other", "hand", BARRIER, "\tif (atomic_load(&barrier->up))\n\t\treturn false;\n\tatomic_fetch_add(&hand->running, 1);\n", "\tatomic_fetch_add(&hand->running, 1);\n",
        "a waiter that may not begin beside a suspect wakes others that may not either (found by this simulation)"),
    Bug("mark-goes-with-a-release", "hand", SETTLE, "\tif (flight->suspect && !dispatch->policy.marks_by_id)\n", "\tif (dispatch->policy.marks_by_id)\n\t\tunmark_suspect(dispatch, flight);\n\tif (flight->suspect)\n",
        "what a queue brings again under another offset is no suspect any more"),
    Bug("marks-go-with-the-channel", "hand", DISPATCH, "\tdrop_everything(dispatch);\n\tdispatch_run(dispatch, now_ns);\n", "\tsuspects_clear(&dispatch->suspect_ids);\n\tdrop_everything(dispatch);\n\tdispatch_run(dispatch, now_ns);\n",
        "a suspect is none any more when its source has lost what it handed out"),
    Bug("mark-outlives-its-message", "hand", SETTLE, "\t\tsuspects_remove(&dispatch->suspect_ids, flight->id);\n", "",
        "the mark of a message that has ended stays"),
    Bug("mark-ends-at-the-rejection", "hand", SETTLE, "\tif (!dispatch->policy.marks_by_id)\n\t\tunmark_suspect(dispatch, flight);\n}", "\tunmark_suspect(dispatch, flight);\n}",
        "a rejected message that is lost before its copy is there comes again without its mark"),
    Bug("burst-of-one-second", "quota", GCRA, "#define BURST_TICKS  (TICKS_PER_S / 5)", "#define BURST_TICKS  TICKS_PER_S",
        "the burst is five times what it should be"),
    Bug("cost-rounded-down", "quota", GCRA, "wide ticks = ((wide)units * TICKS_PER_S + rate - 1) / rate;", "wide ticks = (wide)(TICKS_PER_S / rate) * units;",
        "the cost of a unit is rounded, not that of the batch"),
    Bug("idle-time-saved-up", "quota", GCRA, "MAX(*tat, now) + cost", "*tat + cost",
        "a limit that was idle for long lets that much through at once"),
    Bug("debt-of-the-old-rate", "quota", GCRA, "return rate <= old ? owed :", "return true ? owed :",
        "what was owed at a low rate takes as long at a raised one"),
    Bug("messages-not-given-back", "quota", QUOTA, "\tgcra_give_back(messages, fit - passed);\n", "",
        "what the bytes do not allow is charged as messages"),
    Bug("messages-given-back-twice", "quota", QUOTA, "\tcharge->messages -= messages;\n", "\tgcra_give_back(&charge->ledger->messages[charge->direction], messages);\n\tcharge->messages -= messages;\n",
        "messages that were refused are given back to the rate twice"),
    Bug("bytes-given-back-twice", "quota", QUOTA, "\tcharge->bytes -= bytes;\n", "\tgcra_give_back(&charge->ledger->bytes[charge->direction], bytes);\n\tcharge->bytes -= bytes;\n",
        "bytes that were refused are given back to the rate twice"),
    Bug("limit-wraps", "quota", QUOTA, "if (amount > limit || used > limit - amount)", "if (used + amount > limit)",
        "a huge amount wraps round the limit of a count"),
    Bug("tenant-starves", "fair", FAIR, "\telse if (list_empty(&queue->active))\n\t\tlist_push_back(&fair->active, &queue->active);\n", "",
        "a tenant that is not done with its quantum is forgotten"),
    Bug("connection-jumps-the-queue", "fair", FAIR, "if (again && list_empty(&item->waiting))\n\t\t\tlist_push_back(", "if (again && list_empty(&item->waiting))\n\t\t\tlist_push_front(",
        "a busy connection is served until it is done"),
    Bug("ack-before-the-copy", "queue", HELD_WRITE, "\theld_state_enlist(held, item, HELD_LIST_WRITING);\n\tbegin(held, item, false);\n", "\theld_state_enlist(held, item, HELD_LIST_WRITING);\n\tbegin(held, item, false);\n\tif (is_failed_attempt(item))\n\t\theld_ack_end(held, item, item->attempts);\n",
        "an original is acknowledged before the copy of it is confirmed"),
    Bug("doubt-counts-as-written", "queue", HELD_WRITE, "bool written = outcome == QUEUE_WRITTEN, renewal;", "bool written = outcome != QUEUE_REFUSED, renewal;",
        "a write in doubt is not repeated"),
    Bug("renewal-acks-its-copy", "queue", HELD_WRITE, "if (written && item->tag && item->tag == item->write_tag) {", "if (written && item->tag) {",
        "a renewal that comes before its confirmation is acknowledged by it"),
    Bug("copy-due-later-is-acked", "queue", HELD_WRITE, "else if (item->tag == item->write_tag)", "else if (item->tag)",
        "a copy that comes before its confirmation is acknowledged in place of its original"),
    Bug("barrier-answered-too-early", "queue", HELD_ACK, "\t\theld_state_enlist(held, item, HELD_LIST_SENT);\n", "\t\theld_state_enlist(held, item, HELD_LIST_SENT);\n\t\theld_waiter_end(held, item, CODE_OK);\n",
        "a settle is told durable when its acknowledgement is sent"),
    Bug("loss-proves-the-ack", "queue", HELD_ACK, "\t\theld_state_tag_take(held, item);\n\t\theld_ack_route(held, item);\n", "\t\theld_state_tag_take(held, item);\n\t\theld_ack_drop(held, item, CODE_OK);\n",
        "what was to be acknowledged when the channel was lost counts as acknowledged"),
    Bug("batches-overlap", "queue", HELD_ACK, "if (!held->open || held->barrier)\n\t\treturn;", "if (!held->open)\n\t\treturn;",
        "a batch goes out before the barrier of the one before has passed"),
    Bug("ack-beside-a-renewal", "queue", HELD_ACK, "if (!item->renewing && item->tag) {", "if (item->tag) {",
        "a settle is told durable while the copy of a renewal is on its way (found by this simulation)"),
    Bug("renewal-delivers-twice", "queue", HELD_ACK, "\theld_id_void(item, below);\n", "\tif (!item->awaited)\n\t\theld_id_void(item, below);\n",
        "what ends before its renewal comes is handed out once more when that comes"),
    Bug("ready-is-never-renewed", "queue", HELD_DUE, "\tif (list_empty(&item->in_age))\n\t\theld_state_age(held, item, true);\n", "",
        "what has waited for its due time is not renewed afterwards"),
    Bug("rejected-keeps-its-number", "queue", HELD_SETTLE, "\t++item->attempts;\n\theld_state_set(held, item, HELD_REJECTED);", "\theld_state_set(held, item, HELD_REJECTED);",
        "a rejected attempt does not count"),
    Bug("ack-outruns-a-renewal-that-came", "queue", HELD_ACK, "(item->renewing ? item->write_attempts : item->tag_attempts))", "item->tag_attempts)",
        "a settle waits for the copy of a renewal that has come already (found by this simulation)", schedules=40000),
    Bug("idle-before-its-end-proves", "queue", HELD_ACK, "MAX(since_ms, item->since_ms)", "since_ms",
        "a consumer that was idle before a message ended shows that it will not come again", schedules=40000),
    Bug("end-of-one-of-two-deliveries", "queue", HELD_ACK, "other = item->waiter || item->follower ? find_other(held, item) : NULL;", "other = NULL;",
        "a settle is told durable while an older copy of its message is still to come (found by this simulation)"),
    Bug("anonymous-is-waited-for", "queue", HELD_ACK, "((item->waiter || item->follower) && !item->anonymous)", "item->waiter",
        "what comes again under another id is told durable when something new comes (found by this simulation)"),
    Bug("given-back-proves", "queue", HELD_ARRIVE, "\tif (!arrival->given_back)\n\t\theld_ack_prove", "\tif (arrival->tag)\n\t\theld_ack_prove",
        "what is given back shows that nothing more is given back"),
    Bug("fewer-attempts-kept", "queue", HELD_ARRIVE, "if (arrived->attempts < item->tag_attempts)", "if (arrived->attempts > item->tag_attempts)",
        "of two deliveries the one with fewer attempts is kept"),
    Bug("attempts-stay-with-the-tag", "queue", HELD_ARRIVE, "\titem->attempts = MAX(item->attempts, arrived->attempts);\n", "",
        "what is out when a copy with more attempts comes keeps its old number"),
    Bug("delay-of-the-copy-forgotten", "queue", HELD_ARRIVE, "\t\titem->due_ms = arrived->due_ms;\n", "",
        "what is released comes before the delay of the copy that came meanwhile (found by this simulation)", schedules=40000),
    Bug("no-memory-is-passed-over", "queue", HELD_ARRIVE, "\t\theld->broken = true;\n", "",
        "a delivery without memory is left out, and the next ones are handed out"),
    Bug("ended-forgotten-at-the-loss", "queue", HELD_ID, "if (!id->void_below) {", "if (!id->void_below || !held->open) {",
        "what has ended is forgotten when the channel is lost"),
    Bug("soon-due-ignored", "queue", HELD_DUE, "} else if (left_ms) {", "} else if (left_ms > 30000) {",
        "what is due within 30 s is handed out at once"),
    Bug("release-loses-its-order", "queue", HELD_DUE, "item->order = item->sequence;", "item->order = ++held->sequence;",
        "what is released comes behind what came after it"),
    Bug("held-delay-by-the-wall-clock", "queue", HELD_DUE, "\titem->order = item->attempts ? held->time.steady_ms + left_ms : item->due_ms;\n\theld_state_enlist_by(held, item,\n\t\t\t     item->attempts ? HELD_LIST_WAIT_STEADY : HELD_LIST_WAIT_WALL);", "\titem->order = item->due_ms;\n\theld_state_enlist_by(held, item, HELD_LIST_WAIT_WALL);",
        "a delay that is held follows the wall clock when it is set"),
    Bug("expired-is-handed-out", "queue", HELD_DELIVER, "\t\tif (held_due_expire(held, item))\n\t\t\tcontinue;\n", "",
        "what expires while it waits for demand is handed out"),
    Bug("demand-not-taken-off", "queue", HELD_DELIVER, "\t\t--held->demand_messages;\n", "\t\theld->demand_messages -= item->sequence % 2;\n",
        "every other delivery is not taken off the demand"),
    Bug("rejected-takes-demand", "queue", HELD_DELIVER, "while (held->demand_rejected &&", "while (held->demand_messages &&",
        "a rejected message is handed out against the demand for others"),
    Bug("new-before-due", "queue", HELD_DELIVER, "\tdeliver_ready(held, &batch, HELD_LIST_DUE);\n\tdeliver_ready(held, &batch, HELD_LIST_NEW);\n", "\tdeliver_ready(held, &batch, HELD_LIST_NEW);\n\tdeliver_ready(held, &batch, HELD_LIST_DUE);\n",
        "what is new comes before what is due"),
    Bug("old-channel-settles", "queue", HELD_SETTLE, "settle->epoch == held->epoch)", "settle->epoch <= held->epoch)",
        "a receipt of an earlier channel settles on this one"),
    Bug("any-attempt-settles", "queue", HELD_SETTLE, "item->attempt != settle->attempt)", "item->attempt < settle->attempt)",
        "a settle of an attempt that has ended counts for the one under way"),
    Bug("attempt-not-counted", "queue", HELD_SETTLE, "\t++item->attempts;\n\titem->due_ms =", "\titem->due_ms =",
        "an attempt that fails is written as it was"),
    Bug("waiter-told-before-all", "queue", HELD_WAITER, "if (--waiter->left)", "if (--waiter->left > 1)",
        "a settle is answered before the last of its messages has ended"),
    Bug("close-forgets-a-write", "queue", HELD, "return held->closing && !held->writes_open &&", "return held->closing &&",
        "a set is closed while a copy is on its way"),
    Bug("byte-bound-ignored", "queue", HELD_CONSUME, "held->closing || held->broken || held->bytes > most_bytes(held) ||", "held->closing || held->broken ||",
        "more is consumed than the bytes allow"),
    Bug("crowd-goes-on", "queue", HELD_CONSUME, "return held->use.crowded && !held->limbo ? MIN(limits->crowd_bytes, limits->bytes_max)\n\t\t\t\t\t\t : limits->bytes_max;", "return limits->bytes_max;",
        "a group goes on as before when there is no memory for more"),
    Bug("prefetch-beside-what-is-held", "queue", HELD_CONSUME, "prefetch = left_of(held);", "prefetch = held->limits->messages_max;",
        "a new consumer gets the whole bound, whatever is held from the one before"),
    Bug("members-without-a-tag", "queue", HELD_CONSUME, "uint32_t count = held->tags + held->awaited;\n\n\tif (!held->awaited)", "uint32_t count = held->tags;\n\n\tif (held->tags)",
        "what is renewed does not count against the bound (found by this simulation)"),
    Bug("due-when-it-was-sent", "queue", HELD_DUE, "item->attempts || left_ms || has_waited(item);", "item->attempts || item->due_ms;",
        "what was sent when its due time had passed overtakes what is new"),
    Bug("waits-for-long-under-a-tag", "queue", HELD_ARRIVE, "\theld_due_tagged(held, item);\n", "",
        "what waits for long, and gets a tag again, keeps it (found by this simulation)", schedules=40000),
    Bug("consumes-without-demand", "queue", HELD_CONSUME, "(is_quiet(held) && !held->limbo)", "(is_quiet(held) && held->tags)",
        "an idle consumer is cancelled only while something is held"),
)

# For a short run: one of each engine.
FEW = ("due-ignored", "gap-map-dropped-at-commit", "offsets-before-rows", "redelivery-forgotten-on-leave", "first-loss-counts", "no-barrier", "idle-time-saved-up", "tenant-starves", "ended-forgotten-at-the-loss")


def table():
    rows = [f"| `{bug.name}` | {bug.engine} | `{bug.file}` | {bug.says} |" for bug in BUGS]
    return "\n".join(["| bug | engine | file | what is wrong |", "|---|---|---|---|", *rows]) + "\n"


def find(bug, scratch, options):
    """Returns (found, what there is to say)."""
    schedules = options.schedules or bug.schedules
    result, fault = scratch.run_planted(plant.Edit(bug.file, bug.old, bug.new), (PROGRAM, bug.engine, "--schedules", str(schedules), "--whole"))
    if fault:
        return False, f"{bug.engine}: {fault}"
    seed = re.search(r"schedule (\d+) fails; ", result.stdout)
    if result.returncode != 1 or not seed:
        return False, f"{bug.engine}: not found in {schedules} schedules"
    return True, f"{bug.engine}: found in schedule {seed[1]}"


def add_options(parser):
    parser.add_argument("--schedules", type=int, help=f"for every bug (default: {SCHEDULES}, more for the rare ones)")


if __name__ == "__main__":
    sys.exit(plant.main(__doc__, HERE, "bugs", BUGS, FEW, table, find, add_options))
