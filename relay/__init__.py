"""linq-relay: between Linq and a company's teams, every webhook verified, stored, routed and delivered."""

__version__ = "0.2.0"
"""The version, as in pyproject.toml (reading it from the installed metadata costs every command 30 ms of CPU)."""
