// A client: its rounds of I/O, its connections, and the producers and consumers that use them.
//
// One round of I/O is: wait for descriptors, hand events to links, run what other threads posted,
// run timers, write what all of it gathered. MQP_IO_THREAD runs rounds in a thread until it is
// stopped. MQP_IO_APP runs one inside mqp_client_process(), and inside calls that wait.
//
// A client has one link in use, and any number that are left (GOAWAY, changed credentials) and end
// by themselves. It connects from the start until it is freed, whether or not it has members.
//
// Invariants: links, timers and addresses are touched inside rounds only, and rounds of a client
// never overlap. client->lock guards the status and the list of members. Nothing here knows what a
// producer or consumer does: they are members with operations.

#include "sdk/c/src/client.h"

#include "core/base/clock.h"
#include "core/base/code.h"
#include "core/base/util.h"
#include "sdk/c/src/handshake.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#define EVENTS_MAX 32
#define RELOAD_NS  S_NS

// The client whose round this thread is in; and an address that tells threads apart.
static _Thread_local const struct mqp_client *round_client;
static _Thread_local char thread_mark;

// ---- Small services --------------------------------------------------------------------------

void client_count(struct mqp_client *client, enum mqp_stat stat, uint64_t add)
{
	atomic_fetch_add_explicit(&client->stats[stat], add, memory_order_relaxed);
}

void client_uncount(struct mqp_client *client, enum mqp_stat stat, uint64_t sub)
{
	atomic_fetch_sub_explicit(&client->stats[stat], sub, memory_order_relaxed);
}

void client_log(struct mqp_client *client, enum mqp_log_level level, const char *fmt, ...)
{
	static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
	const struct mqp_client_config *config = &client->settings.config;
	char line[1024];
	va_list args;

	if (level < config->log_level)
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof line, fmt, args);
	va_end(args);
	pthread_mutex_lock(&one_at_a_time);
	if (config->log)
		config->log(level, line, config->log_arg);
	else
		fprintf(stderr, "mqpaas: %s\n", line);
	pthread_mutex_unlock(&one_at_a_time);
}

uint64_t client_deadline(int timeout_ms)
{
	return timeout_ms < 0 ? UINT64_MAX : clock_now_ns() + (uint64_t)timeout_ms * MS_NS;
}

int client_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	int r;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	r = pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
	return -r;
}

// Writes to the descriptor only for the first post since the last read of it, and never from inside
// a round: that round runs posted work by itself.
static void client_wake(struct mqp_client *client)
{
	uint64_t one = 1;

	if (round_client == client || atomic_exchange(&client->woken, true))
		return;
	// A full counter would mean that the descriptor is readable already.
	while (write(client->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
		continue;
}

// A work that is queued already is not queued twice: it runs after this call in any case. May be
// called with any lock held; takes none.
void client_post(struct mqp_client *client, struct work *work)
{
	struct work *first;

	if (atomic_exchange(&work->queued, true))
		return;
	first = atomic_load(&client->posted);
	do {
		work->next = first;
	} while (!atomic_compare_exchange_weak(&client->posted, &first, work));
	client_wake(client);
}

// ---- Connecting ------------------------------------------------------------------------------

static void client_set_status(struct mqp_client *client, enum mqp_code status, bool connected,
			      const struct address *peer)
{
	pthread_mutex_lock(&client->lock);
	client->status = status;
	client->connected = connected;
	client->peer[0] = 0;
	if (peer)
		address_print(peer, client->peer, sizeof client->peer);
	atomic_store_explicit(&client->stats[MQP_STAT_CONNECTED], connected, memory_order_relaxed);
	pthread_cond_broadcast(&client->changed);
	pthread_mutex_unlock(&client->lock);
}

static void client_retry(struct mqp_client *client)
{
	uint32_t random = (uint32_t)(client->now_ns * 2654435761u >> 7);
	uint32_t wait_ms = addresses_failed(&client->addresses, random);

	timer_set(&client->timers, &client->connect_timer, client->now_ns + wait_ms * MS_NS);
}

static void client_connect(struct mqp_client *client)
{
	const struct address *address;

	if (client->link || atomic_load(&client->stop))
		return;
	address = addresses_next(&client->addresses, client->avoiding ? &client->avoid : NULL);
	if (link_new(client, address, &client->link) < 0) {
		client->link = NULL;
		client_retry(client);
		return;
	}
	handshake_start(client->link);
}

static void connect_timer_fire(struct timer *timer, uint64_t now_ns)
{
	client_connect(CONTAINER_OF(timer, struct mqp_client, connect_timer));
}

void client_link_ready(struct mqp_client *client, struct link *link)
{
	if (rotation_owns(client, link))
		rotation_ready(client);
	client->proven = true;
	addresses_succeeded(&client->addresses);
	client->avoiding = false;
	client_count(client, MQP_STAT_CONNECTS, 1);
	client_set_status(client, MQP_OK, true, link_address(link));
	LIST_FOREACH(node, next, &client->attached)
	{
		struct member *member = LIST_ENTRY(node, struct member, io_node);

		member->ops->link_ready(member, link);
	}
}

void client_link_leaving(struct mqp_client *client, struct link *link)
{
	if (client->link != link)
		return;
	client->link = NULL;
	client->avoid = *link_address(link);
	client->avoiding = true;
	client_set_status(client, MQP_TIMEOUT, false, NULL);
	timer_set(&client->timers, &client->connect_timer, client->now_ns);
}

void client_link_ended(struct mqp_client *client, struct link *link, enum mqp_code code)
{
	bool was_ready = client->connected;

	if (rotation_owns(client, link))
		rotation_failed(client, code);
	if (client->link != link)
		return;
	client->link = NULL;
	if (!was_ready)
		client_count(client, MQP_STAT_CONNECT_FAILURES, 1);
	client_set_status(client, code, false, NULL);
	client_retry(client);
}

void client_link_window(struct mqp_client *client)
{
	struct list turn = LIST_INIT(turn), *node;

	// Those that still find no room put themselves behind the others.
	while ((node = list_pop_front(&client->window_waiters)))
		list_push_back(&turn, node);
	while ((node = list_pop_front(&turn))) {
		struct window_wait *wait = LIST_ENTRY(node, struct window_wait, node);

		wait->resume(wait);
	}
}

// Takes credentials in the place of others that were never accepted.
static void client_begin_anew(struct mqp_client *client, const struct credentials *fresh)
{
	client->settings.use = *fresh;
	addresses_configure(&client->addresses, fresh->addresses);
	explicit_bzero(&client->scram, sizeof client->scram);
	if (client->link)
		link_close(client->link, MQP_CANCELLED, "the credentials have changed");
	timer_set(&client->timers, &client->connect_timer, client->now_ns);
}

static void reload_timer_fire(struct timer *timer, uint64_t now_ns)
{
	struct mqp_client *client = CONTAINER_OF(timer, struct mqp_client, reload_timer);
	struct credentials fresh;
	enum mqp_code code;

	timer_set(&client->timers, timer, now_ns + RELOAD_NS);
	if (!settings_file_changed(&client->settings))
		return;
	code = settings_reload(&client->settings, &fresh);
	if (code != MQP_OK) {
		client_log(client, MQP_LOG_WARN, "credentials file %s: %s; the old ones stay",
			   client->settings.config.credentials_file, mqp_strerror(code));
		return;
	}
	client_log(client, MQP_LOG_INFO, "credentials file %s was read again",
		   client->settings.config.credentials_file);
	if (client->proven)
		rotation_start(client, &fresh);
	else
		client_begin_anew(client, &fresh);
	explicit_bzero(&fresh, sizeof fresh);
}

// ---- Rounds ----------------------------------------------------------------------------------

static void client_run_posted(struct mqp_client *client)
{
	struct work *posted = atomic_exchange(&client->posted, NULL), *work, *first = NULL;

	// The stack holds the last one first.
	while ((work = posted)) {
		posted = work->next;
		work->next = first;
		first = work;
	}
	while ((work = first)) {
		first = work->next;
		// From here on it may be posted again, also by itself.
		atomic_store(&work->queued, false);
		work->run(work, client->now_ns);
	}
}

static uint64_t client_next_ns(struct mqp_client *client)
{
	uint64_t next_ns = timers_next_ns(&client->timers);

	if (atomic_load(&client->posted) || atomic_load(&client->stop))
		return 0;
	LIST_FOREACH(node, next, &client->links)
	next_ns = MIN(next_ns, link_next_ns(link_of(node)));
	return next_ns;
}

static int wait_of(uint64_t next_ns, uint64_t now_ns)
{
	if (next_ns == UINT64_MAX)
		return -1;
	if (next_ns <= now_ns)
		return 0;
	// Rounded up: waking early would only mean another round.
	return (int)MIN((next_ns - now_ns + MS_NS - 1) / MS_NS, 3600000u);
}

static void client_clock(struct mqp_client *client)
{
	client->now_ns = clock_now_ns();
	atomic_store_explicit(&client->wall_offset_ms,
			      clock_wall_ms() - (int64_t)(client->now_ns / MS_NS),
			      memory_order_relaxed);
}

static void client_events(struct mqp_client *client, const struct epoll_event *events, int count)
{
	uint64_t counter;

	for (int i = 0; i < count; ++i) {
		if (events[i].data.ptr) {
			link_event(events[i].data.ptr, events[i].events);
		} else {
			// Cleared first: a post after this writes again.
			if (read(client->wake_fd, &counter, sizeof counter) < 0)
				counter = 0;
			atomic_store(&client->woken, false);
		}
	}
}

static void client_links(struct mqp_client *client)
{
	LIST_FOREACH(node, next, &client->links)
	link_tick(link_of(node), client->now_ns);
	LIST_FOREACH(node, next, &client->links)
	link_flush(link_of(node));
	LIST_FOREACH(node, next, &client->links)
	{
		if (link_ended(link_of(node)))
			link_free(link_of(node));
	}
}

static void client_round(struct mqp_client *client, uint64_t until_ns)
{
	const struct mqp_client *outer = round_client;
	struct epoll_event events[EVENTS_MAX];
	uint64_t next_ns = MIN(client_next_ns(client), until_ns);
	int count;

	count = epoll_wait(client->epoll_fd, events, EVENTS_MAX,
			   next_ns == 0 ? 0 : wait_of(next_ns, clock_now_ns()));
	round_client = client;
	client_clock(client);
	client_events(client, events, count);
	client_run_posted(client);
	timers_run(&client->timers, client->now_ns);
	client_links(client);
	round_client = outer;
}

static void *client_thread(void *arg)
{
	struct mqp_client *client = arg;

	while (!atomic_load(&client->stop))
		client_round(client, UINT64_MAX);
	return NULL;
}

int client_thread_start(pthread_t *ret_thread, void *(*run)(void *), void *arg)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(ret_thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

// ---- Waiting ---------------------------------------------------------------------------------

static bool client_is_app(const struct mqp_client *client)
{
	return client->settings.config.io == MQP_IO_APP;
}

bool client_blocked(const struct mqp_client *client)
{
	return round_client == client;
}

bool client_pumps(struct mqp_client *client)
{
	uintptr_t loop_thread = atomic_load(&client->loop_thread);

	return client_is_app(client) &&
	       (loop_thread == 0 || loop_thread == (uintptr_t)&thread_mark);
}

static void timespec_of(uint64_t ns, struct timespec *ret)
{
	ret->tv_sec = (time_t)(ns / S_NS);
	ret->tv_nsec = (long)(ns % S_NS);
}

static bool client_pump_until(struct mqp_client *client, pthread_mutex_t *lock, client_done_fn done,
			      void *ctx, uint64_t deadline_ns)
{
	// One round even when there is no time: else a caller that never waits would never get on.
	for (bool ran = false;; ran = true) {
		bool is_done;

		pthread_mutex_lock(lock);
		is_done = done(ctx);
		pthread_mutex_unlock(lock);
		if (is_done || (ran && clock_now_ns() >= deadline_ns))
			return is_done;
		client_round(client, deadline_ns);
	}
}

// Waits until done(ctx), which is called with `lock` held. A thread that runs the application's
// loop runs rounds meanwhile; any other thread waits for `changed`. Returns what done() said last.
bool client_wait(struct mqp_client *client, pthread_mutex_t *lock, pthread_cond_t *changed,
		 client_done_fn done, void *ctx, uint64_t deadline_ns)
{
	struct timespec until;
	bool is_done;

	if (client_pumps(client))
		return client_pump_until(client, lock, done, ctx, deadline_ns);
	// Past the range of time_t there is no deadline.
	timespec_of(MIN(deadline_ns, UINT64_MAX / 2), &until);
	pthread_mutex_lock(lock);
	while (!(is_done = done(ctx)))
		if (pthread_cond_timedwait(changed, lock, &until) == ETIMEDOUT) {
			is_done = done(ctx);
			break;
		}
	pthread_mutex_unlock(lock);
	return is_done;
}

// ---- Members ---------------------------------------------------------------------------------

int client_join(struct mqp_client *client, struct member *member)
{
	int r = -ESHUTDOWN;

	list_init(&member->node);
	list_init(&member->io_node);
	pthread_mutex_lock(&client->lock);
	if (!client->closing) {
		list_push_back(&client->members, &member->node);
		client_post(client, &member->work);
		r = 0;
	}
	pthread_mutex_unlock(&client->lock);
	return r;
}

void client_part(struct mqp_client *client, struct member *member)
{
	pthread_mutex_lock(&client->lock);
	list_unlink(&member->node);
	pthread_mutex_unlock(&client->lock);
}

// ---- Life ------------------------------------------------------------------------------------

struct mqp_client *client_ref(struct mqp_client *client)
{
	atomic_fetch_add(&client->refs, 1);
	return client;
}

// The last reference may go on any thread, so nothing here needs the I/O: links and timers ended
// when the client left (leaving_run()).
void client_unref(struct mqp_client *client)
{
	if (!client || atomic_fetch_sub(&client->refs, 1) != 1)
		return;
	if (client->epoll_fd >= 0)
		close(client->epoll_fd);
	if (client->wake_fd >= 0)
		close(client->wake_fd);
	SSL_CTX_free(client->tls);
	explicit_bzero(&client->scram, sizeof client->scram);
	rotation_deinit(&client->rotation);
	timers_deinit(&client->timers);
	settings_deinit(&client->settings);
	pthread_cond_destroy(&client->changed);
	pthread_mutex_destroy(&client->lock);
	free(client);
}

static int client_open_fds(struct mqp_client *client)
{
	struct epoll_event wake = {.events = EPOLLIN};

	client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	client->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (client->epoll_fd < 0 || client->wake_fd < 0 ||
	    epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, client->wake_fd, &wake) < 0)
		return -errno;
	return 0;
}

static int client_set_timers(struct mqp_client *client)
{
	uint64_t now_ns = clock_now_ns();

	client->connect_timer.fire = connect_timer_fire;
	client->reload_timer.fire = reload_timer_fire;
	if (timer_set(&client->timers, &client->connect_timer, now_ns) < 0)
		return -ENOMEM;
	if (client->settings.config.credentials_file)
		return timer_set(&client->timers, &client->reload_timer, now_ns + RELOAD_NS);
	return 0;
}

int client_load_tls(struct mqp_client *client)
{
	const struct mqp_client_config *config = &client->settings.config;
	char problem[256];

	if (client->tls)
		return 0;
	if (tls_client_new(config->tls_ca_file, config->tls_cert_file, config->tls_key_file,
			   &client->tls, problem, sizeof problem) == 0)
		return 0;
	client->tls = NULL;
	client_log(client, MQP_LOG_ERROR, "%s", problem);
	return -EINVAL;
}

// A fault in what the configuration names is told at once. Else certificates are read when an
// address with tls:// has been told: the system's are a few hundred, which a plain client need not
// wait for.
static bool client_wants_tls(const struct mqp_client *client)
{
	const struct mqp_client_config *config = &client->settings.config;

	return client->addresses.tls_some || config->tls_ca_file || config->tls_cert_file ||
	       config->tls_key_file;
}

static enum mqp_code client_start(struct mqp_client *client)
{
	int r;

	if (addresses_configure(&client->addresses, client->settings.use.addresses) < 0)
		return MQP_INVALID_ARGUMENT;
	if (client_wants_tls(client) && client_load_tls(client) < 0)
		return MQP_TLS;
	r = client_open_fds(client);
	if (r == 0)
		r = client_set_timers(client);
	if (r == 0 && !client_is_app(client)) {
		r = client_thread_start(&client->thread, client_thread, client);
		client->threaded = r == 0;
	}
	if (r == 0)
		return MQP_OK;
	errno = -r;
	return r == -ENOMEM ? MQP_NO_MEMORY : MQP_SYSTEM;
}

enum mqp_code mqp_client_new(const struct mqp_client_config *config, struct mqp_client **ret_client)
{
	struct mqp_client *client;
	enum mqp_code code;

	if (!ret_client)
		return MQP_INVALID_ARGUMENT;
	// An application may call exit() while the I/O thread is inside OpenSSL, which would free
	// its tables underneath.
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
	client = calloc(1, sizeof *client);
	if (!client)
		return MQP_NO_MEMORY;
	code = settings_init(&client->settings, config);
	if (code != MQP_OK) {
		free(client);
		return code;
	}
	atomic_init(&client->refs, 1);
	client->epoll_fd = client->wake_fd = -1;
	client->status = MQP_TIMEOUT;
	list_init(&client->members);
	list_init(&client->links);
	list_init(&client->attached);
	list_init(&client->window_waiters);
	timers_init(&client->timers);
	rotation_init(&client->rotation);
	pthread_mutex_init(&client->lock, NULL);
	client_cond_init(&client->changed);
	client_clock(client);
	code = client_start(client);
	if (code != MQP_OK) {
		int error = errno;

		client_unref(client);
		errno = error;
		return code;
	}
	*ret_client = client;
	return MQP_OK;
}

// Codes that say only that there is no answer or no connection.
static bool says_nothing(enum mqp_code code)
{
	return code == MQP_OK || code == MQP_TIMEOUT || code == MQP_CONNECTION_LOST ||
	       code == MQP_CANCELLED || code == MQP_SHUTTING_DOWN;
}

// Chooses the reason to report: the member's own code if it says something, else the connection's.
enum mqp_code client_why(struct mqp_client *client, enum mqp_code status)
{
	enum mqp_code code;
	bool connected;

	pthread_mutex_lock(&client->lock);
	code = client->status;
	connected = client->connected;
	pthread_mutex_unlock(&client->lock);
	if (connected || (!says_nothing(status) && !mqp_code_retriable(status)))
		return says_nothing(status) ? MQP_TIMEOUT : status;
	return says_nothing(code) ? MQP_NOT_CONNECTED : code;
}

static bool connect_done(void *ctx)
{
	const struct mqp_client *client = ctx;

	return client->connected || client->closing || client->status == MQP_UNAUTHENTICATED ||
	       client->status == MQP_FORBIDDEN;
}

enum mqp_code mqp_client_connect(struct mqp_client *client, int timeout_ms)
{
	enum mqp_code code;

	if (!client)
		return MQP_INVALID_ARGUMENT;
	if (client_blocked(client))
		return MQP_WOULD_DEADLOCK;
	client_wait(client, &client->lock, &client->changed, connect_done, client,
		    client_deadline(timeout_ms));
	pthread_mutex_lock(&client->lock);
	code = client->closing ? MQP_CLOSED : client->status;
	pthread_mutex_unlock(&client->lock);
	return code;
}

// The next member that is not closed yet; each is asked once, since closing takes none off the
// list.
static struct member *client_member(struct mqp_client *client, size_t index)
{
	struct member *member = NULL;

	pthread_mutex_lock(&client->lock);
	LIST_FOREACH(node, next, &client->members)
	{
		if (index-- == 0) {
			member = LIST_ENTRY(node, struct member, node);
			break;
		}
	}
	pthread_mutex_unlock(&client->lock);
	return member;
}

struct leaving {
	struct work work;
	struct mqp_client *client;
	bool done; // under client->lock
};

// The last work of the I/O: links end, members are cut off and post nothing any more.
static void leaving_run(struct work *work, uint64_t now_ns)
{
	struct leaving *leaving = CONTAINER_OF(work, struct leaving, work);
	struct mqp_client *client = leaving->client;

	atomic_store(&client->stop, true);
	LIST_FOREACH(node, next, &client->links)
	{
		link_flush(link_of(node));
		link_close(link_of(node), MQP_CLOSED, "the client is closed");
	}
	LIST_FOREACH(node, next, &client->attached)
	{
		struct member *member = LIST_ENTRY(node, struct member, io_node);

		member->ops->cut(member);
	}
	client_run_posted(client);
	pthread_mutex_lock(&client->lock);
	leaving->done = true;
	pthread_cond_broadcast(&client->changed);
	pthread_mutex_unlock(&client->lock);
}

static bool leaving_done(void *ctx)
{
	return ((const struct leaving *)ctx)->done;
}

static void client_stop(struct mqp_client *client)
{
	struct leaving leaving = {.work.run = leaving_run, .client = client};

	if (atomic_load(&client->stop))
		return;
	client_post(client, &leaving.work);
	client_wait(client, &client->lock, &client->changed, leaving_done, &leaving, UINT64_MAX);
}

enum mqp_code mqp_client_close(struct mqp_client *client, int timeout_ms)
{
	uint64_t deadline_ns = client_deadline(timeout_ms);
	enum mqp_code code = MQP_OK;
	struct member *member;

	if (!client)
		return MQP_INVALID_ARGUMENT;
	if (client_blocked(client))
		return MQP_WOULD_DEADLOCK;
	// Closing takes no member off the list.
	for (size_t i = 0; (member = client_member(client, i)); ++i) {
		enum mqp_code closed = member->ops->close(member, deadline_ns);

		if (closed == MQP_WOULD_DEADLOCK)
			return closed;
		if (closed != MQP_OK)
			code = closed;
	}
	pthread_mutex_lock(&client->lock);
	client->closing = true;
	pthread_cond_broadcast(&client->changed);
	pthread_mutex_unlock(&client->lock);
	client_stop(client);
	return code;
}

void mqp_client_free(struct mqp_client *client)
{
	if (!client)
		return;
	mqp_client_close(client, 0);
	if (client->threaded)
		pthread_join(client->thread, NULL);
	client_unref(client);
}

// ---- The application's loop ------------------------------------------------------------------

int mqp_client_fd(const struct mqp_client *client)
{
	return client && client_is_app(client) ? client->epoll_fd : -1;
}

int mqp_client_timeout_ms(struct mqp_client *client)
{
	uint64_t next_ns;

	if (!client || !client_is_app(client))
		return -1;
	if (atomic_load(&client->stop))
		return -1;
	next_ns = client_next_ns(client);
	return next_ns == 0 ? 0 : wait_of(next_ns, clock_now_ns());
}

enum mqp_code mqp_client_process(struct mqp_client *client)
{
	if (!client || !client_is_app(client))
		return MQP_INVALID_ARGUMENT;
	if (client_blocked(client))
		return MQP_WOULD_DEADLOCK;
	if (atomic_load(&client->stop))
		return MQP_CLOSED;
	atomic_store(&client->loop_thread, (uintptr_t)&thread_mark);
	client_round(client, 0);
	return MQP_OK;
}
