"""Parameters that all processes of a run share, passed to them as a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spec:
    """Parameters of a run."""

    directory: str
    """Directory of everything that the run writes."""
    seed: int
    events: int
    rate: float
    """Events a second; 0 sends as many as are accepted."""
    ingress_port: int
    teams_port: int
    redis_url: str
    address: str
    """Address of this machine to which the names of subscribers resolve; a loopback address is of no use."""
    shards: int = 1

    @property
    def home(self) -> Path:
        """Path of `directory`."""
        return Path(self.directory)

    @property
    def has_address(self) -> bool:
        """True if subscribers can have names: the relay connects to loopback only where the URL says so."""
        return not ip_address(self.address).is_loopback

    def write(self) -> Path:
        """Write the parameters for `read`, and return the file."""
        path = self.home / "spec.json"
        path.write_text(json.dumps(asdict(self)))
        return path

    @classmethod
    def read(cls, path: str) -> Spec:
        """Read the parameters that `write` wrote."""
        return cls(**json.loads(Path(path).read_text()))
