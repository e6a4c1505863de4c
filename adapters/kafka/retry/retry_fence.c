// Looks into the store on behalf of who will write cursors: before that, a fence of the generation
// that the topic is in (topic_mark.h) stands in the store. So who ever sees a cursor of an epoch
// above that generation sees the fence, too, and nobody adds rows that a fence which comes later
// makes void.

#include "adapters/kafka/retry/retry.h"
#include "adapters/kafka/retry/retry_rows.h"

static bool is_fenced(const struct retry_life *self, const struct retry_rows *rows)
{
	for (uint32_t i = 0; i < self->partitions; ++i)
		if (retry_rows_generation(rows, i) < self->log_generation)
			return false;
	return true;
}

static void end(struct retry_life *self, struct retry_rows *rows, enum code code, const char *text)
{
	free(self->item.value);
	self->item.value = NULL;
	self->done(self, rows, code, text);
}

static void look(struct retry_life *self);

static void fence_there(struct retry_batch *batch, enum code code, const char *text)
{
	struct retry_life *self = CONTAINER_OF(batch, struct retry_life, batch);

	if (code == CODE_OK)
		look(self);
	else
		end(self, NULL, code, text);
}

static void fence_write(struct retry_life *self)
{
	struct retry_item *item = &self->item;

	retry_fence_key_put(item->key, self->log_generation);
	item->value = retry_fence_make(self->log_generation, NULL, self->partitions, &item->size);
	if (!item->value) {
		end(self, NULL, CODE_OVERLOADED, NULL);
		return;
	}
	self->batch = (struct retry_batch){.group = self->group,
					   .topic = self->topic,
					   .items = item,
					   .count = 1,
					   .done = fence_there};
	retry_write(self->adapter, &self->batch);
}

static void looked(struct retry_job *job, struct retry_rows *rows, enum code code, const char *text)
{
	struct retry_life *self = CONTAINER_OF(job, struct retry_life, job);

	if (code != CODE_OK || is_fenced(self, rows))
		end(self, rows, code, text);
	else if (!self->item.value)
		fence_write(self);
	else
		end(self, NULL, CODE_BACKEND_ERROR, "its retry store does not keep a fence");
}

static void look(struct retry_life *self)
{
	self->job = (struct retry_job){.group = self->group,
				       .topic = self->topic,
				       .fresh = true,
				       .opens = self->opens,
				       .done = looked};
	retry_look(self->adapter, &self->job);
}

void retry_look_in_life(struct adapter *adapter, struct retry_life *self)
{
	self->adapter = adapter;
	look(self);
}
