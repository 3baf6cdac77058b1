"""`python -m workers`: one worker process."""

from __future__ import annotations

import sys

from relay.core.errors import SeveralProblems
from relay.process.imports import lasting_imports


def main() -> int:
    """Run a worker. Returns the exit code: 2 if the environment or relay.toml is wrong."""
    with lasting_imports(are_lean=True):
        from workers.runtime.role import run_role  # noqa: PLC0415  all that a worker needs
    try:
        return run_role()
    except SeveralProblems as error:
        print(error, file=sys.stderr)  # noqa: T201  before logs are configured
        return 2


if __name__ == "__main__":
    sys.exit(main())
