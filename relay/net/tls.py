"""TLS to subscribers: one shared context per trust configuration.

The connection pool is keyed by the context, so a new context per request would open a new connection per request.
"""

from __future__ import annotations

import os
import re
import ssl
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.core.config.endpoint import Endpoint

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----")


def context_for(endpoint: Endpoint) -> ssl.SSLContext:
    """Return the TLS context for `endpoint`; the same object for the same trust configuration."""
    return _context(endpoint.ca, verify=endpoint.verify_tls)


def authorities_in(text: str) -> str:
    """Return the certificates in `text`, PEM, without the text between them that system bundles have.

    Raises:
        ValueError: there are none, or they are invalid.
    """
    certificates = "\n".join(_CERTIFICATE.findall(text))
    if not certificates:
        raise ValueError("the file contains no certificate (PEM)")
    try:
        _context(certificates, verify=True)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"the file contains an invalid certificate: {error}") from None
    return certificates


@lru_cache(maxsize=1024)
def _context(authorities: str | None, *, verify: bool) -> ssl.SSLContext:
    if authorities is None and verify:
        _check_readable()
    context = ssl.create_default_context(cadata=authorities)
    context.set_alpn_protocols(["http/1.1"])  # the only protocol of the relay's client
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _check_readable() -> None:
    """Open the system's authorities: OpenSSL ignores an error there, and the empty context would be kept for ever.

    Raises:
        OSError: they exist and cannot be read now, such as for want of descriptors.
    """
    paths = ssl.get_default_verify_paths()  # None for what does not exist
    if paths.cafile:
        Path(paths.cafile).open("rb").close()
    if paths.capath:
        os.scandir(paths.capath).close()
