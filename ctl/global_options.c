// The options that every command understands. Those of one command are in commands.c, perf.c,
// stream.c and top.c.

#include "ctl/global_options.h"

const struct option global_options[] = {
	{"context", "context", VALUE_TEXT, "named context to use instead of the current one"},
	{"url", "url", VALUE_TEXT, "portal, such as http://127.0.0.1:7080"},
	{"token", "token", VALUE_TEXT, "token for the portal (better: MQPAAS_TOKEN or a context)"},
	{"ca-file", "ca_file", VALUE_TEXT,
	 "PEM file of the authority that signed the servers' certificates"},
	{"address", "addresses", VALUE_TEXT, "proxies, such as 127.0.0.1:7300,tls://b:7300"},
	{"access-key", "access_key", VALUE_TEXT, "access key id"},
	{"secret", "secret", VALUE_TEXT, "its secret (better: MQPAAS_SECRET or a context)"},
	{"tenant", "ctl_tenant", VALUE_TEXT, "tenant that the command is about"},
	{"output", "output", VALUE_TEXT, "table (default), json or yaml; -o for short"},
	{"file", "file", VALUE_TEXT,
	 "take the body of the request from a JSON file, - is standard input"},
	{"if-match", "if_match", VALUE_TEXT, "ETag the resource must still have"},
	{"max-entries", "list_limit", VALUE_COUNT, "lists: how many entries at most"},
	{"force", "force", VALUE_FLAG, "delete also what is in use"},
	{"yes", "yes", VALUE_FLAG, "do not ask before something is lost"},
	{"quiet", "quiet", VALUE_FLAG, "print nothing that was not asked for"},
	{"help", "help", VALUE_FLAG, "show help; -h for short"},
	{"version", "version", VALUE_FLAG, "show the version"},
	{NULL, NULL, 0, NULL},
};
