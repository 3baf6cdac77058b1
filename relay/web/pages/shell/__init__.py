"""The shell of every page: sessions, security, errors, rendering, static files."""
