// The real portal with a real registry, and in place of the proxies a query channel that answers
// from a file: what REST does when a backend is down, slow or odd can be tested without one.
//
//   portal_standin DIR [head_ms=N] [body_ms=N] [work_ms=N] [query_ms=N] [body_bytes=N]
//   [connections=N]
//
// DIR/answers.json: {"BACKLOG": {"code": "OK", "answer": {…}, "delay_ms": 0}, …}, read again for
// every query. DIR/asked.jsonl gets a line for every query. Prints its port when it is ready;
// ends on SIGTERM or when standard input ends.

#include "core/base/clock.h"
#include "core/base/util.h"
#include "core/catalog/catalog.h"
#include "core/catalog/query.h"
#include "core/registry/identity.h"
#include "core/registry/registry.h"
#include "portal-api/portal.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define QUERY_NAME(name, parameters, answer) #name,
static const char *const names[] = {QUERY_TABLE(QUERY_NAME)};
#undef QUERY_NAME

static const char *folder;

struct live_query {
	query_done_fn done;
	void *ctx;
	json_t *answer; // {code, answer, text, delay_ms}
};

static void *answer_later(void *arg)
{
	struct live_query *query = arg;
	json_t *answer = query->answer;
	long long delay_ms = json_integer_value(json_object_get(answer, "delay_ms"));
	const char *name = json_string_value(json_object_get(answer, "code"));
	enum code code = CODE_BACKEND_DOWN;

	if (name && code_parse(name, &code) < 0)
		code = CODE_INTERNAL;
	nanosleep(&(struct timespec){delay_ms / 1000, delay_ms % 1000 * 1000000}, NULL);
	query->done(query->ctx, code,
		    code == CODE_OK ? json_deep_copy(json_object_get(answer, "answer")) : NULL,
		    json_string_value(json_object_get(answer, "text")));
	json_decref(answer);
	free(query);
	return NULL;
}

static void write_down(enum query_kind kind, const json_t *parameters)
{
	char path[PATH_MAX];
	json_t *line = json_pack("{s:s, s:O}", "query", names[kind], "parameters", parameters);
	FILE *file;

	snprintf(path, sizeof path, "%s/asked.jsonl", folder);
	file = fopen(path, "a");
	assert(file);
	json_dumpf(line, file, JSON_COMPACT);
	fputc('\n', file);
	fclose(file);
	json_decref(line);
}

static void on_query(struct query_channel *channel, enum query_kind kind, json_t *parameters,
		     uint64_t deadline_ns, query_done_fn done, void *done_ctx)
{
	struct live_query *query = malloc(sizeof *query);
	char path[PATH_MAX];
	pthread_t thread;
	json_t *answers;

	assert(query);
	write_down(kind, parameters);
	json_decref(parameters);
	snprintf(path, sizeof path, "%s/answers.json", folder);
	answers = json_load_file(path, 0, NULL);
	*query = (struct live_query){done, done_ctx,
				     json_incref(json_object_get(answers, names[kind]))};
	json_decref(answers);
	assert(pthread_create(&thread, NULL, answer_later, query) == 0);
	pthread_detach(thread);
}

static uint32_t setting(int argc, char **argv, const char *name)
{
	for (int i = 2; i < argc; ++i) {
		size_t size = strlen(name);
		if (strncmp(argv[i], name, size) == 0 && argv[i][size] == '=')
			return (uint32_t)strtoul(argv[i] + size + 1, NULL, 10);
	}
	return 0;
}

static void write_token(struct registry *registry)
{
	char path[PATH_MAX], token[REGISTRY_TOKEN_SIZE];
	FILE *file;

	if (registry_identity_bootstrap_token(registry, token) != 0)
		return;
	snprintf(path, sizeof path, "%s/bootstrap-token", folder);
	file = fopen(path, "w");
	assert(file);
	fprintf(file, "%s\n", token);
	fclose(file);
}

// Until a signal, or until the process that started this program is gone.
static void wait_for_end(void)
{
	char drop[64];

	while (read(STDIN_FILENO, drop, sizeof drop) > 0)
		;
}

static void on_signal(int number)
{
	close(STDIN_FILENO);
}

int main(int argc, char **argv)
{
	const struct seal_key key = {{1}};
	static const char *const kinds[] = {"embedded", "discard", NULL};
	const struct portal_listener listener = {.address = "127.0.0.1:0"};
	struct query_channel channel = {.query = on_query};
	struct catalog *catalog;
	struct registry *registry;
	struct portal *portal;
	char path[PATH_MAX], copy[PATH_MAX], *error = NULL;
	size_t which;

	if (argc < 2)
		return 2;
	folder = argv[1];
	snprintf(path, sizeof path, "%s/registry.db", folder);
	snprintf(copy, sizeof copy, "%s/catalog.copy", folder);
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
	assert(catalog_new(copy, &key, &catalog) == 0);
	struct registry_config registry_config = {.path = path, .key = &key, .catalog = catalog};
	if (registry_open(&registry_config, &registry, &error) < 0) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	write_token(registry);
	const struct portal_config config = {.listeners = &listener,
					     .listener_count = 1,
					     .registry = registry,
					     .catalog = catalog,
					     .queries = &channel,
					     .data_dir = folder,
					     .version = "standin",
					     .cluster_kinds = kinds,
					     .head_ms = setting(argc, argv, "head_ms"),
					     .body_ms = setting(argc, argv, "body_ms"),
					     .work_ms = setting(argc, argv, "work_ms"),
					     .query_ms = setting(argc, argv, "query_ms"),
					     .body_bytes = setting(argc, argv, "body_bytes"),
					     .connections = setting(argc, argv, "connections")};
	assert(portal_start(&config, &portal, &which) == 0);
	printf("%u\n", portal_port(portal, 0));
	fflush(stdout);
	wait_for_end();
	portal_stop(portal);
	registry_close(registry);
	catalog_free(catalog);
	return 0;
}
