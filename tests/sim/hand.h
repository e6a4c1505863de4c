// What the parts of the simulation of a hand share: hand.c draws the schedule and judges its end,
// hand_play.c is time and the wire, hand_home.c the source of a group (a log or a queue) and the
// proxy's side of its consumers, hand_client.c the processes with their consumers and callbacks.
#pragma once

#include "tests/sim/sim.h"

#include "core/wire/record.h"
#include "proxy/engine/dispatch.h"
#include "sdk/c/src/credit_totals.h"
#include "sdk/c/src/hand.h"

enum {
	GROUPS = 2,
	PROCESSES = 3,
	FEW = 48,
	MESSAGES = 400,
	WORKERS = 8,
	EVENTS = 4096,
	KEYS = 3,
	PULL = 10,
	ARRIVALS = 32768,
};

#define V_NS      (30 * S_NS)
#define EXTEND_NS (600 * S_NS)
#define HORIZON   (3000 * S_NS)

enum kind { OK_KIND, KILLS, KILLS_LATE };
enum place { NEW, OPEN, OUT, FLIGHT, WAITING, REJECTED, DONE, DEAD };
enum scenario {
	POISON,
	LATE,
	LONG_LATE,
	TWO_GROUPS,
	PULLED,
	ORDER,
	FROZEN,
	AHEAD,
	KEEP,
	ENDED,
	FAULTS,
	SCENARIOS
};

struct message {
	uint8_t record[RECORD_HEAD_SIZE]; // of which the id is looked at
	enum kind kind;
	enum place place;
	uint32_t ended, deaths, losses; // attempts; processes that died of it; losses from outside
	uint64_t due_ns, took_ns;
	bool begun;
	// Of a queue: its offset on this channel, 0: none; attempts that the backend knows of; how
	// often it was lost while it was out, so that one more death of it may cost nothing.
	uint32_t offset, durable, forgotten;
};

struct home {
	struct dispatch *dispatch;
	struct dispatch_policy policy;
	struct message messages[MESSAGES];
	unsigned count, written; // messages it has, and those in the log
	uint32_t demand, rejected;
	uint64_t next_tick_ns;
	uint32_t free_ends, losses;
	int last[KEYS]; // the highest that has begun first, by key
	bool queue;     // offsets are counted anew on each channel, and for what has failed
	bool loses;     // its channel
	uint64_t epoch;
	uint32_t arrivals;
	uint16_t by_offset[ARRIVALS]; // of a queue: the message
	bool pumping;
};

struct member { // at the proxy
	struct dispatch_consumer consumer;
	struct home *home;
	struct cons *cons;
	bool joined, ended;
	bool by_proxy;          // why it leaves just now
	struct message *killer; // what its process has died of
};

struct settle_of {
	uint64_t number, epoch, offset;
	uint32_t attempt;
	enum settle_verb verb;
};

struct delivered {
	struct hand_item item;
	uint64_t epoch, offset;
	uint32_t message, attempt;
	struct member *member;
};

struct cons { // one consumer of one life of a process
	struct hand hand;
	struct hand_sub *sub;
	struct member *member;
	struct process *process;
	struct home *home;
	struct credit_totals credit;
	struct delivered *running[WORKERS];
	uint64_t began_ns[WORKERS];
	uint64_t took_ns;                 // the last callback that has ended; 0: none has
	struct delivered *kept[MESSAGES]; // by the application
	size_t kept_count;
	struct delivered *batch[PULL];
	size_t batch_count, batch_at;
	struct settle_of settles[2 * MESSAGES];
	size_t settle_count;
	uint64_t tick_ns, io_ns;
	bool pulls, asked, io_due, credit_due, stuck;
	uint64_t stuck_begins, drain_told;
	unsigned workers;
};

struct process {
	struct barrier barriers[GROUPS]; // the first is the process's
	struct cons cons[GROUPS];
	unsigned life;
	bool dead;
	uint64_t frozen_ns, up_ns, down_ns; // frozen until; when the wire's last bytes arrive
	unsigned wire;                      // of its life: what is sent over an earlier one is lost
};

struct event {
	uint64_t at_ns, seq;
	void (*fn)(struct event *event);
	struct process *process;
	unsigned life, wire; // for events of a process that ends
	struct cons *cons;
	struct home *home;
	struct member *member;
	uint64_t a, b, c;
	struct settle_of *settles;
	struct delivered *delivered;
	bool at_client;
};

struct hand_play {
	enum scenario scenario;
	struct home homes[GROUPS];
	struct process processes[PROCESSES];
	struct event events[EVENTS];
	unsigned event_count, groups, process_count;
	uint64_t now_ns, seq, rtt_ns, lag_ns, took_ns, quota_until_ns;
	void *garbage[65536];
	size_t garbage_count;
	bool faults;
	struct member *members[4096];
	unsigned member_count;
};

extern struct hand_play m;

// hand_play.c
void *play_make(size_t size); // goes at the schedule's end
struct event *play_later(uint64_t ns, void (*fn)(struct event *event));
struct event *play_later_at(struct process *process, uint64_t ns, void (*fn)(struct event *));
// In order, and late; what goes up arrives though its sender has died.
struct event *play_up(struct cons *cons, void (*fn)(struct event *event));
struct event *play_down(struct member *member, void (*fn)(struct event *event));
void play_run_next(void);

// hand_home.c
extern const struct dispatch_ops home_ops;
void home_write_next(struct event *event);
void home_joins(struct event *event);
void home_credit(struct event *event);
void home_settles(struct event *event);
void home_lost(struct event *event);
void home_loses_channel(struct home *home); // all that it handed out comes again
void home_leave(struct member *member, enum dispatch_leave why, struct message *killer);

// hand_client.c
void cons_came(struct event *event);
void cons_drained(struct event *event);
void cons_closed(struct event *event);
void cons_unsubscribe(struct cons *cons); // nothing that came over it can be settled
void process_start(struct process *process);
void process_die(struct process *process, struct home *home, struct delivered *killer);
void process_cut(struct process *process, struct home *home, struct delivered *killer);
