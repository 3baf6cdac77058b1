"""The hosts of a REDIS_URL that has several."""

from __future__ import annotations

_LAST_PORT = 65535


def host_and_port(text: str, default_port: int, what: str, sample: str) -> tuple[str, int]:
    """Return the host and the port in `text`; an error calls it `what`, and shows a sample of the URL.

    Raises:
        ValueError: it has another form.
    """
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = text, str(default_port)
    if not host or not port.isdecimal() or not 0 < int(port) <= _LAST_PORT:
        raise ValueError(f"{what} is not HOST or HOST:PORT, such as in {sample}; percent-encode passwords")
    return host.strip("[]"), int(port)
