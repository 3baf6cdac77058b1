"""Bootstrap: keeps one Linq v3 subscription per line as we want it."""
