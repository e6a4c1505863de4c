// A client inside: its I/O (one thread of its own, or the application's loop), the link in use, the
// producers and consumers on it.
//
// Locks: client->lock, then an object's own lock (producer, consumer); never the other way round.
// Links, timers and the lists marked I/O are touched by the I/O thread only.
#pragma once

#include "core/net/scram.h"
#include "core/net/tls.h"
#include "sdk/c/src/link.h"
#include "sdk/c/src/rotation.h"
#include "sdk/c/src/settings.h"
#include "sdk/c/src/timers.h"

#include <pthread.h>
#include <stdatomic.h>

#define CLIENT_STATS 25u

struct json;

// Something that other threads ask the I/O thread to do. Posted at most once at a time.
struct work {
	struct work *next;
	atomic_bool queued;
	void (*run)(struct work *work, uint64_t now_ns);
};

// What producers and consumers have in common for the client.
struct member {
	struct list node;    // client->members, under client->lock: for statistics and closing
	struct list io_node; // client->attached: I/O
	struct work work;
	const struct member_ops *ops;
};

struct member_ops {
	const char *kind;
	void (*link_ready)(struct member *member, struct link *link); // I/O
	// I/O, once, at the end of the client: gives up everything, leaves `attached`, posts no
	// more.
	void (*cut)(struct member *member);
	void (*print)(struct member *member, struct json *json); // an object; any thread
	enum mqp_code (*close)(struct member *member, uint64_t deadline_ns); // not I/O
};

// A producer that has something to send and no window for it.
struct window_wait {
	struct list node; // client->window_waiters: I/O
	void (*resume)(struct window_wait *wait);
};

struct mqp_client {
	struct settings settings; // addresses and secrets: I/O
	atomic_uint refs;
	int epoll_fd;
	int wake_fd;

	_Atomic(struct work *) posted;
	atomic_bool woken;
	_Atomic int64_t wall_offset_ms; // wall clock less monotonic clock
	_Atomic uint64_t stats[CLIENT_STATS];

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct list members;
	enum mqp_code status; // of the last attempt to connect; MQP_TIMEOUT: none has ended
	bool connected;
	bool closing;
	char peer[ADDRESS_HOST_SIZE + 16]; // "": not connected

	pthread_t thread;             // MQP_IO_THREAD
	bool threaded;                // it runs
	atomic_uintptr_t loop_thread; // MQP_IO_APP: the thread that runs the loop; 0: none yet
	atomic_bool stop;

	// I/O
	struct timers timers;
	struct timer connect_timer;
	struct timer reload_timer;
	struct addresses addresses;
	struct address avoid; // the proxy that was left
	bool avoiding;
	struct link *link;          // connecting or ready; leaving ones are only in `links`
	struct list links;          // of struct link
	struct list attached;       // of struct member
	struct list window_waiters; // producers that wait for produce window
	SSL_CTX *tls;
	struct scram_cache scram; // of the secret in use
	struct rotation rotation;
	bool proven;     // the service has accepted the credentials in use
	uint64_t now_ns; // of this round
};

struct mqp_client *client_ref(struct mqp_client *client);
void client_unref(struct mqp_client *client);

void client_post(struct mqp_client *client, struct work *work);                 // @thread any
void client_count(struct mqp_client *client, enum mqp_stat stat, uint64_t add); // @thread any
void client_uncount(struct mqp_client *client, enum mqp_stat stat, uint64_t sub);
void client_log(struct mqp_client *client, enum mqp_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4))); // @thread any
uint64_t client_deadline(int timeout_ms);      // monotonic; UINT64_MAX: none

// Waits until `done` (asked under `lock`) says so: on `changed`, or by running the application's
// loop. False: the deadline passed. Not inside a callback on the I/O thread: ask client_blocked.
typedef bool (*client_done_fn)(void *ctx);
bool client_wait(struct mqp_client *client, pthread_mutex_t *lock, pthread_cond_t *changed,
		 client_done_fn done, void *ctx, uint64_t deadline_ns);
bool client_pumps(struct mqp_client *client); // this thread runs the loop itself while it waits
bool client_blocked(const struct mqp_client *client); // waiting here would never end

// Why something is not open at the service: `status` is what the service last answered to its
// opening (MQP_TIMEOUT: nothing). If that, or the connection, gives no reason: MQP_TIMEOUT. No lock
// may be held. @thread any
enum mqp_code client_why(struct mqp_client *client, enum mqp_code status);

int client_load_tls(struct mqp_client *client); // 0 if it is loaded; -EINVAL, logged. In a round
int client_join(struct mqp_client *client, struct member *member);  // -ESHUTDOWN: closing
void client_part(struct mqp_client *client, struct member *member); // @thread any

int client_thread_start(pthread_t *ret_thread, void *(*run)(void *),
			void *arg);         // blocks all signals in it
int client_cond_init(pthread_cond_t *cond); // waits by the monotonic clock

// From links.
void client_link_ready(struct mqp_client *client, struct link *link);
void client_link_leaving(struct mqp_client *client, struct link *link);
void client_link_ended(struct mqp_client *client, struct link *link, enum mqp_code code);
void client_link_window(struct mqp_client *client);
