// The answers of the whole product, one row each: the same word in SDK, wire, REST, log and
// metrics.
//
// A number is part of the protocol and never changes its meaning. `retriable` says that the same
// request may succeed later unchanged. `http` is the status the portal answers with.
#pragma once

#include <stdbool.h>
#include <stdint.h>

//     name, number, retriable, http, sentence
#define CODE_TABLE(ROW)                                                                            \
	ROW(OK, 0, false, 200, "done")                                                             \
	ROW(BAD_REQUEST, 1, false, 400, "the request is malformed")                                \
	ROW(UNAUTHENTICATED, 2, false, 401, "the access key or its proof is not accepted")         \
	ROW(FORBIDDEN, 3, false, 403, "the access key may not do this")                            \
	ROW(NOT_FOUND, 4, false, 404, "no such resource")                                          \
	ROW(CONFLICT, 5, false, 409, "the resource exists with other content")                     \
	ROW(PRECONDITION_FAILED, 6, false, 412, "the resource has changed since it was read")      \
	ROW(IN_USE, 7, false, 409, "the resource is in use")                                       \
	ROW(TOO_LARGE, 8, false, 413, "larger than the limit")                                     \
	ROW(LIMIT_EXCEEDED, 9, false, 403, "a limit of the tenant is reached")                     \
	ROW(THROTTLED, 10, true, 429, "over the quota; try again later")                           \
	ROW(NO_ROUTE, 11, false, 422, "no backend is there to keep the message")                   \
	ROW(UNSUPPORTED_BY_BACKEND, 12, false, 422, "the backend cannot do this")                  \
	ROW(BACKEND_DOWN, 13, true, 503, "the backend cannot be reached")                          \
	ROW(BACKEND_FULL, 14, true, 507, "the backend has no space left")                          \
	ROW(BACKEND_ERROR, 15, false, 502, "the backend refused")                                  \
	ROW(STALE, 16, false, 409, "the receipt or position belongs to the past")                  \
	ROW(NOT_READY, 17, true, 503, "the resource is being created or deleted")                  \
	ROW(SHUTTING_DOWN, 18, true, 503, "the proxy is leaving; use another")                     \
	ROW(OVERLOADED, 19, true, 503, "the proxy is short of memory or descriptors")              \
	ROW(CORRUPT, 20, false, 400, "a checksum does not match")                                  \
	ROW(PROTOCOL, 21, false, 400, "the peer broke the protocol")                               \
	ROW(TIMEOUT, 22, true, 504, "no answer within the deadline")                               \
	ROW(CONNECTION_LOST, 23, true, 503, "the connection ended before the answer")              \
	ROW(EXPIRED, 24, false, 410, "the time to live has passed")                                \
	ROW(INTERNAL, 25, false, 500, "the proxy failed; its log says more")                       \
	ROW(CANCELLED, 26, false, 499, "the caller gave up")                                       \
	ROW(KICKED, 27, true, 503, "an operator closed the connection")                            \
	ROW(MOVED, 28, true, 421, "another proxy owns this")

#define CODE_ENUM(name, number, retriable, http, sentence) CODE_##name = number,
enum code { CODE_TABLE(CODE_ENUM) CODE_COUNT };
#undef CODE_ENUM

// How a send ended: what the proxy can promise about where the message is.
enum outcome {
	OUTCOME_OK = 0,       // the backend gave its own acknowledgement
	OUTCOME_REJECTED = 1, // certainly not stored
	OUTCOME_UNKNOWN = 2,  // may be stored; the SDK retries with the same message id
};

// What an OK survives. Part of the protocol.
enum durability {
	DURABILITY_D0 = 0, // nothing
	DURABILITY_D1 = 1, // the death of the process that holds it
	DURABILITY_D2 = 2, // a power cut of its machine
	DURABILITY_D3 = 3, // the loss of one of several machines
};

const char *code_name(enum code code); // "THROTTLED"; "INVALID" outside the table
const char *code_sentence(enum code code);
bool code_retriable(enum code code);
unsigned code_http(enum code code);
int code_parse(const char *name, enum code *ret); // -EINVAL
