"""Schemathesis makes requests from the contract, right ones and wrong ones, and finds nothing with any of its checks."""
import os
import subprocess
import sys

import pytest
import rest
from rest_fixtures import *  # noqa: F401,F403  pylint: disable=wildcard-import,unused-wildcard-import

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.environ.get("MQPAAS_SCHEMATHESIS_EXAMPLES", "8")

# With these the tenant's administrator reaches what is there; for the platform's, names are made up or were made before.
PARAMETERS = {
    "admin": "",
    "tenant_admin": """
[parameters]
"path.tenant" = "a"
"path.topic" = "orders"
"path.group" = "billing"

[[operations]]
include-method = "DELETE"
parameters = { "path.topic" = "no-such", "path.group" = "no-such" }

""",
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("role", ["admin", "tenant_admin"])
def test_schemathesis_finds_nothing(world, tmp_path, role):
    # Ids are handed out in order: after these the token's is not one that is deleted by chance.
    topics = [{"name": f"topic-{number}"} for number in range(2000)]
    assert world.admin.put("/api/v1/definitions", {"format": 1, "tenants": [{"name": "b", "topics": topics}]}).status == 200
    token = world.caller(role, "a" if role in rest.TENANT_ROLES else None, "schemathesis").token
    config = tmp_path / "schemathesis.toml"
    with open(os.path.join(HERE, "schemathesis.toml"), encoding="utf-8") as file:
        config.write_text(PARAMETERS[role] + file.read())
    program = os.path.join(os.path.dirname(sys.executable), "schemathesis")
    command = [program, "--config-file", str(config), "run", f"http://127.0.0.1:{world.portal.port}/api/v1/openapi.json"]
    options = ["-H", f"Authorization: Bearer {token}", "--checks", "all", "--max-examples", EXAMPLES, "--seed", "1", "--no-color", "--generation-database", "none"]
    done = subprocess.run(command + options, cwd=tmp_path, capture_output=True, text=True, check=False)
    summary = done.stdout[-40000:]
    assert done.returncode == 0, summary
    operations = len(list(rest.operations())) - 1  # all but the one that serves the contract itself
    assert f"Tested: {operations}" in summary, summary
    assert world.portal.anonymous.get("/livez").status == 200
