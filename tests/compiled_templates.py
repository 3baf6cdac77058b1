"""Templates that are compiled once a process, though each test that shows a page has an application of its own.

Compiling them took over half of the time of such a test. The relay itself has one application in each process.
"""

from __future__ import annotations

from functools import partialmethod
from typing import TYPE_CHECKING

import jinja2
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

    from jinja2.bccache import Bucket


class Compiled(jinja2.BytecodeCache):
    """Code of templates by path and content, in memory."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give the template its code, if it was compiled before."""
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the code of a template."""
        self._code[bucket.key, bucket.checksum] = bucket.code


@pytest.fixture(scope="session", autouse=True)
def compiled_templates() -> Iterator[None]:
    """Let every environment of this process use the code of the others."""
    with pytest.MonkeyPatch.context() as patch:
        made = partialmethod(jinja2.Environment.__init__, bytecode_cache=Compiled())
        patch.setattr(jinja2.Environment, "__init__", made)
        yield
