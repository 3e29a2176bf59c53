"""The program that py-rattler runs in: requests in, answers out, and then it is gone.

It runs in a process of its own (:mod:`envbuild.conda.running`): of the processes that have used py-rattler some crash when
they end, and a package that is damaged may end one at any time. Nothing of envbuild is imported here, so that it may be
started by the path of this file.

It is talked to as :mod:`envbuild.conversation` says.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

Json: TypeAlias = "dict[str, Any]"
_BLOCK = 2**20
_SAYING = threading.Lock()
_answers = sys.stdout
# Between two lines of the same kind.
_SECONDS = 1.0
_OFFLINE = "nothing is fetched offline"


def main() -> None:
    """Answer requests until there are no more, and end without what an interpreter does at its end."""
    global _answers  # noqa: PLW0603 - what is said to the one who asks, for as long as this runs
    # Whatever else prints something, a package's script too, is not the answer.
    _answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = asyncio.run(_ACTIONS[request["action"]](request))
        except BaseException as error:  # noqa: BLE001 - Rust's panics are no Exceptions
            answer = {"error": type(error).__name__, "message": str(error)}
        sys.stderr.flush()
        _say(answer)
    os._exit(0)


def _say(said: Json) -> None:
    with _SAYING:
        _answers.write(json.dumps(said) + "\n")
        _answers.flush()


def _step(phase: str, what: str, **more: Any) -> None:
    _say({"step": {"phase": phase, "what": what, **more}})


def _client(request: Json) -> Any:
    """What asks channels: each with its own login, whose URL is never the one that is written down."""
    from rattler.networking import AddHeadersMiddleware, Client, MirrorMiddleware, RetryMiddleware

    headers = [
        (urlsplit(one["url"]), {"Authorization": _basic(*one["login"])}) for one in request["logins"] if one["login"]
    ]
    through = {f"{one['url']}/": [f"{one['through']}/"] for one in request["logins"] if one["through"]}

    def headers_for(host: str, path: str) -> dict[str, str] | None:
        if request["offline"]:
            raise ConnectionRefusedError(_OFFLINE)
        fitting = [(url.path, own) for url, own in headers if url.hostname == host and path.startswith(f"{url.path}/")]
        return max(fitting, key=lambda one: len(one[0]))[1] if fitting else None

    return Client([AddHeadersMiddleware(headers_for), MirrorMiddleware(through), RetryMiddleware(2)])


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _gateway(request: Json) -> Any:
    from rattler import Gateway, SourceConfig

    config = SourceConfig(bz2_enabled=False)
    if request["offline"]:
        config.cache_action = "force-cache-only"
    return Gateway(cache_dir=Path(request["cache"]) / "repodata", default_config=config, client=_client(request))


async def _solve(request: Json) -> Json:
    """The records of the packages that specs come to, or which spec cannot be read."""
    from rattler import (
        BuildString,
        Channel,
        ChannelPriority,
        GenericVirtualPackage,
        MatchSpec,
        MultiSource,
        PackageName,
        Version,
        solve,
    )

    specs = []
    for number, text in enumerate(request["specs"]):
        try:
            specs.append(MatchSpec(text))
        except Exception as error:  # noqa: BLE001 - the parser's own
            return {"error": "InvalidMatchSpec", "message": str(error), "number": number}
    machine = [
        GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))
        for name, version, build in request["virtual_packages"]
    ]
    newest = request.get("exclude_newer")
    sources = [
        Channel(urls[0]) if "://" in name else MultiSource(name, [Channel(url) for url in urls])
        for name, urls in request["channels"]
    ]
    records = await solve(
        sources=sources,
        specs=specs,
        gateway=_gateway(request),
        platforms=[request["subdir"], "noarch"],
        virtual_packages=machine,
        channel_priority=ChannelPriority.Strict,
        # It is read as if it were UTC, whatever it says.
        exclude_newer=None if newest is None else datetime.fromisoformat(newest).astimezone(timezone.utc),
        # What was built before conda-build wrote when is older than any model.
        timestamp_policy="allow-missing",
        channel_relations="disabled",
    )
    found = {record.name.normalized: record for record in records}
    for number, spec in enumerate(specs):
        # It is read, and then not heeded.
        record = found.get(spec.name.normalized) if spec.subdir is not None else None
        if record is not None and record.subdir != spec.subdir:
            return {"error": "WrongSubdir", "message": record.subdir, "number": number}
    return {"records": [_said(record) for record in records]}


def _said(record: Any) -> Json:
    """What a lock has to know of a record."""
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(record.build),
        "build_number": record.build_number,
        "subdir": record.subdir,
        "url": str(record.url),
        "channel": record.channel,
        "md5": None if record.md5 is None else record.md5.hex(),
        "sha256": None if record.sha256 is None else record.sha256.hex(),
        "size": record.size,
        "timestamp": None if record.timestamp is None else record.timestamp.isoformat(),
        "depends": list(record.depends),
        "constrains": list(record.constrains),
    }


async def _provided(request: Json) -> Json:
    """For each package, the distributions that it has in ``site-packages``, by their metadata's folders."""
    from rattler.package_streaming import PackageArchive

    client, limit = _client(request), asyncio.Semaphore(8)
    counted = _Counted("reading", len(request["urls"]))

    async def one(url: str) -> list[str]:
        async with limit:
            path = _local(url)
            archive = await (PackageArchive.from_url(client, url) if path is None else PackageArchive.from_path(path))
            paths = (str(entry.relative_path) for entry in (await archive.paths_json()).paths)
            counted.say("what conda packages bring")
            return sorted(set(_metadata_folders(paths)))

    found = await asyncio.gather(*(one(url) for url in request["urls"]))
    return {"provided": dict(zip(request["urls"], found))}


def _metadata_folders(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        parts = path.split("/")
        for at, part in enumerate(parts[:-1]):
            if part == "site-packages" and parts[at + 1].endswith((".dist-info", ".egg-info")):
                yield parts[at + 1]


async def _install(request: Json) -> Json:
    """Make a prefix of records, from the package cache or from where they lie."""
    from rattler import Subdir, install
    from rattler.config import Config
    from rattler.package_cache import PackageCache, ValidationMode

    for one in request["records"]:
        _forget_others(Path(request["cache"]), one)
    mode = ValidationMode.full() if request["validate"] else ValidationMode.fast()
    cache = PackageCache.new_layered([request["cache"]], validation_mode=mode)
    records = [_record(one) for one in request["records"]]
    index = await cache.index()
    new = [said for said, one in zip(request["records"], records) if not index.contains_record(one)]
    if (wrong := _wrong_file(new)) is not None:
        return wrong
    if request["offline"]:
        missing = [one for one in records if _local(str(one.url)) is None and not index.contains_record(one)]
        if missing:
            return {
                "error": "NotCached",
                "message": ", ".join(f"{one.name.normalized} {one.version}" for one in missing),
            }
    config = Config()
    # Symbolic links are left to it: without them it makes files of a package's own, and fills no prefix into those.
    for way in ("hard", "ref"):
        config.set(f"allow-{way}-links", json.dumps(way in request["links"]))
    await install(
        records,
        target_prefix=request["prefix"],
        package_cache=cache,
        installed_packages=[],
        platform=Subdir(request["subdir"]),
        execute_link_scripts=request["link_scripts"],
        client=_client(request),
        config=config,
        reporter=_Reporter(request["records"]),
        alternative_target_prefix=request.get("prefix_written"),
    )
    return {}


def _record(said: Mapping[str, Any]) -> Any:
    """A record as a lock has it."""
    from rattler import BuildString, PackageRecord, RepoDataRecord

    record = PackageRecord(
        name=said["name"],
        version=said["version"],
        build=BuildString(said["build"]),
        build_number=said["build_number"],
        subdir=said["subdir"],
        arch=None,
        platform=None,
        noarch=None,
        depends=list(said["depends"]),
        constrains=list(said["constrains"]),
        sha256=bytes.fromhex(said["sha256"]),
        md5=None if said["md5"] is None else bytes.fromhex(said["md5"]),
        size=said["size"],
    )
    return RepoDataRecord(record, said["url"].rpartition("/")[2], said["url"], said["channel"] or "")


def _forget_others(cache: Path, wanted: Mapping[str, Any]) -> None:
    """Take a package of the same name and another content out of the cache.

    py-rattler notes the new sha256 before it has fetched anything: when that fails, the old content stays under it.
    """
    stem = f"{wanted['name']}-{wanted['version']}-{wanted['build']}"
    with contextlib.suppress(FileNotFoundError), open(cache / f"{stem}.lock", "rb") as lock:
        # A number, and the sha256 of what is there. Whoever links from it holds the lock.
        if lock.read()[8:40].hex() != wanted["sha256"]:
            fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(cache / stem, ignore_errors=True)


def _wrong_file(records: Iterable[Mapping[str, Any]]) -> Json | None:
    """The first package on this machine's disk that is not the locked one: py-rattler does not look at those."""
    for one in records:
        if (path := _local(one["url"])) is not None:
            total = hashlib.sha256()
            with open(path, "rb") as file:
                while block := file.read(_BLOCK):
                    total.update(block)
            if total.hexdigest() != one["sha256"]:
                return {"error": "HashMismatch", "message": one["url"], "found": total.hexdigest()}
    return None


def _local(url: str) -> str | None:
    """The path of what lies on this machine's disk."""
    return unquote(urlsplit(url).path) if url.startswith("file:") else None


class _Counted:
    """Steps of many small things: one line a second, with how many there are."""

    def __init__(self, phase: str, whole: int) -> None:
        self._phase = phase
        self._whole = whole
        self._done = 0
        self._said = 0.0

    def say(self, what: str) -> None:
        self._done += 1
        if time.monotonic() - self._said > _SECONDS or self._done == self._whole:
            self._said = time.monotonic()
            _step(self._phase, f"{what}: {self._done} of {self._whole}", done=self._done == self._whole)


class _Reporter:
    """py-rattler's steps as lines."""

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._records = {one["name"]: one for one in records}
        self._names: dict[int, str] = {}
        self._linked = _Counted("installing", len(self._records))

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda *_: 0

    def on_populate_cache_start(self, operation: int, package_name: str) -> int:
        self._names[operation] = package_name
        return operation

    def on_download_start(self, cache_entry: int) -> int:
        self._downloading(cache_entry, done=False)
        return cache_entry

    def on_download_completed(self, download_idx: int) -> None:
        self._downloading(download_idx, done=True)

    def _downloading(self, number: int, *, done: bool) -> None:
        record = self._records.get(self._names.get(number, ""))
        if record is not None:
            _step("downloading", record["url"].rpartition("/")[2], bytes=record["size"], done=done)

    def on_link_complete(self, _: int) -> None:
        self._linked.say("conda packages")


_ACTIONS = {"solve": _solve, "provided": _provided, "install": _install}

if __name__ == "__main__":
    main()
