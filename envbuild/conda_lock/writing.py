"""A lock with conda packages as the text of a ``conda-lock.yml``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from envbuild.conda.package import solved_for
from envbuild.conda_lock import OWN, OWN_HASH, VERSION, channel_packages, index_packages
from envbuild.errors import UsageError
from envbuild.lock import Lock, by_name, table_of
from envbuild.redaction import without_credentials

_HEAD = """\
# An environment's lock, made by envbuild in the format of conda-lock (version 1).
#   envbuild build MODEL --lock conda-lock.yml
#   conda-lock install -n NAME conda-lock.yml
#   micromamba create -n NAME -f conda-lock.yml
"""
# The file that a lock with conda packages stems from: some tools want to be told of one.
_SOURCE = "conda.yaml"
# No line is folded: what is long is a URL.
_WIDTH = 2**31


def write_conda_lock(lock: Lock) -> str:
    """The text of a lock: the same lock gives the same bytes.

    :raises UsageError: the lock has no conda packages.
    """
    half = lock.conda
    if half is None:
        raise UsageError(
            "a conda-lock.yml is the lock of an environment with conda packages, and this one has none",
            hint="pylock.toml holds all of it",
        )
    of_channels = [(one, channel_packages.entry_of(one, half.subdir)) for one in half.packages]
    of_index = [(one, index_packages.entry_of(one, half.subdir)) for one in by_name(lock.packages)]
    of_channels.sort(key=lambda pair: pair[0].name)
    table = {
        **{key: value for key, value in table_of(replace(lock, conda=None)).items() if key != "hash"},
        **solved_for(half),
        "conda-packages": _filled({one.name: channel_packages.details_of(one, entry) for one, entry in of_channels}),
        "pip-packages": _filled({one.name: index_packages.details_of(one, entry) for one, entry in of_index}),
    }
    content = {
        "version": int(VERSION),
        "metadata": {
            "content_hash": {half.subdir: lock.origin.spec_digest or lock.hash},
            "channels": [{"url": without_credentials(url), "used_env_vars": []} for url in half.channels],
            "platforms": [half.subdir],
            "sources": [_SOURCE],
            "custom_metadata": {OWN_HASH: lock.hash, OWN: _Block(json.dumps(table, indent=1))},
        },
        "package": [*(entry.to_dict() for _, entry in of_channels), *(entry.to_dict() for _, entry in of_index)],
    }
    return _HEAD + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=_WIDTH)


def _filled(details: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Those of which there is something to say."""
    return {name: more for name, more in details.items() if more}


class _Block(str):
    """A text that keeps its lines."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """PyYAML's own in Python: libyaml's folds elsewhere, and the bytes must not depend on which is there."""

    def ignore_aliases(self, _: Any) -> bool:
        """Everything is written out where it belongs."""
        return True


def _represent_block(dumper: yaml.SafeDumper, text: _Block) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")


_Dumper.add_representer(_Block, _represent_block)
