"""HTTP as a company's machine needs it: with the system's own certificates and the deployer's, and through its proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envbuild.errors import UsageError

if TYPE_CHECKING:
    import ssl

    import httpx


def client(authorities: str | None = None, certificate: str | None = None, **options: Any) -> httpx.Client:
    """A client that believes the certificates that the system believes; ``options`` are httpx's own.

    :param authorities: a file of more that it believes (PEM).
    :param certificate: a file of the certificate that it shows of itself, with its key (PEM).
    :raises UsageError: one of the files cannot be used.
    """
    # Imported here: few calls ask anybody themselves, and this costs more than all the rest of a start.
    import httpx

    return httpx.Client(verify=_context(authorities, certificate), **options)


def check(authorities: str | None, certificate: str | None) -> None:
    """:raises UsageError: one of a client's files cannot be used."""
    if authorities is not None or certificate is not None:
        _context(authorities, certificate)


def _context(authorities: str | None, certificate: str | None) -> ssl.SSLContext:
    import ssl

    import truststore

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if authorities is not None:
            context.load_verify_locations(authorities)
    except OSError as error:
        raise UsageError(
            f"--index-ca: {authorities} cannot be used: {error}", hint="give certificates as PEM"
        ) from None
    try:
        if certificate is not None:
            # A key with a passphrase would be asked for at the terminal, and uv cannot ask.
            context.load_cert_chain(certificate, password="")
    except OSError as error:
        hint = "give one PEM file with the certificate and its key, without a passphrase"
        raise UsageError(f"--index-client-cert: {certificate} cannot be used: {error}", hint=hint) from None
    return context


def system_authorities() -> str:
    """What this machine believes (PEM), else what is known to be believed everywhere."""
    import ssl
    from pathlib import Path

    import certifi

    found = ssl.get_default_verify_paths().cafile
    return Path(found or certifi.where()).read_text(encoding="utf-8", errors="replace")
