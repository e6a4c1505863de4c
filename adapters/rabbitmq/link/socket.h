// A stream to a broker, plain or in TLS: opened with a deadline, then read and written without
// waiting.
#pragma once

#include "adapters/rabbitmq/link/error.h"
#include "adapters/rabbitmq/link/options.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct rabbitmq_socket {
	int fd;                    // -1: none
	void *ssl;                 // its SSL; NULL: plain
	unsigned wanted;           // poll events that TLS waits for, besides what its caller wants
	pthread_mutex_t lock;      // over the life of fd, for rabbitmq_socket_cut()
	bool cut;                  // under the lock
	struct rabbitmq_error why; // of -EPROTO
};

void rabbitmq_socket_init(struct rabbitmq_socket *socket);
void rabbitmq_socket_deinit(struct rabbitmq_socket *socket); // it is closed

// Name, connection, TLS: blocks until the deadline at most (monotonic), but for the name's
// resolution. False with *ret_error.
bool rabbitmq_socket_open(struct rabbitmq_socket *socket, const struct rabbitmq_options *options,
			  const struct rabbitmq_address *address, uint64_t deadline_ns,
			  struct rabbitmq_error *ret_error);
// A stream that is there: for tests.
void rabbitmq_socket_adopt(struct rabbitmq_socket *socket, int fd);
void rabbitmq_socket_close(struct rabbitmq_socket *socket); // accepts a closed one

// Bytes; 0: none now; -errno: it has failed (-ESHUTDOWN: the other side has closed it; -EPROTO:
// `why` has the words).
ssize_t rabbitmq_socket_read(struct rabbitmq_socket *socket, void *room, size_t size);
ssize_t rabbitmq_socket_write(struct rabbitmq_socket *socket, const void *data, size_t size);
// Waits for poll's events. 0; -ETIMEDOUT; -errno.
int rabbitmq_socket_wait(const struct rabbitmq_socket *socket, unsigned events,
			 uint64_t deadline_ns);
// More may be read although poll() says nothing.
bool rabbitmq_socket_has_more(const struct rabbitmq_socket *socket);

// Ends the stream for both sides, whatever its owner is inside of; also the next one that would be
// opened when `for_ever`. @thread any
void rabbitmq_socket_cut(struct rabbitmq_socket *socket, bool for_ever);
