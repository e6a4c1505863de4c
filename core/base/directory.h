// Names that a power cut does not take away: a file that is synced can still be lost with its name.
#pragma once

// All: 0 or negative errno. @thread any, but a loop: they wait for the disk
int directory_sync(const char *path);
int directory_sync_name(const char *path); // in whatever directory it stands
// Makes it unless it is there; its name is durable in either case.
int directory_make(const char *path);
