// The server and the client of the tests on a real Redis.

#include "tests/unit/redis/server.h"

#include "core/base/clock.h"
#include "core/base/util.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define PATIENCE_NS (20 * S_NS)

static bool port_is_free(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_free = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;

	close(fd);
	return is_free;
}

static uint16_t port_find(void)
{
	uint16_t port = (uint16_t)(20000 + getpid() % 12000);

	while (!port_is_free(port))
		++port;
	return port;
}

static bool answers(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool connected = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;

	close(fd);
	return connected;
}

static void server_become(const struct server *server)
{
	char port[8];
	int null = open("/dev/null", O_WRONLY);

	snprintf(port, sizeof port, "%u", server->port);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	prctl(PR_SET_PDEATHSIG, SIGKILL); // a test that fails leaves no server behind
	execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "",
	       "--appendonly", "no", "--dir", "/tmp", "--requirepass",
	       server->password ? server->password : "", "--maxmemory",
	       server->memory ? server->memory : "0", NULL);
	_exit(127);
}

void server_start(struct server *server)
{
	uint64_t until_ns = clock_now_ns() + PATIENCE_NS;

	if (!server->port)
		server->port = port_find();
	server->pid = fork();
	if (server->pid == 0)
		server_become(server);
	while (!answers(server->port)) {
		CHECK(clock_now_ns() < until_ns);
		CHECK_EQ(waitpid(server->pid, NULL, WNOHANG), 0); // is redis-server installed?
		usleep(20000);
	}
}

void server_stop(struct server *server)
{
	server_pause(server, false);
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	server->pid = 0;
}

void server_pause(struct server *server, bool paused)
{
	kill(server->pid, paused ? SIGSTOP : SIGCONT);
}

// ---- the client

struct stop {
	struct loop_timer timer;
};

static void on_stop(struct loop_timer *timer)
{
	loop_stop(timer->loop);
}

void server_sleep(struct server_client *client, uint64_t ns)
{
	struct stop stop;

	loop_timer_init(&stop.timer, client->loop, on_stop);
	loop_timer_set(&stop.timer, clock_now_ns() + ns);
	CHECK_EQ(loop_run(client->loop), 0);
	loop_timer_cancel(&stop.timer);
}

static void on_state(void *data, bool ready, const char *words)
{
	struct server_client *client = data;

	client->ready = ready;
	snprintf(client->words, sizeof client->words, "%s", words);
}

static void texts_forget(struct server_client *client)
{
	for (size_t i = 0; i < client->count; ++i)
		free(client->texts[i]);
	client->count = 0;
}

static void on_answer(void *data, const struct redis_answer *answer)
{
	struct server_client *client = data;

	CHECK(!client->answered);
	client->answered = true;
	client->outcome = answer->outcome;
	if (answer->words)
		snprintf(client->words, sizeof client->words, "%s", answer->words);
	for (size_t i = 0; i < answer->count; ++i)
		client->texts[i] = strdup(answer->texts[i]);
	client->count = answer->count;
	loop_stop(client->loop);
}

void server_connect(struct server_client *client, const struct server *server, const char *password)
{
	struct redis_options options = {
		.host = "127.0.0.1", .port = server->port, .password = password};

	memset(client, 0, sizeof *client);
	CHECK_EQ(loop_new("redis", &client->loop), 0);
	CHECK_EQ(redis_new(client->loop, &options, on_state, client, &client->redis), 0);
}

void server_close(struct server_client *client)
{
	redis_free(client->redis);
	loop_free(client->loop);
	texts_forget(client);
}

void server_wait_ready(struct server_client *client, bool ready)
{
	uint64_t until_ns = clock_now_ns() + PATIENCE_NS;

	while (client->ready != ready) {
		CHECK(clock_now_ns() < until_ns);
		server_sleep(client, 10 * MS_NS);
	}
}

enum redis_outcome server_run(struct server_client *client, const struct redis_script *script,
			      size_t keys, size_t count, const char *const *args, uint64_t wait_ns)
{
	texts_forget(client);
	client->answered = false;
	redis_call(client->redis, script, keys, count, args, wait_ns, on_answer, client);
	CHECK(!client->answered); // never inside of the call
	CHECK_EQ(loop_run(client->loop), 0);
	CHECK(client->answered);
	return client->outcome;
}

enum redis_outcome server_do(struct server_client *client, const char *text, const char *key)
{
	struct redis_script script = {(const unsigned char *)text, strlen(text)};

	return server_run(client, &script, 1, 1, &key, 5 * S_NS);
}
