"""HTTP as a company's machine needs it: with the system's own certificates, and through its proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


def client(**options: Any) -> httpx.Client:
    """A client that believes the certificates that the system believes; ``options`` are httpx's own."""
    # Imported here: few calls ask anybody themselves, and this costs more than all the rest of a start.
    import ssl

    import httpx
    import truststore

    return httpx.Client(verify=truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT), **options)
