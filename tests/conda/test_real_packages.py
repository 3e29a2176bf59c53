"""Prefixes of real packages: what one would get from the real channels."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from channel import Channels
from room import Room, named

# Channels of real packages are made for it.
pytestmark = pytest.mark.slow

CODE = """
import bz2, ctypes, json, lzma, readline, sqlite3, ssl, sys, zlib
import numpy, pandas, sklearn.ensemble
model = sklearn.ensemble.RandomForestClassifier(n_estimators=3, random_state=1).fit([[0], [1], [2], [3]], [0, 0, 1, 1])
said = [sys.version_info[:2], sys.prefix, sklearn.__version__, model.predict([[0], [3]]).tolist()]
print(json.dumps([*said, ssl.__file__]))
"""


@pytest.mark.parametrize(
    ("channel", "day", "python", "sklearn"),
    [("forge", "2022-11-16", "3.8", "1.1.3"), ("main", "2019-09-16", "3.6", "0.21.3")],
)
def test_a_prefix_of_real_packages_trains_a_model(
    channels: Channels, room: Room, tmp_path: Path, channel: str, day: str, python: str, sklearn: str
) -> None:
    url = (channels.folder / channel).as_uri()
    packages = room.solve(f"python={python}", f"scikit-learn={sklearn}", "pandas", "pip", channels=[url], day=day)
    prefix = room.install(packages, tmp_path / "prefix")
    done = subprocess.run(
        [prefix / "bin" / "python", "-c", CODE], env={}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[:4] == [[*map(int, python.split("."))], str(prefix), sklearn, [0, 1]]
    assert json.loads(done.stdout)[4].startswith(str(prefix))
    listed = subprocess.run([prefix / "bin" / "pip", "list", "--format=json"], env={}, capture_output=True, check=True)
    versions = {one["name"]: one["version"] for one in json.loads(listed.stdout)}
    assert versions.items() == {name: at for name, at in named(packages).items() if name != "python"}.items()
