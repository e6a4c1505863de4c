// adapters/rabbitmq/send: what waits for its confirm, and the results of a batch.

#include "adapters/rabbitmq/send/batch.h"
#include "adapters/rabbitmq/send/confirms.h"
#include "tests/unit/unit.h"

#define MESSAGES 50000

struct lab {
	struct rabbitmq_confirms confirms;
	uint8_t ids[MESSAGES][RECORD_ID_SIZE];
	uint8_t verdicts[MESSAGES]; // 1 + the verdict; 0: none yet
	uint32_t told;              // verdicts so far
	uint32_t last;              // index of the last
	uint32_t added;
};

static void on_verdict(void *ctx, const struct rabbitmq_confirm *confirm,
		       enum rabbitmq_verdict verdict)
{
	struct lab *lab = ctx;

	CHECK_EQ(lab->verdicts[confirm->index], 0);
	CHECK(confirm->owner == lab);
	lab->verdicts[confirm->index] = (uint8_t)(1 + verdict);
	lab->last = confirm->index;
	++lab->told;
}

static struct lab *lab_new(void)
{
	struct lab *lab = calloc(1, sizeof *lab);

	for (uint32_t i = 0; i < MESSAGES; ++i)
		le32_put(lab->ids[i], i + 1);
	rabbitmq_confirms_init(&lab->confirms, on_verdict, lab);
	return lab;
}

static void lab_free(struct lab *lab)
{
	rabbitmq_confirms_deinit(&lab->confirms);
	free(lab);
}

static void add(struct lab *lab, uint32_t bytes, uint64_t at_ns)
{
	CHECK_EQ(rabbitmq_confirms_reserve(&lab->confirms), 0);
	rabbitmq_confirms_add(&lab->confirms, &(struct rabbitmq_confirm){.owner = lab,
									 .id = lab->ids[lab->added],
									 .at_ns = at_ns,
									 .index = lab->added,
									 .bytes = bytes});
	++lab->added;
}

static void add_many(struct lab *lab, unsigned count)
{
	for (unsigned i = 0; i < count; ++i)
		add(lab, 1, 0);
}

static enum rabbitmq_verdict verdict(const struct lab *lab, uint32_t index)
{
	CHECK(lab->verdicts[index] > 0);
	return (enum rabbitmq_verdict)(lab->verdicts[index] - 1);
}

static void one_confirm_is_one_message(void)
{
	struct lab *lab = lab_new();

	add_many(lab, 3);
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 2, false, true));
	CHECK_EQ(lab->told, 1);
	CHECK_EQ(verdict(lab, 1), RABBITMQ_CONFIRMED);
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 2, false, true)); // again: nothing
	CHECK_EQ(lab->told, 1);
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 1, false, false));
	CHECK_EQ(verdict(lab, 0), RABBITMQ_REFUSED);
	CHECK_EQ(lab->confirms.base, 3);
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 1, false, true)); // long ago
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 3, true, true));
	CHECK_EQ(lab->told, 3);
	CHECK_EQ(lab->confirms.count, 0);
	CHECK_EQ(lab->confirms.bytes, 0);
	lab_free(lab);
}

static void a_multiple_confirm_is_all_up_to_it(void)
{
	struct lab *lab = lab_new();

	add_many(lab, 1000);
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 500, false, true));
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 700, true, false));
	CHECK_EQ(lab->told, 700);
	for (uint32_t i = 0; i < 700; ++i)
		CHECK_EQ(verdict(lab, i), i == 499 ? RABBITMQ_CONFIRMED : RABBITMQ_REFUSED);
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 0, true, true)); // all so far
	CHECK_EQ(lab->told, 1000);
	lab_free(lab);
}

static void a_tag_that_never_was_is_told(void)
{
	struct lab *lab = lab_new();

	CHECK(!rabbitmq_confirms_answer(&lab->confirms, 1, false, true));
	CHECK(!rabbitmq_confirms_answer(&lab->confirms, 0, false, true));
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 0, true, true));
	add_many(lab, 2);
	CHECK(!rabbitmq_confirms_answer(&lab->confirms, 3, true, true));
	CHECK(!rabbitmq_confirms_answer(&lab->confirms, UINT64_MAX, true, true));
	CHECK_EQ(lab->told, 0);
	rabbitmq_confirms_end(&lab->confirms);
	lab_free(lab);
}

// By id, in the order of the messages, also when one is there twice.
static void a_return_comes_before_its_confirm(void)
{
	struct lab *lab = lab_new();

	add_many(lab, 6);
	memcpy(lab->ids[4], lab->ids[1], RECORD_ID_SIZE);
	CHECK(rabbitmq_confirms_return(&lab->confirms, lab->ids[3]));
	CHECK(rabbitmq_confirms_return(&lab->confirms, lab->ids[1])); // 4: behind the last
	CHECK(rabbitmq_confirms_return(&lab->confirms, lab->ids[1])); // 1: from the start again
	CHECK(!rabbitmq_confirms_return(&lab->confirms, lab->ids[1]));
	CHECK(!rabbitmq_confirms_return(&lab->confirms, (const uint8_t[RECORD_ID_SIZE]){99}));
	CHECK_EQ(lab->told, 0);
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 5, true, true));
	CHECK_EQ(verdict(lab, 0), RABBITMQ_CONFIRMED);
	CHECK_EQ(verdict(lab, 1), RABBITMQ_RETURNED);
	CHECK_EQ(verdict(lab, 2), RABBITMQ_CONFIRMED);
	CHECK_EQ(verdict(lab, 3), RABBITMQ_RETURNED);
	CHECK_EQ(verdict(lab, 4), RABBITMQ_RETURNED);
	CHECK(!rabbitmq_confirms_return(&lab->confirms, lab->ids[0])); // confirmed
	CHECK(rabbitmq_confirms_return(&lab->confirms, lab->ids[5]));
	rabbitmq_confirms_end(&lab->confirms); // lost: the confirm is not there
	CHECK_EQ(verdict(lab, 5), RABBITMQ_LOST);
	lab_free(lab);
}

static void the_end_of_a_channel_is_told_in_order(void)
{
	struct lab *lab = lab_new();

	add_many(lab, 300);
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 100, true, true));
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 200, false, true));
	rabbitmq_confirms_end(&lab->confirms);
	CHECK_EQ(lab->told, 300);
	CHECK_EQ(lab->last, 299);
	CHECK_EQ(verdict(lab, 100), RABBITMQ_LOST);
	CHECK_EQ(verdict(lab, 199), RABBITMQ_CONFIRMED);
	CHECK_EQ(lab->confirms.count, 0);
	add_many(lab, 1); // the next channel begins with 1
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 1, false, true));
	CHECK_EQ(verdict(lab, 300), RABBITMQ_CONFIRMED);
	lab_free(lab);
}

static void the_window_is_bounded(void)
{
	struct lab *lab = lab_new();
	bool stuck;

	add_many(lab, RABBITMQ_CONFIRMS_COUNT - 1);
	CHECK(rabbitmq_confirms_have_room(&lab->confirms, NULL));
	add_many(lab, 1);
	CHECK(!rabbitmq_confirms_have_room(&lab->confirms, &stuck) && !stuck);
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 1, false, true));
	CHECK(rabbitmq_confirms_have_room(&lab->confirms, NULL));
	add(lab, RABBITMQ_CONFIRMS_BYTES, 0);
	CHECK(!rabbitmq_confirms_have_room(&lab->confirms, NULL));
	rabbitmq_confirms_end(&lab->confirms);
	CHECK(rabbitmq_confirms_have_room(&lab->confirms, NULL));
	lab_free(lab);
}

// The oldest has no answer, all others have.
static void one_silent_message_is_no_obstacle_for_long(void)
{
	struct lab *lab = lab_new();
	bool stuck = false;

	add_many(lab, 1);
	for (uint64_t tag = 2; rabbitmq_confirms_have_room(&lab->confirms, &stuck); ++tag) {
		add_many(lab, 1);
		CHECK(rabbitmq_confirms_answer(&lab->confirms, tag, false, true));
	}
	CHECK(stuck);
	CHECK_EQ(lab->added, RABBITMQ_CONFIRMS_SPAN);
	CHECK_EQ(lab->confirms.count, 1);
	rabbitmq_confirms_end(&lab->confirms);
	CHECK_EQ(verdict(lab, 0), RABBITMQ_LOST);
	lab_free(lab);
}

static void what_is_silent_for_too_long_ends(void)
{
	struct lab *lab = lab_new();

	for (uint32_t i = 0; i < 10; ++i)
		add(lab, 1, 100 * i);
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 2, false, true));
	rabbitmq_confirms_expire(&lab->confirms, 400);
	CHECK_EQ(lab->told, 4);
	CHECK_EQ(verdict(lab, 0), RABBITMQ_SILENT);
	CHECK_EQ(verdict(lab, 1), RABBITMQ_CONFIRMED);
	CHECK_EQ(verdict(lab, 3), RABBITMQ_SILENT);
	CHECK_EQ(lab->confirms.count, 6);
	CHECK(rabbitmq_confirms_answer(&lab->confirms, 6, true, true)); // too late for four
	CHECK_EQ(lab->told, 6);
	CHECK_EQ(verdict(lab, 5), RABBITMQ_CONFIRMED);
	rabbitmq_confirms_expire(&lab->confirms, UINT64_MAX);
	CHECK_EQ(lab->told, 10);
	lab_free(lab);
}

// Random orders against an array of what should be.
static void every_message_gets_one_verdict(void)
{
	struct lab *lab = lab_new();
	uint64_t random = 5, tags = 0;
	uint32_t first = 0; // index of tag 1

	while (lab->added < MESSAGES - 8) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		unsigned choice = (unsigned)(random >> 33) % 100;
		uint64_t tag = tags ? 1 + (random >> 20) % tags : 0;

		if (choice < 50 && rabbitmq_confirms_have_room(&lab->confirms, NULL)) {
			add(lab, (uint32_t)(random >> 50), lab->added);
			++tags;
		} else if (choice < 97 && tag) {
			CHECK(rabbitmq_confirms_answer(&lab->confirms, tag, choice < 55,
						       choice % 2));
			CHECK(lab->verdicts[first + tag - 1]);
		} else if (choice == 99) {
			rabbitmq_confirms_end(&lab->confirms);
			CHECK_EQ(lab->told, lab->added);
			first = lab->added;
			tags = 0;
		}
		CHECK_EQ(lab->confirms.count, lab->added - lab->told);
	}
	rabbitmq_confirms_end(&lab->confirms);
	CHECK_EQ(lab->told, lab->added);
	lab_free(lab);
}

// ---- a batch

static unsigned answered;

static void on_done(struct submit *submit)
{
	++answered;
}

static void a_batch_is_answered_in_the_order_of_its_records(void)
{
	struct submit_record records[6] = {
		{.size = 10, .partition = 0}, {.size = 10, .partition = 0},
		{.size = 10, .partition = 1}, {.size = 10, .partition = 1},
		{.size = 10, .partition = 1}, {.size = 10, .partition = 1}};
	struct submit_run runs[6];
	struct submit submit = {.records = records, .count = 6, .runs = runs, .done = on_done};
	struct rabbitmq_batch *batch = rabbitmq_batch_new(&submit, 5);
	static const uint32_t order[] = {5, 0, 3, 1, 4, 2};

	CHECK_EQ(batch->bytes, 60);
	for (unsigned i = 0; i < 6; ++i) {
		bool refused = order[i] == 4;

		CHECK_EQ(rabbitmq_batch_end_one(batch, order[i],
						refused ? OUTCOME_REJECTED : OUTCOME_OK,
						refused ? CODE_BACKEND_DOWN : CODE_OK),
			 i == 5);
	}
	rabbitmq_batch_answer(batch, DURABILITY_D2);
	CHECK_EQ(answered, 1);
	CHECK_EQ(submit.run_count, 4);
	CHECK_EQ(runs[0].count, 2);
	CHECK_EQ(runs[0].durability, DURABILITY_D2);
	CHECK(runs[0].offset == UINT64_MAX);
	CHECK_EQ(runs[1].count, 2);
	CHECK_EQ(runs[1].partition, 1);
	CHECK_EQ(runs[2].code, CODE_BACKEND_DOWN);
	CHECK_EQ(runs[2].outcome, OUTCOME_REJECTED);
	CHECK_EQ(runs[2].durability, 0);
	CHECK(runs[2].retry_after_ms > 0);
	CHECK_EQ(runs[3].outcome, OUTCOME_OK);
	CHECK_EQ(runs[3].retry_after_ms, 0);
}

UNIT_MAIN(UNIT_CASE(one_confirm_is_one_message), UNIT_CASE(a_multiple_confirm_is_all_up_to_it),
	  UNIT_CASE(a_tag_that_never_was_is_told), UNIT_CASE(a_return_comes_before_its_confirm),
	  UNIT_CASE(the_end_of_a_channel_is_told_in_order), UNIT_CASE(the_window_is_bounded),
	  UNIT_CASE(one_silent_message_is_no_obstacle_for_long),
	  UNIT_CASE(what_is_silent_for_too_long_ends), UNIT_CASE(every_message_gets_one_verdict),
	  UNIT_CASE(a_batch_is_answered_in_the_order_of_its_records))
