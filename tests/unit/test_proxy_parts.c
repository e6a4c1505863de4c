// The small parts of the data plane by themselves: the id map, turns, addresses, tenant ledgers.

#include "core/base/map.h"
#include "core/loop/loop.h"
#include "proxy/client/leave_queue.h"
#include "proxy/client/socket_address.h"
#include "proxy/engine/fair.h"
#include "proxy/group/member_link.h"
#include "proxy/resource/storage.h"
#include "proxy/resource/tenant_table.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>

// ---- map

static void map_equals_array(void)
{
	enum { NODES = 300 };
	struct map_node nodes[NODES] = {0};
	bool there[NODES] = {false};
	struct map map = {0};
	unsigned seed = 5;

	for (unsigned i = 0; i < NODES; ++i)
		nodes[i].key = (uint64_t)i << (i % 3 * 20);
	for (unsigned step = 0; step < 20000; ++step) {
		unsigned at = (unsigned)rand_r(&seed) % NODES;

		CHECK((map_find(&map, nodes[at].key) == &nodes[at]) == there[at]);
		if (there[at])
			map_remove(&map, &nodes[at]);
		else
			CHECK_EQ(map_put(&map, &nodes[at]), 0);
		there[at] = !there[at];
	}
	for (unsigned i = 0; i < NODES; ++i)
		if (there[i])
			map_remove(&map, &nodes[i]);
	CHECK_EQ(map.count, 0);
	CHECK(map.buckets == NULL); // an empty map holds nothing
}

// Each member once, also when it removes itself.
static void map_walk(void)
{
	struct map_node nodes[50] = {0}, *next = NULL, *node;
	struct map map = {0};
	size_t cursor = 0, seen = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(nodes); ++i) {
		nodes[i].key = i * 1000;
		CHECK_EQ(map_put(&map, &nodes[i]), 0);
	}
	while ((node = map_next(&map, &cursor, &next))) {
		map_remove(&map, node);
		++seen;
	}
	CHECK_EQ(seen, ARRAY_SIZE(nodes));
}

// ---- turns

struct worker_item {
	struct fair_item item;
	size_t left, done;
};

static size_t work(struct fair_item *item, size_t most, bool *ret_again)
{
	struct worker_item *worker = CONTAINER_OF(item, struct worker_item, item);
	size_t n = MIN(most, worker->left);

	worker->left -= n;
	worker->done += n;
	*ret_again = worker->left > 0;
	return n;
}

// One queue with fifty busy members gets no more than one with a single one.
static void queues_share_a_round(void)
{
	enum { MANY = 50 };
	struct fair fair;
	struct fair_queue crowd, single;
	struct worker_item many[MANY], one = {.left = 1000000};
	size_t crowd_done = 0;

	fair_init(&fair);
	fair_queue_init(&crowd);
	fair_queue_init(&single);
	fair_item_init(&one.item);
	for (unsigned i = 0; i < MANY; ++i) {
		many[i] = (struct worker_item){.left = 1000000};
		fair_item_init(&many[i].item);
		fair_add(&fair, &crowd, &many[i].item);
	}
	fair_add(&fair, &single, &one.item);
	fair_add(&fair, &single, &one.item); // waits already
	for (unsigned round = 0; round < 100; ++round)
		CHECK(fair_round(&fair, 10000, 3000, work));
	for (unsigned i = 0; i < MANY; ++i) {
		crowd_done += many[i].done;
		CHECK(many[i].done > 10000); // and all of them have had turns
		fair_remove(&crowd, &many[i].item);
	}
	CHECK(one.done > 900000);
	CHECK(crowd_done < one.done + 100000);
	fair_remove(&single, &one.item);
	CHECK(!fair_round(&fair, 10000, 3000, work));
}

static void a_queue_alone_is_not_held_back(void)
{
	struct fair fair;
	struct fair_queue queue;
	struct worker_item item = {.left = 25000};
	unsigned rounds = 1;

	fair_init(&fair);
	fair_queue_init(&queue);
	fair_item_init(&item.item);
	fair_add(&fair, &queue, &item.item);
	while (fair_round(&fair, 10000, 3000, work))
		++rounds;
	CHECK_EQ(item.done, 25000);
	CHECK_EQ(rounds, 3);
}

// ---- addresses

static void blocks(void)
{
	CHECK(socket_address_in("10.1.2.3:99", "10.0.0.0/8"));
	CHECK(!socket_address_in("11.1.2.3:99", "10.0.0.0/8"));
	CHECK(socket_address_in("192.0.2.129:1", "192.0.2.128/25"));
	CHECK(!socket_address_in("192.0.2.127:1", "192.0.2.128/25"));
	CHECK(socket_address_in("192.0.2.1:1", "192.0.2.1"));
	CHECK(socket_address_in("192.0.2.1:1", "0.0.0.0/0"));
	CHECK(!socket_address_in("[2001:db8::1]:5", "0.0.0.0/0"));
	CHECK(socket_address_in("[2001:db8::1]:5", "2001:db8::/32"));
	CHECK(!socket_address_in("[2001:db9::1]:5", "2001:db8::/32"));
	CHECK(socket_address_in("[::1]:5", "::1"));
	CHECK(!socket_address_in("10.0.0.1:1", "10.0.0.0/33"));
	CHECK(!socket_address_in("10.0.0.1:1", "10.0.0.0/x"));
	CHECK(!socket_address_in("10.0.0.1:1", "nonsense"));
	CHECK(!socket_address_in("?", "0.0.0.0/0"));
}

static void texts(void)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(80)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
	struct sockaddr_storage storage;
	char text[SOCKET_ADDRESS_TEXT_MAX];
	socklen_t size;

	v4.sin_addr.s_addr = htonl(0x7f000001);
	socket_address_text((const struct sockaddr *)&v4, text);
	CHECK_STR(text, "127.0.0.1:80");
	v6.sin6_addr.s6_addr[15] = 1;
	socket_address_text((const struct sockaddr *)&v6, text);
	CHECK_STR(text, "[::1]:443");
	memcpy(v6.sin6_addr.s6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02\x03", 16);
	socket_address_text((const struct sockaddr *)&v6, text);
	CHECK_STR(text, "10.1.2.3:443");
	CHECK_EQ(socket_address_parse("127.0.0.1:80", &storage, &size), 0);
	CHECK_EQ(size, sizeof v4);
	CHECK_EQ(socket_address_parse("[::1]:80", &storage, &size), 0);
	CHECK_EQ(storage.ss_family, AF_INET6);
	CHECK(socket_address_parse("127.0.0.1", &storage, &size) < 0);
	CHECK(socket_address_parse("127.0.0.1:", &storage, &size) < 0);
	CHECK(socket_address_parse("127.0.0.1:http", &storage, &size) < 0);
}

// ---- one ledger a tenant, whichever worker comes first

static struct tenant_table table;
static const struct tenant_limits limits = {.connections = 1000000};

static void *take_all(void *arg)
{
	for (uint64_t id = 1; id <= 3000; ++id) {
		struct tenant_shared *row = tenant_table_get(&table, id, &limits, 0);

		CHECK(row && row->id == id);
		CHECK(quota_count_take(&row->ledger, QUOTA_CONNECTIONS, 1));
	}
	return NULL;
}

static void ledgers_are_shared(void)
{
	pthread_t threads[4];

	for (unsigned i = 0; i < ARRAY_SIZE(threads); ++i)
		CHECK_EQ(pthread_create(&threads[i], NULL, take_all, NULL), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); ++i)
		pthread_join(threads[i], NULL);
	for (uint64_t id = 1; id <= 3000; ++id) {
		struct tenant_shared *row = tenant_table_get(&table, id, &limits, 0);

		CHECK_EQ(quota_count_used(&row->ledger, QUOTA_CONNECTIONS), ARRAY_SIZE(threads));
		quota_count_give_back(&row->ledger, QUOTA_CONNECTIONS, ARRAY_SIZE(threads));
	}
	tenant_table_deinit(&table); // asserts that every balance is zero
}

// ---- what a tenant may store

enum { STORAGE_LIMIT = 1000000, PIECE = 700, SENDERS = 3 };

static struct storage storage;
static uint64_t in_store, senders_left; // atomic

// Sends without end; every third batch is refused by the backend. Removes a part when it is full.
static void *store_all(void *arg)
{
	struct storage_tenant *tenant = storage_tenant(&storage, 1);
	unsigned full = 0;

	for (unsigned i = 0; full < 300; ++i) {
		uint64_t bytes = 1 + i * 7919 % PIECE;

		if (!storage_take(tenant, bytes)) {
			++full;
			usleep(100);
			if (full % 50 == 0 && arg && // one of them, from what is there
			    __atomic_load_n(&in_store, __ATOMIC_SEQ_CST) > STORAGE_LIMIT / 2)
				__atomic_sub_fetch(&in_store, STORAGE_LIMIT / 10, __ATOMIC_SEQ_CST);
			continue;
		}
		if (i % 64 == 0 ||
		    STORAGE_LIMIT - __atomic_load_n(&in_store, __ATOMIC_SEQ_CST) < 4 * PIECE)
			usleep(100); // it is counted while this is on its way
		if (i % 3)
			CHECK(__atomic_add_fetch(&in_store, bytes, __ATOMIC_SEQ_CST) <=
			      STORAGE_LIMIT);
		storage_release(tenant, bytes);
	}
	__atomic_sub_fetch(&senders_left, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void storage_count(struct storage_tenant *tenant)
{
	uint64_t ended = __atomic_load_n(&tenant->ended, __ATOMIC_SEQ_CST);

	storage_counted(tenant, ended, __atomic_load_n(&in_store, __ATOMIC_SEQ_CST), false);
}

static void a_limit_is_never_passed(void)
{
	struct storage_tenant *tenant;
	struct storage_use use;
	pthread_t threads[SENDERS];

	storage_init(&storage, NULL, NULL);
	tenant = storage_tenant(&storage, 1);
	CHECK(tenant && !storage_is_limited(tenant));
	storage_limit_set(tenant, STORAGE_LIMIT);
	senders_left = SENDERS;
	for (unsigned i = 0; i < SENDERS; ++i)
		CHECK_EQ(pthread_create(&threads[i], NULL, store_all, i ? NULL : &storage), 0);
	while (__atomic_load_n(&senders_left, __ATOMIC_SEQ_CST))
		storage_count(tenant);
	for (unsigned i = 0; i < SENDERS; ++i)
		pthread_join(threads[i], NULL);
	storage_count(tenant);
	storage_use_read(tenant, &use);
	CHECK(use.stored == in_store && use.limit == STORAGE_LIMIT && use.reserve_used == 0);
	CHECK(storage_take(tenant, STORAGE_LIMIT - in_store)); // to the last byte
	CHECK(!storage_take(tenant, 1));
	CHECK(storage_take_copy(tenant, use.reserve) && !storage_take_copy(tenant, 1));
	storage_release(tenant, STORAGE_LIMIT - in_store + use.reserve);
	CHECK(!storage_take(tenant, 1)); // what became of it is not counted yet
	storage_count(tenant);
	CHECK(storage_take(tenant, 1) && !tenant->reserve_full);
	storage_release(tenant, 1);
	storage_counted(tenant, tenant->ended, STORAGE_LIMIT + use.reserve, true);
	storage_use_read(tenant, &use);
	CHECK(tenant->reserve_full && use.reserve_used == use.reserve && use.estimated);
	storage_deinit(&storage);
}

static void reserves(void)
{
	CHECK_EQ(storage_reserve(MODEL_UNLIMITED), 0);
	CHECK_EQ(storage_reserve(0), 64u << 20);
	CHECK_EQ(storage_reserve(10ull << 30), 1ull << 30);
}

// ---- subscriptions of a connection that has ended

static struct loop *loop;
static unsigned left;

static void on_leave(struct loop_task *task)
{
	++left;
}

static void on_stop(struct loop_task *task)
{
	loop_stop(loop);
}

static unsigned left_now(void)
{
	struct loop_task stop = {.fn = on_stop};

	loop_post(loop, &stop);
	CHECK_EQ(loop_run(loop), 0);
	return left;
}

// Tens of thousands do not go at once; a connection with few does not wait for them.
static void subscriptions_leave_by_and_by(void)
{
	enum { LINKS = 2000, ALONE = 64, OUT = 256 };
	struct member_link *links = calloc(LINKS + 1, sizeof *links);
	struct leave_queue queue;
	struct worker home = {0};

	CHECK_EQ(loop_new("home", &loop), 0);
	home.loop = loop;
	leave_queue_init(&queue);
	for (unsigned i = 0; i <= LINKS; ++i) {
		links[i].home = &home;
		links[i].leave.fn = on_leave;
		list_init(&links[i].waiting);
		leave_queue_add(&queue, &links[i], i < LINKS ? i : 0);
	}
	CHECK_EQ(left_now(), ALONE + OUT + 1);
	for (unsigned i = 0; i < ALONE; ++i)
		leave_queue_gone(&queue, &links[i]);
	CHECK_EQ(left_now(), ALONE + OUT + 1); // those were not counted
	for (unsigned i = ALONE; i < ALONE + 100; ++i)
		leave_queue_gone(&queue, &links[i]);
	CHECK_EQ(left_now(), ALONE + OUT + 101);
	for (unsigned i = ALONE + 100; i < LINKS; ++i)
		leave_queue_gone(&queue, &links[i]);
	CHECK_EQ(left_now(), LINKS + 1);
	CHECK_EQ(queue.out, 0);
	loop_free(loop);
	free(links);
}

UNIT_MAIN(UNIT_CASE(subscriptions_leave_by_and_by), UNIT_CASE(map_equals_array),
	  UNIT_CASE(map_walk), UNIT_CASE(queues_share_a_round),
	  UNIT_CASE(a_queue_alone_is_not_held_back), UNIT_CASE(blocks), UNIT_CASE(texts),
	  UNIT_CASE(ledgers_are_shared), UNIT_CASE(a_limit_is_never_passed), UNIT_CASE(reserves))
