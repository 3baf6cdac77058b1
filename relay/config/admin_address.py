"""Address of a role's admin listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.net.listen_address import Listen

if TYPE_CHECKING:
    from relay.config.settings import Settings

_LOOPBACK = "127.0.0.1"
INGRESS, WORKER, ADMIN, UP = "ingress", "worker", "admin", "up"
_DEFAULT_PORTS = {INGRESS: 8081, UP: 8081, WORKER: 8082, ADMIN: 8083}


def admin_address(settings: Settings, role: str) -> Listen:
    """Return the address of the admin listener; without RELAY_ADMIN_LISTEN each role has a port of its own."""
    return settings.relay_admin_listen or Listen(host=_LOOPBACK, port=_DEFAULT_PORTS[role])
