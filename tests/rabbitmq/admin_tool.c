// One RabbitMQ cluster in the hands of a test: administrative slots as commands on standard input,
// the answer to each as one line of JSON on standard output.
//
//	admin_tool OPTIONS_JSON [SECRETS_JSON]
//
//	probe MS · state · existing MS
//	topic SLOT TOPIC          create, change, delete, describe, settings, purge, preview, open;
//	                          hold: opens it and closes it at the end
//	group SLOT GROUP TOPIC    create, delete, backlog, latest, preview, earliest
//	stored TOPIC [GROUP]
//
// TOPIC and GROUP are physical names, with what else is said of them: NAME[,KEY=NUMBER...]; keys
// are those of table below.

#include "adapters/adapter.h"
#include "adapters/kinds.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "proxy/query/answer_json.h"

#include <jansson.h>
#include <semaphore.h>
#include <stdio.h>

static const struct adapter_ops *ops;
static struct adapter *adapter;
static struct adapter_topic *held[16];
static size_t held_count;

// ---- answers

struct answer {
	sem_t come;
	json_t *json;
};

static void answer_begin(struct answer *answer)
{
	sem_init(&answer->come, 0, 0);
}

static void answer_set(struct answer *answer, enum code code, const char *text, json_t *json)
{
	answer->json = json_pack("{s:s, s:s?, s:o?}", "code", code_name(code), "text", text,
				 "answer", json);
	sem_post(&answer->come);
}

static void on_done(void *ctx, enum code code, const char *text)
{
	answer_set(ctx, code, text, NULL);
}

static void on_answer(void *ctx, enum code code, const struct adapter_answer *given,
		      const char *text)
{
	answer_set(ctx, code, text, given ? answer_json(given, false) : NULL);
}

static void answer_print(struct answer *answer)
{
	while (sem_wait(&answer->come) < 0)
		;
	json_dumpf(answer->json, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(answer->json);
	sem_destroy(&answer->come);
}

static void print(json_t *json)
{
	struct answer answer;

	answer_begin(&answer);
	answer_set(&answer, CODE_OK, NULL, json);
	answer_print(&answer);
}

// ---- models

struct said {
	char name[256];
	struct {
		const char *key;
		uint64_t value;
	} keys[8];
};

static void said_read(char *text, struct said *ret)
{
	static const struct said none = {.keys = {{"id", 1},
						  {"incarnation", 1},
						  {"partitions", 1},
						  {"durability", 1},
						  {"dead", 0},
						  {"imported", 0},
						  {"replication", 0},
						  {"min_insync", 0}}};
	char *item = strsep(&text, ",");

	*ret = none;
	snprintf(ret->name, sizeof ret->name, "%s", item ? item : "");
	while ((item = strsep(&text, ","))) {
		char *key = strsep(&item, "=");

		for (size_t i = 0; item && i < ARRAY_SIZE(ret->keys); ++i)
			if (strcmp(ret->keys[i].key, key) == 0)
				ret->keys[i].value = strtoull(item, NULL, 10);
	}
}

static const struct topic *topic_read(char *text)
{
	struct said said;

	said_read(text, &said);
	return model_new(MODEL_TOPIC, &(struct topic){.object.id = said.keys[0].value,
						      .name = "topic",
						      .physical = said.name,
						      .incarnation = said.keys[1].value,
						      .partitions = (uint32_t)said.keys[2].value,
						      .durability = (uint8_t)said.keys[3].value,
						      .dead_letter_of = said.keys[4].value,
						      .imported = said.keys[5].value,
						      .replication = (uint32_t)said.keys[6].value,
						      .min_insync = (uint32_t)said.keys[7].value,
						      .message_bytes = 1 << 20,
						      .state = MODEL_READY});
}

static const struct group *group_read(char *text)
{
	struct said said;

	said_read(text, &said);
	return model_new(MODEL_GROUP, &(struct group){.object.id = said.keys[0].value,
						      .name = "group",
						      .physical = said.name,
						      .incarnation = said.keys[1].value,
						      .imported = said.keys[5].value,
						      .state = MODEL_READY});
}

// ---- commands

static uint64_t deadline_of(const char *ms)
{
	return clock_now_ns() + strtoull(ms, NULL, 10) * MS_NS;
}

static void topic_run(const char *slot, const struct topic *topic)
{
	struct answer answer;

	if (strcmp(slot, "open") == 0 || strcmp(slot, "hold") == 0) {
		struct adapter_topic *open = ops->topic_open(adapter, topic);

		print(json_boolean(open));
		if (open && *slot == 'h' && held_count < ARRAY_SIZE(held))
			held[held_count++] = open;
		else if (open)
			ops->topic_close(open);
		return;
	}
	answer_begin(&answer);
	if (strcmp(slot, "create") == 0)
		ops->topic_create(adapter, topic, on_done, &answer);
	else if (strcmp(slot, "change") == 0)
		ops->topic_change(adapter, topic, on_done, &answer);
	else if (strcmp(slot, "delete") == 0)
		ops->topic_delete(adapter, topic, on_done, &answer);
	else if (strcmp(slot, "describe") == 0)
		ops->topic_describe(adapter, topic, on_answer, &answer);
	else if (strcmp(slot, "settings") == 0)
		ops->topic_settings(adapter, topic, on_answer, &answer);
	else
		ops->topic_purge(adapter, topic, strcmp(slot, "preview") == 0, on_answer, &answer);
	answer_print(&answer);
}

static void group_run(const char *slot, const struct group *group, const struct topic *topic)
{
	struct seek_target to = {.place = strcmp(slot, "earliest") ? SEEK_LATEST : SEEK_EARLIEST};
	struct answer answer;

	answer_begin(&answer);
	if (strcmp(slot, "create") == 0)
		ops->group_create(adapter, group, topic, on_done, &answer);
	else if (strcmp(slot, "delete") == 0)
		ops->group_delete(adapter, group, topic, on_done, &answer);
	else if (strcmp(slot, "backlog") == 0)
		ops->group_backlog(adapter, group, topic, on_answer, &answer);
	else
		ops->group_reset(adapter, group, topic, &to, strcmp(slot, "preview") == 0,
				 on_answer, &answer);
	answer_print(&answer);
}

static void state_print(void)
{
	struct adapter_state state = {0};

	ops->state(adapter, &state);
	print(json_pack("{s:i, s:i, s:b, s:s, s:o}", "health", (int)state.health, "circuit",
			(int)state.circuit, "known", (int)state.known, "error", state.error,
			"capabilities", answer_json_capabilities(ops->capabilities(adapter))));
}

static void stored_print(const struct topic *topic, const struct group *group)
{
	struct stored_row row = {.topic = topic, .group = group};

	ops->stored(adapter, &row, 1);
	print(json_pack("{s:I, s:b, s:b}", "bytes", (json_int_t)row.bytes, "known", (int)row.known,
			"estimated", (int)row.estimated));
}

static void command_run(char *words[4])
{
	bool about_group = strcmp(words[0], "group") == 0;
	const struct topic *topic;
	const struct group *group;
	struct answer answer;

	if (strcmp(words[0], "state") == 0) {
		state_print();
	} else if (strcmp(words[0], "probe") == 0) {
		answer_begin(&answer);
		ops->probe(adapter, deadline_of(words[1]), on_answer, &answer);
		answer_print(&answer);
	} else if (strcmp(words[0], "existing") == 0) {
		answer_begin(&answer);
		ops->existing(adapter, deadline_of(words[1]), on_answer, &answer);
		answer_print(&answer);
	} else if (strcmp(words[0], "stored") == 0) {
		topic = topic_read(words[1]);
		group = *words[2] ? group_read(words[2]) : NULL;
		stored_print(topic, group);
		model_unref(topic);
		model_unref(group);
	} else {
		topic = topic_read(words[about_group ? 3 : 2]);
		group = about_group ? group_read(words[2]) : NULL;
		if (about_group)
			group_run(words[1], group, topic);
		else
			topic_run(words[1], topic);
		model_unref(topic);
		model_unref(group);
	}
}

static void on_closed(void *ctx)
{
	sem_post(ctx);
}

int main(int argc, char **argv)
{
	static struct log_ctx log = {.cluster = "trial"};
	struct cluster draft = {.object.id = 1,
				.name = "trial",
				.kind = "rabbitmq",
				.options_json = argc > 1 ? argv[1] : "{}",
				.secrets_json = argc > 2 ? argv[2] : NULL};
	const struct cluster *cluster = model_new(MODEL_CLUSTER, &draft);
	struct adapter_env env = {.data_dir = "/nonexistent", .log = &log};
	char line[2000], *error = NULL;
	sem_t closed;

	ops = adapter_kind_find("rabbitmq");
	if (!ops || ops->open(cluster, &env, &adapter, &error) < 0) {
		fprintf(stderr, "%s\n", error ? error : "it cannot be opened");
		return 1;
	}
	model_unref(cluster);
	while (fgets(line, sizeof line, stdin)) {
		char *rest = line, *words[4];

		line[strcspn(line, "\n")] = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(words); ++i) {
			char *word = strsep(&rest, " ");

			words[i] = word ? word : line + strlen(line);
		}
		command_run(words);
	}
	while (held_count)
		ops->topic_close(held[--held_count]);
	sem_init(&closed, 0, 0);
	ops->close(adapter, on_closed, &closed);
	while (sem_wait(&closed) < 0)
		;
	return 0;
}
