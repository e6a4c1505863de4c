// The encoded form of a snapshot or delta: what the portal tells a proxy, over the network and into
// the last good copy.
//
// A header of 68 bytes (magic, version, kind, source, revisions, size, installation, next id,
// CRC-32C of rows and header), then rows. Integers of a row are variable-length, in the order of
// the field tables; a newer writer's extra fields are skipped, an older writer's missing ones take
// their initial value. Secrets inside are sealed.
#pragma once

#include "core/catalog/seal.h"
#include "core/model/model.h"

#define CHANGE_HEADER_SIZE 68

// Complete and self-contained: may be written to a file or socket as it is, and freed with free().
struct catalog_change {
	size_t size;
	uint8_t data[];
};

struct change_head {
	bool full;
	uint64_t source;       // which registry; revisions of different ones do not compare
	uint64_t from;         // the revision a delta follows; 0 with a full one
	uint64_t to;           // the revision afterwards
	uint64_t installation; // of the registry; stays through restores; 0: not known
	uint64_t next_id;      // the registry's: every id below was given out, also of what is gone
	uint32_t rows;
	size_t size; // of the rows, bytes
};

struct change_writer {
	struct catalog_change *change;
	size_t capacity;
	struct change_head head;
	const struct seal_key *key;
};

// `key` is borrowed until the end; NULL: secrets are left out. All: -ENOMEM. After a failure
// change_abandon().
int change_begin(struct change_writer *writer, const struct change_head *head,
		 const struct seal_key *key);
int change_put(struct change_writer *writer, const struct model_object *object);
int change_gone(struct change_writer *writer, enum model_kind kind, uint64_t id);
struct catalog_change *change_end(struct change_writer *writer); // the caller's; cannot fail
void change_abandon(struct change_writer *writer);

struct change_reader {
	struct change_head head;
	const struct seal_key *key;
	const uint8_t *at, *end;
	uint32_t left;
	void *scratch; // arrays of the row being read
	size_t scratch_size;
};

// Reads and checks a header alone. -EBADMSG: not one, or altered. -ENOTSUP: a newer version.
int change_head_read(const uint8_t *data, size_t size, struct change_head *ret);

// Checks everything by checksum. `data` is borrowed until change_close(). Errors as above.
int change_open(struct change_reader *reader, const uint8_t *data, size_t size,
		const struct seal_key *key);
void change_close(struct change_reader *reader);

struct change_row {
	enum model_kind kind;
	uint64_t id;
	struct model_object *object; // the caller's reference; NULL: it is gone
};

// 1: a row; 0: the end; -EBADMSG: rows that no writer makes.
int change_next(struct change_reader *reader, struct change_row *ret);
