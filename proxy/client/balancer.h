// Connections that come through a balancer and begin with a header that names the client.
#pragma once

#include <sys/socket.h>

struct balancer_head;
struct conn;

// A connection from one of the configured balancers: its header is read before anything else.
// -ENOMEM
int balancer_begin(struct conn *conn, const struct sockaddr *peer);
void balancer_free(struct balancer_head *head); // accepts NULL
// Reads on. 0: the header is read, or there is none to read, and conn->peer is the client's
// address; -EAGAIN: more has to come; else the connection is to be closed for *ret_problem.
int balancer_read(struct conn *conn, const char **ret_problem);
