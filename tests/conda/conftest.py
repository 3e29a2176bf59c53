"""Channels: two of real packages, made once and kept; empty ones of a test's own; servers of any."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from channel import Channel, Channels
from channel_server import ChannelServer
from kept_channels import kept_channels
from kit import REPO
from room import Room
from tiny import File


@pytest.fixture(scope="session")
def channels(shared_home: Path, released: Callable[..., list[File]]) -> Channels:
    """The two channels of real packages; kept below the shared home, by what makes them."""
    return kept_channels(shared_home, released)


@pytest.fixture
def make_channel(tmp_path: Path) -> Callable[..., Channel]:
    """Makes empty channels of the test's own, by name, side by side in ``tmp_path / "channels"``."""

    def make(name: str = "own") -> Channel:
        return Channel(tmp_path / "channels" / name)

    return make


@pytest.fixture
def own_channel(make_channel: Callable[..., Channel]) -> Channel:
    """An empty channel of the test's own."""
    return make_channel()


@pytest.fixture
def serve() -> Iterator[Callable[..., ChannelServer]]:
    """Serves the channels in a folder over HTTP: ``serve(channels.folder).url("forge")``."""
    started: list[ChannelServer] = []

    def start(folder: Path, tls: ssl.SSLContext | None = None) -> ChannelServer:
        started.append(ChannelServer(folder, tls))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def served_channels(channels: Channels, serve: Callable[[Path], ChannelServer]) -> ChannelServer:
    """The two channels of real packages over HTTP: ``served_channels.url("forge")``, ``.url("main")``."""
    return serve(channels.folder)


@pytest.fixture
def served_channel(own_channel: Channel, serve: Callable[[Path], ChannelServer]) -> ChannelServer:
    """The test's own channel over HTTP: ``served_channel.url("own")``."""
    return serve(own_channel.root.parent)


@pytest.fixture
def room(home: Path) -> Room:
    """py-rattler with a store of the test's own."""
    return Room(home)


@pytest.fixture
def of_conda(tmp_path: Path) -> Callable[[str], Path]:
    """A model of mlflow 1.30 that asks conda for its scikit-learn, as many did then."""

    def make(name: str) -> Path:
        model = tmp_path / name
        shutil.copytree(REPO / "tests" / "models" / "py38_mlflow1_30" / name, model)
        listed = (model / "conda.yaml").read_text()
        text = listed.replace("  - scikit-learn==1.1.3\n", "").replace("- pip\n", "- scikit-learn=1.1.3\n- pip\n", 1)
        assert text != listed
        (model / "conda.yaml").write_text(text)
        return model

    return make
