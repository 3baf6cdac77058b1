"""What all processes of a run have to know, handed to them as a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spec:
    """One run."""

    directory: str
    """Where everything of the run is written."""
    seed: int
    events: int
    rate: float
    """Events a second; 0 for as many as are accepted."""
    ingress_port: int
    teams_port: int
    redis_url: str

    @property
    def home(self) -> Path:
        """`directory`."""
        return Path(self.directory)

    def write(self) -> Path:
        """Writes it for `read`; the file."""
        path = self.home / "spec.json"
        path.write_text(json.dumps(asdict(self)))
        return path

    @classmethod
    def read(cls, path: str) -> Spec:
        """What `write` wrote."""
        return cls(**json.loads(Path(path).read_text()))
