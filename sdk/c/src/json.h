// Writes one JSON text, member by member.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
	char *text;
	size_t size;
	size_t room;
	bool comma;  // before the next member
	bool failed; // out of memory
};

// Objects and lists; `name` is NULL inside a list and for the outermost.
void json_open(struct json *json, const char *name);
void json_close(struct json *json);
void json_open_list(struct json *json, const char *name);
void json_close_list(struct json *json);
void json_text(struct json *json, const char *name, const char *value); // escaped
void json_number(struct json *json, const char *name, uint64_t value);
void json_bool(struct json *json, const char *name, bool value);
// Gives the text to the caller (free); NULL: out of memory. The writer is empty afterwards.
char *json_take(struct json *json);
