"""The program that asks MLflow and object stores: requests in, answers out, and then it is gone.

It runs in a process of its own (:mod:`envbuild.locations.asking`): MLflow and the clients of object stores start threads,
write to standard error and leave things behind, and none of that is to be in the process that then runs a model. Nothing
of envbuild is imported here, so that it may be started by the path of this file.

It is talked to as :mod:`envbuild.conversation` says; a step is how many ``bytes`` have been fetched.

``list``   what lies at a URI: ``{"source", "said", "files": [[path, size, tag], …]}``, or ``"path"`` where it lies on this disk
``fetch``  files of a source into a directory; what is there already of one, with its beginning, stays
``sizes``  the sizes of objects below a source, those that are there: ``{"sizes": {path: size}}``
``put``    a file of this disk as an object below a source, whole or not at all
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

Json: TypeAlias = "dict[str, Any]"
Listed: TypeAlias = "tuple[str, int | None, str]"
"""A path below the source, bytes, and what changes with the content (empty where nothing is said)."""

_ANSWERS, _SAYING = sys.stdout, threading.Lock()
_BLOCK = 2**23
_AT_ONCE = 4
_SECONDS = 0.5
_MOST_LEADS = 5
# What fsspec reads; :mod:`envbuild.locations.naming` says which extra each needs.
_OBJECTS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
# What a store says of an object that changes when it is written again; the first that is there counts.
_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "generation", "LastModified", "last_modified", "mtime", "created")


class Missing(Exception):
    """There is nothing."""


class Source(Protocol):
    """Where files lie."""

    def files(self) -> Iterator[Listed]:
        """All of them."""

    def fetch(self, path: str, size: int | None, target: Path) -> None:
        """One of them to a path, which may hold its beginning."""


def main() -> None:
    """Answer requests until there are no more, and end without what an interpreter does at its end."""
    # Whatever a library prints is not the answer.
    sys.stdout = sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _ACTIONS[request["action"]](request)
        except BaseException as error:  # noqa: BLE001 - a library may raise anything, SystemExit too
            answer = {"error": type(error).__name__, "message": str(error)}
        sys.stderr.flush()
        _say(answer)
    os._exit(0)


def _say(said: Json) -> None:
    with _SAYING:
        _ANSWERS.write(json.dumps(said) + "\n")
        _ANSWERS.flush()


def _list(request: Json) -> Json:
    uri, scratch = request["uri"], Path(request["scratch"])
    source, said = (uri, "") if _is_of_objects(uri) else _of_mlflow(uri)
    if (local := _local(source)) is not None:
        return {"source": source, "said": said, "path": local}
    files = sorted(_source(source).files())
    if not files:
        raise Missing(f"nothing lies at {source}")
    return {"source": source, "said": said, "files": _marked(files, source, scratch)}


def _is_of_objects(uri: str) -> bool:
    return uri.partition(":")[0] in _OBJECTS


def _local(source: str) -> str | None:
    """The path of what lies on this machine's own disk, or one that is mounted here."""
    scheme, _, rest = source.partition(":")
    if scheme == "file":
        return unquote(urlsplit(source).path)
    return source if not rest else None


def _marked(files: list[Listed], source: str, scratch: Path) -> list[Listed]:
    """The files with what changes when a model is saved again: where nothing is said, what its MLmodel holds."""
    if any(tag for _, _, tag in files):
        return files
    return [
        (path, size, f"sha256={_digest(source, path, size, scratch)}" if path == "MLmodel" else source)
        for path, size, _ in files
    ]


def _digest(source: str, path: str, size: int | None, scratch: Path) -> str:
    _source(source).fetch(path, size, scratch / path)
    return hashlib.sha256((scratch / path).read_bytes()).hexdigest()


def _fetch(request: Json) -> Json:
    source, into = _source(request["source"]), Path(request["into"])
    done = _Done(into)

    def one(asked: list[Any]) -> None:
        path, size = asked
        target = into / PurePosixPath(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        done.begin(path, target)
        source.fetch(path, size, target)
        done.end(path, target)

    with done, ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(one, request["files"]))
    return {"fetched": len(request["files"])}


def _sizes(request: Json) -> Json:
    source = _Objects(request["source"])
    found = ((path, source.size(path)) for path in request["paths"])
    return {"sizes": {path: size for path, size in found if size is not None}}


def _put(request: Json) -> Json:
    _Objects(request["source"]).put(request["path"], Path(request["file"]))
    return {}


class _Done:
    """Says each half second how many bytes there are of all files, and when one is complete."""

    def __init__(self, into: Path) -> None:
        self._into = into
        self._lock = threading.Lock()
        self._open: dict[str, Path] = {}
        self._bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._say, daemon=True)

    def begin(self, path: str, target: Path) -> None:
        with self._lock:
            self._open[path] = target

    def end(self, path: str, target: Path) -> None:
        with self._lock:
            del self._open[path]
            self._bytes += target.stat().st_size

    def __enter__(self) -> _Done:
        self._thread.start()
        return self

    def __exit__(self, *failed: object) -> None:
        self._over.set()
        self._thread.join()

    def _say(self) -> None:
        while not self._over.wait(_SECONDS):
            with self._lock:
                open_now, total = list(self._open.values()), self._bytes
            for target in open_now:
                try:
                    total += target.stat().st_size
                except OSError:
                    continue
            _say({"step": {"bytes": total}})


def _source(uri: str) -> Source:
    scheme = uri.partition(":")[0]
    if scheme not in _OBJECTS:
        return _Artifacts(uri)
    try:
        return _Objects(uri)
    except ImportError:
        # MLflow has a way of its own to the stores, with the libraries that it asks for.
        return _Artifacts(uri)


class _Objects:
    """What lies below a URI of an object store, by fsspec."""

    def __init__(self, uri: str) -> None:
        import fsspec

        options: Json = {"skip_instance_cache": True, "use_listings_cache": False}
        self._system: Any
        self._system, root = fsspec.url_to_fs(uri, **options)
        self._root = root.rstrip("/")

    def files(self) -> Iterator[Listed]:
        for path, facts in self._system.find(self._root, detail=True).items():
            below = path.removeprefix(f"{self._root}/")
            if below == path:
                raise NotADirectoryError(f"{path} is one object, and a model is what lies below a name")
            tag = next((f"{name}={facts[name]}" for name in _TAGS if facts.get(name) is not None), "")
            yield below, facts.get("size"), tag

    def size(self, path: str) -> int | None:
        """How many bytes an object has; ``None`` where there is none."""
        try:
            return int(self._system.info(f"{self._root}/{path}")["size"])
        except FileNotFoundError:
            return None

    def put(self, path: str, file: Path) -> None:
        """Write an object, in place of one that is there; it is there when all of it is."""
        self._system.put_file(str(file), f"{self._root}/{path}")

    def fetch(self, path: str, size: int | None, target: Path) -> None:
        name, there = f"{self._root}/{path}", target.stat().st_size if target.exists() else 0
        if size is None:
            target.write_bytes(self._system.cat_file(name))
            return
        with open(target, "ab") as file:
            file.truncate(there := there if there <= size else 0)
            while there < size:
                block = self._system.cat_file(name, start=there, end=min(there + _BLOCK, size))
                if not block:
                    raise OSError(f"{path} has ended after {there} of {size} bytes")
                file.write(block)
                file.flush()
                there += len(block)


class _Artifacts:
    """What lies below a URI that MLflow knows, by MLflow's own repositories of artifacts."""

    def __init__(self, uri: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self._repository: Any = get_artifact_repository(uri)

    def files(self) -> Iterator[Listed]:
        yield from self._below("")

    def _below(self, folder: str) -> Iterator[Listed]:
        for one in self._repository.list_artifacts(folder or None):
            if one.is_dir:
                yield from self._below(one.path)
            else:
                yield one.path, one.file_size, ""

    def fetch(self, path: str, size: int | None, target: Path) -> None:
        if target.exists() and target.stat().st_size == size:
            return
        # Their own beginning cannot be gone on with: a file of theirs is fetched whole.
        root = Path(str(target).removesuffix(str(PurePosixPath(path))))
        self._repository.download_artifacts(path, dst_path=str(root))


def _of_mlflow(uri: str) -> tuple[str, str]:
    """Where a URI of MLflow's own leads to, and which one it is that is meant by it."""
    from mlflow.tracking import MlflowClient

    if uri.startswith("models:"):
        return _of_registry(uri, MlflowClient())
    if uri.startswith("runs:"):
        return _of_run(uri, MlflowClient()), ""
    return uri, ""


def _of_run(uri: str, client: Any) -> str:
    """A run's artifacts; since 3.0 a run's model lies elsewhere, under its own name."""
    from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

    source = str(RunsArtifactRepository.get_underlying_uri(uri))
    if _local(source) is None and any(path == "MLmodel" for path, _, _ in _source(source).files()):
        return source
    run, name = RunsArtifactRepository.parse_runs_uri(uri)
    experiment = client.get_run(run).info.experiment_id
    if not hasattr(client, "search_logged_models") or not name:
        return source
    try:
        found = client.search_logged_models(experiment_ids=[experiment], filter_string=f"name = '{name}'")
    except Exception:  # noqa: BLE001 - a server of before 3.0 says in its own way that it has none
        return source
    return next((str(one.artifact_location) for one in found if one.source_run_id == run), source)


def _of_registry(uri: str, client: Any) -> tuple[str, str]:
    import mlflow
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository
    from mlflow.store.artifact.utils.models import get_model_name_and_version

    said = ""
    # A version's source may be the URI of another model.
    for _ in range(_MOST_LEADS):
        name = uri.removeprefix("models:").strip("/")
        if name.startswith("m-") and "/" not in name:
            return str(client.get_logged_model(name).artifact_location), said or name
        if not said:
            model, version = get_model_name_and_version(client, uri)
            said = f"version {version} of {model}"
        if mlflow.get_registry_uri().startswith(("databricks", "uc:")):
            # Theirs lend a key for each download; only their own repositories know.
            return uri, said
        uri = str(ModelsArtifactRepository.get_underlying_uri(uri))
        if not uri.startswith("models:"):
            return uri, said
    raise Missing(f"{uri} leads from model to model, and to no end")


_ACTIONS = {"list": _list, "fetch": _fetch, "sizes": _sizes, "put": _put}

if __name__ == "__main__":
    main()
