// What the cases of the registry stand on: a registry with its catalog in a directory of its own,
// and short ways to call it. Each begins and ends one.
#pragma once

#include "core/base/log.h"
#include "core/catalog/catalog.h"
#include "core/registry/registry.h"
#include "tests/unit/unit.h"

extern struct bench {
	char directory[64];
	char db_path[80], wal_path[96], shm_path[96], copy_path[80], backup_path[80];
	char audit_path[80]; // "": the registry has no such file
	int64_t now_ms;      // by the registry's clock
	struct catalog *catalog;
	struct registry *registry;
	struct registry_result result; // of the last call
} bench;

extern const struct seal_key bench_key;
extern const struct registry_actor bench_ann; // the caller

int bench_try_open(char **ret_error);
void bench_reopen(void);
void bench_begin(void);
void bench_end(void);
enum code bench_outcome(int r);
enum code bench_create(enum registry_kind kind, const char *tenant, const char *text);
enum code bench_put_match(enum registry_kind kind, const char *tenant, const char *name,
			  uint64_t match, const char *text);
enum code bench_put(enum registry_kind kind, const char *tenant, const char *name,
		    const char *text);
enum code bench_get(enum registry_kind kind, const char *tenant, const char *name);
enum code bench_drop(enum registry_kind kind, const char *tenant, const char *name, bool force);
const char *bench_text(const char *member);
json_int_t bench_number(const char *member);
uint64_t bench_id(enum registry_kind kind, const char *tenant, const char *name);
unsigned bench_settle(void);
void bench_acme(void);
void bench_acme_with_group(void);
void bench_catalog_follows(void);
bool bench_file_holds(const char *path, const char *text);
void bench_sql(const char *statement);
void bench_drop_line(void *ctx, enum log_level level, const char *line, size_t size);
json_int_t bench_first_bad(void);
