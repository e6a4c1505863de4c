// The contract (openapi.yaml): as files for programs, and as a page for readers.
//
// The files are compiled in. The page is made of the table of routes, so it cannot miss one. None
// of it needs a token.

#include "portal-api/crud.h"
#include "portal-api/handlers.h"

#include "portal-api/contract.h"
#include "portal-api/state.h"

#include <stdio.h>

void docs_openapi_yaml(struct call *call)
{
	call_text(call, "application/yaml", (const char *)contract_yaml, contract_yaml_size);
}

void docs_openapi_json(struct call *call)
{
	call_text(call, "application/json", (const char *)contract_json, contract_json_size);
}

static const char page_begin[] =
	"<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>MQPaaS REST</title>"
	"<style>body{font:16px/1.5 sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}"
	"table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;"
	"border-bottom:1px solid #ccc}code{white-space:nowrap}</style></head><body>"
	"<h1>MQPaaS REST</h1><p>The whole contract: <a href=\"/api/v1/openapi.yaml\">openapi.yaml"
	"</a>, <a href=\"/api/v1/openapi.json\">openapi.json</a>. Send <code>Authorization: Bearer "
	"TOKEN</code> with the token of a session (<code>POST /api/v1/sessions</code>) or of a "
	"machine (<code>POST /api/v1/tokens</code>). Errors are <code>application/problem+json"
	"</code> with a stable <code>code</code>.</p>"
	"<table><tr><th>Method</th><th>Path</th><th>Does</th><th>Needs</th></tr>";
static const char page_end[] = "</table></body></html>\n";

// The texts come from our own tables and hold nothing that HTML would read.
void docs_page(struct call *call)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out) {
		call_fail(call, CODE_OVERLOADED, "there is no memory for the page");
		return;
	}
	fputs(page_begin, out);
	for (size_t i = 0; i < call->portal->route_count; ++i) {
		const struct route *route = &call->portal->routes[i];

		fprintf(out, "<tr><td>%s</td><td><code>%s</code></td><td>%s</td><td>%s</td></tr>",
			route->method, route->path, route->sentence,
			route->permission ? route->permission : "");
	}
	fputs(page_end, out);
	if (fclose(out) == 0)
		call_text(call, "text/html; charset=utf-8", text, size);
	else
		call_fail(call, CODE_OVERLOADED, "there is no memory for the page");
	free(text);
}
