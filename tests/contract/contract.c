// Runs the contract for one kind of backend, or prints the table of what each kind can do:
//
//   contract KIND d1|d2 [NAME-PART]
//   contract --table
//
// A case whose capabilities the kind lacks is printed with what is missing.

#include "adapters/kinds.h"
#include "tests/contract/cases.h"
#include "tests/queue_example/queue_example.h"

// Those of the product, then the example.
static const struct adapter_ops *kind_at(size_t index)
{
	const struct adapter_ops *kind = adapter_kind_at(index);

	return kind ? kind : index > 0 && adapter_kind_at(index - 1) ? &queue_example_ops : NULL;
}

static bool kind_exists(const char *kind)
{
	for (size_t i = 0; kind_at(i); ++i)
		if (strcmp(kind_at(i)->kind, kind) == 0)
			return true;
	return false;
}

static bool is_of_kind(const struct contract_case *item, const char *kind)
{
	return !item->kind || strcmp(item->kind, kind) == 0;
}

// Where the kind has no positions, a case that has another form for a queue is that one.
static bool is_for_queue(const struct contract_case *item, uint32_t has)
{
	return item->queue && (has & CAP_CONSUME) && !(has & CAP_POSITIONS);
}

static const struct capability_row *lacks_for(const struct contract_case *item, uint32_t has)
{
	return capability_missing(
		has, is_for_queue(item, has) ? item->needs & ~(uint32_t)CAP_HISTORY : item->needs);
}

static int run(const char *kind, enum durability durability, const char *part)
{
	size_t passed = 0;
	struct bench bench;
	const struct capability_row *lacks;
	void (*form)(struct bench *bench);

	for (size_t i = 0; i < contract_case_count; ++i) {
		const struct contract_case *item = &contract_cases[i];

		if (!is_of_kind(item, kind) || (part && !strstr(item->name, part)))
			continue;
		bench_open(&bench, kind, durability, NULL, "");
		lacks = lacks_for(item, bench.capabilities);
		form = is_for_queue(item, bench.capabilities) ? item->queue : item->run;
		fprintf(stderr, "# %s %s%s%s\n", kind, item->name,
			lacks               ? ": cannot: "
			: form == item->run ? ""
					    : ": as a queue",
			lacks ? lacks->key : "");
		if (!lacks) {
			form(&bench);
			++passed;
		}
		bench_close(&bench);
	}
	printf("%zu passed, 0 failed\n", passed);
	return 0;
}

static const char page_head[] =
	"# What each backend can do\n"
	"\n"
	"Written by `contract --table` (tests/contract); every \"yes\" is a case that the same\n"
	"code runs against the backend in `tests/run --only contract`. A request for what a "
	"backend\n"
	"cannot do is answered UNSUPPORTED_BY_BACKEND with the reason, when it is made. Classes\n"
	"D2 and D3 on Kafka: where the options or the brokers ask for two or more copies in step.\n"
	"On RabbitMQ: as the management API tells nodes and policies, and with quorum queues;\n"
	"history, query_time and keeps_without_group with the option history alone, and the\n"
	"cases that need them run in a run of their own.\n"
	"A cluster without positions keeps a queue for each group. Where a case means something\n"
	"else there, it has a form for a queue, marked \"queue\", with checks as hard\n"
	"(tests/contract/cases_queue.c). `queue_example` is no kind of the product: it is the\n"
	"backend in memory from which an adapter for a queue is begun (tests/queue_example).\n"
	"\n";

// Of Kafka, a cluster that keeps copies; of RabbitMQ, one that keeps a history.
static const char *options_for_table(const char *kind)
{
	if (strcmp(kind, "kafka") == 0)
		return "{\"bootstrap\": \"127.0.0.1:9\", \"replication\": 3, \"min_insync\": 2}";
	if (strcmp(kind, "rabbitmq") == 0)
		return "{\"addresses\": \"127.0.0.1:9\", \"history\": true}";
	return "";
}

static void capabilities_of(uint32_t *ret)
{
	for (size_t kind = 0; kind_at(kind); ++kind) {
		struct bench bench;

		bench_open(&bench, kind_at(kind)->kind, DURABILITY_D2, NULL,
			   options_for_table(kind_at(kind)->kind));
		ret[kind] = bench.capabilities;
		bench_close(&bench);
	}
}

static void cells(const char *first, const char *(*cell)(size_t row, size_t kind, uint32_t has),
		  size_t row, const uint32_t *has)
{
	printf("| %s |", first);
	for (size_t kind = 0; kind_at(kind); ++kind)
		printf(" %s |", cell(row, kind, has[kind]));
	putchar('\n');
}

static const char *kind_cell(size_t row, size_t kind, uint32_t has)
{
	return row ? "---" : kind_at(kind)->kind;
}

static const char *capability_cell(size_t row, size_t kind, uint32_t has)
{
	return has & capability_at(row)->bit ? "yes" : "no";
}

static const char *case_cell(size_t row, size_t kind, uint32_t has)
{
	const struct contract_case *item = &contract_cases[row];
	const struct capability_row *lacks = lacks_for(item, has);

	return !is_of_kind(item, kind_at(kind)->kind) ? ""
	       : lacks                                ? lacks->key
	       : is_for_queue(item, has)              ? "queue"
						      : "yes";
}

static int table(void)
{
	uint32_t has[16] = {0};

	capabilities_of(has);
	fputs(page_head, stdout);
	cells("capability", kind_cell, 0, has);
	cells("---", kind_cell, 1, has);
	for (size_t i = 0; capability_at(i); ++i)
		cells(capability_at(i)->key, capability_cell, i, has);
	puts("\nA backend … (where it cannot: what it lacks)\n");
	cells("case", kind_cell, 0, has);
	cells("---", kind_cell, 1, has);
	for (size_t i = 0; i < contract_case_count; ++i)
		cells(contract_cases[i].name, case_cell, i, has);
	return 0;
}

static enum durability durability_of(const char *name)
{
	return strcmp(name, "d1") == 0 ? DURABILITY_D1 : DURABILITY_D2;
}

int main(int argc, char **argv)
{
	bench_own_kind = &queue_example_ops;
	if (argc == 6 && strcmp(argv[1], "--victim") == 0)
		contract_live_and_be_killed(argv[2], durability_of(argv[3]), argv[4],
					    atoi(argv[5]));
	if (argc == 2 && strcmp(argv[1], "--table") == 0)
		return table();
	if (argc < 3 || !kind_exists(argv[1])) {
		fprintf(stderr, "use: contract KIND d1|d2 [NAME-PART], or contract --table\n");
		return 2;
	}
	return run(argv[1], durability_of(argv[2]), argc > 3 ? argv[3] : NULL);
}
