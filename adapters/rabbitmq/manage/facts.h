// What the management API tells, read from its JSON. Pure but for memory: nothing that it says is
// trusted, and what is missing or of another type is not known.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RABBITMQ_FACTS_VALUES (128u * 1024) // of one answer; each costs memory many times its text
#define RABBITMQ_FACTS_ROWS   100000u       // of one list; more is not kept
#define RABBITMQ_FACTS_PAGE   500

// NULL: no JSON, or more values than that. `size` is bounded by the caller.
json_t *rabbitmq_facts_parse(const char *data, size_t size);

// "3.10.8" from the overview; "" when it does not say.
void rabbitmq_facts_version(const json_t *overview, char *room, size_t size);
unsigned rabbitmq_facts_major(const char *version);

struct rabbitmq_nodes {
	uint32_t count, running;
	char alarm[200]; // in words: which node has which alarm, or does not run; "": none
};
bool rabbitmq_facts_nodes(const json_t *nodes, struct rabbitmq_nodes *ret);

struct rabbitmq_queue_row {
	char *name;
	char policy[64];          // that it has, or the operator's; "": none
	uint64_t messages, bytes; // UINT64_MAX: not known
	uint32_t consumers;
	uint32_t dangers;     // bits of danger.h, by policies
	uint32_t arguments;   // and by its own arguments
	bool quorum, limited; // limited: a quorum queue with the limit of deliveries that 4.0 has
			      // for those that name none
};

struct rabbitmq_exchange_row {
	char *name;
	char kind[32];
};

struct rabbitmq_binding_row {
	char *exchange, *queue;
};

// A client that consumes.
struct rabbitmq_client_row {
	char *queue, *connection, *user, *tag;
	char *name; // that the client has given to its connection; NULL: none
};

// Lists of pages. Zero is an empty one.
struct rabbitmq_queues {
	struct rabbitmq_queue_row *rows; // sorted by name behind rabbitmq_facts_sort()
	size_t count, room;
};
struct rabbitmq_exchanges {
	struct rabbitmq_exchange_row *rows;
	size_t count, room;
};
struct rabbitmq_bindings {
	struct rabbitmq_binding_row *rows;
	size_t count, room;
};
struct rabbitmq_clients {
	struct rabbitmq_client_row *rows; // sorted by queue behind rabbitmq_facts_clients_named()
	size_t count, room;
};

// Adds the rows of a page; *ret_pages: how many there are. -EINVAL: it is no page; -ENOMEM;
// -E2BIG: too many rows. Exchanges without the default one, the broker's own and internal ones.
int rabbitmq_facts_queues(const json_t *page, unsigned major, struct rabbitmq_queues *list,
			  uint32_t *ret_pages);
int rabbitmq_facts_exchanges(const json_t *page, struct rabbitmq_exchanges *list,
			     uint32_t *ret_pages);
// Not in pages: the bindings of queues, but for those of the default exchange.
int rabbitmq_facts_bindings(const json_t *bindings, struct rabbitmq_bindings *list);
void rabbitmq_facts_sort(struct rabbitmq_queues *list);
const struct rabbitmq_queue_row *rabbitmq_facts_find(const struct rabbitmq_queues *list,
						     const char *name); // NULL: not there
void rabbitmq_facts_queues_free(struct rabbitmq_queues *list);
// Of the list of consumers. -EINVAL, -ENOMEM.
int rabbitmq_facts_clients(const json_t *consumers, struct rabbitmq_clients *list);
// Adds the names that the list of connections has, and sorts. `connections` may be NULL.
void rabbitmq_facts_clients_named(const json_t *connections, struct rabbitmq_clients *list);
void rabbitmq_facts_clients_free(struct rabbitmq_clients *list);
void rabbitmq_facts_exchanges_free(struct rabbitmq_exchanges *list);
void rabbitmq_facts_bindings_free(struct rabbitmq_bindings *list);
