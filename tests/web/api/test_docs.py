"""deploy/docs/api.md: each of its commands runs, and its table of errors is that of the code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.web.api.problems import KINDS
from tests.docs.pages import page
from tests.web.api.fuzzing import environment_of, serving

if TYPE_CHECKING:
    from relay.process.embedded_redis import Embedded

RULES = '[[topics]]\nname = "support"\nevents = ["*"]\n'
STRICT = """
set -euo pipefail
curl() { command curl --fail-with-body "$@" || { echo "failed: $*" >&2; exit 1; }; echo; }
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.needs_tool("curl")
@pytest.mark.needs_tool("jq")
def test_every_command_of_the_page_runs(redis_server: Embedded, tmp_path: Path) -> None:
    with serving(redis_server.url, tmp_path) as target:
        (tmp_path / "relay.toml").write_text(RULES)
        script = STRICT + "\n".join(page("api.md").blocks("sh")).replace("http://127.0.0.1:8083/api/v1", target.url)
        environment = environment_of(redis_server.url, tmp_path / "relay.toml")
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(  # noqa: S603  our own page
            ["/bin/bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"secret":"whsec_' in done.stdout
    assert done.stdout.count('"name":"crm-orders"') >= 4
    assert "Unauthorized" not in done.stdout


def test_table_of_errors_is_that_of_the_code() -> None:
    listed = {int(row[0]): row[1].strip("`") for row in page("api.md").rows("Errors")}
    assert listed == {status: name for status, (name, _) in KINDS.items()}
