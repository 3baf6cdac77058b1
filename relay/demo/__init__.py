"""The demo: everything on one machine, and a picture of it."""
