// One probe is a small client of its cluster's adapter. A round has four steps: what it needs is
// made and opened (setup), a message is submitted (send), the group's source hands it out
// (receive), and its acknowledgement is durable (settle). The first step that is not done by the
// deadline, or that the adapter refuses, is what the round failed with.
//
// Topic and group are in no registry. Both have the id of their cluster, which the registry never
// gives to a topic or a group, and always the same incarnation. So the stores' rule that an id is
// never used again holds, and a restart finds them.
//
// Invariants: at most one administrative call, one message and one settle of a probe are under way,
// however long a cluster is silent. The backend is referenced while anything of it is open.
//
// What it does not do: use a client connection, a quota or dispatch, which have metrics of their
// own.

#include "proxy/probe/probe.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/model/name.h"
#include "core/wire/record.h"
#include "proxy/base/worker.h"
#include "proxy/resource/shared.h"

#include <errno.h>
#include <stdio.h>

#define INCARNATION   1
#define RETENTION_MS  600000
#define MESSAGE_BYTES 65536 // the largest that its topic takes
#define DEMAND_BYTES  65536
#define AGAIN_NS      (250 * MS_NS)

const char *const probe_step_names[PROBE_STEPS] = {"setup", "send", "receive", "settle", "ok"};
const char *const probe_delay_names[PROBE_DELAYS] = {"send", "receive", "settle"};

enum { DELAY_SEND, DELAY_RECEIVE, DELAY_SETTLE };

static void round_advance(struct probe *probe);

static const struct proxy_limits *limits_of(const struct probe *probe)
{
	return &probe->probes->workers->all[0]->limits;
}

static struct loop *loop_of(const struct probe *probe)
{
	return probe->probes->workers->all[0]->loop;
}

static void note_problem(struct probe *probe, enum code code, const char *text)
{
	snprintf(probe->note, sizeof probe->note, "%s%s%s", code_name(code),
		 text && *text ? ": " : "", text ? text : "");
}

// ---- models

static bool models_make(struct probe *probe)
{
	const struct probes *probes = probe->probes;
	uint64_t installation = catalog_installation(probes->shared->catalog);
	char topic[MODEL_PHYSICAL_MAX + 1], group[MODEL_PHYSICAL_MAX + 1];
	struct topic topic_draft = {
		.object.id = probe->cluster,
		.name = topic,
		.physical = topic,
		.cluster = probe->cluster,
		.incarnation = INCARNATION,
		.partitions = 1,
		.message_bytes = MESSAGE_BYTES,
		.retention_ms = RETENTION_MS,
		.durability = (uint8_t)capability_durability(backend_capabilities(probe->backend)),
		.state = MODEL_READY};
	struct group group_draft = {.object.id = probe->cluster,
				    .name = group,
				    .physical = group,
				    .topic = probe->cluster,
				    .incarnation = INCARNATION,
				    .start = GROUP_START_LATEST,
				    .state = MODEL_READY};

	name_probe_topic(probe->cluster, installation, topic);
	name_probe_group(probe->cluster, installation, probes->proxy_id, group);
	model_unref(probe->topic);
	model_unref(probe->group);
	probe->topic = model_new(MODEL_TOPIC, &topic_draft);
	probe->group = model_new(MODEL_GROUP, &group_draft);
	return probe->topic && probe->group;
}

// ---- letting go

static void timers_cancel(struct probe *probe)
{
	loop_timer_cancel(&probe->next);
	loop_timer_cancel(&probe->deadline);
	loop_timer_cancel(&probe->again);
}

void probe_free(struct probe *probe)
{
	assert(!probe->handle && !probe->source && !probe->calling && !probe->submitting);
	list_unlink(&probe->in_all);
	timers_cancel(probe);
	model_unref(probe->topic);
	model_unref(probe->group);
	buf_unref(probe->submit.buf);
	free(probe);
}

static void again_later(struct probe *probe)
{
	if (probe->running)
		loop_timer_set(&probe->again, loop_now_ns(loop_of(probe)) + AGAIN_NS);
}

static void let_go(struct probe *probe)
{
	struct probes *probes = probe->probes;
	uint64_t cluster = probe->cluster;

	probe->backend = backend_unref(probe->backend);
	probe->phase = PROBE_IDLE;
	probe->leaving = false;
	if (probe->ended) {
		probe_free(probe);
		probes_cluster_changed(probes, cluster, false); // it may be wanted again
	} else {
		again_later(probe);
	}
	if (probes->closing)
		worker_check_drained(probes->workers->all[0]);
}

// @thread any
static void on_call_done(void *ctx, enum code code, const char *text)
{
	struct probe *probe = ctx;

	probe->call_code = code;
	snprintf(probe->call_text, sizeof probe->call_text, "%s", text ? text : "");
	loop_post(loop_of(probe), &probe->called);
}

static void remove_begin(struct probe *probe)
{
	probe->phase = PROBE_REMOVING;
	probe->calling = true;
	probe->group_done = false;
	probe->backend->ops->group_delete(probe->backend->adapter, probe->group, probe->topic,
					  on_call_done, probe);
}

static void remove_goes_on(struct probe *probe)
{
	if (probe->call_code == CODE_OK && !probe->group_done) {
		probe->group_done = probe->calling = true;
		probe->backend->ops->topic_delete(probe->backend->adapter, probe->topic,
						  on_call_done, probe);
		return;
	}
	if (probe->call_code != CODE_OK)
		log_warn(NULL, "PROBE-LEFT", "the probe's topic %s stays on its cluster: %s%s%s",
			 probe->topic->physical, code_name(probe->call_code),
			 *probe->call_text ? ": " : "", probe->call_text);
	else
		log_info(NULL, "PROBE-REMOVED", "the probe's topic %s is removed from its cluster",
			 probe->topic->physical);
	let_go(probe);
}

// Goes on with leaving when nothing is under way any more.
static void leave_check(struct probe *probe)
{
	assert(probe->phase == PROBE_CLOSING);
	if (probe->source || probe->submitting || probe->settle_posted)
		return;
	if (probe->handle)
		probe->backend->ops->topic_close(probe->handle);
	probe->handle = NULL;
	if (probe->ended && probe->backend && probe->topic && probe->group &&
	    !probe->probes->closing)
		remove_begin(probe);
	else
		let_go(probe);
}

static void on_source_closed(void *ctx)
{
	struct probe *probe = ctx;

	probe->source = NULL;
	probe->settling = false;
	leave_check(probe);
}

void probe_leave(struct probe *probe)
{
	probe->leaving = true;
	if (probe->phase != PROBE_OPEN)
		return; // nothing is open, or what is under way ends with it
	probe->phase = PROBE_CLOSING;
	probe->backend->ops->source_close(probe->source, on_source_closed, probe);
}

void probe_end(struct probe *probe)
{
	if (probe->ended)
		return;
	probe->ended = true;
	probe->running = false;
	timers_cancel(probe);
	if (probe->phase != PROBE_IDLE) {
		probe_leave(probe);
		return;
	}
	probe->phase = PROBE_CLOSING;
	probe->backend = backend_get(&probe->probes->shared->backends, probe->cluster);
	leave_check(probe);
}

void probe_stop(struct probe *probe)
{
	probe->running = false;
	timers_cancel(probe);
	if (probe->phase == PROBE_MAKING || probe->phase == PROBE_REMOVING) {
		// The adapter answers when it closes, at the latest.
		probe->phase = PROBE_IDLE;
		probe->backend = backend_unref(probe->backend);
	}
	probe_leave(probe);
}

// ---- the end of a round

static enum probe_step step_of(const struct probe *probe)
{
	return probe->settled && probe->stored    ? PROBE_DONE
	       : probe->stored && probe->received ? PROBE_SETTLE
	       : probe->stored                    ? PROBE_RECEIVE
	       : probe->sent                      ? PROBE_SEND
						  : PROBE_SETUP;
}

static void result_log(const struct probe *probe, bool failed_before)
{
	const struct cluster *cluster =
		catalog_cluster(probe->probes->shared->catalog, probe->cluster);
	struct log_ctx log = {.cluster = cluster ? cluster->name : NULL};

	if (*probe->error && !failed_before)
		log_warn(&log, "PROBE-FAILED", "%s", probe->error);
	else if (!*probe->error && failed_before)
		log_info(&log, "PROBE-OK", "messages go through again");
	model_unref(cluster);
}

static void round_end(struct probe *probe, const char *why)
{
	uint64_t interval_ns = limits_of(probe)->probe_interval_ms * MS_NS;
	enum probe_step step = step_of(probe);
	bool failed_before = *probe->error;

	loop_timer_cancel(&probe->deadline);
	loop_timer_cancel(&probe->again);
	probe->running = false;
	++probe->counts[step];
	probe->last_ms = clock_wall_ms();
	if (step == PROBE_DONE) {
		probe->last_ok_ms = probe->last_ms;
		probe->error[0] = '\0';
	} else {
		snprintf(probe->error, sizeof probe->error, "%s: %s", probe_step_names[step], why);
	}
	result_log(probe, failed_before);
	loop_timer_set(&probe->next,
		       MAX(probe->began_ns + interval_ns, loop_now_ns(loop_of(probe)) + AGAIN_NS));
}

static void on_deadline(struct loop_timer *timer)
{
	struct probe *probe = CONTAINER_OF(timer, struct probe, deadline);
	char why[sizeof probe->error - 16];

	snprintf(why, sizeof why, "not done within %u ms%s%s", limits_of(probe)->probe_timeout_ms,
		 *probe->note ? ", " : "", probe->note);
	round_end(probe, why);
}

static void done_check(struct probe *probe)
{
	if (step_of(probe) == PROBE_DONE)
		round_end(probe, NULL);
}

static void delay_add(struct probe *probe, size_t which)
{
	uint64_t ns = clock_now_ns() - probe->sent_ns;

	latency_add(&probe->delays[which], ns, 1);
	probe->delay_us[which] = MAX(ns / 1000, 1);
}

// ---- the message

static void message_id(const struct probe *probe, uint8_t id[RECORD_ID_SIZE])
{
	le64_put(id, probe->probes->nonce);
	le64_put(id + 8, probe->round);
}

static bool message_make(struct probe *probe)
{
	static const char body[] = "a probe of the service itself";
	uint8_t id[RECORD_ID_SIZE];
	struct record_parts parts = {.id = id,
				     .created_ms = clock_wall_ms(),
				     .body = {(const uint8_t *)body, sizeof body - 1}};
	struct buf *buf;

	message_id(probe, id);
	if (buf_new((size_t)record_parts_size(&parts), &buf) < 0)
		return false;
	record_write(&parts, buf->data);
	buf_unref(probe->submit.buf);
	probe->submit.buf = buf;
	probe->record = (struct submit_record){.data = buf->data, .size = buf->size};
	return true;
}

// @thread any
static void on_submitted(struct submit *submit)
{
	struct probe *probe = CONTAINER_OF(submit, struct probe, submit);

	loop_post(loop_of(probe), &probe->answered);
}

static void message_send(struct probe *probe)
{
	if (probe->submitting) {
		note_problem(probe, CODE_TIMEOUT,
			     "the message of an earlier round is not answered");
		return; // on_answered() comes back here
	}
	if (!message_make(probe)) {
		note_problem(probe, CODE_OVERLOADED, NULL);
		again_later(probe);
		return;
	}
	probe->sent = probe->submitting = true;
	probe->note[0] = '\0';
	probe->submitted_round = probe->round;
	probe->sent_ns = clock_now_ns();
	probe->submit = (struct submit){.topic = probe->handle,
					.buf = probe->submit.buf,
					.records = &probe->record,
					.count = 1,
					.runs = &probe->run,
					.done = on_submitted,
					.submitted_ns = probe->sent_ns};
	probe->backend->ops->submit(probe->backend->adapter, &probe->submit);
}

// Topic or group are not there any more: both are made anew, in this round.
static void things_gone(struct probe *probe)
{
	note_problem(probe, CODE_NOT_FOUND,
		     "the probe's topic or group is gone, and is made again");
	probe->sent = probe->stored = probe->received = probe->settled = false;
	probe_leave(probe);
}

static void message_refused(struct probe *probe)
{
	char why[64];

	if (probe->run.outcome == OUTCOME_REJECTED && probe->run.code == CODE_NOT_FOUND) {
		things_gone(probe);
		return;
	}
	snprintf(why, sizeof why, "%s%s", code_name((enum code)probe->run.code),
		 probe->run.outcome == OUTCOME_UNKNOWN ? ", perhaps stored" : "");
	round_end(probe, why);
}

static void on_answered(struct loop_task *task)
{
	struct probe *probe = CONTAINER_OF(task, struct probe, answered);

	probe->submitting = false;
	if (probe->phase == PROBE_CLOSING) {
		leave_check(probe);
	} else if (!probe->running || probe->submitted_round != probe->round) {
		round_advance(probe);
	} else if (probe->run.outcome != OUTCOME_OK) {
		message_refused(probe);
	} else {
		delay_add(probe, DELAY_SEND);
		probe->stored = true;
		done_check(probe);
	}
}

// ---- what comes back

static void on_deliver(void *ctx, const struct delivery *deliveries, size_t count)
{
	struct probe *probe = ctx;
	uint8_t id[RECORD_ID_SIZE];

	message_id(probe, id);
	for (size_t i = 0; i < count && probe->settle_count < PROBE_DEMAND; ++i) {
		const struct delivery *delivery = &deliveries[i];

		probe->settles[probe->settle_count++] =
			(struct settle){.epoch = delivery->epoch,
					.offset = delivery->offset,
					.count = 1,
					.partition = delivery->partition,
					.attempt = delivery->attempt,
					.verb = SETTLE_ACK};
		if (!probe->running || probe->received || !delivery->record ||
		    memcmp(record_id(delivery->record), id, sizeof id) != 0)
			continue;
		delay_add(probe, DELAY_RECEIVE);
		probe->received = probe->settle_ours = true;
	}
	if (probe->settle_count && !probe->settle_posted) {
		probe->settle_posted = true;
		loop_defer(loop_of(probe), &probe->settle);
	}
}

static void on_settled(void *ctx, enum code code)
{
	struct probe *probe = ctx;

	probe->settling = false;
	if (!probe->running || probe->settled_round != probe->round)
		return;
	if (code != CODE_OK) {
		round_end(probe, code_name(code));
		return;
	}
	delay_add(probe, DELAY_SETTLE);
	probe->settled = true;
	done_check(probe);
}

// No slot of a source is called from inside its handler.
static void on_settle(struct loop_task *task)
{
	struct probe *probe = CONTAINER_OF(task, struct probe, settle);
	const struct adapter_ops *ops = probe->backend->ops;
	size_t count = probe->settle_count;
	bool ours = probe->settle_ours && !probe->settling;

	probe->settle_posted = probe->settle_ours = false;
	probe->settle_count = 0;
	if (probe->phase == PROBE_CLOSING) {
		leave_check(probe);
		return;
	}
	if (ours) {
		probe->settling = true;
		probe->settled_round = probe->round;
	}
	ops->source_settle(probe->source, probe->settles, count, ours ? on_settled : NULL, probe);
	ops->source_demand(probe->source, PROBE_DEMAND, DEMAND_BYTES, 0);
}

static void on_state(void *ctx, enum source_state state, enum code code, const char *text)
{
	struct probe *probe = ctx;

	if (state == SOURCE_DOWN)
		note_problem(probe, code, text);
	else if (state == SOURCE_GONE)
		things_gone(probe);
}

static const struct source_handlers source_handlers = {on_deliver, on_state};

// ---- setting up

static void setup_failed(struct probe *probe)
{
	probe->phase = PROBE_CLOSING;
	leave_check(probe);
}

static void setup_open(struct probe *probe)
{
	const struct adapter_ops *ops = probe->backend->ops;
	struct source_config config = {.group = probe->group,
				       .topic = probe->topic,
				       .loop = loop_of(probe),
				       .handlers = &source_handlers,
				       .ctx = probe};

	probe->handle = ops->topic_open(probe->backend->adapter, probe->topic);
	config.adapter_topic = probe->handle;
	if (!probe->handle ||
	    ops->source_open(probe->backend->adapter, &config, &probe->source) != 0) {
		probe->source = NULL;
		note_problem(probe, CODE_NOT_READY, "the probe's topic cannot be opened");
		setup_failed(probe);
		return;
	}
	probe->phase = PROBE_OPEN;
	ops->source_demand(probe->source, PROBE_DEMAND, DEMAND_BYTES, 0);
	round_advance(probe);
}

static void setup_goes_on(struct probe *probe)
{
	if (probe->call_code != CODE_OK)
		note_problem(probe, probe->call_code, probe->call_text);
	if (probe->call_code != CODE_OK || probe->leaving) {
		setup_failed(probe);
	} else if (!probe->group_done) {
		probe->group_done = probe->calling = true;
		probe->backend->ops->group_create(probe->backend->adapter, probe->group,
						  probe->topic, on_call_done, probe);
	} else {
		setup_open(probe);
	}
}

static void on_called(struct loop_task *task)
{
	struct probe *probe = CONTAINER_OF(task, struct probe, called);

	probe->calling = false;
	if (probe->phase == PROBE_MAKING)
		setup_goes_on(probe);
	else if (probe->phase == PROBE_REMOVING)
		remove_goes_on(probe);
	// Else the proxy leaves, and has not waited for it.
}

// What keeps a setup from beginning; NULL: nothing.
static const char *setup_refused(struct probe *probe)
{
	struct backends *backends = &probe->probes->shared->backends;
	struct adapter_state state;
	uint32_t capabilities;

	if (!backends_state(backends, probe->cluster, &state, &capabilities))
		return "the cluster is not open";
	probe->backend = backend_get(backends, probe->cluster);
	if (!probe->backend)
		return "the cluster is not open";
	probe->useless = state.known && !(capabilities & CAP_CONSUME);
	return !state.known          ? "the cluster has not answered yet"
	       : probe->useless      ? "nothing can be consumed from it"
	       : !models_make(probe) ? "out of memory"
				     : NULL;
}

static void setup_begin(struct probe *probe)
{
	const char *refused = setup_refused(probe);

	if (refused) {
		probe->backend = backend_unref(probe->backend);
		note_problem(probe, CODE_BACKEND_DOWN, refused);
		again_later(probe);
		return;
	}
	probe->phase = PROBE_MAKING;
	probe->calling = true;
	probe->group_done = false;
	probe->backend->ops->topic_create(probe->backend->adapter, probe->topic, on_call_done,
					  probe);
}

// ---- the beginning of a round

// Goes as far as can be gone now. Whatever it waits for calls this again.
static void round_advance(struct probe *probe)
{
	if (!probe->running)
		return;
	if (probe->phase == PROBE_IDLE && !probe->calling)
		setup_begin(probe);
	else if (probe->phase == PROBE_OPEN && !probe->sent)
		message_send(probe);
}

static void on_again(struct loop_timer *timer)
{
	round_advance(CONTAINER_OF(timer, struct probe, again));
}

static void on_next(struct loop_timer *timer)
{
	struct probe *probe = CONTAINER_OF(timer, struct probe, next);
	const struct proxy_limits *limits = limits_of(probe);

	++probe->round;
	probe->began_ns = loop_now_ns(loop_of(probe));
	probe->running = true;
	probe->sent = probe->stored = probe->received = probe->settled = false;
	probe->note[0] = '\0';
	loop_timer_set(&probe->deadline, probe->began_ns + limits->probe_timeout_ms * MS_NS);
	round_advance(probe);
	if (probe->useless) {
		probe->running = false;
		timers_cancel(probe);
		loop_timer_set(&probe->next, probe->began_ns + limits->probe_interval_ms * MS_NS);
	}
}

int probe_new(struct probes *probes, uint64_t cluster, struct probe **ret)
{
	struct probe *probe = calloc(1, sizeof *probe);
	struct loop *loop = probes->workers->all[0]->loop;

	if (!probe)
		return -ENOMEM;
	probe->probes = probes;
	probe->cluster = cluster;
	probe->called.fn = on_called;
	probe->answered.fn = on_answered;
	probe->settle.fn = on_settle;
	list_init(&probe->in_all);
	loop_timer_init(&probe->next, loop, on_next);
	loop_timer_init(&probe->deadline, loop, on_deadline);
	loop_timer_init(&probe->again, loop, on_again);
	loop_timer_set(&probe->next, clock_now_ns());
	*ret = probe;
	return 0;
}
