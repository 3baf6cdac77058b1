"""Metrics in the text format of Prometheus."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from pathlib import Path

CONTENT_TYPE = CONTENT_TYPE_LATEST


async def exposition(registry: CollectorRegistry) -> bytes:
    """Return all metrics of `registry`; in a thread, so that events do not wait for it."""
    return await asyncio.to_thread(generate_latest, registry)


def group_registry(directory: Path) -> CollectorRegistry:
    """Return a registry with what the processes of a group have counted: each writes into `directory`."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))
    return registry
