"""Archives of models: a model in a zip or a tar, unpacked without trusting any of its names."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias

from envbuild.errors import ModelNotFound, ModelUnreadable
from envbuild.locations.listing import check_path
from envbuild.model import MLMODEL
from envbuild.progress import Report, Step

_MOST_FILES = 200_000
_Members: TypeAlias = "Iterator[tuple[str, IO[bytes]]]"


def unpack(archive: Path, into: Path, said: str, report: Report) -> None:
    """Put the one model of an archive into a directory; where it lies deeper in it, from there.

    :param said: how the archive is called.
    :raises ModelUnreadable: it is damaged, or holds what no model has: links, devices, names that lead out of it.
    :raises ModelNotFound: there is no MLmodel in it, or there are several.
    :raises OSError: it cannot be written.
    """
    report(Step("installing", f"the files of {said}"))
    shutil.rmtree(into)
    into.mkdir()
    try:
        root = _root(archive, said)
        with _opened(archive, said) as members:
            for path, content in members:
                below = _below(path, root)
                if below is None:
                    continue
                target = into / below
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "xb") as file:
                    shutil.copyfileobj(content, file, 2**20)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zipfile.LargeZipFile, NotImplementedError) as error:
        raise _damaged(said, str(error)) from error
    except FileExistsError as error:
        raise _damaged(said, f"{error.filename} is in it twice") from error
    report(Step("installing", f"the files of {said}", done=True))


def _root(archive: Path, said: str) -> PurePosixPath:
    """The directory in it that is the model: the one that has an MLmodel, and lies above all others that have one."""
    with _opened(archive, said) as members:
        found = {PurePosixPath(path).parent for path, _ in members if PurePosixPath(path).name == MLMODEL}
    tops = sorted(one for one in found if not found.intersection(one.parents))
    if len(tops) == 1:
        return tops[0]
    if not tops:
        raise ModelNotFound(f"there is no {MLMODEL} in {said}", hint="pack the model's own directory")
    raise ModelNotFound(
        f"{said} has several models: {', '.join(map(str, tops[:5]))}", hint="unpack it, and give the one that is meant"
    )


def _below(path: str, root: PurePosixPath) -> PurePosixPath | None:
    try:
        return PurePosixPath(path).relative_to(root)
    except ValueError:
        return None


@contextmanager
def _opened(archive: Path, said: str) -> Iterator[_Members]:
    """The plain files of an archive, each with its name and its content."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _of_zip(opened, said)
        return
    with tarfile.open(archive, "r:*") as tar:
        yield _of_tar(tar, said)


def _of_zip(opened: zipfile.ZipFile, said: str) -> _Members:
    for number, info in enumerate(opened.infolist()):
        _check(number, info.filename.rstrip("/"), said)
        if info.is_dir():
            continue
        # The upper half are the file's permissions and kind as Unix has them.
        kind = info.external_attr >> 28
        if kind not in (0, 0o10) or info.flag_bits & 1:
            raise _strange(said, info.filename)
        with opened.open(info) as content:
            yield info.filename, content


def _of_tar(tar: tarfile.TarFile, said: str) -> _Members:
    for number, info in enumerate(tar):
        name = info.name.removeprefix("./")
        if name in ("", ".") and info.isdir():
            continue
        _check(number, name, said)
        if info.isdir():
            continue
        content = tar.extractfile(info) if info.isreg() else None
        if content is None:
            raise _strange(said, name)
        with content:
            yield name, content


def _check(number: int, name: str, said: str) -> None:
    if number >= _MOST_FILES:
        raise _damaged(said, f"it has more than {_MOST_FILES} files")
    check_path(name)


def _strange(said: str, name: str) -> ModelUnreadable:
    return ModelUnreadable(
        f"{said} has something that is no plain file: {name!r}",
        hint="a model has neither links nor secrets: pack it anew",
    )


def _damaged(said: str, why: str) -> ModelUnreadable:
    return ModelUnreadable(f"{said} cannot be unpacked: {why}", hint="is the archive whole?")
