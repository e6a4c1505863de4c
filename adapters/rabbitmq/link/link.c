// A link: one connection to a cluster with a loop of its own.
//
// What its files do: redial.c connects and connects again, login.c logs in, round.c reads and
// writes in the loop's rounds, dispatch.c hands out what comes, channel.c keeps the channels;
// connection.c, socket.c and tls.c are the stream; frame.c is its format, error.c its failures in
// words. This file starts and stops it all.
//
// A connection that is being made is another thread's (redial.c), else it is the loop's. Other
// threads may do three things besides: stop the link, ask for the broker's version, and cut
// the stream when the link has been inside a send for too long. Nothing else is shared; the options
// do not change.
//
// Stopping cuts a connection that is being made, and after PATIENCE_NS also one that is inside a
// send.

#include "adapters/rabbitmq/link/link.h"

#include "adapters/rabbitmq/link/link_state.h"
#include "adapters/rabbitmq/link/redial.h"
#include "adapters/rabbitmq/link/round.h"
#include "core/base/clock.h"

#include <errno.h>
#include <time.h>

#define PATIENCE_S 2

static void start(struct loop_task *task)
{
	rabbitmq_redial_begin(CONTAINER_OF(task, struct rabbitmq_link, start));
}

static void stop(struct loop_task *task)
{
	struct rabbitmq_link *link = CONTAINER_OF(task, struct rabbitmq_link, stop);

	rabbitmq_redial_end(link);
	sem_post(&link->stopped);
}

static void link_free(struct rabbitmq_link *link)
{
	if (!link)
		return;
	loop_free(link->loop); // runs what was posted to it
	rabbitmq_connection_deinit(&link->connection);
	assert(link->channel_count == 0);
	pthread_mutex_destroy(&link->lock);
	sem_destroy(&link->stopped);
	free(link->cluster);
	free(link->name);
	free(link);
}

static int link_new(const struct rabbitmq_link_config *config, struct rabbitmq_link **ret)
{
	struct rabbitmq_link *link = calloc(1, sizeof *link);
	int r;

	if (!link)
		return -ENOMEM;
	link->config = *config;
	list_init(&link->waiting);
	list_init(&link->active);
	list_init(&link->ending);
	pthread_mutex_init(&link->lock, NULL);
	sem_init(&link->stopped, 0, 0);
	link->cluster = strdup(config->cluster);
	link->name = strdup(config->name);
	r = rabbitmq_connection_init(&link->connection);
	if (r == 0)
		r = link->cluster && link->name ? loop_new(config->name, &link->loop) : -ENOMEM;
	if (r < 0) {
		link_free(link);
		return r;
	}
	rabbitmq_round_init(link);
	rabbitmq_redial_init(link);
	link->start.fn = start;
	link->stop.fn = stop;
	*ret = link;
	return 0;
}

int rabbitmq_link_start(const struct rabbitmq_link_config *config, struct rabbitmq_link **ret)
{
	struct rabbitmq_link *link;
	int r = link_new(config, &link);

	if (r < 0)
		return r;
	r = loop_thread_start(&link->thread, link->loop);
	if (r < 0) {
		link_free(link);
		return r;
	}
	*ret = link; // what is called from the loop may use it
	loop_post(link->loop, &link->start);
	return 0;
}

void rabbitmq_link_stop(struct rabbitmq_link *link)
{
	struct timespec until;

	if (!link)
		return;
	__atomic_store_n(&link->stopping, true, __ATOMIC_RELEASE);
	if (!__atomic_load_n(&link->is_up, __ATOMIC_ACQUIRE))
		rabbitmq_socket_cut(&link->connection.socket, true);
	loop_post(link->loop, &link->stop);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	while (sem_timedwait(&link->stopped, &until) < 0)
		if (errno == ETIMEDOUT) {
			rabbitmq_socket_cut(&link->connection.socket, true);
			until.tv_sec += PATIENCE_S;
		}
	loop_thread_drain(&link->thread);
	loop_thread_stop(&link->thread);
	link_free(link);
}

struct loop *rabbitmq_link_loop(struct rabbitmq_link *link)
{
	return link->loop;
}

void rabbitmq_link_watch(struct rabbitmq_link *link, uint64_t now_ns, uint64_t limit_ns)
{
	uint64_t stuck_ns = __atomic_load_n(&link->connection.stuck_ns, __ATOMIC_RELAXED);

	if (__atomic_load_n(&link->is_blocked, __ATOMIC_RELAXED))
		return; // the broker has said that it does not read; its heartbeats go on
	if (stuck_ns && now_ns > stuck_ns && now_ns - stuck_ns > limit_ns)
		rabbitmq_socket_cut(&link->connection.socket, false);
}

bool rabbitmq_link_is_up(const struct rabbitmq_link *link)
{
	return link->is_up;
}

bool rabbitmq_link_is_blocked(const struct rabbitmq_link *link)
{
	return link->is_blocked;
}

void rabbitmq_link_version(struct rabbitmq_link *link, char *room, size_t size)
{
	if (size == 0)
		return;
	pthread_mutex_lock(&link->lock);
	room[0] = '\0';
	strncat(room, link->version, size - 1);
	pthread_mutex_unlock(&link->lock);
}

uint32_t rabbitmq_link_frame_bytes(const struct rabbitmq_link *link)
{
	return link->is_up ? link->connection.frame_max : 0;
}
