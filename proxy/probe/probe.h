// The probe of one cluster (probes.h).
#pragma once

#include "core/loop/loop.h"
#include "proxy/base/latency.h"
#include "proxy/probe/probes.h"
#include "proxy/resource/backends.h"

#define PROBE_DEMAND 8u // messages of earlier rounds among them

// The steps of a round, in their order. A round ends in the step that was not done.
enum probe_step {
	PROBE_SETUP,   // making and opening what it needs
	PROBE_SEND,    // the backend's acknowledgement
	PROBE_RECEIVE, // the source hands the message out
	PROBE_SETTLE,  // its acknowledgement is durable
	PROBE_DONE,
	PROBE_STEPS
};

enum probe_phase {
	PROBE_IDLE,     // nothing is open
	PROBE_MAKING,   // topic or group are being made
	PROBE_OPEN,     // topic and source are open
	PROBE_CLOSING,  // the source closes, or what is under way is not answered yet
	PROBE_REMOVING, // group or topic are being removed
};

#define PROBE_DELAYS 3 // send, receive, settle: since the message was sent

struct probe {
	struct list in_all;
	struct probes *probes;
	uint64_t cluster;
	const struct topic *topic; // models; NULL until they are first needed
	const struct group *group;
	struct backend *backend;
	struct adapter_topic *handle;
	struct source *source;
	enum probe_phase phase;
	bool leaving; // what is open is to be closed
	bool ended;   // group and topic are to be removed as well, then it is freed
	bool useless; // nothing can be consumed from its cluster

	struct loop_task called; // the answer of an administrative call
	bool calling, group_done;
	enum code call_code;
	char call_text[256];

	struct loop_task answered; // the answer to the message
	bool submitting;
	uint64_t submitted_round;
	struct submit submit;
	struct submit_record record;
	struct submit_run run;

	struct loop_task settle; // what the source has handed out is to be settled
	struct settle settles[PROBE_DEMAND];
	size_t settle_count;
	bool settle_posted, settle_ours;
	bool settling; // the settle of settled_round is not durable yet
	uint64_t settled_round;

	struct loop_timer next, deadline, again;
	uint64_t round, began_ns, sent_ns;
	bool running, sent, stored, received, settled; // of this round
	char note[320];                                // what it waits for, as far as was heard

	uint64_t counts[PROBE_STEPS]; // rounds by the step that they ended in
	struct latency delays[PROBE_DELAYS];
	uint64_t delay_us[PROBE_DELAYS]; // the last of each; 0: none yet
	int64_t last_ms, last_ok_ms;     // ends of rounds; 0: none yet
	char error[512];                 // of the last round; "": it went well
};

extern const char *const probe_step_names[PROBE_STEPS];
extern const char *const probe_delay_names[PROBE_DELAYS];

int probe_new(struct probes *probes, uint64_t cluster,
	      struct probe **ret);     // its first round is due
void probe_free(struct probe *probe);  // nothing of it is open
void probe_leave(struct probe *probe); // closes what is open; it opens again in its next round
void probe_end(struct probe *probe);   // and removes what it made; it is freed when that is done
void probe_stop(struct probe *probe);  // the proxy leaves: no more rounds
