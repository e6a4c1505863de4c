// Changes the credentials of a client while it is connected.
//
// A second connection is made and authenticated with what the credentials file says now. Only when
// the service has accepted it does the client use the new values and leave the first connection, as
// if its proxy had asked for that. Until then the old values stay in use, for reconnecting too: a
// file with a wrong secret costs nothing but attempts.
//
// Invariants: client->settings.use was accepted at least once, or no credentials ever were; `link`
// is on client->links and is not client->link.
//
// Not here: noticing that the file has changed (client.c), what a connection does (link.c).

#include "sdk/c/src/rotation.h"

#include "core/base/util.h"
#include "sdk/c/src/client.h"
#include "sdk/c/src/handshake.h"

static void rotation_connect(struct mqp_client *client);

static void rotation_fire(struct timer *timer, uint64_t now_ns)
{
	rotation_connect(CONTAINER_OF(timer, struct mqp_client, rotation.timer));
}

void rotation_init(struct rotation *rotation)
{
	rotation->timer.fire = rotation_fire;
}

void rotation_deinit(struct rotation *rotation)
{
	explicit_bzero(&rotation->fresh, sizeof rotation->fresh);
	explicit_bzero(&rotation->scram, sizeof rotation->scram);
}

bool rotation_owns(const struct mqp_client *client, const struct link *link)
{
	return client->rotation.link == link;
}

const struct credentials *rotation_credentials(const struct mqp_client *client,
					       const struct link *link)
{
	return rotation_owns(client, link) ? &client->rotation.fresh : &client->settings.use;
}

struct addresses *rotation_addresses(struct mqp_client *client, const struct link *link)
{
	return rotation_owns(client, link) ? &client->rotation.addresses : &client->addresses;
}

struct scram_cache *rotation_scram(struct mqp_client *client, const struct link *link)
{
	return rotation_owns(client, link) ? &client->rotation.scram : &client->scram;
}

// Closes the connection that is being tried, if there is one.
static void rotation_stop(struct mqp_client *client)
{
	struct rotation *rotation = &client->rotation;
	struct link *link = rotation->link;

	timer_clear(&client->timers, &rotation->timer);
	rotation->wanted = false;
	rotation->link = NULL; // so that its end is not a failure
	if (link)
		link_close(link, MQP_CANCELLED, "the credentials have changed again");
	rotation_deinit(rotation);
}

static void rotation_retry(struct mqp_client *client)
{
	struct rotation *rotation = &client->rotation;
	uint32_t random = (uint32_t)(client->now_ns * 2654435761u >> 7);
	uint32_t wait_ms = addresses_failed(&rotation->addresses, random);

	if (timer_set(&client->timers, &rotation->timer, client->now_ns + wait_ms * MS_NS) < 0)
		client_log(client, MQP_LOG_ERROR, "no memory for a timer");
}

static void rotation_connect(struct mqp_client *client)
{
	struct rotation *rotation = &client->rotation;

	if (!rotation->wanted || rotation->link || atomic_load(&client->stop))
		return;
	if (link_new(client, addresses_next(&rotation->addresses, NULL), &rotation->link) < 0) {
		rotation->link = NULL;
		rotation_retry(client);
		return;
	}
	handshake_start(rotation->link);
}

void rotation_start(struct mqp_client *client, const struct credentials *fresh)
{
	struct rotation *rotation = &client->rotation;

	rotation_stop(client);
	if (settings_credentials_same(fresh, &client->settings.use))
		return;
	rotation->fresh = *fresh;
	addresses_configure(&rotation->addresses, fresh->addresses);
	rotation->wanted = true;
	rotation_connect(client);
}

// The new link takes the place of the one in use before that one is told to leave: its streams then
// open on the new link at once.
void rotation_ready(struct mqp_client *client)
{
	struct rotation *rotation = &client->rotation;
	struct link *before = client->link, *link = rotation->link;

	client->settings.use = rotation->fresh;
	client->addresses = rotation->addresses;
	client->scram = rotation->scram;
	rotation->link = NULL;
	rotation_stop(client);
	client_log(client, MQP_LOG_INFO, "the new credentials are accepted and in use");
	if (before && link_ready(before))
		link_leave(before);
	else if (before)
		link_close(before, MQP_CANCELLED, "the credentials have changed");
	timer_clear(&client->timers, &client->connect_timer);
	client->avoiding = false;
	client->link = link;
}

void rotation_failed(struct mqp_client *client, enum mqp_code code)
{
	struct rotation *rotation = &client->rotation;

	rotation->link = NULL;
	client_count(client, MQP_STAT_CONNECT_FAILURES, 1);
	if (rotation->addresses.failures == 0)
		client_log(client, MQP_LOG_WARN,
			   "the new credentials do not work (%s): the old ones stay in use, the "
			   "new ones are tried again",
			   mqp_code_name(code));
	rotation_retry(client);
}
