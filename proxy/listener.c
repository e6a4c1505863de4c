// Accepts connections for a worker.
//
// Each worker accepts on its own descriptor of an address; the kernel spreads connections over
// them. When the process has no descriptor left, a spare one is given up for a moment to accept and
// close the waiting connection (a refusal is better for a client than no answer), and accepting
// pauses.

#include "proxy/listener.h"

#include "core/base/log.h"
#include "proxy/client/clients.h"
#include "proxy/client/conn.h"
#include "proxy/client/native/native.h"
#include "proxy/client/socket_address.h"
#include "proxy/proxy.h"
#include "proxy/resource/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

#define BACKLOG    1024
#define PAUSE_NS   (200 * MS_NS)
#define ACCEPT_MAX 64 // in a round

static int spare_fd = -1; // atomic; one for all workers

static void set_error(char **ret_error, const char *address, const char *what, int error)
{
	if (asprintf(ret_error, "%s: %s: %s", address, what, strerror(error)) < 0)
		*ret_error = NULL;
}

static int open_socket(const struct sockaddr_storage *address, socklen_t size, bool share)
{
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1,
	    r;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if ((share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) ||
	    bind(fd, (const struct sockaddr *)address, size) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

// Is the port free? A descriptor that is not listening conflicts with one that is.
static int probe_port(struct sockaddr_storage *address, socklen_t size)
{
	int fd = open_socket(address, size, false), r = 0;

	if (fd < 0)
		return fd;
	if (listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)address, &(socklen_t){sizeof *address}) < 0)
		r = -errno;
	close(fd);
	return r;
}

int listener_bind(struct bound_listener *bound, const struct proxy_listener_config *config,
		  unsigned workers, char **ret_error)
{
	struct sockaddr_storage address;
	char text[SOCKET_ADDRESS_TEXT_MAX];
	socklen_t size;
	int r = socket_address_parse(config->address, &address, &size);

	for (unsigned i = 0; i < WORKER_MAX; ++i)
		bound->fds[i] = -1;
	if (r < 0) {
		if (asprintf(ret_error, "%s: not an address of the form host:port",
			     config->address) < 0)
			*ret_error = NULL;
		return r;
	}
	r = probe_port(&address, size);
	if (r < 0) {
		set_error(ret_error, config->address, "cannot listen", -r);
		return r;
	}
	for (unsigned i = 0; i < workers; ++i) {
		r = open_socket(&address, size, true);
		if (r >= 0) {
			bound->fds[i] = r;
			r = listen(r, BACKLOG) < 0 ? -errno : 0;
		}
		if (r < 0) {
			set_error(ret_error, config->address, "cannot listen", -r);
			listener_unbind(bound);
			return r;
		}
	}
	socket_address_text((const struct sockaddr *)&address, text);
	bound->address = strdup(text);
	bound->advertised = strdup(config->advertised ? config->advertised : text);
	return bound->address && bound->advertised ? 0 : -ENOMEM;
}

void listener_unbind(struct bound_listener *bound)
{
	for (unsigned i = 0; i < WORKER_MAX; ++i) {
		if (bound->fds[i] >= 0)
			close(bound->fds[i]);
		bound->fds[i] = -1;
	}
	free(bound->address);
	free(bound->advertised);
	bound->address = NULL;
	bound->advertised = NULL;
}

// ---- accepting

static void refuse_one(int listening)
{
	int spare = __atomic_exchange_n(&spare_fd, -1, __ATOMIC_ACQ_REL), fd;

	if (spare < 0)
		return; // another worker is at it
	close(spare);
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	__atomic_store_n(&spare_fd, open("/dev/null", O_RDONLY | O_CLOEXEC), __ATOMIC_RELEASE);
}

static void pause_accepting(struct listener *listener, int error)
{
	log_warn(NULL, "ACCEPT", "accepting pauses: %s", strerror(error));
	if (error == EMFILE || error == ENFILE)
		refuse_one(listener->fd);
	loop_io_want(&listener->io, 0);
	loop_timer_set(&listener->pause, loop_now_ns(listener->worker->loop) + PAUSE_NS);
}

static void on_pause_over(struct loop_timer *timer)
{
	struct listener *listener = CONTAINER_OF(timer, struct listener, pause);

	loop_io_want(&listener->io, LOOP_READ);
}

static bool has_room(struct worker *worker, const struct sockaddr *peer)
{
	if (budget_is_full(&worker->shared->budget))
		return false;
	return worker->clients->peer_shares.count < worker->limits.unauthenticated ||
	       conn_give_way(worker, peer);
}

static void take_connection(struct worker *worker, int fd, const struct sockaddr *peer)
{
	char text[SOCKET_ADDRESS_TEXT_MAX];
	int on = 1;

	if (!has_room(worker, peer)) {
		close(fd);
		socket_address_text(peer, text);
		refusals_turned_away(&worker->clients->refusals, text);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	conn_new(worker, &native_conn_ops, fd, peer);
}

static void on_acceptable(struct loop_io *io, unsigned events)
{
	static const struct sockaddr unknown = {.sa_family = AF_UNSPEC};
	struct listener *listener = CONTAINER_OF(io, struct listener, io);

	for (unsigned i = 0; i < ACCEPT_MAX; ++i) {
		struct sockaddr_storage peer = {0};
		socklen_t size = sizeof peer;
		int fd = accept4(listener->fd, (struct sockaddr *)&peer, &size,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			take_connection(listener->worker, fd, (const struct sockaddr *)&peer);
			continue;
		}
		// A descriptor of one that is not authenticated is better used for the newcomer.
		if (errno == EMFILE && conn_give_way(listener->worker, &unknown))
			continue;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(listener, errno);
		return; // EAGAIN, or a client that has gone already
	}
}

int listeners_open(struct listeners *listeners, struct worker *worker, struct bound_listener *bound,
		   size_t count)
{
	int expected = -1, fd = open("/dev/null", O_RDONLY | O_CLOEXEC), r = 0;

	if (!__atomic_compare_exchange_n(&spare_fd, &expected, fd, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED) &&
	    fd >= 0)
		close(fd);
	listeners->rows = calloc(MAX(count, 1), sizeof *listeners->rows);
	if (!listeners->rows)
		return -ENOMEM;
	for (size_t i = 0; i < count && r == 0; ++i) {
		struct listener *listener = &listeners->rows[i];

		listener->worker = worker;
		listener->fd = bound[i].fds[worker->index];
		bound[i].fds[worker->index] = -1;
		loop_timer_init(&listener->pause, worker->loop, on_pause_over);
		++listeners->count;
		r = loop_io_init(&listener->io, worker->loop, listener->fd, on_acceptable);
		if (r == 0)
			r = loop_io_want(&listener->io, LOOP_READ);
	}
	return r;
}

void listeners_close(struct listeners *listeners)
{
	for (size_t i = 0; i < listeners->count; ++i) {
		struct listener *listener = &listeners->rows[i];

		loop_timer_cancel(&listener->pause);
		loop_io_deinit(&listener->io);
		close(listener->fd);
	}
	free(listeners->rows);
	*listeners = (struct listeners){0};
}
