"""Signatures: who made a bundle. Ed25519 over its manifest, and so over every byte of it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.bundles.sealing import sealed, unsealed
from envbuild.errors import BundleUntrusted, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MOST_BYTES = 2**16
_ALGORITHM = "ed25519"
# Nothing else that the same key signs can be taken for a bundle.
_CONTEXT = b"envbuild bundle\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature, and the key that it says it is of: nobody has checked either yet."""

    key: bytes
    content: bytes

    @property
    def fingerprint(self) -> str:
        """sha256 of the public key, in hexadecimal."""
        return hashlib.sha256(self.key).hexdigest()

    def to_bytes(self) -> bytes:
        """The file ``signature.json``."""
        texts = {name: base64.b64encode(value).decode() for name, value in (("key", self.key), ("value", self.content))}
        return sealed({"algorithm": _ALGORITHM, **texts})


def signature_of(text: bytes) -> Signature:
    """The signature that a ``signature.json`` holds.

    :raises ValueError: it is none.
    """
    content = unsealed(text)
    try:
        key, value = (base64.b64decode(content[name], validate=True) for name in ("key", "value"))
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError(f"it lacks what a signature has: {error!r}") from error
    found = Signature(key=key, content=value)
    if found.to_bytes() != text:
        raise ValueError("it says what no signature of this form does")
    return found


def signed(manifest: bytes, key: Path) -> Signature:
    """A manifest's signature by a private key.

    :param key: a file, PEM (PKCS #8) without a password.
    :raises UsageError: it holds no such key, or ``cryptography`` is not installed.
    """
    private = _private(key)
    return Signature(key=_raw(private.public_key()), content=private.sign(_CONTEXT + manifest))


def check(manifest: bytes, signature: Signature | None, key: Path) -> None:
    """Be sure that whoever has a key's other half signed a manifest.

    :param key: a file, PEM.
    :raises BundleUntrusted: they have not.
    :raises UsageError: it holds no such key, or ``cryptography`` is not installed.
    """
    public = _public(key)
    wanted = hashlib.sha256(_raw(public)).hexdigest()
    if signature is None:
        raise BundleUntrusted(
            f"the bundle is not signed, and a signature by the key {wanted[:16]} is demanded",
            hint="envbuild bundle export --sign-key signs one",
        )
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature.content, _CONTEXT + manifest)
    except InvalidSignature:
        said = (
            "its signature is wrong"
            if signature.key == _raw(public)
            else (f"it is signed by the key {signature.fingerprint[:16]}")
        )
        raise BundleUntrusted(
            f"the bundle is not signed by the key {wanted[:16]}, which is demanded: {said}",
            hint="do not use it, unless you know who made it",
        ) from None


def _private(path: Path) -> Ed25519PrivateKey:
    from_text = _serialization().load_pem_private_key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = _loaded(path, lambda text: from_text(text, password=None))
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} holds no private key of Ed25519", hint="openssl genpkey -algorithm ed25519 makes one")
    return key


def _public(path: Path) -> Ed25519PublicKey:
    from_text = _serialization().load_pem_public_key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = _loaded(path, from_text)
    if not isinstance(key, Ed25519PublicKey):
        hint = "openssl pkey -in PRIVATE -pubout gives the public key of a private one"
        raise UsageError(f"{path} holds no public key of Ed25519", hint=hint)
    return key


def _loaded(path: Path, load: Any) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the key {path} cannot be read: {error.strerror}") from error
    try:
        return load(text)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # What the library says of it could quote from it.
        return None


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes_raw()


def _serialization() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise UsageError(
            "cryptography is not installed, and signatures are made and checked by it",
            hint="pip install 'envbuild[sign]'",
        ) from error
    return serialization
