// The proxies of the installation as the portal sees them: its end of the control links.
#pragma once

struct portal;

// Listens for control links, if the configuration names an address. -errno
int proxies_start(struct portal *portal);
void proxies_stop(struct portal *portal); // accepts a portal that was started halfway
