// Reads the JSON of the management API into rows.
//
// A broker, or what stands in its place, may answer anything. The number of values is counted
// before a text is parsed, because the parser needs up to 79 bytes for one of the text. Every
// member is taken only with the type that it should have.

#include "adapters/rabbitmq/manage/facts.h"

#include "adapters/rabbitmq/manage/danger.h"
#include "core/base/util.h"

#include <errno.h>
#include <stdio.h>

#define NAME_MAX_BYTES 255

// ---- JSON

json_t *rabbitmq_facts_parse(const char *data, size_t size)
{
	size_t values = 0;

	// Inside of texts, too: an answer of ours has few of them there.
	for (size_t i = 0; i < size; ++i)
		values += data[i] == ',' || data[i] == '[' || data[i] == '{' || data[i] == ':';
	return values > RABBITMQ_FACTS_VALUES ? NULL : json_loadb(data, size, 0, NULL);
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static uint64_t number_of(const json_t *object, const char *key, uint64_t otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) && json_integer_value(value) >= 0
		       ? (uint64_t)json_integer_value(value)
		       : otherwise;
}

static char *name_copy(const char *name)
{
	return name && *name && strlen(name) <= NAME_MAX_BYTES ? strdup(name) : NULL;
}

// ---- the cluster

void rabbitmq_facts_version(const json_t *overview, char *room, size_t size)
{
	const char *version = text_of(overview, "rabbitmq_version");

	snprintf(room, size, "%s", version ? version : "");
}

unsigned rabbitmq_facts_major(const char *version)
{
	return (unsigned)strtoul(version, NULL, 10);
}

static void alarm_add(struct rabbitmq_nodes *nodes, const json_t *node, const char *what)
{
	size_t used = strlen(nodes->alarm);
	const char *name = text_of(node, "name");

	snprintf(nodes->alarm + used, sizeof nodes->alarm - used, "%snode %s %s", used ? "; " : "",
		 name ? name : "?", what);
}

bool rabbitmq_facts_nodes(const json_t *nodes, struct rabbitmq_nodes *ret)
{
	const json_t *node;
	size_t i;

	*ret = (struct rabbitmq_nodes){0};
	json_array_foreach(nodes, i, node)
	{
		bool running = json_is_true(json_object_get(node, "running"));

		++ret->count;
		ret->running += running;
		if (!running)
			alarm_add(ret, node, "does not run");
		if (json_is_true(json_object_get(node, "mem_alarm")))
			alarm_add(ret, node, "is short of memory and takes no messages");
		if (json_is_true(json_object_get(node, "disk_free_alarm")))
			alarm_add(ret, node, "is short of disk space and takes no messages");
	}
	return ret->count > 0;
}

// ---- lists

static int list_grow(void *rows, size_t *room, size_t count, size_t row_bytes)
{
	size_t more = MAX(2 * *room, 64);
	void *grown;

	if (count >= RABBITMQ_FACTS_ROWS)
		return -E2BIG;
	if (count < *room)
		return 0;
	grown = realloc(*(void **)rows, more * row_bytes);
	if (!grown)
		return -ENOMEM;
	*(void **)rows = grown;
	*room = more;
	return 0;
}

static const json_t *items_of(const json_t *page, uint32_t *ret_pages)
{
	const json_t *items = json_object_get(page, "items");

	if (!json_is_array(items))
		return NULL;
	*ret_pages = (uint32_t)MIN(number_of(page, "page_count", 1),
				   (uint64_t)RABBITMQ_FACTS_ROWS / RABBITMQ_FACTS_PAGE);
	return items;
}

// ---- queues

static void policy_name(const json_t *item, char room[64])
{
	const char *own = text_of(item, "policy"), *operator= text_of(item, "operator_policy");

	snprintf(room, 64, "%s", own ? own : operator ? operator : "");
}

static bool has_limit(const json_t *item)
{
	return json_is_number(
		       json_object_get(json_object_get(item, "arguments"), "x-delivery-limit")) ||
	       json_is_number(json_object_get(json_object_get(item, "effective_policy_definition"),
					      "delivery-limit"));
}

static void queue_read(const json_t *item, unsigned major, struct rabbitmq_queue_row *row)
{
	const char *type = text_of(item, "type");

	row->messages = number_of(item, "messages", UINT64_MAX);
	row->bytes = number_of(item, "message_bytes", UINT64_MAX);
	row->consumers = (uint32_t)MIN(number_of(item, "consumers", 0), (uint64_t)UINT32_MAX);
	row->quorum = type && strcmp(type, "quorum") == 0;
	row->dangers =
		rabbitmq_danger_of(json_object_get(item, "effective_policy_definition"), major);
	row->arguments = rabbitmq_danger_of_arguments(json_object_get(item, "arguments"), major);
	row->limited = row->quorum && major >= 4 && !has_limit(item);
	policy_name(item, row->policy);
}

int rabbitmq_facts_queues(const json_t *page, unsigned major, struct rabbitmq_queues *list,
			  uint32_t *ret_pages)
{
	const json_t *items = items_of(page, ret_pages), *item;
	size_t i;

	if (!items)
		return -EINVAL;
	json_array_foreach(items, i, item)
	{
		char *name = name_copy(text_of(item, "name"));
		int r = list_grow(&list->rows, &list->room, list->count, sizeof *list->rows);

		if (!name || r < 0) {
			free(name);
			if (r < 0)
				return r;
			continue;
		}
		list->rows[list->count] = (struct rabbitmq_queue_row){.name = name};
		queue_read(item, major, &list->rows[list->count++]);
	}
	return 0;
}

static int rows_compare(const void *left, const void *right)
{
	const struct rabbitmq_queue_row *a = left, *b = right;

	return strcmp(a->name, b->name);
}

void rabbitmq_facts_sort(struct rabbitmq_queues *list)
{
	if (list->count)
		qsort(list->rows, list->count, sizeof *list->rows, rows_compare);
}

static int row_compare(const void *name, const void *row)
{
	return strcmp(name, ((const struct rabbitmq_queue_row *)row)->name);
}

const struct rabbitmq_queue_row *rabbitmq_facts_find(const struct rabbitmq_queues *list,
						     const char *name)
{
	return list->count ? bsearch(name, list->rows, list->count, sizeof *list->rows, row_compare)
			   : NULL;
}

void rabbitmq_facts_queues_free(struct rabbitmq_queues *list)
{
	for (size_t i = 0; i < list->count; ++i)
		free(list->rows[i].name);
	free(list->rows);
	*list = (struct rabbitmq_queues){0};
}

// ---- exchanges

int rabbitmq_facts_exchanges(const json_t *page, struct rabbitmq_exchanges *list,
			     uint32_t *ret_pages)
{
	const json_t *items = items_of(page, ret_pages), *item;
	size_t i;

	if (!items)
		return -EINVAL;
	json_array_foreach(items, i, item)
	{
		const char *text = text_of(item, "name"), *kind = text_of(item, "type");
		char *name;
		int r = list_grow(&list->rows, &list->room, list->count, sizeof *list->rows);

		if (r < 0)
			return r;
		if (json_is_true(json_object_get(item, "internal")) ||
		    (text && strncmp(text, "amq.", 4) == 0))
			continue;
		name = name_copy(text);
		if (!name)
			continue;
		list->rows[list->count] = (struct rabbitmq_exchange_row){.name = name};
		snprintf(list->rows[list->count].kind, sizeof list->rows[list->count].kind, "%s",
			 kind ? kind : "");
		++list->count;
	}
	return 0;
}

void rabbitmq_facts_exchanges_free(struct rabbitmq_exchanges *list)
{
	for (size_t i = 0; i < list->count; ++i)
		free(list->rows[i].name);
	free(list->rows);
	*list = (struct rabbitmq_exchanges){0};
}

// ---- bindings

static bool is_of_queue(const json_t *item)
{
	const char *type = text_of(item, "destination_type");

	return type && strcmp(type, "queue") == 0;
}

int rabbitmq_facts_bindings(const json_t *bindings, struct rabbitmq_bindings *list)
{
	const json_t *item;
	size_t i;

	if (!json_is_array(bindings))
		return -EINVAL;
	json_array_foreach(bindings, i, item)
	{
		struct rabbitmq_binding_row row = {0};
		int r = list_grow(&list->rows, &list->room, list->count, sizeof *list->rows);

		if (r < 0)
			return r;
		if (!is_of_queue(item))
			continue;
		row.exchange = name_copy(text_of(item, "source")); // "": the default exchange
		row.queue = name_copy(text_of(item, "destination"));
		if (row.exchange && row.queue) {
			list->rows[list->count++] = row;
			continue;
		}
		free(row.exchange);
		free(row.queue);
	}
	return 0;
}

void rabbitmq_facts_bindings_free(struct rabbitmq_bindings *list)
{
	for (size_t i = 0; i < list->count; ++i) {
		free(list->rows[i].exchange);
		free(list->rows[i].queue);
	}
	free(list->rows);
	*list = (struct rabbitmq_bindings){0};
}

// ---- clients that consume

static int client_read(const json_t *item, struct rabbitmq_client_row *ret)
{
	const json_t *channel = json_object_get(item, "channel_details");

	*ret = (struct rabbitmq_client_row){
		.queue = name_copy(text_of(json_object_get(item, "queue"), "name")),
		.connection = name_copy(text_of(channel, "connection_name")),
		.user = name_copy(text_of(channel, "user")),
		.tag = name_copy(text_of(item, "consumer_tag"))};
	return ret->queue && ret->connection && ret->user && ret->tag ? 0 : -EINVAL;
}

static void client_free(struct rabbitmq_client_row *row)
{
	free(row->queue);
	free(row->connection);
	free(row->user);
	free(row->tag);
	free(row->name);
}

int rabbitmq_facts_clients(const json_t *consumers, struct rabbitmq_clients *list)
{
	const json_t *item;
	size_t i;

	if (!json_is_array(consumers))
		return -EINVAL;
	json_array_foreach(consumers, i, item)
	{
		struct rabbitmq_client_row row;
		int r = list_grow(&list->rows, &list->room, list->count, sizeof *list->rows);

		if (r < 0)
			return r;
		if (client_read(item, &row) == 0)
			list->rows[list->count++] = row;
		else
			client_free(&row);
	}
	return 0;
}

static int connections_compare(const void *left, const void *right)
{
	return strcmp(((const struct rabbitmq_client_row *)left)->connection,
		      ((const struct rabbitmq_client_row *)right)->connection);
}

static int clients_compare(const void *left, const void *right)
{
	const struct rabbitmq_client_row *a = left, *b = right;
	int r = strcmp(a->queue, b->queue);

	return r ? r : strcmp(a->connection, b->connection);
}

// Rows are sorted by their connection, of which each may have several.
static void connection_name(struct rabbitmq_clients *list, const char *connection, const char *name)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(list->rows[middle].connection, connection) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < list->count && strcmp(list->rows[low].connection, connection) == 0; ++low)
		if (!list->rows[low].name)
			list->rows[low].name = name_copy(name);
}

void rabbitmq_facts_clients_named(const json_t *connections, struct rabbitmq_clients *list)
{
	const json_t *item;
	size_t i;

	if (!list->count)
		return;
	qsort(list->rows, list->count, sizeof *list->rows, connections_compare);
	json_array_foreach(connections, i, item)
	{
		const char *connection = text_of(item, "name"),
			   *name = text_of(item, "user_provided_name");

		if (connection && name)
			connection_name(list, connection, name);
	}
	qsort(list->rows, list->count, sizeof *list->rows, clients_compare);
}

void rabbitmq_facts_clients_free(struct rabbitmq_clients *list)
{
	for (size_t i = 0; i < list->count; ++i)
		client_free(&list->rows[i]);
	free(list->rows);
	*list = (struct rabbitmq_clients){0};
}
