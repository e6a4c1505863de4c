// Lists what lies in the vhost already: exchanges as topics, queues as groups, and by the bindings
// which queue belongs to which exchange. Only the management API lists them.
//
// Left out is what the broker has for itself, internal exchanges, and what we make beside topics
// and groups. What it does not do: import anything; the registry does.

#include "adapters/rabbitmq/admin/existing.h"

#include "adapters/rabbitmq/ask/names.h"
#include "adapters/rabbitmq/manage/manage.h"
#include "adapters/request.h"
#include "core/model/name.h"

#include <stdio.h>

struct listing {
	struct adapter *adapter;
	struct request base;
	struct rabbitmq_manage_ask manage;
	struct rabbitmq_exchanges exchanges;
	struct rabbitmq_queues queues;
	struct rabbitmq_bindings bindings;
	struct rabbitmq_clients clients;
	bool clients_known;
	struct existing_client *client_rows; // in the order of `clients`
	struct existing_topic *topics;
	struct existing_group *groups;
	const char **names; // of the groups' topics, one list behind the other
	size_t topic_count, group_count;
};

static void listing_end(struct listing *listing, enum code code, const char *text)
{
	struct adapter_answer answer = {.kind = ANSWER_EXISTING,
					.existing = {listing->topics, listing->topic_count,
						     listing->groups, listing->group_count}};

	request_end(&listing->base, code, &answer, text);
	rabbitmq_facts_exchanges_free(&listing->exchanges);
	rabbitmq_facts_queues_free(&listing->queues);
	rabbitmq_facts_bindings_free(&listing->bindings);
	rabbitmq_facts_clients_free(&listing->clients);
	free(listing->client_rows);
	free(listing->topics);
	free(listing->groups);
	free(listing->names);
	free(listing);
}

static bool is_ours(const char *name)
{
	return name_is_probe(name, strlen(name)) || rabbitmq_name_is_beside(name);
}

static void topics_add(struct listing *listing)
{
	for (size_t i = 0; i < listing->exchanges.count; ++i) {
		const char *name = listing->exchanges.rows[i].name;

		if (!is_ours(name))
			listing->topics[listing->topic_count++] = (struct existing_topic){
				.name = name, .partitions = 1, .replication = 1};
	}
}

static int bindings_compare(const void *left, const void *right)
{
	const struct rabbitmq_binding_row *a = left, *b = right;
	int r = strcmp(a->queue, b->queue);

	return r ? r : strcmp(a->exchange, b->exchange);
}

// Those of one queue lie together, as they are sorted. *at: the first of this queue or a later one.
static void clients_add(const struct listing *listing, struct existing_group *group, size_t *at)
{
	const struct rabbitmq_clients *clients = &listing->clients;
	size_t first;

	if (!listing->clients_known)
		return;
	while (*at < clients->count && strcmp(clients->rows[*at].queue, group->name) < 0)
		++*at;
	for (first = *at;
	     *at < clients->count && strcmp(clients->rows[*at].queue, group->name) == 0; ++*at)
		listing->client_rows[*at] =
			(struct existing_client){.connection = clients->rows[*at].connection,
						 .user = clients->rows[*at].user,
						 .consumer = clients->rows[*at].tag,
						 .name = clients->rows[*at].name};
	group->clients = &listing->client_rows[first];
	group->client_count = *at - first;
}

// Bindings and queues are sorted by the queue. An exchange that is bound twice is named once.
static void groups_add(struct listing *listing)
{
	const struct rabbitmq_bindings *bindings = &listing->bindings;
	size_t at = 0, used = 0, client = 0;

	for (size_t i = 0; i < listing->queues.count; ++i) {
		const struct rabbitmq_queue_row *row = &listing->queues.rows[i];
		const char **names = &listing->names[used], *last = "";
		size_t count = 0;

		while (at < bindings->count && strcmp(bindings->rows[at].queue, row->name) < 0)
			++at;
		for (; at < bindings->count && strcmp(bindings->rows[at].queue, row->name) == 0;
		     ++at) {
			if (strcmp(bindings->rows[at].exchange, last) != 0)
				names[count++] = bindings->rows[at].exchange;
			last = bindings->rows[at].exchange;
		}
		if (is_ours(row->name))
			continue;
		used += count;
		listing->groups[listing->group_count] =
			(struct existing_group){.name = row->name,
						.state = row->consumers ? "consumed" : "idle",
						.members = row->consumers,
						.topics = names,
						.topic_count = count};
		clients_add(listing, &listing->groups[listing->group_count++], &client);
	}
}

static void on_thread(struct rabbitmq_manage_ask *ask)
{
	struct listing *listing = CONTAINER_OF(ask, struct listing, manage);
	struct adapter *adapter = listing->adapter;
	char error[320], text[512];

	if (rabbitmq_manage_exchanges(adapter, &listing->exchanges, error) < 0 ||
	    rabbitmq_manage_queues(adapter, &listing->queues, error) < 0 ||
	    rabbitmq_manage_bindings(adapter, &listing->bindings, error) < 0) {
		snprintf(text, sizeof text, "cluster %s: %s", adapter->cluster, error);
		listing_end(listing, CODE_BACKEND_DOWN, text);
		return;
	}
	// Without it the rest is told all the same.
	listing->clients_known = rabbitmq_manage_clients(adapter, &listing->clients, error) == 0;
	listing->client_rows = calloc(listing->clients.count + 1, sizeof *listing->client_rows);
	listing->topics = calloc(listing->exchanges.count + 1, sizeof *listing->topics);
	listing->groups = calloc(listing->queues.count + 1, sizeof *listing->groups);
	listing->names = calloc(listing->bindings.count + 1, sizeof *listing->names);
	if (!listing->client_rows || !listing->topics || !listing->groups || !listing->names) {
		listing_end(listing, CODE_OVERLOADED, NULL);
		return;
	}
	if (listing->bindings.count)
		qsort(listing->bindings.rows, listing->bindings.count,
		      sizeof *listing->bindings.rows, bindings_compare);
	topics_add(listing);
	groups_add(listing);
	listing_end(listing, CODE_OK, NULL);
}

void rabbitmq_existing_list(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done,
			    void *ctx)
{
	struct request base = {.answer_done = done, .ctx = ctx};
	struct listing *listing;

	if (!adapter->manage) {
		done(ctx, CODE_UNSUPPORTED_BY_BACKEND, NULL,
		     "only the management API lists exchanges and queues, and "
		     "options.management is not set");
		return;
	}
	listing = calloc(1, sizeof *listing);
	if (!listing) {
		request_answer(&base, CODE_OVERLOADED, NULL);
		return;
	}
	request_hold(&base, &listing->base);
	listing->adapter = adapter;
	listing->manage = (struct rabbitmq_manage_ask){.adapter = adapter, .done = on_thread};
	rabbitmq_manage_post(&listing->manage);
}
