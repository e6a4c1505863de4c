// adapters/circuit: what follows from the transitions of a breaker: probes, lines in the log, the
// end of a failure, the state of a cluster.

#include "adapters/circuit.h"
#include "tests/unit/unit.h"

#include <string.h>

uint64_t __wrap_clock_now_ns(void);

static struct {
	uint64_t now_ns;
	unsigned probes, recoveries, lines;
	bool fails_at_once; // the probe, inside of its own start
	struct log_ctx log;
} bench;

uint64_t __wrap_clock_now_ns(void)
{
	return bench.now_ns;
}

static void on_line(void *ctx, enum log_level level, const char *line, size_t size)
{
	++bench.lines;
}

static void probe(struct circuit *circuit)
{
	++bench.probes;
	if (bench.fails_at_once)
		circuit_probed(circuit, false);
}

static void recovered(struct circuit *circuit)
{
	++bench.recoveries;
}

static const struct circuit_ops ops = {
	.probe = probe, .recovered = recovered, .event = "TEST-CIRCUIT"};

static void begin(struct circuit *circuit)
{
	memset(&bench, 0, sizeof bench);
	bench.now_ns = 1000 * S_NS;
	log_set_sink(on_line, NULL);
	circuit_init(circuit, &ops, &bench.log);
}

static struct adapter_state state_of(struct circuit *circuit)
{
	struct adapter_state state = {0};

	circuit_health(&state, circuit_state(circuit, &state));
	return state;
}

static void a_failure_waits_for_the_probe(void)
{
	struct circuit circuit;

	begin(&circuit);
	CHECK_EQ(state_of(&circuit).health, ADAPTER_CONNECTING);
	circuit_failed(&circuit);
	circuit_look(&circuit);
	CHECK_EQ(bench.probes, 0);
	circuit_opened(&circuit);
	CHECK_EQ(bench.probes, 1);
	circuit_probed(&circuit, true);
	CHECK_EQ(bench.recoveries, 1);
	CHECK_EQ(bench.lines, 0);
	CHECK_EQ(state_of(&circuit).health, ADAPTER_READY);
	circuit_deinit(&circuit);
}

static void without_a_failure_nothing_is_probed(void)
{
	struct circuit circuit;

	begin(&circuit);
	circuit_opened(&circuit);
	CHECK_EQ(bench.probes, 0);
	CHECK(circuit_admit(&circuit, 3));
	CHECK_EQ(circuit_under_way(&circuit), 3);
	circuit_ended(&circuit, 3, true, 0);
	CHECK_EQ(bench.recoveries, 0);
	CHECK_EQ(circuit_under_way(&circuit), 0);
	circuit_deinit(&circuit);
}

static void it_opens_and_closes_with_a_line_each(void)
{
	struct circuit circuit;
	struct adapter_state state;

	begin(&circuit);
	circuit_opened(&circuit);
	CHECK(circuit_admit(&circuit, 1));
	bench.now_ns += BREAKER_SILENCE_NS;
	circuit_look(&circuit);
	CHECK_EQ(bench.probes, 1);
	bench.now_ns += S_NS;
	circuit_probed(&circuit, false); // asks again
	CHECK_EQ(bench.probes, 2);
	CHECK_EQ(bench.lines, 1);
	CHECK(!circuit_admit(&circuit, 1));
	state = state_of(&circuit);
	CHECK_EQ(state.health, ADAPTER_DOWN);
	CHECK_EQ(state.circuit, CIRCUIT_HALF_OPEN);
	CHECK(strcmp(state.error, "the cluster does not answer") == 0);
	circuit_ended(&circuit, 1, true, 0);
	CHECK_EQ(bench.lines, 2);
	CHECK_EQ(bench.recoveries, 0); // nothing was told to have failed
	CHECK_EQ(state_of(&circuit).circuit, CIRCUIT_CLOSED);
	CHECK(circuit_admit(&circuit, 1));
	circuit_deinit(&circuit);
}

// The lock is free meanwhile, and two probes keep their distance.
static void a_probe_may_end_inside_of_its_start(void)
{
	struct circuit circuit;

	begin(&circuit);
	bench.fails_at_once = true;
	circuit_opened(&circuit);
	circuit_failed(&circuit);
	CHECK_EQ(bench.probes, 1);
	CHECK_EQ(state_of(&circuit).circuit, CIRCUIT_OPEN);
	CHECK_EQ(bench.recoveries, 0);
	circuit_ended(&circuit, 0, true, 0);
	CHECK_EQ(bench.recoveries, 1);
	circuit_deinit(&circuit);
}

static void latency_follows_the_last_sends(void)
{
	struct circuit circuit;

	begin(&circuit);
	CHECK_EQ(state_of(&circuit).latency_us, 0);
	circuit_ended(&circuit, 0, true, 8000000);
	CHECK_EQ(state_of(&circuit).latency_us, 8000);
	circuit_ended(&circuit, 0, false, 1000000);
	CHECK_EQ(state_of(&circuit).latency_us, 8000);
	circuit_ended(&circuit, 0, true, 0);
	CHECK_EQ(state_of(&circuit).latency_us, 8000);
	circuit_ended(&circuit, 0, true, 16000000);
	CHECK_EQ(state_of(&circuit).latency_us, 9000);
	for (unsigned i = 0; i < 100; ++i)
		circuit_ended(&circuit, 0, true, 1000000);
	CHECK(state_of(&circuit).latency_us <= 1010);
	circuit_deinit(&circuit);
}

static void words_of_its_own_stay(void)
{
	struct adapter_state state = {.circuit = CIRCUIT_OPEN, .error = "wrong password"};

	circuit_health(&state, false);
	CHECK_EQ(state.health, ADAPTER_DOWN);
	CHECK(strcmp(state.error, "wrong password") == 0);
	state.circuit = CIRCUIT_CLOSED;
	circuit_health(&state, true);
	CHECK_EQ(state.health, ADAPTER_DEGRADED);
}

UNIT_MAIN(UNIT_CASE(a_failure_waits_for_the_probe), UNIT_CASE(without_a_failure_nothing_is_probed),
	  UNIT_CASE(it_opens_and_closes_with_a_line_each),
	  UNIT_CASE(a_probe_may_end_inside_of_its_start), UNIT_CASE(latency_follows_the_last_sends),
	  UNIT_CASE(words_of_its_own_stay))
