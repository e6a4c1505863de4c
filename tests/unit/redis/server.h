// A redis-server of the test's own, on a free port below 32768.
#pragma once

#include "core/redis/redis.h"

struct server {
	int pid; // 0: does not run
	uint16_t port;
	const char *password; // NULL: none
	const char *memory;   // its maxmemory, without eviction; NULL: no limit
};

void server_start(struct server *server); // anew on its port if it has one; without data
void server_stop(struct server *server);
void server_pause(struct server *server, bool paused);

// A connection and the loop under it, for one test.
struct server_client {
	struct loop *loop;
	struct redis *redis;
	bool ready, answered;
	char words[200];
	enum redis_outcome outcome;
	size_t count;
	char *texts[REDIS_TEXTS_MAX];
};

void server_connect(struct server_client *client, const struct server *server,
		    const char *password);
void server_close(struct server_client *client);
void server_wait_ready(struct server_client *client, bool ready);
void server_sleep(struct server_client *client, uint64_t ns);
// Runs a script and waits for its answer.
enum redis_outcome server_run(struct server_client *client, const struct redis_script *script,
			      size_t keys, size_t count, const char *const *args, uint64_t wait_ns);
// The same with a script of the test's.
enum redis_outcome server_do(struct server_client *client, const char *text, const char *key);
