"""What is in an image, as CycloneDX 1.6: the base, Debian's packages, the Python, and every package of the lock.

A Python that comes from conda's channels is one of the lock's packages, and is not listed twice.

Only what is in the image is listed: what packages were built with is not. The same inputs give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit, urlunsplit
from uuid import NAMESPACE_OID, UUID, uuid5

from envbuild.conda import channels
from envbuild.conda.package import CondaPackage, file_name
from envbuild.errors import ImageError, UsageError
from envbuild.images.reference import Reference
from envbuild.lock import Lock, LockedPackage
from envbuild.redaction import without_credentials, without_userinfo

if TYPE_CHECKING:
    from cyclonedx.model import ExternalReference
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component

# What conda's names of channels stand for begins so.
_NAMING = (channels.ALIAS, channels.PACKAGES)
MEDIA_TYPE = "application/vnd.cyclonedx+json"

Kind = Literal["container", "platform", "library"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One thing in an image."""

    ref: str
    kind: Kind
    name: str
    version: str | None
    purl: str | None
    sha256: str | None = None
    """Of the file that it was installed from."""
    url: str | None = None
    is_vcs: bool = False


def sbom_of(
    lock: Lock,
    *,
    image: str,
    key: str,
    base: str,
    base_digest: str | None,
    python: str,
    debian: Mapping[str, str],
    architecture: str,
    made: datetime,
) -> bytes:
    """The bill of materials of an image.

    URLs in it are without user info and query, either of which may hold a token.

    :param image: the image's name, without a tag.
    :param key: what the image is known by; its version in the bill.
    :param base: the name of the base image, and in ``base_digest`` its ``sha256:`` digest where it is known.
    :param python: the Python in the image, with its patch release.
    :param debian: the Debian packages by name (``libc6``, ``libc6:amd64``), with their versions.
    :param architecture: of the image, as Debian and Docker call it: ``amd64``.
    :param made: the time that the bill states, with its zone: the image's own, where equal images need equal bills.
    :raises ImageError: the library that writes CycloneDX is not installed.
    """
    try:
        import cyclonedx  # noqa: F401 - whether it is there is the question
    except ImportError as error:
        raise ImageError(
            "the list of what is in the image (SBOM) cannot be written: cyclonedx-python-lib is not installed",
            hint="pip install 'envbuild[docker]'",
        ) from error
    parts = [_base(base, base_digest, architecture)]
    parts += [_python(python)] if lock.conda is None else [_conda(package) for package in lock.conda.packages]
    parts += [_debian(name, version, architecture) for name, version in sorted(debian.items())]
    parts += [_package(package) for package in lock.packages]
    whole = _Part(ref=f"image:{image}@{key}", kind="container", name=image, version=key, purl=None)
    bom = _bom(whole, parts, {"envbuild:lock-hash": lock.hash, "envbuild:target": str(lock.target)}, made)
    # The number of a bill is that of its content, which is written once without it.
    bom.serial_number = uuid5(NAMESPACE_OID, _written(bom))
    return f"{_written(bom)}\n".encode()


def _base(name: str, digest: str | None, architecture: str) -> _Part:
    known = _named(name)
    if known is None:
        return _Part(ref="base", kind="container", name=name, version=digest, purl=None)
    short = known.repository.rpartition("/")[2]
    where = {"repository_url": f"{known.registry}/{known.repository}", "arch": architecture, "tag": known.tag}
    purl = _purl("oci", short, digest, where)
    return _Part(ref="base", kind="container", name=known.name, version=digest or known.tag, purl=purl)


def _named(name: str) -> Reference | None:
    """A name that a registry may know: a base of this machine alone may be called by its ID."""
    try:
        return None if name.startswith("sha256:") else Reference.parse(name)
    except UsageError:
        return None


def _python(version: str) -> _Part:
    purl = _purl("generic", "python", version, {})
    return _Part(ref="python", kind="platform", name="python", version=version, purl=purl)


def _debian(name: str, version: str, architecture: str) -> _Part:
    short, _, own = name.partition(":")
    purl = _purl("deb", short, version, {"arch": own or architecture}, namespace="debian")
    return _Part(ref=f"debian:{name}", kind="library", name=short, version=version, purl=purl)


def _package(package: LockedPackage) -> _Part:
    url = None if package.url is None else _public(package.url)
    qualifiers: dict[str, str | None] = {"file_name": package.file_name}
    if package.kind == "vcs":
        within = f"#subdirectory={package.subdirectory}" if package.subdirectory else ""
        qualifiers = {"vcs_url": f"git+{url}@{package.commit}{within}"}
    elif package.kind == "archive":
        qualifiers["download_url"] = url
    # A directory inside the model was never published: an index's package of that name is another.
    purl = None if package.kind == "directory" else _purl("pypi", package.name, package.version, qualifiers)
    return _Part(
        ref=f"package:{package.name}",
        kind="library",
        name=package.name,
        version=package.version,
        purl=purl,
        sha256=package.sha256 if package.kind in ("wheel", "sdist", "archive") else None,
        url=url,
        is_vcs=package.kind == "vcs",
    )


def _conda(package: CondaPackage) -> _Part:
    file = file_name(package.url)
    # A channel on a disk is nobody else's.
    url = None if package.url.startswith("file:") else _public(without_credentials(package.url))
    qualifiers = {
        "build": package.build,
        "channel": None if url is None else _channel(url, package),
        "subdir": package.subdir,
        "type": "tar.bz2" if file.endswith(".tar.bz2") else "conda",
    }
    return _Part(
        ref=f"conda:{package.name}",
        kind="platform" if package.name == "python" else "library",
        name=package.name,
        version=package.version,
        purl=_purl("conda", package.name, package.version, qualifiers),
        sha256=package.sha256,
        url=url,
    )


def _channel(url: str, package: CondaPackage) -> str:
    """A package's channel, by the name that conda knows it by where it has one (``conda-forge``, ``main``), else by its URL."""
    channel = url.rpartition("/")[0].removesuffix(f"/{package.subdir}")
    known = re.fullmatch(rf"(?:{'|'.join(map(re.escape, _NAMING))})/([^/]+)", channel)
    return channel if known is None else known[1]


def _purl(kind: str, name: str, version: str | None, qualifiers: Mapping[str, str | None], namespace: str = "") -> str:
    from packageurl import PackageURL

    known = {key: value for key, value in qualifiers.items() if value}
    return PackageURL(type=kind, namespace=namespace or None, name=name, version=version, qualifiers=known).to_string()


def _public(url: str) -> str:
    parts = urlsplit(without_userinfo(url))
    return urlunsplit(parts._replace(query="", fragment=""))


def _bom(whole: _Part, parts: Sequence[_Part], facts: Mapping[str, str], made: datetime) -> Bom:
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom, BomMetaData

    main = _component(whole)
    main.properties.update(Property(name=name, value=value) for name, value in facts.items())
    components = [_component(part) for part in parts]
    bom = Bom(components=components, metadata=BomMetaData(component=main, timestamp=made), serial_number=UUID(int=0))
    bom.register_dependency(main, components)
    return bom


def _component(part: _Part) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return Component(
        type=ComponentType(part.kind),
        bom_ref=part.ref,
        name=part.name,
        version=part.version,
        purl=None if part.purl is None else PackageURL.from_string(part.purl),
        hashes=[] if part.sha256 is None else [HashType(alg=HashAlgorithm.SHA_256, content=part.sha256)],
        external_references=list(_links(part)),
    )


def _links(part: _Part) -> Iterator[ExternalReference]:
    from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri

    if part.url is not None:
        kind = ExternalReferenceType.VCS if part.is_vcs else ExternalReferenceType.DISTRIBUTION
        yield ExternalReference(type=kind, url=XsUri(part.url))


def _written(bom: Bom) -> str:
    from cyclonedx.output.json import JsonV1Dot6

    return JsonV1Dot6(bom).output_as_string(indent=2)
