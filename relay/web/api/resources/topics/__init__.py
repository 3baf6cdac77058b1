"""Topics, their events and their pull groups."""
