// One limit of a tenant over several proxies: this proxy's part of it, leased from Redis.
//
// A pure state machine (docs/quota-share.md): time is an argument, and whoever drives it carries
// calls to the script share.lua and answers back. It only sets the pace of a struct gcra or the
// allowance of a count; a decision looks at nothing else. For one thread, but for what is behind
// `gcra`, `used` and `allowance`.
#pragma once

#include "core/base/list.h"
#include "quota/gcra.h"

#define SHARE_ROWS_MAX  100u // buckets in a call
#define SHARE_TICK_NS   (20 * MS_NS)
#define SHARE_GRACE_NS  S_NS          // a lease goes on so long without an answer
#define SHARE_FAILED    UINT64_MAX    // in an answer: this bucket has none
#define SHARE_LIMIT_MAX (1ull << 53)  // of `limit`, fine or not: the script counts in doubles
#define SHARE_CREDIT_NS (200 * MS_NS) // of the limit: what all proxies may hold unused

enum share_kind {
	SHARE_RATE,
	SHARE_COUNT,
	SHARE_RETURN
}; // a bucket is no SHARE_RETURN, a row may be

// What the part that this proxy has rests on.
enum share_mode {
	SHARE_OWN,    // nothing yet, or no demand: its part of the membership
	SHARE_LEASED, // an answer of the script
	SHARE_ALONE,  // no answer for SHARE_GRACE_NS: its part of the membership
};

struct share_call;

struct share {
	struct list active, idle; // struct share_bucket
	uint64_t proxies;         // proxies of the installation, this one included
	uint64_t number;          // of the last call
	size_t alone;             // buckets that are SHARE_ALONE
};

struct share_bucket {
	struct list link;
	struct share *share;
	uint64_t id; // unique in the installation
	enum share_kind kind;
	enum share_mode mode;
	uint64_t limit; // over all proxies; SHARE_RATE: 1/1024 units a second
	struct gcra *gcra;
	uint64_t *used, *allowance; // SHARE_COUNT; atomic
	bool turned_away;           // SHARE_COUNT; atomic
	// Demand.
	uint64_t seen, seen_ns; // taken, when it was looked at last
	uint64_t recent;        // pace of what was taken and refused, as its highest of late
	uint64_t refused;       // units since the last call that was answered
	bool pressed;           // the last call told so
	bool returning;         // the call that is out gives the lease back
	uint64_t active_until_ns;
	// The lease.
	uint64_t told,
		told_now; // taken, as told by the last call that was answered; by the one out
	uint64_t called_ns, next_ns;
	uint64_t waiting_ns; // since when no call has been answered; 0: nothing waits
	uint64_t granted;
	struct share_call *call; // which is out
	size_t row;
};

struct share_row {
	uint64_t id;
	enum share_kind kind;
	uint64_t limit;
	uint64_t used;   // units taken since the count began, modulo 2^48; a count: in use
	uint64_t missed; // of these, since the last call that was answered
	uint64_t demand; // as `limit`; a count: 1 if something was refused
	uint64_t credit; // free now, fine units
	uint64_t holds;  // the pace in force; a count: what may be in use
};

// A call to the script; memory of the caller, until it is answered or failed.
struct share_call {
	uint64_t number; // rises with every call
	size_t count;
	struct share_row rows[SHARE_ROWS_MAX];
	struct share_bucket *buckets[SHARE_ROWS_MAX]; // NULL: removed meanwhile
};

void share_init(struct share *share, uint64_t proxies);
void share_deinit(struct share *share); // asserts that no bucket is left
void share_set_proxies(struct share *share, uint64_t proxies, uint64_t now_ns);

// `limit`: units a second. The limiter must have a rate other than 0 and GCRA_UNLIMITED.
void share_add_rate(struct share *share, struct share_bucket *bucket, uint64_t id,
		    struct gcra *gcra, uint64_t limit, uint64_t now_ns);
void share_add_count(struct share *share, struct share_bucket *bucket, uint64_t id, uint64_t *used,
		     uint64_t *allowance, uint64_t limit, uint64_t now_ns);
void share_count_refused(struct share_bucket *bucket); // one more was wanted; @thread any
void share_remove(struct share_bucket *bucket);        // the limiter keeps the pace it has
void share_set_limit(struct share_bucket *bucket, uint64_t limit, uint64_t now_ns);

// Looks at demand and at leases that are over; to be called every SHARE_TICK_NS.
void share_tick(struct share *share, uint64_t now_ns);
// The next call that is due; false: none. One after the other until it is false.
bool share_call_next(struct share *share, struct share_call *call, uint64_t now_ns);
// `granted`: a pace or an allowance for each row. An answer that comes after share_call_failed() is
// dropped by the caller.
void share_call_answered(struct share_call *call, const uint64_t *granted, uint64_t now_ns);
void share_call_failed(struct share_call *call, uint64_t now_ns);

// How much more than limit × time may be admitted by all proxies together, in units.
uint64_t share_bound(uint64_t limit, uint64_t proxies);
