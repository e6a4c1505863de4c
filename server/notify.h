// Tells the service manager what the daemon does (sd_notify(3), without its library).
#pragma once

void notify_manager(const char *message); // "READY=1"; does nothing without $NOTIFY_SOCKET
