"""Which build of torch and tensorflow: for the processor alone, or for a GPU.

On an index, torch for Linux is the build for NVIDIA's GPUs, with gigabytes of libraries beside it; PyTorch keeps the
others in a folder each, under versions like ``2.1.0+cpu`` (PyTorch's documentation, "Start Locally").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from envbuild.errors import UsageError

FAMILY = ("torch", "torchaudio", "torchtext", "torchvision")
"""The packages whose builds belong together."""
AS_INDEXED = "as-indexed"
"""Whatever build the index has."""
PYTORCH_HOST = "download.pytorch.org"
_NAMED = re.compile(r"cpu|cu\d{2,3}|rocm\d+(\.\d+)*|xpu")
# What the drivers of NVIDIA's and AMD's GPUs put there.
_DRIVERS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/kfd")


def has_gpu() -> bool:
    """Whether this machine has a GPU with a driver that torch can use."""
    return any(Path(path).exists() for path in _DRIVERS)


def chosen(setting: str) -> str:
    """The build that a setting means on this machine: ``cpu``, ``cu118``, …, or :data:`AS_INDEXED`.

    :raises UsageError: it means none.
    """
    if setting == "auto":
        return AS_INDEXED if has_gpu() else "cpu"
    if _NAMED.fullmatch(setting) is None:
        raise UsageError(f"--accelerator is {setting!r}", hint="write auto, cpu, cu118, rocm6.0 or xpu")
    return setting


def folder(build: str, torch_index: str | None) -> str:
    """Where the packages of a build lie, a folder each."""
    index = torch_index or f"https://{PYTORCH_HOST}/whl"
    return f"{index.rstrip('/')}/{build}"


def links(packages: Iterable[tuple[str, str | None]], torch_index: str | None) -> tuple[str, ...]:
    """Where the files of a lock's builds are found: pages of links.

    :param packages: names and versions.
    """
    found = []
    for name, version in packages:
        _, plus, build = (version or "").partition("+")
        if plus and name in FAMILY:
            found.append(f"{folder(build, torch_index)}/{name}/")
    return tuple(found)
