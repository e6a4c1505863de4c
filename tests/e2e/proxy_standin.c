// The real data plane over a backend in memory, governed by its standard input instead of a portal:
// what clients may do to a proxy can be tested without the rest, and with faults on command.
//
//   proxy_standin DIR [listen=ADDRESS] [workers=N] [cert=FILE key=FILE] [LIMIT=N …]
//   (LIMIT: a member of struct proxy_limits)
//
// Prints {"address": …}, then reads a command a line and prints an answer a line:
//   {"do": "put", "object": "topic", "id": 5, FIELD: VALUE, …}    fields as in core/model/field.c
//   {"do": "gone", "object": "topic", "id": 5}
//   {"do": "query", "kind": "KICK", "parameters": {…}, "deadline_ms": 2000}
//   {"do": "drain", "deadline_ms": 1000}    then ends

#include "core/base/clock.h"
#include "core/catalog/change.h"
#include "core/model/field.h"
#include "core/net/scram.h"
#include "core/net/tls.h"
#include "proxy/proxy.h"
#include "tests/e2e/memory_adapter.h"

#include <openssl/ssl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>

static const char *const kinds[] = {"tenant", "access_key", "cluster", "topic", "group"};
static struct catalog *catalog;
static uint64_t revision;
static sem_t ready;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "proxy_standin: %s\n", what);
	exit(1);
}

// ---- the catalog

static const void *arena[64];
static size_t arena_count;

static void *keep(void *memory)
{
	if (!memory || arena_count == ARRAY_SIZE(arena))
		die("too much in one object");
	arena[arena_count++] = memory;
	return memory;
}

static void set_list(const struct field *field, char *draft, const json_t *value)
{
	size_t count = json_array_size(value);
	const char **texts = keep(calloc(count + 1, sizeof *texts));
	uint64_t *ids = keep(calloc(count + 1, sizeof *ids));
	struct access_grant *grants = keep(calloc(count + 1, sizeof *grants));

	for (size_t i = 0; i < count; ++i) {
		json_t *item = json_array_get(value, i);

		texts[i] = json_string_value(item);
		ids[i] = (uint64_t)json_integer_value(item);
		grants[i].pattern = json_string_value(json_array_get(item, 0));
		grants[i].rights = (uint32_t)json_integer_value(json_array_get(item, 1));
	}
	*(const void **)(void *)(draft + field->offset) =
		field->type == FIELD_GRANTS ? (void *)grants
		: field->type == FIELD_REFS ? (void *)ids
					    : (void *)texts;
	*(size_t *)(void *)(draft + field->count_offset) = count;
}

static void set_field(const struct field *field, char *draft, const json_t *value)
{
	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_NAME:
	case FIELD_OBJECT:
	case FIELD_SECRET:
		*(const char **)(void *)(draft + field->offset) = json_string_value(value);
		return;
	case FIELD_REFS:
	case FIELD_NETWORKS:
	case FIELD_GRANTS: set_list(field, draft, value); return;
	case FIELD_BYTES: die("bytes come from the secret");
	default:
		field_set(field, draft,
			  json_is_boolean(value) ? (uint64_t)json_is_true(value)
						 : (uint64_t)json_integer_value(value));
	}
}

static void set_secret(struct access_key *key, const char *secret)
{
	struct scram_verifier verifier;
	uint8_t salt[SCRAM_SALT_SIZE] = {1, 2, 3};

	if (scram_verifier_make(secret, salt, SCRAM_ITERATIONS, &verifier) != 0)
		die("secret");
	memcpy(key->salt, verifier.salt, sizeof key->salt);
	key->salt_count = verifier.iterations;
	memcpy(key->stored_key, verifier.stored_key, sizeof key->stored_key);
	memcpy(key->server_key, verifier.server_key, sizeof key->server_key);
}

static enum model_kind kind_of(const json_t *command)
{
	const char *name = json_string_value(json_object_get(command, "object"));

	for (unsigned i = 0; name && i < ARRAY_SIZE(kinds); ++i)
		if (strcmp(kinds[i], name) == 0)
			return (enum model_kind)i;
	die("unknown kind");
	return MODEL_KIND_COUNT;
}

static void fill(union model_any *draft, enum model_kind kind, json_t *command)
{
	const struct field_table *table = field_table(kind);
	const char *name;
	json_t *value;

	memset(draft, 0, sizeof *draft);
	for (size_t i = 0; i < table->count; ++i)
		field_set_initial(&table->fields[i], draft);
	json_object_foreach(command, name, value)
	{
		const struct field *field = field_find(table, name);

		if (strcmp(name, "secret") == 0)
			set_secret(&draft->key, json_string_value(value));
		else if (field)
			set_field(field, (char *)draft, value);
		else if (strcmp(name, "do") != 0 && strcmp(name, "object") != 0 &&
			 strcmp(name, "id") != 0)
			die(name);
	}
	draft->object.id = (uint64_t)json_integer_value(json_object_get(command, "id"));
	draft->object.revision = revision + 1;
}

static json_t *change(json_t *command, bool gone)
{
	enum model_kind kind = kind_of(command);
	struct change_head head = {
		.full = revision == 0, .source = 1, .from = revision, .to = revision + 1};
	struct catalog_change *encoded;
	struct change_writer writer;
	union model_any draft;
	struct model_object *object;
	int r;

	fill(&draft, kind, gone ? json_object_get(command, "none") : command);
	draft.object.id = (uint64_t)json_integer_value(json_object_get(command, "id"));
	object = model_new(kind, &draft);
	if (change_begin(&writer, &head, NULL) < 0)
		die("change");
	r = gone ? change_gone(&writer, kind, draft.object.id) : change_put(&writer, object);
	if (r < 0)
		die("change");
	encoded = change_end(&writer);
	r = catalog_apply(catalog, encoded);
	revision += r == 0;
	free(encoded);
	model_unref(object);
	while (arena_count)
		free((void *)(uintptr_t)arena[--arena_count]);
	return json_pack("{s:i}", "result", r);
}

// ---- queries

#define QUERY_NAME(name, parameters, answer) #name,
static const char *const query_names[] = {QUERY_TABLE(QUERY_NAME)};
#undef QUERY_NAME

struct live_query {
	sem_t answered;
	json_t *answer;
};

static void on_answer(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct live_query *query = ctx;

	query->answer = json_pack("{s:s, s:o?, s:s?}", "code", code_name(code), "answer", answer,
				  "text", text);
	sem_post(&query->answered);
}

static json_t *send_query(struct proxy *proxy, const json_t *command)
{
	const char *name = json_string_value(json_object_get(command, "kind"));
	json_t *parameters = json_object_get(command, "parameters");
	uint64_t deadline_ms =
		(uint64_t)json_integer_value(json_object_get(command, "deadline_ms"));
	struct live_query query;

	for (unsigned i = 0; i < ARRAY_SIZE(query_names); ++i) {
		if (strcmp(query_names[i], name) != 0)
			continue;
		sem_init(&query.answered, 0, 0);
		proxy_query_channel(proxy)->query(
			proxy_query_channel(proxy), (enum query_kind)i,
			parameters ? json_deep_copy(parameters) : json_object(),
			clock_now_ns() + deadline_ms * MS_NS, on_answer, &query);
		while (sem_wait(&query.answered) < 0)
			;
		sem_destroy(&query.answered);
		return query.answer;
	}
	die("no such query");
	return NULL;
}

static void on_drained(void *ctx)
{
	sem_post(&ready);
}

// ---- settings

static bool set_limit(struct proxy_limits *limits, const char *name, uint64_t value)
{
#define LIMIT(member)                                                                              \
	if (strcmp(name, #member) == 0) {                                                          \
		limits->member = (__typeof__(limits->member))value;                                \
		return true;                                                                       \
	}
	LIMIT(unauthenticated)
	LIMIT(ready_ms)
	LIMIT(keepalive_ms)
	LIMIT(max_frame)
	LIMIT(max_message)
	LIMIT(window)
	LIMIT(window_max)
	LIMIT(tenant_window)
	LIMIT(output)
	LIMIT(stalled_ms)
	LIMIT(streams)
	LIMIT(source_idle_ms)
	LIMIT(message_memory)
#undef LIMIT
	return false;
}

static void set_up(struct proxy_config *config, struct proxy_listener_config *listener, int argc,
		   char **argv)
{
	const char *cert = NULL, *key = NULL;
	char problem[256];

	for (int i = 2; i < argc; ++i) {
		char *value = strchr(argv[i], '=');

		if (!value)
			die(argv[i]);
		*value++ = 0;
		if (strcmp(argv[i], "workers") == 0)
			config->workers = (unsigned)atoi(value);
		else if (strcmp(argv[i], "listen") == 0)
			listener->address = value;
		else if (strcmp(argv[i], "cert") == 0)
			cert = value;
		else if (strcmp(argv[i], "key") == 0)
			key = value;
		else if (!set_limit(&config->limits, argv[i], strtoull(value, NULL, 10)))
			die(argv[i]);
	}
	if (cert && tls_server_new(cert, key, &config->tls, problem, sizeof problem) < 0)
		die(problem);
}

static void print(json_t *answer)
{
	char *text = json_dumps(answer, JSON_COMPACT);

	printf("%s\n", text);
	fflush(stdout);
	free(text);
	json_decref(answer);
}

// True: it was the last command.
static bool obey(struct proxy *proxy, json_t *command)
{
	const char *what = json_string_value(json_object_get(command, "do"));

	if (strcmp(what, "put") == 0)
		print(change(command, false));
	else if (strcmp(what, "gone") == 0)
		print(change(command, true));
	else if (strcmp(what, "query") == 0)
		print(send_query(proxy, command));
	else if (strcmp(what, "drain") == 0) {
		proxy_drain(proxy,
			    (uint32_t)json_integer_value(json_object_get(command, "deadline_ms")),
			    on_drained, NULL);
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	struct proxy_listener_config listener = {.address = "127.0.0.1:0"};
	struct proxy_config config = {.proxy_id = "standin",
				      .server_version = "0",
				      .data_dir = argc > 1 ? argv[1] : "",
				      .workers = 2,
				      .listeners = &listener,
				      .listener_count = 1,
				      .limits = proxy_limits_default,
				      .salt_secret = {7},
				      .find_adapter = memory_adapter_find};
	struct proxy *proxy;
	char *error = NULL, line[65536];
	bool drained = false;

	signal(SIGPIPE, SIG_IGN);
	if (argc < 2)
		die("DIR is missing");
	set_up(&config, &listener, argc, argv);
	sem_init(&ready, 0, 0);
	if (catalog_new(NULL, NULL, &catalog) != 0)
		die("catalog");
	config.catalog = catalog;
	if (proxy_new(&config, &proxy, &error) < 0)
		die(error ? error : "proxy_new");
	if (proxy_start(proxy) < 0)
		die("proxy_start");
	print(json_pack("{s:s}", "address", proxy_address(proxy, 0)));
	while (!drained && fgets(line, sizeof line, stdin)) {
		json_t *command = json_loads(line, 0, NULL);

		if (!command)
			die(line);
		drained = obey(proxy, command);
		json_decref(command);
	}
	if (!drained)
		proxy_drain(proxy, 0, on_drained, NULL);
	while (sem_wait(&ready) < 0)
		;
	proxy_free(proxy);
	catalog_free(catalog);
	SSL_CTX_free(config.tls);
	return 0;
}
