// mqpaasd: options, configuration file, signals, readiness. The parts are wired together in
// daemon.c.

#include "core/base/log.h"
#include "server/daemon.h"
#include "server/files.h"
#include "server/table.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#define VERSION "0.1.0"

enum { EXIT_USAGE = 2 };

struct invocation {
	const char *config; // NULL: none
	bool check;         // only check the configuration
	int ready_fd;       // -1: none
};

static int refuse(char *wrong)
{
	fprintf(stderr, "mqpaasd: %s\n", wrong);
	free(wrong);
	return EXIT_USAGE;
}

static int help(void)
{
	struct settings *settings;

	if (settings_new(server_settings, SERVER_SETTING_COUNT, &settings) < 0)
		return EXIT_FAILURE;
	puts("mqpaasd: the MQPaaS daemon\n\n"
	     "Usage: mqpaasd [--config FILE] [--SETTING VALUE …]\n\n"
	     "  --config FILE                read settings from a file; options win over it\n"
	     "  --check-config               check settings and files, then end\n"
	     "  --ready-fd N                 write a line to this descriptor when serving\n"
	     "  --print-settings             print the table of docs/configuration.md\n"
	     "  --version, --help\n\n"
	     "Settings (in a file: name = value, one a line):");
	settings_print_help(settings, stdout);
	puts("\nSIGHUP reads the file and the certificates again; SIGTERM drains and ends; a "
	     "second SIGTERM ends at once.");
	settings_free(settings);
	return EXIT_SUCCESS;
}

static int print_settings(void)
{
	struct settings *settings;

	if (settings_new(server_settings, SERVER_SETTING_COUNT, &settings) < 0)
		return EXIT_FAILURE;
	settings_print_page(settings, stdout);
	settings_free(settings);
	return EXIT_SUCCESS;
}

// ---- the command line; it is read again at every reload, because options win over the file

static char *option_take(struct settings *settings, struct invocation *invocation, int argc,
			 char **argv, int *at)
{
	const char *name = argv[*at] + 2, *equals = strchr(name, '='), *value;
	char key[64];

	if (strncmp(argv[*at], "--", 2) != 0)
		name = NULL;
	if (!name)
		return settings_set_option(settings, argv[*at], "");
	snprintf(key, sizeof key, "%.*s", (int)(equals ? equals - name : (ptrdiff_t)strlen(name)),
		 name);
	if (strcmp(key, "check-config") == 0) {
		invocation->check = true;
		return NULL;
	}
	if (equals)
		value = equals + 1;
	else if (settings_is_flag(settings, key))
		value = "yes";
	else if (*at + 1 < argc)
		value = argv[++*at];
	else
		value = "";
	if (strcmp(key, "config") == 0)
		invocation->config = value;
	else if (strcmp(key, "ready-fd") == 0)
		invocation->ready_fd = atoi(value);
	else
		return settings_set_option(settings, key, value);
	return NULL;
}

static char *settings_load(int argc, char **argv, struct invocation *invocation,
			   struct settings **ret)
{
	struct settings *settings;
	char *wrong = NULL;

	*invocation = (struct invocation){.ready_fd = -1};
	if (settings_new(server_settings, SERVER_SETTING_COUNT, &settings) < 0)
		return strdup("out of memory");
	for (int i = 1; !wrong && i < argc; ++i)
		wrong = option_take(settings, invocation, argc, argv, &i);
	if (!wrong && invocation->config)
		wrong = settings_read_file(settings, invocation->config);
	if (wrong) {
		settings_free(settings);
		return wrong;
	}
	*ret = settings;
	return NULL;
}

// ---- telling that we are ready

// sd_notify(3): a datagram to $NOTIFY_SOCKET.
static void notify_manager(const char *message)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (!path || strlen(path) >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
		return;
	strcpy(address.sun_path, path);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, message, strlen(message), MSG_NOSIGNAL, (const struct sockaddr *)&address,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
	close(fd);
}

static void tell_ready(const struct invocation *invocation)
{
	notify_manager("READY=1");
	if (invocation->ready_fd >= 0) {
		if (write(invocation->ready_fd, "ready\n", 6) < 0)
			log_warn(NULL, "READY-FD", "--ready-fd %d: %s", invocation->ready_fd,
				 strerror(errno));
		close(invocation->ready_fd);
	}
}

// ---- signals

static void signals_block(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static struct daemon *stopping;

static void on_second_signal(int number)
{
	daemon_hurry(stopping);
}

static void reload(struct daemon *daemon, struct settings **settings, int argc, char **argv)
{
	struct invocation ignored;
	struct settings *next;
	char *wrong = settings_load(argc, argv, &ignored, &next);

	if (!wrong) {
		wrong = daemon_reload(daemon, next);
		settings_free(next);
	}
	if (wrong)
		log_error(NULL, "RELOAD-REFUSED", "everything stays as it was: %s", wrong);
	free(wrong);
}

static void serve(struct daemon *daemon, struct settings **settings, int argc, char **argv,
		  const sigset_t *set)
{
	int number;

	while (sigwait(set, &number) == 0 && number == SIGHUP)
		reload(daemon, settings, argc, argv);
	log_info(NULL, "STOPPING", "draining after %s", strsignal(number));
	notify_manager("STOPPING=1");
	stopping = daemon;
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_second_signal}, NULL);
	sigaction(SIGINT, &(struct sigaction){.sa_handler = on_second_signal}, NULL);
	pthread_sigmask(SIG_UNBLOCK, set, NULL);
}

static int run(struct settings *settings, const struct invocation *invocation, int argc,
	       char **argv)
{
	const char *pid_file = settings_text(settings, SERVER_PID_FILE);
	struct daemon *daemon;
	sigset_t set;
	char *wrong, pid[32];

	signals_block(&set);
	wrong = daemon_start(settings, &daemon);
	if (!wrong && pid_file) {
		snprintf(pid, sizeof pid, "%d\n", (int)getpid());
		wrong = files_write_private(pid_file, pid);
		if (wrong)
			daemon_stop(daemon);
	}
	if (wrong) {
		refuse(wrong);
		return EXIT_FAILURE;
	}
	tell_ready(invocation);
	serve(daemon, &settings, argc, argv, &set);
	daemon_stop(daemon);
	if (pid_file)
		unlink(pid_file);
	log_info(NULL, "STOPPED", "everything is settled");
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct invocation invocation;
	struct settings *settings;
	char *wrong;
	int r;

	for (int i = 1; i < argc; ++i) {
		if (strcmp(argv[i], "--help") == 0)
			return help();
		if (strcmp(argv[i], "--print-settings") == 0)
			return print_settings();
		if (strcmp(argv[i], "--version") == 0)
			return printf("mqpaasd %s\n", VERSION) < 0;
	}
	wrong = settings_load(argc, argv, &invocation, &settings);
	if (wrong)
		return refuse(wrong);
	r = invocation.check ? EXIT_SUCCESS : run(settings, &invocation, argc, argv);
	settings_free(settings);
	return r;
}
