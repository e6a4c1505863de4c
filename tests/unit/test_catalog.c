// core/model and core/registry: objects, changes, catalog, last good copy.

#include "core/base/log.h"
#include "core/catalog/catalog.h"
#include "core/catalog/change.h"
#include "core/catalog/index.h"
#include "core/model/field.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const struct seal_key key = {{1, 2, 3}};
static char directory[64], copy_path[80], damaged_path[96];

static void files_remove(void)
{
	unlink(copy_path);
	unlink(damaged_path);
}

static struct topic topic_draft(uint64_t id, const char *name)
{
	return (struct topic){.object = {.id = id, .revision = id},
			      .name = name,
			      .physical = "mqp.t.orders-1",
			      .tenant = 7,
			      .cluster = 3,
			      .incarnation = id,
			      .partitions = 4,
			      .retention_ms = UINT64_MAX,
			      .state = MODEL_READY,
			      .durability = DURABILITY_D2};
}

static const uint64_t tenant_clusters[] = {3, 9000000000};
static const struct access_grant key_grants[] = {{"orders*", ACCESS_PRODUCE},
						 {"audit", ACCESS_PRODUCE | ACCESS_CONSUME}};
static const char *const key_allow[] = {"10.0.0.0/8", "::1/128"};
static const struct tenant a_tenant = {.object = {.id = 7, .revision = 1},
				       .name = "Größe",
				       .limits = {.produce_tps = MODEL_UNLIMITED, .topics = 5},
				       .clusters = tenant_clusters,
				       .cluster_count = 2};
static const struct access_key a_key = {.object = {.id = 8, .revision = 2},
					.key_id = "AK1",
					.tenant = 7,
					.expires_ms = -1,
					.stored_key = {9, 8, 7},
					.grants = key_grants,
					.grant_count = 2,
					.allow = key_allow,
					.allow_count = 2};
static const struct cluster a_cluster = {.object = {.id = 3, .revision = 3},
					 .name = "local",
					 .kind = "embedded",
					 .options_json = "{}",
					 .secrets_json = "{\"password\":\"hush\"}"};

static struct change_writer builder_begin(bool full, uint64_t from, uint64_t to)
{
	struct change_head head = {.full = full, .source = 42, .from = from, .to = to};
	struct change_writer writer;

	CHECK_EQ(change_begin(&writer, &head, &key), 0);
	return writer;
}

static void builder_put(struct change_writer *writer, enum model_kind kind, const void *draft)
{
	struct model_object *object = model_new(kind, draft);

	CHECK_EQ(change_put(writer, object), 0);
	model_unref(object);
}

static struct catalog_change *first_snapshot(void)
{
	struct change_writer writer = builder_begin(true, 0, 10);
	struct topic topic = topic_draft(11, "orders");

	builder_put(&writer, MODEL_TENANT, &a_tenant);
	builder_put(&writer, MODEL_ACCESS_KEY, &a_key);
	builder_put(&writer, MODEL_CLUSTER, &a_cluster);
	builder_put(&writer, MODEL_TOPIC, &topic);
	return change_end(&writer);
}

static struct catalog_change *topic_delta(uint64_t from, uint64_t id, const char *name)
{
	struct change_writer writer = builder_begin(false, from, from + 1);
	struct topic topic = topic_draft(id, name);

	builder_put(&writer, MODEL_TOPIC, &topic);
	return change_end(&writer);
}

static struct catalog *catalog_with(const char *path, int expect)
{
	struct catalog *catalog;

	CHECK_EQ(catalog_new(path, &key, &catalog), expect);
	return catalog;
}

static void apply_free(struct catalog *catalog, struct catalog_change *change, int expect)
{
	CHECK_EQ(catalog_apply(catalog, change), expect);
	free(change);
}

static void object_is_deep_copy(void)
{
	char name[] = "orders", pattern[] = "abc*";
	struct access_grant grant = {pattern, ACCESS_CONSUME};
	struct topic topic = topic_draft(1, name);
	struct access_key draft = a_key;
	const struct topic *copy = model_new(MODEL_TOPIC, &topic);
	const struct access_key *key_copy;

	draft.grants = &grant;
	draft.grant_count = 1;
	key_copy = model_new(MODEL_ACCESS_KEY, &draft);
	name[0] = pattern[0] = 'x';
	CHECK_STR(copy->name, "orders");
	CHECK_EQ(copy->object.kind, MODEL_TOPIC);
	CHECK_STR(key_copy->grants[0].pattern, "abc*");
	CHECK_STR(key_copy->allow[1], "::1/128");
	CHECK(key_copy->deny == NULL);
	CHECK(model_ref(copy) == copy);
	CHECK(model_unref(copy) == NULL);
	model_unref(copy);
	model_unref(key_copy);
	CHECK(model_unref(NULL) == NULL);
}

static void every_field_has_its_words(void)
{
	for (unsigned kind = 0; kind < MODEL_KIND_COUNT; ++kind) {
		const struct field_table *table = field_table(kind);

		for (size_t i = 0; i < table->count; ++i) {
			const struct field *field = &table->fields[i];

			CHECK(field->unit != NULL);
			CHECK((field->flags & FIELD_HIDDEN) || strlen(field->sentence) > 10);
			CHECK((field->type == FIELD_ENUM) == (field->values != NULL));
			CHECK(field_find(table, field->name) == field);
		}
	}
	CHECK(field_find(field_table(MODEL_TOPIC), "no such") == NULL);
}

static void change_carries_everything(void)
{
	_cleanup_(freep) struct catalog_change *change = first_snapshot();
	struct catalog *catalog = catalog_with(NULL, 0);
	const struct tenant *tenant;
	const struct access_key *access_key;
	const struct cluster *cluster;
	const struct topic *topic;

	CHECK(memmem(change->data, change->size, "hush", 4) == NULL);
	CHECK_EQ(catalog_apply(catalog, change), 0);
	CHECK_EQ(catalog_revision(catalog), 10);
	CHECK_EQ(catalog_source(catalog), 42);

	tenant = catalog_tenant(catalog, 7);
	CHECK_STR(tenant->name, "Größe");
	CHECK(tenant->limits.produce_tps == MODEL_UNLIMITED);
	CHECK_EQ(tenant->cluster_count, 2);
	CHECK_EQ(tenant->clusters[1], 9000000000);

	access_key = catalog_key_by_id(catalog, "AK1");
	CHECK_EQ(access_key->tenant, 7);
	CHECK_EQ(access_key->expires_ms, -1);
	CHECK_EQ(access_key->stored_key[2], 7);
	CHECK_EQ(access_key->grant_count, 2);
	CHECK_EQ(access_key->grants[1].rights, 3);
	CHECK_STR(access_key->grants[0].pattern, "orders*");
	CHECK_STR(access_key->allow[0], "10.0.0.0/8");
	CHECK_EQ(access_key->deny_count, 0);

	cluster = catalog_cluster(catalog, 3);
	CHECK_STR(cluster->secrets_json, "{\"password\":\"hush\"}");

	topic = catalog_topic_by_name(catalog, 7, "orders");
	CHECK(topic->retention_ms == UINT64_MAX);
	CHECK_EQ(topic->durability, DURABILITY_D2);
	CHECK(catalog_topic_by_name(catalog, 8, "orders") == NULL);
	CHECK(catalog_group(catalog, 11) == NULL);

	catalog_free(catalog); // the objects outlive it
	CHECK_STR(topic->physical, "mqp.t.orders-1");
	model_unref(tenant);
	model_unref(access_key);
	model_unref(cluster);
	model_unref(topic);
}

static void secrets_need_the_key(void)
{
	static const struct seal_key other = {{9}};
	struct catalog *catalog;
	_cleanup_(freep) struct catalog_change *change = first_snapshot();
	const struct cluster *cluster;

	CHECK_EQ(catalog_new(NULL, &other, &catalog), 0);
	CHECK_EQ(catalog_apply(catalog, change), -EBADMSG);
	CHECK_EQ(catalog_revision(catalog), 0);
	catalog_free(catalog);
	CHECK_EQ(catalog_new(NULL, NULL, &catalog), 0);
	CHECK_EQ(catalog_apply(catalog, change), 0);
	cluster = catalog_cluster(catalog, 3);
	CHECK(cluster->secrets_json == NULL);
	model_unref(cluster);
	catalog_free(catalog);
}

static void seal_is_bound(void)
{
	uint8_t sealed[4 + SEAL_OVERHEAD];
	char plain[4];

	CHECK_EQ(seal_close(&key, "a/1", "hush", 4, sealed), 0);
	CHECK_EQ(seal_open(&key, "a/1", sealed, sizeof sealed, plain), 0);
	CHECK_EQ(memcmp(plain, "hush", 4), 0);
	CHECK_EQ(seal_open(&key, "a/2", sealed, sizeof sealed, plain), -EBADMSG);
	CHECK_EQ(seal_open(&key, "a/1", sealed, SEAL_OVERHEAD - 1, plain), -EBADMSG);
	for (size_t i = 0; i < sizeof sealed; ++i) {
		sealed[i] ^= 1;
		CHECK_EQ(seal_open(&key, "a/1", sealed, sizeof sealed, plain), -EBADMSG);
		sealed[i] ^= 1;
	}
}

static struct {
	unsigned calls, gone;
	uint64_t last_id;
} seen;

static void see(void *ctx, enum model_kind kind, uint64_t id, const struct model_object *object)
{
	(void)ctx;
	(void)kind;
	++seen.calls;
	seen.gone += object == NULL;
	seen.last_id = id;
}

static void deltas_follow(void)
{
	struct catalog *catalog = catalog_with(NULL, 0);
	struct change_writer writer;
	const struct topic *made;
	struct topic topic;

	catalog_watch(catalog, see, NULL);
	memset(&seen, 0, sizeof seen);
	apply_free(catalog, topic_delta(10, 12, "early"), CATALOG_E_GAP);
	apply_free(catalog, first_snapshot(), 0);
	CHECK_EQ(seen.calls, 4);
	apply_free(catalog, topic_delta(9, 12, "late"), CATALOG_E_GAP);
	apply_free(catalog, topic_delta(11, 12, "early"), CATALOG_E_GAP);
	CHECK_EQ(seen.calls, 4);
	apply_free(catalog, topic_delta(10, 12, "next"), 0);
	CHECK_EQ(seen.last_id, 12);

	// Deleted and made again under the same name in one delta.
	writer = builder_begin(false, 11, 12);
	topic = topic_draft(13, "orders");
	builder_put(&writer, MODEL_TOPIC, &topic);
	CHECK_EQ(change_gone(&writer, MODEL_TOPIC, 11), 0);
	apply_free(catalog, change_end(&writer), 0);
	CHECK_EQ(seen.gone, 1);
	CHECK(catalog_topic(catalog, 11) == NULL);
	made = catalog_topic_by_name(catalog, 7, "orders");
	CHECK_EQ(made->object.id, 13);
	model_unref(made);
	catalog_free(catalog);
}

static void full_snapshot_tells_differences_only(void)
{
	struct catalog *catalog = catalog_with(NULL, 0);
	struct change_writer writer = builder_begin(true, 0, 20);
	struct topic topic = topic_draft(15, "other");
	const struct tenant *before, *after;

	apply_free(catalog, first_snapshot(), 0);
	before = catalog_tenant(catalog, 7);
	catalog_watch(catalog, see, NULL);
	memset(&seen, 0, sizeof seen);
	builder_put(&writer, MODEL_TENANT, &a_tenant);
	builder_put(&writer, MODEL_CLUSTER, &a_cluster);
	builder_put(&writer, MODEL_TOPIC, &topic);
	apply_free(catalog, change_end(&writer), 0);
	CHECK_EQ(seen.calls, 3); // key and topic 11 gone, topic 15 new
	CHECK_EQ(seen.gone, 2);
	after = catalog_tenant(catalog, 7);
	CHECK(before == after);
	CHECK(catalog_key_by_id(catalog, "AK1") == NULL);
	model_unref(before);
	model_unref(after);
	catalog_free(catalog);
}

static void altered_change_is_refused(void)
{
	struct catalog *catalog = catalog_with(NULL, 0);
	_cleanup_(freep) struct catalog_change *change = first_snapshot();

	for (size_t i = 0; i < change->size; ++i) {
		change->data[i] ^= 0x20;
		CHECK_EQ(catalog_apply(catalog, change), -EBADMSG);
		change->data[i] ^= 0x20;
	}
	CHECK_EQ(catalog_revision(catalog), 0);
	CHECK_EQ(catalog_apply(catalog, change), 0);
	catalog_free(catalog);
}

static void last_good_copy_is_read_again(void)
{
	struct catalog *catalog = catalog_with(copy_path, 0);
	struct stat stat_buf;
	const struct topic *topic;

	CHECK(!catalog_stored(catalog));
	apply_free(catalog, first_snapshot(), 0);
	apply_free(catalog, topic_delta(10, 12, "twelve"), 0);
	CHECK(catalog_stored(catalog));
	catalog_free(catalog);
	CHECK_EQ(stat(copy_path, &stat_buf), 0);
	CHECK_EQ(stat_buf.st_mode & 0777, 0600);

	catalog = catalog_with(copy_path, 0);
	CHECK(catalog_stored(catalog));
	CHECK_EQ(catalog_revision(catalog), 11);
	topic = catalog_topic_by_name(catalog, 7, "twelve");
	CHECK_EQ(topic->object.id, 12);
	model_unref(topic);
	apply_free(catalog, topic_delta(11, 13, "thirteen"), 0);
	catalog_free(catalog);
	catalog = catalog_with(copy_path, 0);
	CHECK_EQ(catalog_revision(catalog), 12);
	catalog_free(catalog);
	files_remove();
}

static size_t file_read(const char *path, uint8_t *bytes, size_t room)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, bytes, room);

	CHECK(n >= 0);
	close(fd);
	return (size_t)n;
}

static void file_write(const char *path, const uint8_t *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK_EQ(write(fd, bytes, size), size);
	close(fd);
}

// Whatever length a crash leaves, the catalog is one of the states that were, and usable after.
static void copy_cut_at_every_byte(void)
{
	static uint8_t bytes[8192];
	struct catalog *catalog = catalog_with(copy_path, 0);
	size_t size, full_size, with_one;
	struct stat stat_buf;

	apply_free(catalog, first_snapshot(), 0);
	full_size = file_read(copy_path, bytes, sizeof bytes);
	apply_free(catalog, topic_delta(10, 12, "twelve"), 0);
	with_one = file_read(copy_path, bytes, sizeof bytes);
	apply_free(catalog, topic_delta(11, 13, "thirteen"), 0);
	catalog_free(catalog);
	size = file_read(copy_path, bytes, sizeof bytes);
	for (size_t cut = 0; cut <= size; ++cut) {
		uint64_t revision = cut < full_size  ? 0
				    : cut < with_one ? 10
				    : cut < size     ? 11
						     : 12;

		files_remove();
		file_write(copy_path, bytes, cut);
		catalog = catalog_with(copy_path, revision ? 0 : CATALOG_E_DAMAGED);
		CHECK_EQ(catalog_revision(catalog), revision);
		CHECK_EQ(stat(damaged_path, &stat_buf), revision ? -1 : 0);
		if (revision)
			apply_free(catalog, topic_delta(revision, 14, "more"), 0);
		else
			apply_free(catalog, first_snapshot(), 0);
		catalog_free(catalog);
		catalog = catalog_with(copy_path, 0);
		CHECK_EQ(catalog_revision(catalog), revision ? revision + 1 : 10);
		catalog_free(catalog);
	}
	files_remove();
}

static void copy_altered_at_every_byte(void)
{
	static uint8_t bytes[8192];
	struct catalog *catalog = catalog_with(copy_path, 0);
	size_t size, full_size;

	apply_free(catalog, first_snapshot(), 0);
	full_size = file_read(copy_path, bytes, sizeof bytes);
	apply_free(catalog, topic_delta(10, 12, "twelve"), 0);
	catalog_free(catalog);
	size = file_read(copy_path, bytes, sizeof bytes);
	for (size_t at = 0; at < size; ++at) {
		files_remove();
		bytes[at] ^= 4;
		file_write(copy_path, bytes, size);
		bytes[at] ^= 4;
		catalog = catalog_with(copy_path, at < full_size ? CATALOG_E_DAMAGED : 0);
		CHECK_EQ(catalog_revision(catalog), at < full_size ? 0 : 10);
		catalog_free(catalog);
	}
	files_remove();
}

static void copy_is_compacted(void)
{
	struct catalog *catalog = catalog_with(copy_path, 0);
	struct stat stat_buf;
	off_t largest = 0;
	uint64_t revision = 10;

	apply_free(catalog, first_snapshot(), 0);
	for (unsigned i = 0; i < 12000; ++i) {
		apply_free(catalog, topic_delta(revision++, 12, "twelve"), 0);
		CHECK_EQ(stat(copy_path, &stat_buf), 0);
		largest = MAX(largest, stat_buf.st_size);
	}
	CHECK(largest > 1 << 20 && largest < (1 << 20) + 4096);
	CHECK(stat_buf.st_size < largest / 2);
	catalog_free(catalog);
	catalog = catalog_with(copy_path, 0);
	CHECK_EQ(catalog_revision(catalog), revision);
	catalog_free(catalog);
	files_remove();
}

// The data plane goes on with what it has in memory; the copy catches up when there is room.
static void copy_cannot_be_written(void)
{
	struct catalog *catalog = catalog_with(copy_path, 0);
	struct rlimit limit;
	rlim_t most;

	apply_free(catalog, first_snapshot(), 0);
	signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
	most = limit.rlim_max;
	limit.rlim_cur = 300; // less than the copy holds already
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (uint64_t revision = 10; revision < 16; ++revision)
		apply_free(catalog, topic_delta(revision, 12, "twelve"), 0);
	CHECK(!catalog_stored(catalog));
	CHECK_EQ(catalog_revision(catalog), 16);
	limit.rlim_cur = most;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	apply_free(catalog, topic_delta(16, 13, "thirteen"), 0);
	CHECK(catalog_stored(catalog));
	catalog_free(catalog);
	catalog = catalog_with(copy_path, 0);
	CHECK_EQ(catalog_revision(catalog), 17);
	catalog_free(catalog);
	files_remove();
}

static struct index_key object_key(const void *object)
{
	return (struct index_key){.id = ((const struct model_object *)object)->id};
}

// A model beside the table: 4,096 ids put and dropped at random.
static void index_against_model(void)
{
	enum { IDS = 4096 };
	static struct model_object objects[IDS];
	static bool there[IDS];
	struct index index;
	uint32_t random = 1;

	index_init(&index, object_key, 12345);
	for (unsigned i = 0; i < IDS; ++i)
		objects[i].id = i * 64ull;
	for (unsigned step = 0; step < 200000; ++step) {
		unsigned i;

		random = random * 1664525u + 1013904223u;
		i = random >> 20;
		if (random & 0x800) {
			CHECK_EQ(index_reserve(&index, 1), 0);
			CHECK((index_put(&index, &objects[i]) != NULL) == there[i]);
			there[i] = true;
		} else {
			CHECK_EQ(index_drop(&index, &objects[i]), there[i]);
			there[i] = false;
		}
	}
	for (unsigned i = 0; i < IDS; ++i)
		CHECK((index_find(&index, (struct index_key){.id = i * 64ull}) != NULL) ==
		      there[i]);
	index_deinit(&index);
}

static bool readers_stop;

static void *reader_run(void *arg)
{
	struct catalog *catalog = arg;

	while (!__atomic_load_n(&readers_stop, __ATOMIC_RELAXED)) {
		const struct topic *topic = catalog_topic_by_name(catalog, 7, "orders");

		CHECK(topic && strcmp(topic->name, "orders") == 0);
		model_unref(topic);
		topic = catalog_topic(catalog, 12);
		CHECK(!topic || topic->object.id == 12);
		model_unref(topic);
	}
	return NULL;
}

static void readers_beside_a_writer(void)
{
	struct catalog *catalog = catalog_with(NULL, 0);
	uint64_t revision = 10;
	pthread_t readers[3];

	apply_free(catalog, first_snapshot(), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(readers); ++i)
		CHECK_EQ(pthread_create(&readers[i], NULL, reader_run, catalog), 0);
	for (unsigned i = 0; i < 3000; ++i) {
		struct change_writer writer = builder_begin(false, revision, revision + 1);
		struct topic topic = topic_draft(12, "twelve"), orders = topic_draft(11, "orders");
		struct topic more;
		char name[24];

		if (i & 1)
			builder_put(&writer, MODEL_TOPIC, &topic);
		else
			CHECK_EQ(change_gone(&writer, MODEL_TOPIC, 12), 0);
		builder_put(&writer, MODEL_TOPIC, &orders);
		snprintf(name, sizeof name, "more-%u", i);
		more = topic_draft(1000 + i, name);
		builder_put(&writer, MODEL_TOPIC, &more); // so that the indexes grow
		apply_free(catalog, change_end(&writer), 0);
		++revision;
		if (i % 100 == 0) {
			apply_free(catalog, first_snapshot(), 0);
			revision = 10;
		}
	}
	__atomic_store_n(&readers_stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < ARRAY_SIZE(readers); ++i)
		pthread_join(readers[i], NULL);
	catalog_free(catalog);
}

static void drop_line(void *ctx, enum log_level level, const char *line, size_t size)
{
	(void)ctx;
	(void)level;
	(void)line;
	(void)size;
}

static void directory_make(void)
{
	log_set_sink(drop_line, NULL);
	unit_directory(directory);
	snprintf(copy_path, sizeof copy_path, "%s/catalog", directory);
	snprintf(damaged_path, sizeof damaged_path, "%s.damaged", copy_path);
}

static void directory_remove(void)
{
	CHECK_EQ(rmdir(directory), 0);
}

UNIT_MAIN(UNIT_CASE(directory_make), UNIT_CASE(object_is_deep_copy),
	  UNIT_CASE(every_field_has_its_words), UNIT_CASE(change_carries_everything),
	  UNIT_CASE(secrets_need_the_key), UNIT_CASE(seal_is_bound), UNIT_CASE(deltas_follow),
	  UNIT_CASE(full_snapshot_tells_differences_only), UNIT_CASE(altered_change_is_refused),
	  UNIT_CASE(last_good_copy_is_read_again), UNIT_CASE(copy_cut_at_every_byte),
	  UNIT_CASE(copy_altered_at_every_byte), UNIT_CASE(copy_is_compacted),
	  UNIT_CASE(copy_cannot_be_written), UNIT_CASE(index_against_model),
	  UNIT_CASE(readers_beside_a_writer), UNIT_CASE(directory_remove))
