// What librdkafka takes apart is not looked at by the thread sanitizer.
//
// librdkafka counts references with atomics, and is not built with the sanitizer. So that does not
// see that the thread that gives back the last one comes after all others, and would report
// whatever one thread has read and another one frees: the body of a message that this tree's code
// has copied, a topic's lock. What librdkafka frees therefore passes through functions with names
// of their own here, which are suppressed; what this tree's code and other libraries free is looked
// at as ever.

#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char suppressions[] =
	"race:^library_free$\n"           // messages, answers, all of its memory
	"race:^library_rwlock_destroy$\n" // locks of its topics and clients
	"race:^mtx_destroy$\n" // of its queues, brokers, partitions (c11.c; only it has these)
	"race:^cnd_destroy$\n";

static uintptr_t code, code_end; // librdkafka's

static int library_find(struct dl_phdr_info *info, size_t size, void *ctx)
{
	if (!strstr(info->dlpi_name, "/librdkafka.so"))
		return 0;
	for (size_t i = 0; i < info->dlpi_phnum; ++i) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];

		if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
			continue;
		code = info->dlpi_addr + part->p_vaddr;
		code_end = code + part->p_memsz;
	}
	return 1;
}

__attribute__((constructor)) static void code_find(void)
{
	dl_iterate_phdr(library_find, NULL);
}

// ---- asked by the sanitizer

const char *__tsan_default_suppressions(void) __attribute__((visibility("default")));

const char *__tsan_default_suppressions(void)
{
	return suppressions;
}

// ---- in place of the sanitizer's functions, which stand for the C library's

void __interceptor_free(void *data);
int __interceptor_pthread_rwlock_destroy(pthread_rwlock_t *lock);

__attribute__((noinline)) static void library_free(void *data)
{
	__interceptor_free(data);
}

__attribute__((noinline)) static int library_rwlock_destroy(pthread_rwlock_t *lock)
{
	return __interceptor_pthread_rwlock_destroy(lock);
}

// Others call these before the sanitizer has begun, and in threads that have ended for it: nothing
// of it may be in them.
#define BARE __attribute__((disable_sanitizer_instrumentation))

BARE static bool is_library(const void *caller)
{
	return (uintptr_t)caller >= code && (uintptr_t)caller < code_end;
}

BARE __attribute__((visibility("default"))) void free(void *data)
{
	if (is_library(__builtin_return_address(0)))
		library_free(data);
	else
		__interceptor_free(data);
}

BARE __attribute__((visibility("default"))) int pthread_rwlock_destroy(pthread_rwlock_t *lock)
{
	if (is_library(__builtin_return_address(0)))
		return library_rwlock_destroy(lock);
	return __interceptor_pthread_rwlock_destroy(lock);
}
