// Makes dead-letter copies: the record with three more headers is submitted to the dead-letter
// topic until it is stored. Only then does the original end as dead.
//
// A copy that fails is tried again every second. One that is *refused*, which trying again does not
// change (the topic has no route, or is gone), is tried again later each time, up to a minute, and
// at once when the topic is changed in the catalog. Until then the original stays rejected at its
// source: it is neither lost nor handed out, the group's backlog says so, and the log says it once.
// What is rejected beyond COPIES_MAX (dispatch.c) waits likewise, and in the end the source is full
// of it and hands out nothing more.
//
// The copy keeps id, key, body, times and headers. No quota is charged for it.

#include "proxy/group/dead_letter_copy.h"

#include "core/base/log.h"
#include "core/wire/partition.h"
#include "core/wire/record.h"
#include "proxy/group/group.h"
#include "proxy/resource/shared.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define AGAIN_NS   S_NS
#define REFUSED_NS (60 * S_NS) // between two copies that are refused, at most
#define COPY_HEAD  32u         // what a backend adds to a record at the least

struct dead_letter_copy {
	struct loop_task task;
	struct loop_timer again;
	struct dead_letter_copy *next, **link; // of home->copies
	struct group_home *home;               // NULL: the group has gone
	struct worker *worker;
	struct topic_use *topic; // while a copy is on its way
	struct storage_tenant *storage;
	struct delivery delivery;
	enum dispatch_reason reason;
	uint32_t attempts;
	uint64_t storage_bytes; // taken of what the tenant may store
	bool waits;             // for room in the tenant's reserve
	uint64_t wait_ns;       // the last one
	enum code code;         // it was not stored the last time; OK: it was not tried yet
	bool refused;           // with that code
	struct submit submit;
	struct submit_record record;
	struct submit_run run;
};

static const char *const reason_names[DISPATCH_REASON_COUNT] = {"ATTEMPTS", "REJECTED"};

// The copy is not on its way (any more).
static void copy_drop(struct dead_letter_copy *copy)
{
	if (copy->storage_bytes)
		storage_release(copy->storage, copy->storage_bytes);
	copy->storage_bytes = 0;
	copy->topic = topic_use_unref(copy->topic);
	copy->submit.buf = buf_unref(copy->submit.buf);
}

// Whether it waits for room in the tenant's reserve.
static void wait_note(struct dead_letter_copy *copy, bool waits)
{
	if (waits != copy->waits)
		group_copies_wait(copy->home, waits ? 1 : -1);
	copy->waits = waits;
}

enum code dead_letter_copy_refused(const struct group_home *home)
{
	for (const struct dead_letter_copy *copy = home->copies; copy; copy = copy->next)
		if (copy->refused)
			return copy->code;
	return CODE_OK;
}

// That copies of the group are refused is told once, and once that none is any more.
static void refused_note(struct dead_letter_copy *copy, bool refused)
{
	const struct group_home *home = copy->home;
	const struct tenant *tenant = home->tenant->model;
	struct log_ctx log = {.tenant = tenant ? tenant->name : NULL};
	bool before = dead_letter_copy_refused(home) != CODE_OK, after;

	copy->refused = refused;
	after = dead_letter_copy_refused(home) != CODE_OK;
	if (before == after)
		return;
	if (after)
		log_error(&log, "DEAD-LETTER-REFUSED",
			  "the dead-letter topic of group %s refuses copies: %s, %s; its rejected "
			  "messages stay with the group, and are tried again every minute",
			  home->model->name, code_name(copy->code), code_sentence(copy->code));
	else
		log_info(&log, "DEAD-LETTER-OK",
			 "the dead-letter topic of group %s refuses no copy any more",
			 home->model->name);
}

static void dead_letter_copy_free(struct dead_letter_copy *copy)
{
	if (copy->home) {
		wait_note(copy, false);
		refused_note(copy, false);
		*copy->link = copy->next;
		if (copy->next)
			copy->next->link = copy->link;
	}
	loop_timer_cancel(&copy->again);
	copy_drop(copy);
	buf_unref(copy->delivery.buf);
	free(copy);
}

static struct slice text_slice(const char *text)
{
	return (struct slice){(const uint8_t *)text, strlen(text)};
}

static int copy_make(const struct dead_letter_copy *copy, const char *topic, struct buf **ret)
{
	char origin[MODEL_NAME_BYTES + 40], attempts[12];
	struct record_header headers[] = {
		{text_slice("mqp-origin"), {NULL, 0}},
		{text_slice("mqp-reason"), text_slice(reason_names[copy->reason])},
		{text_slice("mqp-attempts"), {NULL, 0}},
	};
	struct record_view view;
	struct record_parts parts;
	uint64_t size;
	int r;

	snprintf(origin, sizeof origin, "%s/%" PRIu32 "/%" PRIu64, topic, copy->delivery.partition,
		 copy->delivery.offset);
	snprintf(attempts, sizeof attempts, "%" PRIu32, copy->attempts);
	headers[0].value = text_slice(origin);
	headers[2].value = text_slice(attempts);
	record_read(copy->delivery.record, &view);
	record_parts_of(&view, &parts);
	parts.flags &= ~(uint32_t)(RECORD_PARTITION | RECORD_DUE | RECORD_TTL);
	if (view.header_count <= UINT16_MAX - ARRAY_SIZE(headers)) {
		parts.headers = headers;
		parts.header_count = ARRAY_SIZE(headers);
	}
	size = record_parts_size(&parts);
	if (size > UINT32_MAX)
		return -EMSGSIZE;
	r = buf_new((size_t)size, ret);
	if (r == 0)
		record_write(&parts, (*ret)->data);
	return r;
}

static void on_stored(struct loop_task *task);

static void on_submit_done(struct submit *submit)
{
	struct dead_letter_copy *copy = CONTAINER_OF(submit, struct dead_letter_copy, submit);

	loop_post(copy->worker->loop, &copy->task);
}

// Beyond the tenant's limit the copy may use the reserve.
static enum code copy_take(struct dead_letter_copy *copy)
{
	uint64_t bytes = copy->submit.buf->size + COPY_HEAD;

	if (!storage_is_limited(copy->storage))
		return CODE_OK;
	if (!storage_take_copy(copy->storage, bytes))
		return CODE_LIMIT_EXCEEDED;
	copy->storage_bytes = bytes;
	return CODE_OK;
}

static enum code send_copy(struct dead_letter_copy *copy)
{
	struct catalog *catalog = copy->worker->shared->catalog;
	const struct topic *origin = catalog_topic(catalog, copy->home->model->topic);
	const struct topic *topic = catalog_topic(catalog, copy->home->model->dead_letter);
	enum code code = CODE_NOT_FOUND;
	struct slice key;

	if (origin && topic)
		code = topic_use_get(copy->worker, topic, &copy->topic);
	if (code == CODE_OK && copy_make(copy, origin->name, &copy->submit.buf) < 0)
		code = CODE_OVERLOADED;
	if (code == CODE_OK)
		code = copy_take(copy);
	if (code == CODE_OK) {
		key = record_key(copy->submit.buf->data);
		copy->record = (struct submit_record){
			.data = copy->submit.buf->data,
			.size = copy->submit.buf->size,
			.partition =
				key.data ? partition_of_key(key.data, key.size, topic->partitions)
					 : copy->delivery.partition % topic->partitions};
		copy->task.fn = on_stored;
		copy->submit.topic = copy->topic->handle;
		copy->submit.records = &copy->record;
		copy->submit.count = 1;
		copy->submit.runs = &copy->run;
		copy->submit.run_count = 0;
		copy->submit.done = on_submit_done;
		copy->submit.submitted_ns = loop_now_ns(copy->worker->loop);
		copy->topic->backend->ops->submit(copy->topic->backend->adapter, &copy->submit);
	}
	model_unref(origin);
	model_unref(topic);
	return code;
}

// The reserve of the tenant and what may succeed by itself are looked at every second.
static bool is_refusal(enum code code)
{
	return code != CODE_LIMIT_EXCEEDED && !code_retriable(code);
}

static void send_later(struct dead_letter_copy *copy, enum code code)
{
	struct log_ctx log = {.tenant = copy->home->tenant->model ? copy->home->tenant->model->name
								  : NULL};
	bool refused = is_refusal(code);

	copy_drop(copy);
	if (code != copy->code && !refused)
		log_warn(&log, "DEAD-LETTER-WAITS",
			 "a dead letter of group %s is not stored yet: %s", copy->home->model->name,
			 code_name(code));
	copy->code = code;
	wait_note(copy, code == CODE_LIMIT_EXCEEDED);
	refused_note(copy, refused);
	copy->wait_ns = refused && copy->wait_ns ? MIN(2 * copy->wait_ns, REFUSED_NS) : AGAIN_NS;
	loop_timer_set(&copy->again, loop_now_ns(copy->worker->loop) + copy->wait_ns);
}

static void on_again(struct loop_timer *timer)
{
	struct dead_letter_copy *copy = CONTAINER_OF(timer, struct dead_letter_copy, again);
	enum code code = send_copy(copy);

	if (code != CODE_OK)
		send_later(copy, code);
}

static void on_stored(struct loop_task *task)
{
	struct dead_letter_copy *copy = CONTAINER_OF(task, struct dead_letter_copy, task);
	struct group_home *home = copy->home;
	struct delivery delivery = copy->delivery;

	topic_use_answered(copy->topic, &copy->submit);
	if (home && copy->run.outcome != OUTCOME_OK) {
		send_later(copy, (enum code)copy->run.code);
		return;
	}
	dead_letter_copy_free(copy);
	if (!home)
		return;
	dispatch_dead_letter_copied(home->dispatch, delivery.epoch, delivery.partition,
				    delivery.offset, loop_now_ns(home->worker->loop));
	group_schedule(home);
}

void dead_letter_copy_start(struct group_home *home, const struct delivery *delivery,
			    enum dispatch_reason reason, uint32_t attempts)
{
	struct dead_letter_copy *copy = calloc(1, sizeof *copy);
	enum code code;

	if (!copy) {
		log_error(NULL, "DEAD-LETTER-WAITS",
			  "out of memory; the message comes again when its group is opened again");
		return;
	}
	copy->home = home;
	copy->worker = home->worker;
	copy->storage = home->tenant->storage;
	copy->delivery = *delivery;
	copy->reason = reason;
	copy->attempts = attempts;
	buf_ref(delivery->buf);
	loop_timer_init(&copy->again, home->worker->loop, on_again);
	copy->next = home->copies;
	copy->link = &home->copies;
	if (copy->next)
		copy->next->link = &copy->next;
	home->copies = copy;
	code = send_copy(copy);
	if (code != CODE_OK)
		send_later(copy, code);
}

void dead_letter_copy_drop_waiting(struct group_home *home)
{
	struct dead_letter_copy *next;

	for (struct dead_letter_copy *copy = home->copies; copy; copy = next) {
		next = copy->next;
		if (!copy->topic)
			dead_letter_copy_free(copy);
	}
}

void dead_letter_copy_retry(struct group_home *home)
{
	for (struct dead_letter_copy *copy = home->copies; copy; copy = copy->next) {
		if (!copy->refused || copy->topic)
			continue; // it does not wait
		copy->wait_ns = 0;
		loop_timer_set(&copy->again, loop_now_ns(copy->worker->loop));
	}
}

void dead_letter_copy_forget_all(struct group_home *home)
{
	while (home->copies) {
		struct dead_letter_copy *copy = home->copies;

		home->copies = copy->next;
		if (copy->next)
			copy->next->link = &home->copies;
		copy->home = NULL;
		if (!copy->topic)
			dead_letter_copy_free(copy); // nothing of it is on its way
	}
}
