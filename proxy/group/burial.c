// Dead-letter copies: the record with three more headers, submitted to the dead-letter topic, again
// and again until it is stored. Only then the engine acks the original.
//
// The copy keeps id, key, body, times and headers. It is charged to nobody.

#include "core/wire/partition.h"
#include "core/wire/record.h"
#include "proxy/group/group.h"
#include "proxy/proxy_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define AGAIN_NS  S_NS
#define COPY_HEAD 32u // what a backend adds to a record at the least

struct burial {
	struct loop_task task;
	struct loop_timer again;
	struct burial *next, **link; // of home->burials
	struct group_home *home;     // NULL: the group has gone
	struct worker *worker;
	struct topic_use *topic; // while a copy is on its way
	struct storage_tenant *storage;
	struct delivery delivery;
	enum dispatch_reason reason;
	uint32_t attempts;
	uint64_t storage_bytes; // taken of what the tenant may store
	bool waits;             // for room in the tenant's reserve
	struct submit submit;
	struct submit_record record;
	struct submit_run run;
};

static const char *const reason_names[DISPATCH_REASON_COUNT] = {"ATTEMPTS", "REJECTED"};

// The copy is not on its way (any more).
static void copy_drop(struct burial *burial)
{
	if (burial->storage_bytes)
		storage_release(burial->storage, burial->storage_bytes);
	burial->storage_bytes = 0;
	burial->topic = topic_use_unref(burial->topic);
	burial->submit.buf = buf_unref(burial->submit.buf);
}

// Whether it waits for room in the tenant's reserve.
static void wait_note(struct burial *burial, bool waits)
{
	if (waits != burial->waits)
		group_copies_wait(burial->home, waits ? 1 : -1);
	burial->waits = waits;
}

static void burial_free(struct burial *burial)
{
	if (burial->home) {
		wait_note(burial, false);
		*burial->link = burial->next;
		if (burial->next)
			burial->next->link = burial->link;
	}
	loop_timer_cancel(&burial->again);
	copy_drop(burial);
	buf_unref(burial->delivery.buf);
	free(burial);
}

static struct slice text_slice(const char *text)
{
	return (struct slice){(const uint8_t *)text, strlen(text)};
}

static int copy_make(const struct burial *burial, const char *topic, struct buf **ret)
{
	char origin[MODEL_NAME_BYTES + 40], attempts[12];
	struct record_header headers[] = {
		{text_slice("mqp-origin"), {NULL, 0}},
		{text_slice("mqp-reason"), text_slice(reason_names[burial->reason])},
		{text_slice("mqp-attempts"), {NULL, 0}},
	};
	struct record_view view;
	struct record_parts parts;
	uint64_t size;
	int r;

	snprintf(origin, sizeof origin, "%s/%" PRIu32 "/%" PRIu64, topic,
		 burial->delivery.partition, burial->delivery.offset);
	snprintf(attempts, sizeof attempts, "%" PRIu32, burial->attempts);
	headers[0].value = text_slice(origin);
	headers[2].value = text_slice(attempts);
	record_read(burial->delivery.record, &view);
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
	struct burial *burial = CONTAINER_OF(submit, struct burial, submit);

	loop_post(burial->worker->loop, &burial->task);
}

// Beyond the tenant's limit the copy may use the reserve.
static enum code copy_take(struct burial *burial)
{
	uint64_t bytes = burial->submit.buf->size + COPY_HEAD;

	if (!storage_is_limited(burial->storage))
		return CODE_OK;
	if (!storage_take_copy(burial->storage, bytes))
		return CODE_LIMIT_EXCEEDED;
	burial->storage_bytes = bytes;
	return CODE_OK;
}

static enum code burial_send(struct burial *burial)
{
	struct catalog *catalog = burial->worker->proxy->catalog;
	const struct topic *origin = catalog_topic(catalog, burial->home->model->topic);
	const struct topic *topic = catalog_topic(catalog, burial->home->model->dead_letter);
	enum code code = CODE_NOT_FOUND;
	struct slice key;

	if (origin && topic)
		code = topic_use_get(burial->worker, topic, &burial->topic);
	if (code == CODE_OK && copy_make(burial, origin->name, &burial->submit.buf) < 0)
		code = CODE_OVERLOADED;
	if (code == CODE_OK)
		code = copy_take(burial);
	if (code == CODE_OK) {
		key = record_key(burial->submit.buf->data);
		burial->record = (struct submit_record){
			.data = burial->submit.buf->data,
			.size = burial->submit.buf->size,
			.partition =
				key.data ? partition_of_key(key.data, key.size, topic->partitions)
					 : burial->delivery.partition % topic->partitions};
		burial->task.fn = on_stored;
		burial->submit.topic = burial->topic->handle;
		burial->submit.records = &burial->record;
		burial->submit.count = 1;
		burial->submit.runs = &burial->run;
		burial->submit.run_count = 0;
		burial->submit.done = on_submit_done;
		burial->submit.submitted_ns = loop_now_ns(burial->worker->loop);
		burial->topic->backend->ops->submit(burial->topic->backend->adapter,
						    &burial->submit);
	}
	model_unref(origin);
	model_unref(topic);
	return code;
}

static void send_later(struct burial *burial, enum code code)
{
	struct log_ctx log = {
		.tenant = burial->home->tenant->model ? burial->home->tenant->model->name : NULL};

	copy_drop(burial);
	log_warn(&log, "DEAD-LETTER-WAITS", "a dead letter of group %s is not stored yet: %s",
		 burial->home->model->name, code_name(code));
	wait_note(burial, code == CODE_LIMIT_EXCEEDED);
	loop_timer_set(&burial->again, loop_now_ns(burial->worker->loop) + AGAIN_NS);
}

static void on_again(struct loop_timer *timer)
{
	struct burial *burial = CONTAINER_OF(timer, struct burial, again);
	enum code code = burial_send(burial);

	if (code != CODE_OK)
		send_later(burial, code);
}

static void on_stored(struct loop_task *task)
{
	struct burial *burial = CONTAINER_OF(task, struct burial, task);
	struct group_home *home = burial->home;
	struct delivery delivery = burial->delivery;

	topic_use_answered(burial->topic, &burial->submit);
	if (home && burial->run.outcome != OUTCOME_OK) {
		send_later(burial, (enum code)burial->run.code);
		return;
	}
	burial_free(burial);
	if (!home)
		return;
	dispatch_buried(home->dispatch, delivery.partition, delivery.offset,
			loop_now_ns(home->worker->loop));
	group_schedule(home);
}

void burial_start(struct group_home *home, const struct delivery *delivery,
		  enum dispatch_reason reason, uint32_t attempts)
{
	struct burial *burial = calloc(1, sizeof *burial);
	enum code code;

	if (!burial) {
		log_error(NULL, "DEAD-LETTER-WAITS",
			  "out of memory; the message comes again when its group is opened again");
		return;
	}
	burial->home = home;
	burial->worker = home->worker;
	burial->storage = home->tenant->storage;
	burial->delivery = *delivery;
	burial->reason = reason;
	burial->attempts = attempts;
	buf_ref(delivery->buf);
	loop_timer_init(&burial->again, home->worker->loop, on_again);
	burial->next = home->burials;
	burial->link = &home->burials;
	if (burial->next)
		burial->next->link = &burial->next;
	home->burials = burial;
	code = burial_send(burial);
	if (code != CODE_OK)
		send_later(burial, code);
}

void burials_forget(struct group_home *home)
{
	while (home->burials) {
		struct burial *burial = home->burials;

		home->burials = burial->next;
		if (burial->next)
			burial->next->link = &home->burials;
		burial->home = NULL;
		if (!burial->topic)
			burial_free(burial); // nothing of it is on its way
	}
}
