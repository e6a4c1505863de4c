// Says in which store a process ended that LMDB led astray, and marks that store for the next
// start.
//
// LMDB trusts the pages it has mapped. A bit that flips in one while the process runs may lead it
// out of the map (SIGSEGV), behind the end of the file (SIGBUS) or into one of its own assertions
// (SIGABRT; one of ours is no sign of a page). None of them can be carried on from: LMDB may hold
// its lock, and may have written beyond a page that it had copied. So the process ends, as it
// would; but it says in which store, and leaves a mark there.
//
// The handler uses what a signal handler may: memory that was prepared, open, write, close. It then
// hands over to the previous handler of the signal, so cores and sanitizers are what they were.
//
// Invariant: a thread is `here` in one store at most, and in none when it comes back to a loop. Not
// here: looking at the file (check.c, which a mark makes look at all of it), and keeping the
// process alive.

#include "adapters/store/fault.h"

#include "core/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

#define MARK "fault"

struct watched {
	const struct store *store; // atomic; NULL: free
	char mark[512];            // path of its file
	char line[1024];           // to be written
	size_t line_size;
};

static struct watched watched[FAULT_STORES];
static pthread_mutex_t watched_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t installed = PTHREAD_ONCE_INIT;
static _Thread_local const struct store *here;
static _Thread_local bool lmdb_asserted;

static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT};
static struct sigaction before[ARRAY_SIZE(signals)];

void fault_at(const struct store *store)
{
	here = store;
}

// ---- the handler

static const struct watched *watched_of(const struct store *store)
{
	for (size_t i = 0; store && i < FAULT_STORES; ++i)
		if (__atomic_load_n(&watched[i].store, __ATOMIC_ACQUIRE) == store)
			return &watched[i];
	return NULL;
}

static void bytes_write(int fd, const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t written = write(fd, bytes, size);

		if (written <= 0)
			return;
		bytes += written;
		size -= (size_t)written;
	}
}

static void mark_write(const char *file)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	bytes_write(fd, "fault\n", 6);
	close(fd);
}

static void handle_signal(int number, siginfo_t *info, void *context)
{
	const struct watched *fault = number != SIGABRT || lmdb_asserted ? watched_of(here) : NULL;

	here = NULL;
	if (fault) {
		mark_write(fault->mark);
		bytes_write(STDERR_FILENO, fault->line, fault->line_size);
	}
	// What it was doing is done once more, and ends the process the way it would have been.
	for (size_t i = 0; i < ARRAY_SIZE(signals); ++i)
		if (signals[i] == number)
			sigaction(number, &before[i], NULL);
	if (number == SIGABRT || info->si_code <= 0) // sent, not caused: it does not come again
		raise(number);
}

static void install_handlers(void)
{
	struct sigaction action = {.sa_sigaction = handle_signal,
				   .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(signals); ++i)
		sigaction(signals[i], &action, &before[i]);
}

// ---- stores

static void assertion_log(MDB_env *env, const char *text)
{
	const struct store *store = mdb_env_get_userctx(env);

	log_error(NULL, "STORE-ASSERT", "%s: a page of its file is damaged: LMDB: %s", store->path,
		  text);
	fault_at(store);
	lmdb_asserted = true; // it aborts next
}

static void watched_fill(struct watched *to, const struct store *store)
{
	int size;

	snprintf(to->mark, sizeof to->mark, "%s/" MARK, store->path);
	size = snprintf(to->line, sizeof to->line,
			"{\"level\":\"error\",\"id\":\"STORE-FAULT\",\"message\":\"%s: the process "
			"ends while it works in this store: a page of its file is damaged, in "
			"memory or on the disk; the next start looks at the whole file\"}\n",
			store->path);
	to->line_size = MIN((size_t)MAX(size, 0), sizeof to->line - 1);
	__atomic_store_n(&to->store, store, __ATOMIC_RELEASE);
}

void fault_watch(struct store *store)
{
	pthread_once(&installed, install_handlers);
	mdb_env_set_userctx(store->env, store);
	mdb_env_set_assert(store->env, assertion_log);
	pthread_mutex_lock(&watched_lock);
	for (size_t i = 0; i < FAULT_STORES; ++i) {
		if (__atomic_load_n(&watched[i].store, __ATOMIC_ACQUIRE))
			continue;
		watched_fill(&watched[i], store);
		break;
	}
	pthread_mutex_unlock(&watched_lock);
}

void fault_unwatch(const struct store *store)
{
	for (size_t i = 0; i < FAULT_STORES; ++i)
		if (__atomic_load_n(&watched[i].store, __ATOMIC_ACQUIRE) == store)
			__atomic_store_n(&watched[i].store, NULL, __ATOMIC_RELEASE);
}

// ---- the mark

static char *mark_of(const char *path)
{
	char *file;

	return asprintf(&file, "%s/" MARK, path) < 0 ? NULL : file;
}

bool fault_is_marked(const char *path)
{
	_cleanup_(freep) char *file = mark_of(path);

	return file && access(file, F_OK) == 0;
}

void fault_mark(const char *path)
{
	_cleanup_(freep) char *file = mark_of(path);

	if (file)
		mark_write(file);
}

void fault_unmark(const char *path)
{
	_cleanup_(freep) char *file = mark_of(path);

	if (file)
		unlink(file);
}
