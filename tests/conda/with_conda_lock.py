"""What conda-lock itself does with lock files; it runs in a Python of its own, and nothing of envbuild is there.

``rewrite IN OUT``: reads a file with conda-lock's classes, says what it read, and writes it again. ``make OUT``: writes the
lock that standard input describes, categories and all, as conda-lock does when its solver has answered.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from conda_lock.conda_lock import render_lockfile_for_platform
from conda_lock.lockfile import apply_categories, parse_conda_lock_file, write_conda_lock_file
from conda_lock.lockfile.v2prelim.models import HashModel, LockedDependency, Lockfile, LockMeta
from conda_lock.models.channel import Channel
from conda_lock.models.lock_spec import VersionedDependency


def rewrite(source: str, target: str) -> None:
    lock = parse_conda_lock_file(Path(source))
    (platform,) = lock.metadata.platforms
    said: dict[str, Any] = {
        "channels": [channel.url for channel in lock.metadata.channels],
        "platforms": lock.metadata.platforms,
        "content_hash": lock.metadata.content_hash,
        "packages": [
            [
                one.name,
                one.version,
                one.manager,
                one.platform,
                one.url,
                one.hash.md5,
                one.hash.sha256,
                [*one.categories],
            ]
            for one in lock.package
        ],
        "explicit": render_lockfile_for_platform(
            lockfile=lock, include_dev_dependencies=False, extras=None, kind="explicit", platform=platform
        ),
    }
    print(json.dumps(said))
    write_conda_lock_file(lock, Path(target), metadata_choices=None)


def make(target: str) -> None:
    asked = json.load(sys.stdin)
    found = []
    for platform, packages in asked["packages"].items():
        for manager in ("conda", "pip"):
            planned = {one["name"]: _locked(one, manager, platform) for one in packages if one["manager"] == manager}
            requested = {
                name: VersionedDependency(name=name, manager=manager, version="", category=category)
                for name, category in asked["requested"][manager].items()
            }
            apply_categories(requested=requested, planned=planned, mapping_url="")
            found += planned.values()
    metadata = LockMeta(
        content_hash=dict.fromkeys(asked["packages"], "0" * 64),
        channels=[Channel.from_string(url) for url in asked["channels"]],
        platforms=list(asked["packages"]),
        sources=["environment.yml"],
    )
    write_conda_lock_file(Lockfile(package=found, metadata=metadata), Path(target), metadata_choices=None)


def _locked(one: dict[str, Any], manager: str, platform: str) -> LockedDependency:
    return LockedDependency(
        name=one["name"],
        version=one["version"],
        manager=manager,
        platform=platform,
        dependencies=one["dependencies"],
        url=one["url"],
        hash=HashModel(**one["hash"]),
    )


if __name__ == "__main__":
    {"rewrite": rewrite, "make": make}[sys.argv[1]](*sys.argv[2:])
