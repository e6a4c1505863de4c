// mqpaasd: options, configuration file, signals, readiness. The parts are wired together in
// daemon.c.
//
// Signals are blocked in every thread and read from a descriptor, so that no code of ours runs
// inside a handler (but for faults, adapters/store/fault.c). The command line is read again at a
// reload, because options win over the file.
//
// Not here: what the settings mean (settings.h and the parts that use them).

#include "core/base/log.h"
#include "core/base/text.h"
#include "server/daemon.h"
#include "server/files.h"
#include "server/metrics.h"
#include "server/notify.h"
#include "server/salvage.h"
#include "server/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

enum { EXIT_USAGE = 2 };

struct invocation {
	const char *config;  // NULL: none
	bool check;          // only check the configuration
	const char *restore; // only put this copy of the registry back; NULL: none
	bool revive;         // with what was revoked since, or may have been
	const char *salvage; // only take out of this store what can be read; NULL: none
	int ready_fd;        // -1: none
	int (*print)(void);  // only print something; NULL: serve
};

static int print_refusal(char *wrong, int status)
{
	fprintf(stderr, "mqpaasd: %s\n", wrong);
	free(wrong);
	return status;
}

// ---- what is printed

static int print_with(void (*print)(const struct settings *settings))
{
	struct settings *settings;

	if (settings_new(server_settings, SERVER_SETTING_COUNT, &settings) < 0)
		return EXIT_FAILURE;
	print(settings);
	settings_free(settings);
	return fflush(stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void print_usage(const struct settings *settings)
{
	puts("mqpaasd: the MQPaaS daemon\n\n"
	     "Usage: mqpaasd [--config FILE] [--SETTING VALUE …]\n\n"
	     "  --config FILE                read settings from a file; options win over it\n"
	     "  --check-config               check settings and certificates, then end\n"
	     "  --restore FILE               put a copy of the registry back, say what comes of "
	     "it, "
	     "then end\n"
	     "  --revive                     with --restore: also what was revoked since the copy, "
	     "or "
	     "may have been\n"
	     "  --salvage DIR                take out of the damaged store DIR what can be read, "
	     "say what is missing, then end\n"
	     "  --ready-fd N                 write what is listened on, then \"ready\", to this "
	     "descriptor\n"
	     "  --print-settings             print the table of docs/configuration.md\n"
	     "  --print-metrics              print the table of docs/metrics.md\n"
	     "  --version, --help\n\n"
	     "Settings (in a file: name = value, one a line):");
	settings_print_help(settings, stdout);
	puts("\nSIGHUP reads the file and the certificates again; SIGTERM drains and ends; a "
	     "second SIGTERM ends at once.");
}

static void settings_page(const struct settings *settings)
{
	settings_print_page(settings, stdout);
}

static int print_help(void)
{
	return print_with(print_usage);
}

static int print_settings(void)
{
	return print_with(settings_page);
}

static int print_metrics(void)
{
	metrics_page(stdout);
	return fflush(stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int print_version(void)
{
	puts("mqpaasd " VERSION);
	return fflush(stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

// ---- the command line; it is read again at every reload, because options win over the file

static const struct {
	const char *name;
	int (*print)(void);
} pages[] = {
	{"help", print_help},
	{"version", print_version},
	{"print-settings", print_settings},
	{"print-metrics", print_metrics},
};

static char *ready_fd_take(struct invocation *invocation, const char *value)
{
	char *end;
	long fd = strtol(value, &end, 10);

	if (end == value || *end || fd < 0 || fd > INT32_MAX)
		return text_format("--ready-fd: \"%s\" is not a descriptor", value);
	invocation->ready_fd = (int)fd;
	return NULL;
}

// Options that stand alone. True: it was one.
static bool word_take(struct invocation *invocation, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(pages); ++i) {
		if (strcmp(name, pages[i].name) == 0) {
			invocation->print = pages[i].print;
			return true;
		}
	}
	if (strcmp(name, "check-config") == 0)
		invocation->check = true;
	else if (strcmp(name, "revive") == 0)
		invocation->revive = true;
	else
		return false;
	return true;
}

static char *pair_take(struct settings *settings, struct invocation *invocation, const char *name,
		       const char *value)
{
	if (strcmp(name, "config") == 0)
		invocation->config = value;
	else if (strcmp(name, "restore") == 0)
		invocation->restore = value;
	else if (strcmp(name, "salvage") == 0)
		invocation->salvage = value;
	else if (strcmp(name, "ready-fd") == 0)
		return ready_fd_take(invocation, value);
	else
		return settings_set_option(settings, name, value);
	return NULL;
}

static char *option_take(struct settings *settings, struct invocation *invocation, char **argv,
			 int *at)
{
	const char *option = argv[*at], *equals = strchr(option, '=');
	_cleanup_(freep) char *name = NULL;

	if (strncmp(option, "--", 2) != 0)
		return text_format("\"%s\" is not an option; mqpaasd --help lists those there are",
				   option);
	option += 2;
	name = equals ? text_format("%.*s", (int)(equals - option), option)
		      : text_format("%s", option);
	if (equals)
		return pair_take(settings, invocation, name, equals + 1);
	if (word_take(invocation, name))
		return NULL;
	if (settings_is_flag(settings, name))
		return pair_take(settings, invocation, name, "yes");
	if (!argv[*at + 1])
		return text_format("--%s: the value is missing", name);
	*at += 1;
	return pair_take(settings, invocation, name, argv[*at]);
}

static char *settings_load(char **argv, struct invocation *invocation, struct settings **ret)
{
	struct settings *settings;
	char *wrong = NULL;

	*invocation = (struct invocation){.ready_fd = -1};
	if (settings_new(server_settings, SERVER_SETTING_COUNT, &settings) < 0)
		return text_format("out of memory");
	for (int i = 1; !wrong && !invocation->print && argv[i]; ++i)
		wrong = option_take(settings, invocation, argv, &i);
	if (!wrong && !invocation->print && invocation->config)
		wrong = settings_read_file(settings, invocation->config);
	if (wrong) {
		settings_free(settings);
		return wrong;
	}
	*ret = settings;
	return NULL;
}

// ---- telling that we are ready

static void print_address(void *ctx, const char *what, const char *address)
{
	fprintf(ctx, "%s %s\n", what, address);
}

static void tell_ready(const struct daemon *daemon, const struct invocation *invocation)
{
	FILE *pipe;

	notify_manager("READY=1");
	if (invocation->ready_fd < 0)
		return;
	pipe = fdopen(invocation->ready_fd, "w");
	if (pipe) {
		daemon_each_address(daemon, print_address, pipe);
		fputs("ready\n", pipe);
	}
	if (!pipe || fclose(pipe) != 0)
		log_warn(NULL, "READY-FD", "--ready-fd %d: %s", invocation->ready_fd,
			 strerror(errno));
}

// ---- signals

static int signals_open(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); // a file at its limit is a failed write, like a full disk
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static unsigned signal_next(int signals)
{
	struct signalfd_siginfo info;
	ssize_t size;

	do
		size = read(signals, &info, sizeof info);
	while (size < 0 && errno == EINTR);
	assert(size == sizeof info);
	return info.ssi_signo;
}

static void reload_daemon(struct daemon *daemon, char **argv)
{
	struct invocation ignored;
	struct settings *next = NULL;
	char *wrong = settings_load(argv, &ignored, &next);

	if (!wrong)
		wrong = daemon_reload(daemon, next);
	if (wrong)
		log_error(NULL, "RELOAD-REFUSED", "everything stays as it was: %s", wrong);
	else
		log_info(NULL, "RELOADED", "settings and certificates were read again");
	settings_free(next);
	free(wrong);
}

// Until a signal says to end; returns the exit status.
static int serve_until_signal(struct daemon *daemon, int signals, char **argv)
{
	unsigned number;

	while ((number = signal_next(signals)) == SIGHUP)
		reload_daemon(daemon, argv);
	log_info(NULL, "STOPPING", "draining after %s", strsignal((int)number));
	notify_manager("STOPPING=1");
	if (!daemon_drain(daemon, signals)) {
		// Clients that wait for an answer ask again elsewhere; acknowledged data is kept.
		log_warn(NULL, "STOP-NOW", "ending before all clients have left");
		return EXIT_FAILURE;
	}
	daemon_free(daemon);
	log_info(NULL, "STOPPED", "everything is settled");
	return EXIT_SUCCESS;
}

// ---- all of it

// Each connection is a descriptor; the limit that programs start with is for those that use
// select().
static void descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warn(NULL, "DESCRIPTORS", "%s", strerror(errno));
}

// Memory holds credentials and messages: no image of it goes to a disk or another's debugger.
static void memory_keep_private(void)
{
	const struct rlimit none = {0};

	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
		log_warn(NULL, "CORE-DUMPS", "%s", strerror(errno));
}

static char *pid_write(const char *path)
{
	_cleanup_(freep) char *text = text_format("%d\n", (int)getpid());

	return path ? files_write(path, text, 0644) : NULL;
}

static int run_daemon(struct settings *settings, const struct invocation *invocation, char **argv)
{
	const char *pid_file = settings_text(settings, SERVER_PID_FILE);
	int signals = signals_open(), status;
	struct daemon *daemon;
	char *wrong;

	umask(0077); // what the parts make is for this user only
	if (signals < 0)
		return print_refusal(text_format("signalfd: %s", strerror(errno)), EXIT_FAILURE);
	descriptors_raise();
	memory_keep_private();
	wrong = daemon_start(settings, &daemon);
	if (wrong)
		return print_refusal(wrong, EXIT_FAILURE);
	wrong = pid_write(pid_file);
	if (wrong)
		log_warn(NULL, "PID-FILE", "%s", wrong);
	free(wrong);
	tell_ready(daemon, invocation);
	status = serve_until_signal(daemon, signals, argv);
	if (pid_file)
		unlink(pid_file);
	if (status != EXIT_SUCCESS)
		_exit(status); // threads are still at work: nothing may be taken apart beside them
	close(signals);
	return status;
}

static int check_settings(const struct settings *settings)
{
	char *wrong = daemon_check(settings);

	return wrong ? print_refusal(wrong, EXIT_USAGE) : EXIT_SUCCESS;
}

static int restore_registry(struct settings *settings, const struct invocation *invocation)
{
	char *wrong;

	umask(0077);
	wrong = daemon_restore(settings, invocation->restore, invocation->revive);
	if (wrong)
		return print_refusal(wrong, EXIT_FAILURE);
	return fflush(stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int salvage_store(const struct invocation *invocation)
{
	char *wrong;

	umask(0077);
	wrong = salvage_print(invocation->salvage, stdout);
	if (wrong)
		return print_refusal(wrong, EXIT_FAILURE);
	return fflush(stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct invocation invocation;
	struct settings *settings = NULL;
	char *wrong = settings_load(argv, &invocation, &settings);
	int status;

	if (!wrong && invocation.ready_fd >= 0 && fcntl(invocation.ready_fd, F_GETFD) < 0)
		wrong = text_format("--ready-fd: %d is not open", invocation.ready_fd);
	if (!wrong && invocation.revive && !invocation.restore)
		wrong = text_format("--revive goes with --restore FILE");
	status = wrong                ? print_refusal(wrong, EXIT_USAGE)
		 : invocation.print   ? invocation.print()
		 : invocation.check   ? check_settings(settings)
		 : invocation.salvage ? salvage_store(&invocation)
		 : invocation.restore ? restore_registry(settings, &invocation)
				      : run_daemon(settings, &invocation, argv);
	settings_free(settings);
	return status;
}
