"""The revision before this one, as a tree of its own: what runs beside this one during an upgrade.

    1  the merge base with origin/main, while this work has not landed there
    2  else the newest tag v* that is older than this checkout
    3  else the commit in `compatible_since`

The file names the first revision whose processes may run beside the present ones. Older tags and merge bases are not
taken; a change of the keys in Redis, or of what the fields of a stream mean, that older processes cannot live with must
raise it, and deploy/docs/upgrading.md says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from contextlib import suppress
from io import BytesIO
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_COMPATIBLE_SINCE = Path(__file__).with_name("compatible_since").read_text().strip()


class NoHistory(Exception):
    """This checkout does not have the revision; the message says what is missing."""


def previous_revision() -> str:
    """Return the id of the revision before this one.

    Raises:
        NoHistory: git, the repository or the commit is missing.
    """
    if shutil.which("git") is None:
        raise NoHistory("git")
    if not _git("rev-parse", "--verify", "--quiet", f"{_COMPATIBLE_SINCE}^{{commit}}"):
        raise NoHistory(f"the git history back to {_COMPATIBLE_SINCE[:10]} (git fetch --unshallow)")
    head = _git("rev-parse", "HEAD")
    tags = _git("tag", "--merged", "HEAD", "--no-contains", "HEAD", "--list", "v*", "--sort=-version:refname")
    for name in ([_git("merge-base", "HEAD", "origin/main")], tags.split()):
        for found in name:
            commit = _git("rev-parse", f"{found}^{{commit}}") if found else ""
            if commit not in {"", head} and _contains(commit, _COMPATIBLE_SINCE):
                return commit
    return _COMPATIBLE_SINCE


def check_out(revision: str, directory: Path) -> Path:
    """Return a PYTHONPATH below `directory` with the packages of `revision`, kept for the next time."""
    kept = directory / revision
    if not kept.exists():
        done = subprocess.run(  # noqa: S603
            ["git", "archive", revision, "relay", "workers"],  # noqa: S607
            cwd=_ROOT,
            check=True,
            capture_output=True,
        )
        new = kept.with_name(f"{revision}.{os.getpid()}")
        with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
            archive.extractall(new, filter="data")
        with suppress(OSError):  # another process was faster
            new.rename(kept)
        shutil.rmtree(new, ignore_errors=True)
    return kept


def _contains(commit: str, ancestor: str) -> bool:
    return _run("merge-base", "--is-ancestor", ancestor, commit).returncode == 0


def _git(*arguments: str) -> str:
    """Return what git says; nothing if it fails."""
    done = _run(*arguments)
    return done.stdout.strip() if done.returncode == 0 else ""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=_ROOT, check=False, capture_output=True, text=True)  # noqa: S603, S607
