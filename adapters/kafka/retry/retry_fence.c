// Looks into a retry store on behalf of a writer of cursors, after making sure of a fence.
//
// Before anything else a fence of the topic's generation (topic_mark.h) stands in the store. So an
// owner that sees a cursor of an epoch above that generation sees the fence, too; and no owner adds
// rows that a later fence makes void. The steps: look; if there is no such fence, write it and look
// again.
//
// What it does not do: compare epochs of cursors (retry_rows.c).

#include "adapters/kafka/retry/retry_fence.h"

static bool is_fenced(const struct retry_fence_job *self, const struct retry_rows *rows)
{
	for (uint32_t i = 0; i < self->partitions; ++i)
		if (retry_rows_generation(rows, i) < self->log_generation)
			return false;
	return true;
}

static void fence_job_end(struct retry_fence_job *self, struct retry_rows *rows, enum code code,
			  const char *text)
{
	free(self->item.value);
	self->item.value = NULL;
	self->done(self, rows, code, text);
}

static void fence_job_look(struct retry_fence_job *self);

static void fence_there(struct retry_batch *batch, enum code code, const char *text)
{
	struct retry_fence_job *self = CONTAINER_OF(batch, struct retry_fence_job, batch);

	if (code == CODE_OK)
		fence_job_look(self);
	else
		fence_job_end(self, NULL, code, text);
}

static void fence_write(struct retry_fence_job *self)
{
	struct retry_item *item = &self->item;

	retry_rows_fence_key_put(item->key, self->log_generation);
	item->value =
		retry_rows_fence_make(self->log_generation, NULL, self->partitions, &item->size);
	if (!item->value) {
		fence_job_end(self, NULL, CODE_OVERLOADED, NULL);
		return;
	}
	self->batch = (struct retry_batch){.group = self->group,
					   .topic = self->topic,
					   .items = item,
					   .count = 1,
					   .done = fence_there};
	retry_write(self->adapter, &self->batch);
}

static void fence_job_looked(struct retry_job *job, struct retry_rows *rows, enum code code,
			     const char *text)
{
	struct retry_fence_job *self = CONTAINER_OF(job, struct retry_fence_job, job);

	if (code != CODE_OK || is_fenced(self, rows))
		fence_job_end(self, rows, code, text);
	else if (!self->item.value)
		fence_write(self);
	else
		fence_job_end(self, NULL, CODE_BACKEND_ERROR,
			      "its retry store does not keep a fence");
}

static void fence_job_look(struct retry_fence_job *self)
{
	self->job = (struct retry_job){.group = self->group,
				       .topic = self->topic,
				       .fresh = true,
				       .opens = self->opens,
				       .done = fence_job_looked};
	retry_store_look(self->adapter, &self->job);
}

void retry_fence_look(struct adapter *adapter, struct retry_fence_job *self)
{
	self->adapter = adapter;
	fence_job_look(self);
}
