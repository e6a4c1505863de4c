// Looks up the addresses of a host without stopping the I/O.
//
// getaddrinfo() may take seconds, so a name gets a short-lived thread, which posts its answer like
// any other work. Numeric addresses are answered at once.
//
// Invariant: the thread or, after a post, the I/O frees the look-up; a caller that gives up only
// marks it as abandoned. The thread holds a reference to the client. It caches nothing.

#include "sdk/c/src/resolve.h"

#include "core/base/util.h"
#include "sdk/c/src/client.h"

#include <errno.h>

struct resolve {
	struct work work;
	struct mqp_client *client; // referenced
	resolve_fn done;
	void *ctx;
	struct addrinfo *infos;
	int error;
	bool abandoned; // under client->lock
	char host[ADDRESS_HOST_SIZE];
	char port[8];
};

static void resolve_free(struct resolve *resolve)
{
	if (resolve->infos)
		freeaddrinfo(resolve->infos);
	client_unref(resolve->client);
	free(resolve);
}

static int look_up(const char *host, const char *port, int flags, struct addrinfo **ret)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = flags | AI_NUMERICSERV,
	};

	return getaddrinfo(host, port, &hints, ret);
}

static void resolve_run(struct work *work, uint64_t now_ns)
{
	struct resolve *resolve = CONTAINER_OF(work, struct resolve, work);
	struct addrinfo *infos = resolve->infos;

	if (!resolve->abandoned) {
		resolve->infos = NULL;
		resolve->done(resolve->ctx, infos, infos ? NULL : gai_strerror(resolve->error));
	}
	resolve_free(resolve);
}

static void *resolve_thread(void *arg)
{
	struct resolve *resolve = arg;
	struct mqp_client *client = resolve->client;
	bool abandoned;

	resolve->error = look_up(resolve->host, resolve->port, AI_ADDRCONFIG, &resolve->infos);
	// Under the lock, so that what is not abandoned is posted before the client can end.
	pthread_mutex_lock(&client->lock);
	abandoned = resolve->abandoned;
	if (!abandoned)
		client_post(client, &resolve->work);
	pthread_mutex_unlock(&client->lock);
	if (abandoned)
		resolve_free(resolve);
	return NULL;
}

static int resolve_spawn(struct resolve *resolve)
{
	pthread_t thread;
	int r = client_thread_start(&thread, resolve_thread, resolve);

	if (r == 0)
		pthread_detach(thread);
	return r;
}

int resolve_start(struct mqp_client *client, const char *host, const char *port, resolve_fn done,
		  void *ctx, struct resolve **ret_resolve)
{
	struct addrinfo *infos;
	struct resolve *resolve;
	int r;

	*ret_resolve = NULL;
	if (look_up(host, port, AI_NUMERICHOST, &infos) == 0) {
		done(ctx, infos, NULL);
		return 0;
	}
	resolve = calloc(1, sizeof *resolve);
	if (!resolve)
		return -ENOMEM;
	resolve->client = client_ref(client);
	resolve->done = done;
	resolve->ctx = ctx;
	resolve->work.run = resolve_run;
	strncpy(resolve->host, host, sizeof resolve->host - 1);
	strncpy(resolve->port, port, sizeof resolve->port - 1);
	*ret_resolve = resolve;
	r = resolve_spawn(resolve);
	if (r < 0) {
		*ret_resolve = NULL;
		resolve_free(resolve);
	}
	return r;
}

// The lock decides between the two: either the thread sees the flag and frees, or the look-up is
// posted and the I/O frees it without calling `done`.
void resolve_abandon(struct resolve *resolve)
{
	struct mqp_client *client;

	if (!resolve)
		return;
	client = resolve->client;
	pthread_mutex_lock(&client->lock);
	resolve->abandoned = true;
	pthread_mutex_unlock(&client->lock);
}
