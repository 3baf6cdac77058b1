"""The HTTP side: the ingress that Linq posts to, and health checks."""
