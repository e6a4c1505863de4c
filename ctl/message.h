// A message as a line of JSON, and back.
#pragma once

#include "core/base/arena.h"

#include <jansson.h>
#include <mqpaas/mqpaas.h>

json_t *message_to_json(const struct mqp_message *message);

// A message borrows its bytes until it is sent, so what was decoded for a line stays in the arena
// until then. A zeroed one with a message begins.
struct message_input {
	struct mqp_message *message;
	struct arena arena;
	char problem[300];
};

// Returns what is wrong, which lives as long as the input, or NULL. Nothing that the line says is
// left out: a member that is not known is wrong.
const char *message_from_json(struct message_input *input, const char *line, size_t size);
