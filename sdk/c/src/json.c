// Writes JSON into a growing text.
//
// A failed allocation makes every later call a no-op and is reported once, by json_take(). Texts
// are escaped; whether brackets match is up to the caller. It does not read JSON.

#include "sdk/c/src/json.h"

#include "core/base/util.h"

#include <inttypes.h>
#include <stdio.h>

static void json_put(struct json *json, const char *text, size_t size)
{
	if (json->failed)
		return;
	if (json->size + size + 1 > json->room) {
		size_t room = MAX(json->room * 2, json->size + size + 256);
		char *grown = realloc(json->text, room);

		if (!grown) {
			json->failed = true;
			return;
		}
		json->text = grown;
		json->room = room;
	}
	memcpy(json->text + json->size, text, size);
	json->size += size;
	json->text[json->size] = 0;
}

static void json_string(struct json *json, const char *value)
{
	json_put(json, "\"", 1);
	for (const char *at = value; *at; ++at) {
		char escape[8];

		if (*at == '"' || *at == '\\') {
			escape[0] = '\\';
			escape[1] = *at;
			json_put(json, escape, 2);
		} else if ((unsigned char)*at < 0x20) {
			json_put(json, escape,
				 (size_t)snprintf(escape, sizeof escape, "\\u%04x", *at));
		} else {
			json_put(json, at, 1);
		}
	}
	json_put(json, "\"", 1);
}

static void json_name(struct json *json, const char *name)
{
	if (json->comma)
		json_put(json, ",", 1);
	json->comma = true;
	if (name) {
		json_string(json, name);
		json_put(json, ":", 1);
	}
}

static void json_begin(struct json *json, const char *name, const char *bracket)
{
	json_name(json, name);
	json_put(json, bracket, 1);
	json->comma = false;
}

static void json_end(struct json *json, const char *bracket)
{
	json_put(json, bracket, 1);
	json->comma = true;
}

void json_open(struct json *json, const char *name)
{
	json_begin(json, name, "{");
}

void json_close(struct json *json)
{
	json_end(json, "}");
}

void json_open_list(struct json *json, const char *name)
{
	json_begin(json, name, "[");
}

void json_close_list(struct json *json)
{
	json_end(json, "]");
}

void json_text(struct json *json, const char *name, const char *value)
{
	json_name(json, name);
	json_string(json, value);
}

void json_number(struct json *json, const char *name, uint64_t value)
{
	char text[24];
	int size = snprintf(text, sizeof text, "%" PRIu64, value);

	json_name(json, name);
	json_put(json, text, (size_t)size);
}

void json_bool(struct json *json, const char *name, bool value)
{
	json_name(json, name);
	json_put(json, value ? "true" : "false", value ? 4 : 5);
}

char *json_take(struct json *json)
{
	char *text = json->failed ? NULL : json->text;

	if (json->failed)
		free(json->text);
	*json = (struct json){0};
	return text;
}
