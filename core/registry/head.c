// Writes and reads the head of the registry as one value with one checksum.
//
// The numbers stand in fixed places, little-endian, then their CRC-32C. SQLite could store them in
// columns; one value with one checksum cannot be half right.

#include "core/registry/head.h"

#include "core/base/crc32c.h"
#include "core/base/log.h"
#include "core/base/util.h"

#include <errno.h>
#include <openssl/rand.h>

#define HEAD_SIZE (5u * 8 + AUDIT_HASH_SIZE + 4)
#define AT_HASH   40u
#define AT_CRC    (HEAD_SIZE - 4)

int head_draw(uint64_t *ret)
{
	if (RAND_bytes((uint8_t *)ret, sizeof *ret) != 1)
		return -EIO;
	*ret = (*ret >> 1) | 1; // as a JSON number and an SQLite integer it stays positive
	return 0;
}

static int decode_head(const uint8_t *bytes, size_t size, struct head *ret)
{
	if (size != HEAD_SIZE || le32_get(bytes + AT_CRC) != crc32c(0, bytes, AT_CRC)) {
		log_error(NULL, "REGISTRY-DAMAGED",
			  "the head of the registry does not have its checksum");
		return -EUCLEAN;
	}
	*ret = (struct head){
		.source = le64_get(bytes),
		.installation = le64_get(bytes + 8),
		.revision = le64_get(bytes + 16),
		.next_id = le64_get(bytes + 24),
		.audit_seq = le64_get(bytes + 32),
	};
	memcpy(ret->audit_hash, bytes + AT_HASH, AUDIT_HASH_SIZE);
	return 1;
}

int head_read(struct db *db, struct head *ret)
{
	sqlite3_stmt *statement;
	int r = db_query(db, &statement, "SELECT value FROM meta WHERE name = 'head'", "");

	if (r == 0)
		r = db_step(db, statement);
	if (r != 1)
		return r;
	r = decode_head(sqlite3_column_blob(statement, 0),
			(size_t)sqlite3_column_bytes(statement, 0), ret);
	sqlite3_reset(statement);
	return r;
}

int head_write(struct db *db, const struct head *head)
{
	uint8_t bytes[HEAD_SIZE];

	le64_put(bytes, head->source);
	le64_put(bytes + 8, head->installation);
	le64_put(bytes + 16, head->revision);
	le64_put(bytes + 24, head->next_id);
	le64_put(bytes + 32, head->audit_seq);
	memcpy(bytes + AT_HASH, head->audit_hash, AUDIT_HASH_SIZE);
	le32_put(bytes + AT_CRC, crc32c(0, bytes, AT_CRC));
	return db_run(db, "INSERT OR REPLACE INTO meta VALUES('head', ?1)", "b", bytes,
		      sizeof bytes);
}

// ---- of files without one

static int number_read(struct db *db, const char *name, uint64_t *ret)
{
	int64_t value;
	int r = db_number(db, &value, "SELECT value FROM meta WHERE name = ?1", "t", name);

	if (r == 1)
		*ret = (uint64_t)value;
	return r < 0 ? r : 0;
}

static int audit_end_read(struct db *db, struct head *ret)
{
	sqlite3_stmt *statement;
	int r = db_query(db, &statement, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1",
			 "");

	if (r == 0)
		r = db_step(db, statement);
	if (r != 1)
		return r;
	ret->audit_seq = (uint64_t)sqlite3_column_int64(statement, 0);
	if (sqlite3_column_bytes(statement, 1) == AUDIT_HASH_SIZE)
		memcpy(ret->audit_hash, sqlite3_column_blob(statement, 1), AUDIT_HASH_SIZE);
	sqlite3_reset(statement);
	return 0;
}

int head_make(struct db *db, struct head *ret)
{
	struct head head = {.next_id = 1};
	int r = number_read(db, "source", &head.source);

	if (r == 0)
		r = number_read(db, "revision", &head.revision);
	if (r == 0)
		r = number_read(db, "next_id", &head.next_id);
	if (r == 0)
		r = audit_end_read(db, &head);
	if (r == 0 && head.source == 0)
		r = head_draw(&head.source);
	if (r == 0)
		r = head_draw(&head.installation);
	if (r == 0)
		r = db_script(db,
			      "DELETE FROM meta WHERE name IN ('source', 'revision', 'next_id')");
	if (r == 0)
		r = head_write(db, &head);
	if (r == 0)
		*ret = head;
	return r;
}
