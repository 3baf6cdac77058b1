"""Connection pools that find the primary."""
