"""Bundles of locks with conda packages: these go along as files, and nothing is asked of a channel where they are used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from channel_server import ChannelServer
from kit import cli, cli_environ
from test_era_models import differences
from test_models_of_channels import OF_2019

NO_NETWORK = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--net")


@pytest.mark.slow
def test_a_model_of_conda_packages_predicts_from_its_bundle_without_its_channels(
    served_channels: ChannelServer, home: Path, tmp_path: Path
) -> None:
    bundle, original = tmp_path / "iris.bundle", OF_2019 / "iris"
    mirrors = f"defaults={served_channels.url('main')} conda-forge={served_channels.url('forge')}"
    environ = cli_environ(home, ENVBUILD_CONDA_PACKAGES="conda", ENVBUILD_CONDA_MIRROR=mirrors)
    done = cli("bundle", "export", original, "-o", bundle, "--json", environ=environ)
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)["manifest"]
    assert [one["path"].rpartition("/")[2] for one in manifest["files"] if one["path"].startswith("locks/")] == [
        Path(manifest["locks"][0]["path"]).name
    ]
    assert any(one["path"].startswith("conda/linux-64/python-3.6") for one in manifest["files"])
    argv = [*NO_NETWORK, sys.executable, "-m", "envbuild", "predict", bundle, f"{original}.input.json", "--json"]
    bare = cli_environ(tmp_path / "empty", ENVBUILD_CONDA_PACKAGES="conda")
    used = subprocess.run(argv, env=bare, capture_output=True, text=True, timeout=600, check=False)
    assert used.returncode == 0, used.stderr
    answer = json.loads(used.stdout)
    assert (answer["built"], answer["lock_hash"]) == (True, manifest["locks"][0]["lock_hash"])
    expected = json.loads(Path(f"{original}.expected.json").read_text())
    assert not list(differences(answer["predictions"], expected, 1e-6, "predictions"))
    assert cli("verify", answer["lock_hash"], environ=bare).returncode == 0
