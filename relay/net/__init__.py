"""Network: listening sockets, name resolution, TLS."""
