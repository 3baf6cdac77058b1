"""The process's limit of open files, which bounds its connections."""

from __future__ import annotations

import resource

import structlog

log = structlog.get_logger()


def raise_descriptor_limit() -> None:
    """Raise the soft limit of descriptors to the hard one: the usual 1,024 is there for programs that use `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:  # macOS: the hard limit is endless, and more than the kernel allows
        log.debug("descriptors.limit_kept", soft=soft, hard=hard, error=str(error))
    else:
        log.debug("descriptors.limit_raised", was=soft, soft=hard)


def descriptor_limit() -> int:
    """Return the soft limit of descriptors."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
