// Copies and counts of the shared objects.
//
// An object and everything that it points at are one allocation: a million topics cost a million
// allocations instead of four million, and releasing one is a single free(). The field tables say
// which members are pointers, so a new member needs a row there and no change here.
//
// Invariants: an object that is shared never changes; a change makes a new object with a higher
// revision. The count is atomic, so any thread may hold a reference.

#include "core/model/model.h"

#include "core/base/util.h"
#include "core/model/field.h"

// The tail of an allocation: arrays from its start (eight-byte aligned), text behind them.
struct tail {
	char *arrays;
	char *text;
};

static const void *find_member(const struct field *field, const void *object)
{
	return (const char *)object + field->offset;
}

static size_t member_count(const struct field *field, const void *object)
{
	return *(const size_t *)(const void *)((const char *)object + field->count_offset);
}

static size_t text_size(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static void field_measure(const struct field *field, const void *draft, size_t *arrays,
			  size_t *text)
{
	const void *at = find_member(field, draft);
	size_t count;

	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_NAME:
	case FIELD_OBJECT:
	case FIELD_SECRET: *text += text_size(*(const char *const *)at); break;
	case FIELD_REFS: *arrays += member_count(field, draft) * sizeof(uint64_t); break;
	case FIELD_NETWORKS:
		count = member_count(field, draft);
		*arrays += count * sizeof(char *);
		for (size_t i = 0; i < count; ++i)
			*text += text_size((*(const char *const *const *)at)[i]);
		break;
	case FIELD_GRANTS:
		count = member_count(field, draft);
		*arrays += count * sizeof(struct access_grant);
		for (size_t i = 0; i < count; ++i)
			*text += text_size((*(const struct access_grant *const *)at)[i].pattern);
		break;
	default: break;
	}
}

static const char *tail_text(struct tail *tail, const char *text)
{
	size_t size = text_size(text);
	char *copy = tail->text;

	if (!text)
		return NULL;
	memcpy(copy, text, size);
	tail->text += size;
	return copy;
}

static void *tail_array(struct tail *tail, const void *from, size_t size)
{
	void *copy = tail->arrays;

	if (!size)
		return NULL;
	memcpy(copy, from, size);
	tail->arrays += size;
	return copy;
}

// The object is a bytewise copy of the draft, so its pointers still point into the draft. Each is
// replaced by its copy in the tail, in the order in which field_measure() added the sizes.
static void field_copy(const struct field *field, void *object, struct tail *tail)
{
	char *at = (char *)object + field->offset;
	const char **texts;
	struct access_grant *grants;
	size_t count;

	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_NAME:
	case FIELD_OBJECT:
	case FIELD_SECRET:
		*(const char **)(void *)at = tail_text(tail, *(const char **)(void *)at);
		break;
	case FIELD_REFS:
		count = member_count(field, object);
		*(void **)(void *)at =
			tail_array(tail, *(void **)(void *)at, count * sizeof(uint64_t));
		break;
	case FIELD_NETWORKS:
		count = member_count(field, object);
		texts = tail_array(tail, *(void **)(void *)at, count * sizeof *texts);
		for (size_t i = 0; i < count; ++i)
			texts[i] = tail_text(tail, texts[i]);
		*(const char ***)(void *)at = texts;
		break;
	case FIELD_GRANTS:
		count = member_count(field, object);
		grants = tail_array(tail, *(void **)(void *)at, count * sizeof *grants);
		for (size_t i = 0; i < count; ++i)
			grants[i].pattern = tail_text(tail, grants[i].pattern);
		*(struct access_grant **)(void *)at = grants;
		break;
	default: break;
	}
}

void *model_new(enum model_kind kind, const void *draft)
{
	const struct field_table *table = field_table(kind);
	struct model_object *object;
	size_t arrays = 0, text = 0;
	struct tail tail;

	assert(table->size % sizeof(void *) == 0);
	for (size_t i = 0; i < table->count; ++i)
		field_measure(&table->fields[i], draft, &arrays, &text);
	object = malloc(table->size + arrays + text);
	if (!object)
		return NULL;
	memcpy(object, draft, table->size);
	object->refs = 1;
	object->kind = (uint8_t)kind;
	tail.arrays = (char *)object + table->size;
	tail.text = tail.arrays + arrays;
	for (size_t i = 0; i < table->count; ++i)
		field_copy(&table->fields[i], object, &tail);
	return object;
}

void model_draft(const void *object, void *ret_draft)
{
	const struct model_object *head = object;
	struct model_object *draft = ret_draft;
	size_t size = field_table((enum model_kind)head->kind)->size;

	*draft = (struct model_object){
		.kind = head->kind, .id = head->id, .revision = head->revision};
	memcpy(draft + 1, head + 1, size - sizeof *head);
}

void *model_ref(const void *object)
{
	struct model_object *head = (struct model_object *)(uintptr_t)object;

	uint32_t before = __atomic_fetch_add(&head->refs, 1, __ATOMIC_RELAXED);

	assert(before > 0);
	(void)before;
	return head;
}

void *model_unref(const void *object)
{
	struct model_object *head = (struct model_object *)(uintptr_t)object;

	uint32_t before;

	if (!head)
		return NULL;
	before = __atomic_fetch_sub(&head->refs, 1, __ATOMIC_ACQ_REL);
	assert(before > 0);
	if (before == 1)
		free(head);
	return NULL;
}
