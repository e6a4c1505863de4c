// The state of a topic or group, as its row has it. lifecycle.c says what its backend makes of it.
#pragma once

#include "core/base/state_table.h"
#include "core/registry/row.h"

enum { MODEL_ABSENT = MODEL_FAILED + 1 }; // it has no row; beside enum model_state

#define RESOURCE_STATES(X)                                                                         \
	X(MODEL_ABSENT, "create", MODEL_CREATING,                                                  \
	  "An operator creates or imports it, or it is the dead-letter topic of a group that is "  \
	  "created.")                                                                              \
	X(MODEL_CREATING, "made", MODEL_READY,                                                     \
	  "Its backend has it. After a restore: it had it all the time.")                          \
	X(MODEL_CREATING, "refused", MODEL_FAILED,                                                 \
	  "Its backend will never make it. After a restore: it does not have it.")                 \
	X(MODEL_FAILED, "put", MODEL_CREATING,                                                     \
	  "An operator writes it again, or the group whose dead-letter topic it is.")              \
	X(MODEL_CREATING, "delete", MODEL_DELETING,                                                \
	  "An operator deletes it, or its tenant, cluster, topic or group.")                       \
	X(MODEL_READY, "delete", MODEL_DELETING, "As above: nothing of it is served any more.")    \
	X(MODEL_FAILED, "delete", MODEL_DELETING, "As above.")                                     \
	X(MODEL_DELETING, "gone", MODEL_ABSENT,                                                    \
	  "Its backend has it no more, or its cluster was deleted by force and does not answer.")  \
	X(MODEL_ABSENT, "restore, not known", MODEL_CREATING,                                      \
	  "A restore has nothing that says whether its cluster has it: that is asked.")            \
	X(MODEL_ABSENT, "restore, ready", MODEL_READY, "A restore knows that its cluster has it.") \
	X(MODEL_ABSENT, "restore, deleting", MODEL_DELETING,                                       \
	  "It was being deleted when it was last known.")                                          \
	X(MODEL_ABSENT, "restore, differs", MODEL_FAILED,                                          \
	  "Only one of the copy, the last known state and its cluster has it: an operator "        \
	  "decides.")

enum model_state resource_state_get(enum registry_kind kind, const struct row *row);
// A transition that RESOURCE_STATES does not have is a fault of ours. The caller writes the row.
void resource_state_begin(enum registry_kind kind, struct row *row,
			  enum model_state state); // of a new row
void resource_state_move(enum registry_kind kind, struct row *row, enum model_state state);
void resource_state_end(enum registry_kind kind, const struct row *row); // the caller drops it
