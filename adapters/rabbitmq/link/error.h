// What went wrong with a cluster: a code of the product, the broker's own number, and words for an
// operator.
#pragma once

#include "core/base/code.h"
#include "core/base/util.h"

#define RABBITMQ_ERROR_TEXT 400

struct rabbitmq_error {
	enum code code;
	uint16_t reply; // the broker's number; 0: it gave none
	char text[RABBITMQ_ERROR_TEXT];
};

// What a broker's reply number means: 404 is CODE_NOT_FOUND. @thread any
enum code rabbitmq_error_code(uint16_t reply);
// Says what failed. Returns false, for its callers to return. @thread any
bool rabbitmq_error_set(struct rabbitmq_error *ret, enum code code, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
// What a broker said when it refused or closed: its number and text, made harmless. @thread any
bool rabbitmq_error_reply(struct rabbitmq_error *ret, uint16_t reply, const void *text,
			  size_t size);
// What the number means that a system call failed with. @thread any
bool rabbitmq_error_system(struct rabbitmq_error *ret, int error);
