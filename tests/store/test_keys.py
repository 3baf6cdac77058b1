"""The names of keys: only the keyspace makes them, so that a shard with another prefix has all of its keys there."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from arq.constants import in_progress_key_prefix, job_key_prefix, result_key_prefix, retry_key_prefix
from redis.crc import key_slot

from relay.store.fixed_keys import ARQ_PREFIXES
from relay.store.keys import Keyspace
from relay.store.rights.check import uses_of
from tests.product_source import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNERS = {"relay/store/keys.py", "relay/store/fixed_keys.py"}
WRITTEN = {"relay/web/api/schemas/asyncapi.py"}
"""They describe keys to readers, under the default prefix."""


def uses_of_a_prefix(tree: ast.Module) -> Iterator[int]:
    """Yield the lines that read the prefix of a keyspace, or write a key of arq."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ast.Name(name) | ast.Attribute(_, name), "prefix"):
                if name.strip("_").lower() in {"key", "keys", "keyspace"}:
                    yield node.lineno
            case ast.JoinedStr([ast.Constant(str(text)), *_]) if text.startswith("arq:"):
                yield node.lineno


def test_only_the_keyspace_knows_prefixes() -> None:
    files = {name: tree for name, (_, tree) in parsed().items() if name not in OWNERS | WRITTEN}
    assert [f"{name}:{line}" for name, tree in files.items() for line in uses_of_a_prefix(tree)] == []


def test_keys_of_arq_are_below_our_prefix() -> None:
    prefixes = [job_key_prefix, in_progress_key_prefix, retry_key_prefix, result_key_prefix]
    assert [Keyspace("ours").arq(prefix, "route") for prefix in ARQ_PREFIXES] == [
        f"{each}ours:route" for each in prefixes
    ]


def test_every_key_in_use_is_in_the_slot_of_its_shard() -> None:
    key = Keyspace.tagged("ours")
    names = [name for use in uses_of(key) for name in use if "ours" in name]
    assert {key_slot(name.encode()) for name in names} == {key_slot(b"ours")}
