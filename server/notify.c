// Tells the service manager about readiness and stopping: one datagram to the socket that
// $NOTIFY_SOCKET names (sd_notify(3)).
//
// Without the variable nothing is sent. Whether the manager received it is not checked. It uses no
// library for this, and sends no watchdog messages.

#include "server/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_manager(const char *message)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (!path || strlen(path) >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
		return;
	strcpy(address.sun_path, path);
	if (path[0] == '@') // the kernel's abstract names begin with a zero byte
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, message, strlen(message), MSG_NOSIGNAL | MSG_DONTWAIT,
	       (const struct sockaddr *)&address,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
	close(fd);
}
