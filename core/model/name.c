// Names of resources: their check, their one normal form, and the physical names on a backend.
//
// Names are compared byte by byte everywhere, so only Unicode's normal form C is stored. Physical
// names are unique by the id and by the registry that assigned it, because several installations
// may share a backend. Their slugs only help operators who look at the backend.
//
// Invariant: a physical name never changes once it is made, and has only characters that every
// backend allows. Not here: whether a name is taken (core/registry).

#include "core/model/name.h"

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "core/base/visible.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <utf8proc.h>

#define TENANT_SLUG_MAX 36
#define NAME_SLUG_MAX   57
#define ID36_MAX        13
#define SOURCE36_SIZE   6
#define PROBE_SLUG_MAX  40 // of the proxy's id; what is left over tells only people less
#define SLUG_OPTIONS                                                                               \
	(UTF8PROC_NULLTERM | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_STRIPMARK |           \
	 UTF8PROC_CASEFOLD)
_Static_assert(4 + TENANT_SLUG_MAX + 1 + NAME_SLUG_MAX + 1 + ID36_MAX + 1 + SOURCE36_SIZE <=
		       MODEL_PHYSICAL_MAX,
	       "a physical name fits");

// What is wrong with one character; NULL: nothing.
static const char *character_problem(utf8proc_int32_t c)
{
	switch (utf8proc_category(c)) {
	case UTF8PROC_CATEGORY_CC: return "must not contain control characters";
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP: return "must not contain line separators";
	case UTF8PROC_CATEGORY_CS: return "must be valid UTF-8";
	default: break;
	}
	// Two names that look alike must be alike, and a name must not turn the text around it.
	return visible_is_invisible((uint32_t)c)
		       ? "must not contain characters that are not seen or "
			 "change the direction of writing"
		       : NULL;
}

int name_check(const char *name, const char **ret_problem)
{
	const uint8_t *at = (const uint8_t *)name;
	size_t left = strlen(name), characters = 0;
	const char *problem = NULL;

	while (left && !problem) {
		utf8proc_int32_t c;
		utf8proc_ssize_t n = utf8proc_iterate(at, (utf8proc_ssize_t)left, &c);

		if (n <= 0) {
			problem = "must be valid UTF-8";
			break;
		}
		problem = character_problem(c);
		at += n;
		left -= (size_t)n;
		++characters;
	}
	if (!problem && characters == 0)
		problem = "must have 1 to 64 characters and has none";
	if (!problem && characters > MODEL_NAME_MAX)
		problem = "must have 1 to 64 characters and has more";
	if (!problem && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0))
		problem = "must not be \".\" or \"..\", which addresses cannot hold";
	if (!problem)
		return 0;
	*ret_problem = problem;
	return -EINVAL;
}

int name_normalize(const char *name, char **ret, const char **ret_problem)
{
	utf8proc_uint8_t *normal;
	int r = name_check(name, ret_problem);

	if (r < 0)
		return r;
	normal = utf8proc_NFC((const utf8proc_uint8_t *)name);
	if (!normal)
		return -ENOMEM;
	r = name_check((const char *)normal, ret_problem); // a few characters get longer by it
	if (r < 0) {
		free(normal);
		return r;
	}
	*ret = (char *)normal;
	return 0;
}

// Letters lose case and marks; every run of anything else becomes one '-'; none at the ends.
static size_t make_slug(const char *text, char *out, size_t room)
{
	utf8proc_uint8_t *plain = NULL;
	size_t size = 0;
	bool gap = false;

	// NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): flags, made to be joined
	if (utf8proc_map((const utf8proc_uint8_t *)text, 0, &plain, SLUG_OPTIONS) < 0)
		plain = NULL;
	for (const utf8proc_uint8_t *at = plain; at && *at && size < room; ++at) {
		bool keep = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || *at == '.';

		if (!keep) {
			gap = true;
			continue;
		}
		if (gap && size && size + 1 < room)
			out[size++] = '-';
		gap = false;
		out[size++] = (char)*at;
	}
	free(plain);
	if (size == 0)
		out[size++] = 'x';
	return size;
}

// At least `least` digits.
static size_t write_base36(uint64_t id, size_t least, char *out)
{
	char reversed[ID36_MAX];
	size_t size = 0;

	do
		reversed[size++] = "0123456789abcdefghijklmnopqrstuvwxyz"[id % 36];
	while ((id /= 36) != 0 || size < least);
	for (size_t i = 0; i < size; ++i)
		out[i] = reversed[size - 1 - i];
	return size;
}

void name_physical(const char *tenant, const char *name, uint64_t id, uint64_t source,
		   char ret[MODEL_PHYSICAL_MAX + 1])
{
	const uint64_t sources = 36ull * 36 * 36 * 36 * 36 * 36;
	char *at = ret;

	memcpy(at, "mqp.", 4);
	at += 4;
	at += make_slug(tenant, at, TENANT_SLUG_MAX);
	*at++ = '.';
	at += make_slug(name, at, NAME_SLUG_MAX);
	*at++ = '-';
	at += write_base36(id, 1, at);
	*at++ = '-';
	at += write_base36(source % sources, SOURCE36_SIZE, at);
	*at = '\0';
}

// ---- probes

static const char probe_prefix[] = "mqp.probe-";

void name_probe_topic(uint64_t cluster, uint64_t installation, char ret[MODEL_PHYSICAL_MAX + 1])
{
	snprintf(ret, MODEL_PHYSICAL_MAX + 1, "%s%" PRIu64 "-%016" PRIx64, probe_prefix, cluster,
		 installation);
}

void name_probe_group(uint64_t cluster, uint64_t installation, const char *proxy,
		      char ret[MODEL_PHYSICAL_MAX + 1])
{
	char topic[MODEL_PHYSICAL_MAX + 1], slug[PROBE_SLUG_MAX + 1];
	size_t size = strnlen(proxy, PROBE_SLUG_MAX);

	for (size_t i = 0; i < size; ++i) {
		unsigned char byte = (unsigned char)proxy[i];

		slug[i] = isascii(byte) && isalnum(byte) ? (char)tolower(byte) : '-';
	}
	slug[size] = '\0';
	name_probe_topic(cluster, installation, topic);
	snprintf(ret, MODEL_PHYSICAL_MAX + 1, "%.50s-%s-%08" PRIx32, topic, slug,
		 crc32c(0, proxy, strlen(proxy)));
}

bool name_is_probe(const char *physical, size_t size)
{
	size_t prefix = sizeof probe_prefix - 1;

	return size > prefix && memcmp(physical, probe_prefix, prefix) == 0 &&
	       !memchr(physical + prefix, '.', size - prefix);
}
