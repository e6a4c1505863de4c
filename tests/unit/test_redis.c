// core/redis on a real redis-server: connecting, logging in, scripts it does not know, deadlines,
// a server that is gone, stopped and started anew, answers beyond the bounds; and the two scripts:
// as their copies in C have it, with other types, foreign keys, no memory, flushed.

#include "core/base/clock.h"
#include "core/membership/membership.h"
#include "core/membership/scripts.h"
#include "core/redis/redis.h"
#include "quota/share_lua.h"
#include "tests/sim/membership_script.h"
#include "tests/sim/share_script.h"
#include "tests/unit/redis/server.h"
#include "tests/unit/unit.h"

#include <errno.h>

static const char PING[] = "return redis.call('PING')";

static void logs_in_and_says_why_not(void)
{
	struct server server = {.password = "right"};
	struct server_client client;
	struct redis_options tls = {.host = "127.0.0.1", .port = 1, .tls = true};

	server_start(&server);
	server_connect(&client, &server, "right");
	server_wait_ready(&client, true);
	CHECK_EQ(server_do(&client, PING, "k"), REDIS_ANSWERED);
	CHECK(strcmp(client.texts[0], "PONG") == 0);
	CHECK_EQ(server_do(&client, "return redis.call('NOSUCH')", "k"), REDIS_FAILED);
	CHECK(strstr(client.words, "Unknown Redis command"));
	if (!redis_has_tls()) {
		struct redis *none;

		CHECK_EQ(redis_new(client.loop, &tls, NULL, NULL, &none), -ENOTSUP);
	}
	server_close(&client);
	server_connect(&client, &server, "wrong");
	server_sleep(&client, 300 * MS_NS);
	CHECK(!client.ready);
	CHECK(strstr(client.words, "WRONGPASS") || strstr(client.words, "invalid"));
	CHECK_EQ(server_do(&client, PING, "k"), REDIS_GONE);
	server_close(&client);
	server_stop(&server);
}

static void comes_back(void)
{
	struct server server = {0};
	struct server_client client;
	uint64_t began_ns;

	server_start(&server);
	server_connect(&client, &server, NULL);
	server_wait_ready(&client, true);
	CHECK_EQ(server_do(&client, PING, "k"), REDIS_ANSWERED);
	server_stop(&server);
	server_wait_ready(&client, false);
	began_ns = clock_now_ns();
	CHECK_EQ(server_do(&client, PING, "k"), REDIS_GONE);
	CHECK(clock_now_ns() - began_ns < S_NS);
	server_start(&server); // has no scripts any more
	server_wait_ready(&client, true);
	CHECK_EQ(server_do(&client, PING, "k"), REDIS_ANSWERED);
	CHECK_EQ(server_do(&client, "return redis.call('FLUSHALL')", "k"), REDIS_ANSWERED);
	server_close(&client);
	server_stop(&server);
}

// A late call costs the connection, and the next one is answered with its own answer.
static void is_late(void)
{
	static const struct redis_script ping = {(const unsigned char *)PING, sizeof PING - 1};
	struct server server = {0};
	struct server_client client;
	const char *key = "k";

	server_start(&server);
	server_connect(&client, &server, NULL);
	server_wait_ready(&client, true);
	server_pause(&server, true);
	CHECK_EQ(server_run(&client, &ping, 1, 1, &key, 100 * MS_NS), REDIS_LATE);
	server_pause(&server, false);
	server_wait_ready(&client, true);
	CHECK_EQ(server_do(&client, "return redis.call('ECHO', 'other')", "k"), REDIS_ANSWERED);
	CHECK(strcmp(client.texts[0], "other") == 0);
	server_close(&client);
	server_stop(&server);
}

static void answers_are_bounded(void)
{
	struct server server = {0};
	struct server_client client;

	server_start(&server);
	server_connect(&client, &server, NULL);
	server_wait_ready(&client, true);
	CHECK_EQ(server_do(&client, "local t = {} for i = 1, 2000 do t[i] = 'x' end return t", "k"),
		 REDIS_UNUSABLE);
	CHECK_EQ(server_do(&client, "return {{'x'}}", "k"), REDIS_UNUSABLE);
	CHECK_EQ(server_do(&client, "return string.rep('x', 20000000)", "k"), REDIS_GONE);
	server_wait_ready(&client, true);
	CHECK_EQ(server_do(&client, PING, "k"), REDIS_ANSWERED);
	server_close(&client);
	server_stop(&server);
}

// ---- share.lua

struct row_text {
	char numbers[6][24];
};

static enum redis_outcome share_run(struct server_client *client, char proxy, uint64_t life,
				    const struct share_call *call, const char *key)
{
	struct redis_script script = {share_lua, share_lua_size};
	char name[2] = {proxy, '\0'}, life_text[24], number[24];
	const struct share_row *row = &call->rows[0];
	uint64_t values[] = {row->limit,  row->used,   row->missed,
			     row->demand, row->credit, row->holds};
	struct row_text text;
	const char *args[12] = {
		key,    name, life_text,
		number, "3",  row->kind == SHARE_RATE ? "0" : row->kind == SHARE_COUNT ? "1" : "2"};

	snprintf(life_text, sizeof life_text, "%llx", (unsigned long long)life);
	snprintf(number, sizeof number, "%llu", (unsigned long long)call->number);
	for (size_t i = 0; i < 6; ++i) {
		snprintf(text.numbers[i], sizeof text.numbers[i], "%llu",
			 (unsigned long long)values[i]);
		args[6 + i] = text.numbers[i];
	}
	return server_run(client, &script, 1, 12, args, 5 * S_NS);
}

static uint64_t time_of_last_call(struct server_client *client, const char *key)
{
	const char *space;

	CHECK_EQ(server_do(client, "return redis.call('HGET', KEYS[1], 'b')", key), REDIS_ANSWERED);
	space = strchr(client->texts[0], ' ');
	CHECK(space);
	return strtoull(space + 1, NULL, 10);
}

// The same calls to Redis and to the copy in C, at the same times, have the same answers.
static void shares_are_as_in_c(void)
{
	struct server server = {0};
	struct server_client client;
	static struct share_script copy;
	static struct share_call call;
	uint64_t used[3] = {0}, holds[3][2] = {{0}}, granted[SHARE_ROWS_MAX], number = 0;
	unsigned seed = 7;

	server_start(&server);
	server_connect(&client, &server, NULL);
	server_wait_ready(&client, true);
	for (unsigned i = 0; i < 150; ++i) {
		size_t proxy = (size_t)rand_r(&seed) % 3, kind = rand_r(&seed) % 4 == 0;
		const char *key = kind ? "{i}:q:2" : "{i}:q:1";
		uint64_t limit = kind ? 30 : 100000 * GCRA_FINE, now_us;

		used[proxy] += (uint64_t)rand_r(&seed) % 5000;
		call.number = ++number;
		call.count = 1;
		call.rows[0] = (struct share_row){
			.id = kind + 1,
			.kind = kind ? SHARE_COUNT
				     : (rand_r(&seed) % 20 ? SHARE_RATE : SHARE_RETURN),
			.limit = limit,
			.used = kind ? (uint64_t)rand_r(&seed) % 12 : used[proxy],
			.missed = (uint64_t)rand_r(&seed) % 100,
			.demand = kind ? (uint64_t)rand_r(&seed) % 2
				       : (uint64_t)rand_r(&seed) % limit,
			.credit = (uint64_t)rand_r(&seed) % 1000 * GCRA_FINE,
			.holds = holds[proxy][kind]};
		CHECK_EQ(share_run(&client, (char)('a' + proxy), 1 + proxy, &call, key),
			 REDIS_ANSWERED);
		CHECK_EQ(client.count, 1);
		holds[proxy][kind] = strtoull(client.texts[0], NULL, 10);
		now_us = time_of_last_call(&client, key);
		share_script_run(&copy, (char)('a' + proxy), 1 + proxy, 3, &call, now_us, granted);
		CHECK_EQ(holds[proxy][kind], granted[0]);
		if (rand_r(&seed) % 3 == 0)
			server_sleep(&client, (uint64_t)rand_r(&seed) % 120 * MS_NS);
	}
	server_close(&client);
	server_stop(&server);
}

static void shares_beside_foreign_keys(void)
{
	struct server server = {0};
	struct server_client client;
	static struct share_call call = {.number = 1, .count = 1};

	call.rows[0] = (struct share_row){.limit = 1000 * GCRA_FINE, .holds = 500 * GCRA_FINE};
	server_start(&server);
	server_connect(&client, &server, NULL);
	server_wait_ready(&client, true);
	CHECK_EQ(server_do(&client, "redis.call('SET', KEYS[1], 'x') return {}", "t"),
		 REDIS_ANSWERED);
	CHECK_EQ(share_run(&client, 'a', 1, &call, "t"), REDIS_ANSWERED);
	CHECK(strcmp(client.texts[0], "-1") == 0);
	CHECK_EQ(server_do(&client, "redis.call('HSET', KEYS[1], 'b', 'x', 'p:z', 'y') return {}",
			   "h"),
		 REDIS_ANSWERED);
	CHECK_EQ(share_run(&client, 'a', 1, &call, "h"), REDIS_ANSWERED);
	CHECK_EQ(strtoull(client.texts[0], NULL, 10), 500 * GCRA_FINE);
	CHECK_EQ(server_do(&client, "return redis.call('HEXISTS', KEYS[1], 'p:z')", "h"),
		 REDIS_ANSWERED);
	CHECK(strcmp(client.texts[0], "0") == 0);
	server_close(&client);
	server_stop(&server);
}

// ---- renew.lua and leave.lua

static enum redis_outcome renew(struct server_client *client,
				const struct membership_request *request)
{
	struct redis_script script = {scripts_renew, scripts_renew_size};
	char seen[24], agreed[24], beats[PEERS_MAX + 1][24];
	const char *args[8 + 2 * (PEERS_MAX + 1)] = {
		"m",          request->id, request->life, request->random,
		request->gen, seen,        agreed,        request->sight_gen};
	size_t count = 8;

	snprintf(seen, sizeof seen, "%llu", (unsigned long long)request->seen);
	snprintf(agreed, sizeof agreed, "%llu", (unsigned long long)request->agreed);
	for (size_t i = 0; i < request->removals; ++i) {
		snprintf(beats[i], sizeof beats[i], "%llu",
			 (unsigned long long)request->remove[i].beat);
		args[count++] = request->remove[i].id;
		args[count++] = beats[i];
	}
	return server_run(client, &script, 1, count, args, 5 * S_NS);
}

static void documents_equal(const struct document *one, const struct document *other)
{
	CHECK(strcmp(one->gen, other->gen) == 0);
	CHECK_EQ(one->version, other->version);
	CHECK_EQ(one->ghost, other->ghost);
	CHECK_EQ(one->count, other->count);
	for (size_t i = 0; i < one->count; ++i) {
		const struct document_entry *a = &one->entries[i], *b = &other->entries[i];

		CHECK(strcmp(a->id, b->id) == 0 && strcmp(a->life, b->life) == 0);
		CHECK_EQ(a->beat, b->beat);
		CHECK_EQ(a->agreed, b->agreed);
		CHECK_EQ(a->joined, b->joined);
	}
}

// Without memory no bucket has an answer, and no proxy is renewed that is there.
static void is_full(void)
{
	struct server server = {.memory = "1"};
	struct server_client client;
	static struct share_call call = {.number = 1, .count = 1};
	static struct membership_request request = {
		.id = "1", .life = "a", .random = "b", .gen = "-", .sight_gen = "-"};

	call.rows[0] = (struct share_row){.limit = 1000 * GCRA_FINE, .holds = 500 * GCRA_FINE};
	server_start(&server);
	server_connect(&client, &server, NULL);
	server_wait_ready(&client, true);
	CHECK_EQ(share_run(&client, 'a', 1, &call, "q"), REDIS_ANSWERED);
	CHECK(strcmp(client.texts[0], "-1") == 0);
	// Redis lets a script go on that has begun to write: a founding deletes first.
	CHECK_EQ(renew(&client, &request), REDIS_ANSWERED);
	CHECK_EQ(renew(&client, &request), REDIS_FAILED);
	CHECK(strstr(client.words, "OOM"));
	server_close(&client);
	server_stop(&server);
}

struct party {
	struct membership membership;
	unsigned lives;
};

static void party_begin(struct party *party, size_t i, uint64_t now_ns)
{
	char id[3] = {(char)('1' + i), '\0'}, life[MEMBERSHIP_LIFE_SIZE];

	snprintf(life, sizeof life, "%016zx%016x", i + 1, ++party->lives);
	membership_init(&party->membership, id, life, party->lives % 2, now_ns);
}

static void leave(struct server_client *client, struct membership_script *copy,
		  const struct membership *membership)
{
	struct redis_script script = {scripts_leave, scripts_leave_size};
	const char *args[] = {"m", membership->id, membership->life};

	CHECK_EQ(server_run(client, &script, 1, 3, args, 5 * S_NS), REDIS_ANSWERED);
	membership_script_leave(copy, membership->id, membership->life);
}

// Three proxies by a clock of the test's, on Redis and beside it on the copy in C.
static void membership_is_as_in_c(void)
{
	struct server server = {0};
	struct server_client client;
	static struct membership_script copy = {.run = 1};
	static struct party parties[3];
	static struct membership_request request;
	static struct document document, expected;
	uint64_t now_ns = S_NS, randoms = 0;
	unsigned seed = 11;

	server_start(&server);
	server_connect(&client, &server, NULL);
	server_wait_ready(&client, true);
	for (size_t i = 0; i < 3; ++i)
		party_begin(&parties[i], i, now_ns);
	for (unsigned step = 0; step < 400; ++step) {
		size_t i = (size_t)rand_r(&seed) % 3;
		struct membership *membership = &parties[i].membership;
		char random[MEMBERSHIP_LIFE_SIZE];

		now_ns += (uint64_t)rand_r(&seed) % 600 * MS_NS;
		if (step % 80 == 79) {
			CHECK_EQ(server_do(&client, "return redis.call('DEL', KEYS[1])", "m"),
				 REDIS_ANSWERED);
			copy.there = false;
			copy.count = 0;
		} else if (step % 30 == 29) {
			leave(&client, &copy, membership);
			party_begin(&parties[i], i, now_ns);
		} else if (step % 45 == 44) {
			party_begin(&parties[i], i, now_ns); // another life finds the entry
		}
		snprintf(random, sizeof random, "%032llx", (unsigned long long)++randoms);
		membership_request(membership, random, now_ns, &request);
		CHECK_EQ(renew(&client, &request), REDIS_ANSWERED);
		CHECK(document_read((const char *const *)client.texts, client.count, &document));
		membership_script_renew(&copy, &request, &expected);
		documents_equal(&document, &expected);
		CHECK_EQ(membership_answered(membership, &request, &document, now_ns),
			 MEMBERSHIP_OK);
		membership_stopped(membership, membership->version);
	}
	server_close(&client);
	server_stop(&server);
}

static void membership_beside_foreign_keys(void)
{
	static const char *odd[] = {"gen", "x", "version", "1", "m:1", "life 1 x 1"};
	static const char *whole[] = {"gen", "x",          "version", "1",
				      "m:1", "life 1 0 1", "m:?",     "? 0 0 0"};
	struct server server = {0};
	struct server_client client;
	static struct membership_request request = {
		.id = "1", .life = "a", .random = "b", .gen = "-", .sight_gen = "-"};
	static struct document document;

	server_start(&server);
	server_connect(&client, &server, NULL);
	server_wait_ready(&client, true);
	CHECK_EQ(server_do(&client, "redis.call('SET', KEYS[1], 'x') return {}", "m"),
		 REDIS_ANSWERED);
	CHECK_EQ(renew(&client, &request), REDIS_FAILED);
	CHECK(strstr(client.words, "WRONGTYPE"));
	CHECK_EQ(server_do(&client,
			   "redis.call('DEL', KEYS[1]) redis.call('HSET', KEYS[1], 'm:9', 'y') "
			   "return {}",
			   "m"),
		 REDIS_ANSWERED);
	CHECK_EQ(renew(&client, &request), REDIS_ANSWERED); // founded anew
	CHECK(document_read((const char *const *)client.texts, client.count, &document));
	CHECK_EQ(document.count, 1);
	CHECK(document.ghost);
	CHECK(document_read(whole, ARRAY_SIZE(whole), &document));
	CHECK(!document_read(whole, ARRAY_SIZE(whole) - 1, &document));
	CHECK(!document_read(odd, ARRAY_SIZE(odd), &document));
	server_close(&client);
	server_stop(&server);
}

UNIT_MAIN(UNIT_CASE(logs_in_and_says_why_not), UNIT_CASE(comes_back), UNIT_CASE(is_late),
	  UNIT_CASE(answers_are_bounded), UNIT_CASE(shares_are_as_in_c),
	  UNIT_CASE(shares_beside_foreign_keys), UNIT_CASE(is_full),
	  UNIT_CASE(membership_is_as_in_c), UNIT_CASE(membership_beside_foreign_keys))
