// Looks at the queues of a group's retry store and makes them, by requests on the ask link.
//
// Looking climbs both ladders side by side, one request for each rung, until both have ended: most
// groups have no levels. Making declares everything up to the level that is needed, which changes
// nothing of what is there.

#include "adapters/rabbitmq/receive/store.h"

#include "adapters/rabbitmq/receive/receiver_state.h"
#include "adapters/rabbitmq/receive/store_memo.h"

enum place { PLACE_QUEUE, PLACE_REPLAY, PLACE_RETRY, PLACE_DELAY_LEVEL, PLACE_RETRY_LEVEL };

// ---- looking

static void add_step(struct rabbitmq_store_look *look, enum place place, unsigned level)
{
	size_t i = look->ask.count++;
	const struct group *group = look->group;

	assert(i < ARRAY_SIZE(look->steps));
	if (place == PLACE_RETRY)
		look->names[i] = rabbitmq_name_retry(group);
	else if (place == PLACE_REPLAY)
		look->names[i] = rabbitmq_name_replay(group);
	else if (place != PLACE_QUEUE)
		look->names[i] = rabbitmq_name_level(group, level, place == PLACE_RETRY_LEVEL);
	look->places[i] = place;
	look->steps[i] = (struct rabbitmq_step){
		.verb = RABBITMQ_QUEUE_LOOK,
		.may_miss = place != PLACE_QUEUE,
		.name = place == PLACE_QUEUE ? group->physical : look->names[i].text,
	};
}

static void add_level(struct rabbitmq_store_look *look, unsigned level, bool attempts)
{
	add_step(look, attempts ? PLACE_RETRY_LEVEL : PLACE_DELAY_LEVEL, level);
}

static void ask_begin(struct rabbitmq_store_look *look,
		      void (*done)(struct rabbitmq_ask *ask, enum code code, const char *text))
{
	look->ask = (struct rabbitmq_ask){.adapter = look->adapter,
					  .steps = look->steps,
					  .count = look->ask.count,
					  .done = done};
	rabbitmq_ask_run(&look->ask);
}

static void add_count(struct rabbitmq_store_look *look, size_t step)
{
	uint64_t messages = look->steps[step].messages;

	if (look->places[step] == PLACE_QUEUE || look->places[step] == PLACE_REPLAY)
		look->counts.ready += messages;
	else if (look->places[step] == PLACE_DELAY_LEVEL)
		look->counts.delayed += messages;
	else
		look->counts.retrying += messages;
}

// What one step has found, while it is not known what is there.
static void note_found(struct rabbitmq_store_look *look, size_t step)
{
	bool there = !look->steps[step].missing;
	bool attempts = look->places[step] == PLACE_RETRY_LEVEL;

	if (look->places[step] == PLACE_QUEUE)
		return;
	if (look->places[step] == PLACE_REPLAY) {
		look->store.replay = look->steps[step].messages > 0;
		return;
	}
	if (look->places[step] == PLACE_RETRY) {
		look->store.retry = there;
		look->ended[0] = look->ended[1] = !there;
		return;
	}
	look->store.levels[attempts] += there;
	look->ended[attempts] = !there || look->store.levels[attempts] == RABBITMQ_LEVELS;
}

static void look_ended(struct rabbitmq_ask *ask, enum code code, const char *text)
{
	struct rabbitmq_store_look *look = CONTAINER_OF(ask, struct rabbitmq_store_look, ask);

	for (size_t i = 0; code == CODE_OK && i < ask->count; ++i) {
		note_found(look, i);
		add_count(look, i);
	}
	if (code != CODE_OK || (look->ended[0] && look->ended[1])) {
		look->done(look, code, text);
		return;
	}
	look->ask.count = 0;
	for (unsigned attempts = 0; attempts < 2; ++attempts)
		if (!look->ended[attempts])
			add_level(look, look->store.levels[attempts], attempts);
	ask_begin(look, look_ended);
}

void rabbitmq_store_look(struct rabbitmq_store_look *look)
{
	look->ask.count = 0;
	if (look->with_queue)
		add_step(look, PLACE_QUEUE, 0);
	if (look->adapter->options.history)
		add_step(look, PLACE_REPLAY, 0);
	add_step(look, PLACE_RETRY, 0);
	ask_begin(look, look_ended);
}

// ---- counting what is known

static void count_ended(struct rabbitmq_ask *ask, enum code code, const char *text)
{
	struct rabbitmq_store_look *look = CONTAINER_OF(ask, struct rabbitmq_store_look, ask);

	for (size_t i = 0; code == CODE_OK && i < ask->count; ++i)
		add_count(look, i);
	look->done(look, code, text);
}

void rabbitmq_store_count(struct rabbitmq_store_look *look, struct rabbitmq_store store)
{
	look->store = store;
	look->ask.count = 0;
	for (unsigned attempts = 0; attempts < 2; ++attempts)
		for (unsigned level = 0; level < store.levels[attempts]; ++level)
			add_level(look, level, attempts);
	ask_begin(look, count_ended);
}

// ---- making

static void make_ended(struct rabbitmq_ask *ask, enum code code, const char *text)
{
	struct rabbitmq_store_make *make = CONTAINER_OF(ask, struct rabbitmq_store_make, ask);

	rabbitmq_store_memo_forget(make->adapter, make->group);
	make->done(make, code, text);
}

static uint32_t members_of(const struct rabbitmq_store_make *make)
{
	return make->topic->replication ? make->topic->replication
					: make->adapter->options.replication;
}

void rabbitmq_store_make(struct rabbitmq_store_make *make)
{
	size_t count = (size_t)(make->level + 2);

	assert(count <= ARRAY_SIZE(make->steps));
	make->names[0] = rabbitmq_name_retry(make->group);
	for (size_t i = 0; i < count; ++i) {
		unsigned level = i ? (unsigned)i - 1 : 0;

		if (i)
			make->names[i] = rabbitmq_name_level(make->group, level, make->attempts);
		make->steps[i] = (struct rabbitmq_step){
			.verb = RABBITMQ_QUEUE_DECLARE,
			.name = make->names[i].text,
			.shape = {.kind = "quorum",
				  .replication = members_of(make),
				  .ttl_ms =
					  i ? rabbitmq_receiver_state_level_ms(make->adapter, level)
					    : 0,
				  .dead_letter_key = i ? make->names[0].text : NULL}};
	}
	make->ask = (struct rabbitmq_ask){
		.adapter = make->adapter, .steps = make->steps, .count = count, .done = make_ended};
	rabbitmq_ask_run(&make->ask);
}
