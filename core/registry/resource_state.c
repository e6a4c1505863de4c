// The state of topics and groups and its only setters. They assert that the table RESOURCE_STATES
// has the transition, so a row in the store never holds a state without a transition to it.
// Permissions, answers and the audit log are the callers'.

#include "core/registry/resource_state.h"

#include "core/base/util.h"

static uint8_t *state_of(enum registry_kind kind, struct row *row)
{
	assert(kind == REGISTRY_TOPIC || kind == REGISTRY_GROUP);
	return kind == REGISTRY_TOPIC ? &row->model.topic.state : &row->model.group.state;
}

static void check_move(unsigned state, unsigned next)
{
	assert(state_table_has(STATE_TABLE_MOVES(RESOURCE_STATES), state, next));
}

enum model_state resource_state_get(enum registry_kind kind, const struct row *row)
{
	assert(kind == REGISTRY_TOPIC || kind == REGISTRY_GROUP);
	return (enum model_state)(kind == REGISTRY_TOPIC ? row->model.topic.state
							 : row->model.group.state);
}

void resource_state_begin(enum registry_kind kind, struct row *row, enum model_state state)
{
	check_move(MODEL_ABSENT, state);
	*state_of(kind, row) = (uint8_t)state;
}

void resource_state_move(enum registry_kind kind, struct row *row, enum model_state state)
{
	check_move(*state_of(kind, row), state);
	*state_of(kind, row) = (uint8_t)state;
}

void resource_state_end(enum registry_kind kind, const struct row *row)
{
	check_move(resource_state_get(kind, row), MODEL_ABSENT);
}
