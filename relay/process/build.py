"""Build of the running code: its version, and the revision that it was built from."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import relay
from relay.core.lazy_modules import LazyModule

if TYPE_CHECKING:
    import subprocess
else:
    subprocess = LazyModule("subprocess")  # a checkout alone needs it, and every command would pay for it

VERSION = relay.__version__
UNKNOWN = "unknown"
_PACKAGE = Path(relay.__file__).parent
_FILE = _PACKAGE / "_revision.txt"
_TIMEOUT = 2.0  # seconds for git


@cache
def revision() -> str:
    """Return the revision: RELAY_REVISION, or what the build wrote into the package, or the commit of a checkout."""
    if given := os.environ.get("RELAY_REVISION", "").strip():
        return given
    with suppress(OSError):
        if written := _FILE.read_text(encoding="utf-8").strip():
            return written
    return _commit_of_checkout() or UNKNOWN


def _commit_of_checkout() -> str:
    """Return the commit that is checked out; empty if the package is not in a checkout of its own."""
    root = _PACKAGE.parent
    if not (root / ".git").exists():
        return ""
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            check=True,
            text=True,
            timeout=_TIMEOUT,
        ).stdout.strip()
    return ""
