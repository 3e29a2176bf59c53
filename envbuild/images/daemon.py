"""The Docker daemon: images found, pulled, loaded and saved; containers made, filled, run and removed.

The only module that knows the daemon's SDK (``envbuild[docker]``). Whatever a container was made for, it goes with its
``with`` statement, also at an interrupt.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from envbuild import process
from envbuild.errors import (
    BaseImageUnusable,
    DockerUnavailable,
    EnvbuildError,
    ImageError,
    RegistryRefused,
    RegistryUnreachable,
    UsageError,
)
from envbuild.images.config import ImageConfig, config_from
from envbuild.progress import Report, Step
from envbuild.redaction import redacted

# Of what belongs to a call of ours while it lasts, and the process that it belongs to.
WORKING_LABEL = "envbuild.working"
_PROCESS_LABEL = "envbuild.process"
STAGES = "envbuild-stage"
_RUN_KEYS = ("User", "Env", "Entrypoint", "Cmd", "WorkingDir", "Labels", "ExposedPorts", "Healthcheck")
_MAPPINGS = ("Labels", "ExposedPorts", "Healthcheck")
_TIMEOUT_SECONDS = 900
_STOP_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An image that the daemon has."""

    id: str
    digests: tuple[str, ...]
    """``repository@sha256:…`` of the registries that it came from."""
    tags: tuple[str, ...]
    diff_ids: tuple[str, ...]
    architecture: str
    os: str
    created: str
    environ: tuple[str, ...]
    labels: Mapping[str, str]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """How a container is made."""

    image: str
    command: Sequence[str]
    user: str = "0:0"
    network: str | None = None
    """``None``: without any network."""
    mounts: Mapping[Path, str] = field(default_factory=dict)
    """Directories of this machine by where they are seen inside."""
    memory_directories: Sequence[str] = ()
    """Directories inside that lie in memory and go with the container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a container's program ended: its exit status, and the end of what it wrote to standard error."""

    status: int
    stderr: str


class Daemon(contextlib.AbstractContextManager["Daemon"]):
    """A Docker daemon that answers."""

    # The SDK is typed by others in part only: what it gives is checked where it is used.
    def __init__(self, client: Any, version: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        self._client = client
        self.version = str(version.get("Version", ""))
        self.is_rootless = any("rootless" in option for option in info.get("SecurityOptions") or ())

    @classmethod
    def connect(cls) -> Daemon:
        """The daemon that Docker's own variables and contexts name (``DOCKER_HOST``), or the local one.

        :raises DockerUnavailable: there is none, or it may not be used.
        """
        try:
            import docker
            from docker.errors import DockerException
        except ImportError as error:
            raise DockerUnavailable(
                f"images need the docker extra: {error}", hint="pip install 'envbuild[docker]'"
            ) from error
        try:
            options = docker.utils.kwargs_from_env()
            client = docker.APIClient(version="auto", timeout=_TIMEOUT_SECONDS, **options)
            return cls(client, client.version(), client.info())
        except (DockerException, OSError) as error:
            raise _unavailable(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    # Images

    def find(self, reference: str) -> Found | None:
        """An image by its name, digest or ID; ``None`` where the daemon has none."""
        from docker.errors import NotFound

        with explained():
            try:
                facts = self._client.inspect_image(reference)
            except NotFound:
                return None
        config = facts.get("Config") or {}
        return Found(
            id=facts["Id"],
            digests=tuple(facts.get("RepoDigests") or ()),
            tags=tuple(facts.get("RepoTags") or ()),
            diff_ids=tuple(facts["RootFS"].get("Layers") or ()),
            architecture=facts["Architecture"],
            os=facts["Os"],
            created=facts.get("Created") or "",
            environ=tuple(config.get("Env") or ()),
            labels=config.get("Labels") or {},
            size=int(facts.get("Size") or 0),
        )

    def config_of(self, image: Found) -> ImageConfig:
        """The config of an image that envbuild made, put together again from what the daemon says of it.

        :raises ImageError: it is no image of ours: the digest of what was put together is another.
        """
        with explained():
            facts = self._client.inspect_image(image.id)
            history = self._client.history(image.id)
        run = facts["Config"]
        # What adds no layer is no history of ours.
        texts = [entry["CreatedBy"] for entry in reversed(history)]
        content = {
            "architecture": facts["Architecture"],
            "os": facts["Os"],
            "created": facts["Created"],
            "rootfs": {"diff_ids": facts["RootFS"]["Layers"]},
            "history": [{"created_by": text} for text in texts],
            "config": {key: run.get(key) or {} if key in _MAPPINGS else run.get(key) for key in _RUN_KEYS},
        }
        config = config_from(content)
        if config is None or config.id != image.id:
            raise ImageError(f"{image.id[:19]} is no image that this envbuild made", hint="remove it, or its name")
        return config

    def sizes(self, reference: str) -> list[int]:
        """The bytes of an image's layers, as files, from the lowest to the topmost."""
        with explained():
            return [int(entry["Size"]) for entry in reversed(self._client.history(reference))]

    def pull(self, reference: str, platform: str | None, report: Report) -> None:
        """Fetch an image from its registry.

        :raises RegistryRefused: it is not there, or may not be had.
        :raises RegistryUnreachable: the registry does not answer.
        """
        from docker.errors import APIError
        from docker.utils import parse_repository_tag

        report(Step("downloading", f"image {reference}"))
        repository, tag = parse_repository_tag(reference)
        with explained():
            try:
                events = self._client.pull(repository, tag or "latest", stream=True, decode=True, platform=platform)
                for event in events:
                    if "error" in event:
                        raise _pull_failed(reference, str(event["error"]))
            except APIError as error:
                raise _pull_failed(reference, str(error.explanation or error)) from error
        report(Step("downloading", f"image {reference}", done=True))

    def load(self, archive: Iterable[bytes]) -> None:
        """Load an image (``docker load``).

        :raises ImageError: the daemon refuses it.
        """
        with explained():
            for event in self._client.load_image(_Stream(archive)):
                if "error" in event:
                    raise _failed(str(event["error"]))

    def save(self, reference: str, file: IO[bytes]) -> None:
        """Write an image with all its layers (``docker save``)."""
        with explained():
            for block in self._client.get_image(reference):
                file.write(block)
        file.seek(0)

    def tag(self, reference: str, name: str) -> None:
        """Give an image one more name."""
        from docker.utils import parse_repository_tag

        repository, tag = parse_repository_tag(name)
        with explained():
            self._client.tag(reference, repository, tag or "latest", force=True)

    def remove_nameless(self, found: Found | None) -> None:
        """Remove an image whose last name went to another, unless something uses it."""
        if found is not None and (now := self.find(found.id)) is not None and not now.tags:
            self.forget(found.id)

    def forget(self, reference: str) -> None:
        """Take an image's name away, and the image, if that was its last and nothing uses it."""
        from docker.errors import APIError

        with contextlib.suppress(APIError, OSError):
            self._client.remove_image(reference, noprune=False)

    def build(self, context: IO[bytes], tag: str, options: Mapping[str, Any], report: Report) -> None:
        """Have the daemon build a Dockerfile, whose context is a tar.

        :raises ImageError: it failed, with the end of what was said.
        """
        said: list[str] = []
        with explained():
            events = self._client.build(
                fileobj=context, custom_context=True, tag=tag, rm=True, forcerm=True, decode=True, **options
            )
            for event in events:
                text = str(event.get("stream") or event.get("error") or "").strip()
                if text:
                    said.append(text)
                if "error" in event:
                    raise ImageError(f"the Dockerfile cannot be built: {text[:300]}", details=said[-25:])
                if text.startswith("Step "):
                    report(Step("building", text[:120]))

    def prune(self) -> None:
        """Remove what the daemon keeps of a template's stages that are in no image."""
        from docker.errors import APIError

        with contextlib.suppress(APIError, OSError):
            self._client.prune_images(filters={"dangling": True, "label": f"{WORKING_LABEL}=1"})

    def sweep(self) -> None:
        """Remove what calls that were killed have left: their containers, and the images that they worked on."""
        from docker.errors import APIError

        with explained():
            left = self._client.containers(all=True, filters={"label": WORKING_LABEL})
            stages = self._client.images(STAGES)
        with contextlib.suppress(APIError, OSError):
            for entry in left:
                if process.is_gone(entry["Labels"].get(_PROCESS_LABEL, "")):
                    self._client.remove_container(entry["Id"], force=True, v=True)
        for entry in stages:
            for tag in entry.get("RepoTags") or ():
                if process.is_gone(tag.partition(":")[2].rpartition("-")[0]):
                    self.forget(tag)

    # Containers

    def container(self, box: Box) -> Container:
        """A container that was made and does not run yet, to be used in a ``with`` statement."""
        client = self._client
        with explained():
            host = client.create_host_config(
                network_mode=box.network or "none",
                binds=[f"{path}:{inside}:rw" for path, inside in box.mounts.items()],
                tmpfs=dict.fromkeys(box.memory_directories, "mode=1777,exec"),
                security_opt=["label=disable"],
                log_config={"type": "none"},
                init=True,
            )
            made = client.create_container(
                box.image,
                entrypoint=list(box.command),
                command=[],
                user=box.user,
                working_dir="/",
                stdin_open=True,
                host_config=host,
                labels={WORKING_LABEL: "1", _PROCESS_LABEL: process.identity()},
                name=f"envbuild-{secrets.token_hex(6)}",
                healthcheck={"test": ["NONE"]},
            )
        return Container(client, str(made["Id"]))


class Container(contextlib.AbstractContextManager["Container"]):
    """A container of ours; removed with all that was written in it when its ``with`` statement is left."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._id = name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError, OSError):
            self._client.remove_container(self._id, force=True, v=True)

    def put(self, folder: str, archive: bytes) -> None:
        """Unpack a tar below a directory of the container."""
        with explained():
            self._client.put_archive(self._id, folder, archive)

    def get(self, path: str, file: IO[bytes]) -> bool:
        """Write a path of the container as a tar to a file; whether there is such a path."""
        from docker.errors import NotFound

        with explained():
            try:
                blocks, _ = self._client.get_archive(self._id, path, chunk_size=2**20)
            except NotFound:
                return False
            for block in blocks:
                file.write(block)
        file.seek(0)
        return True

    def export(self, file: IO[bytes]) -> None:
        """Write the whole file system as a tar to a file."""
        with explained():
            for block in self._client.export(self._id, chunk_size=2**20):
                file.write(block)
        file.seek(0)

    def changes(self) -> Mapping[str, int]:
        """The paths that differ from the image's: 0 changed, 1 added, 2 deleted."""
        with explained():
            return {entry["Path"]: int(entry["Kind"]) for entry in self._client.diff(self._id) or ()}

    def run(self, stdin: bytes, on_line: Callable[[str], None]) -> Ended:
        """Start its program, give it its standard input, and wait for its end.

        :param on_line: called with each line that it writes to standard output.
        :raises BaseImageUnusable: the program cannot be started in this image.
        """
        stderr: list[bytes] = []
        with explained():
            output = self._client.attach(self._id, stdout=True, stderr=True, stream=True, demux=True, logs=False)
            pipe = self._client.attach_socket(self._id, params={"stdin": 1, "stream": 1})
            try:
                self._start()
                _feed(pipe, stdin)
                _read(output, on_line, stderr)
                status = int(self._client.wait(self._id)["StatusCode"])
            finally:
                _close(output, pipe)
        return Ended(status=status, stderr=b"".join(stderr)[-20000:].decode("utf-8", "replace"))

    def _start(self) -> None:
        from docker.errors import APIError

        try:
            self._client.start(self._id)
        except APIError as error:
            words = str(error.explanation or error)
            if "exec format error" in words or "no such file or directory" in words:
                raise BaseImageUnusable(
                    f"a container of this image cannot start: {words[:300]}",
                    hint="is it for this machine's architecture, and has it glibc?",
                ) from error
            raise


def _close(output: Any, pipe: Any) -> None:
    """Close both connections, down to their sockets: the SDK would leave that to whoever collects garbage."""
    with contextlib.suppress(ValueError, OSError):
        output.close()
    for part in (
        getattr(output, "_response", None),
        getattr(pipe, "_response", None),
        pipe,
        getattr(pipe, "_sock", None),
    ):
        # Each may have closed the next already.
        with contextlib.suppress(ValueError, OSError, AttributeError):
            part.close()


def _feed(pipe: Any, data: bytes) -> None:
    connection = getattr(pipe, "_sock", pipe)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


def _read(
    output: Iterable[tuple[bytes | None, bytes | None]], on_line: Callable[[str], None], stderr: list[bytes]
) -> None:
    left = b""
    for out, err in output:
        if err:
            stderr.append(err)
        *lines, left = (left + (out or b"")).split(b"\n")
        for line in lines:
            on_line(line.decode("utf-8", "replace"))


class _Stream:
    """What an iterator gives, as the SDK sends it: in chunks, of a length that nobody knows."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._blocks)


@contextlib.contextmanager
def spooled() -> Iterator[IO[bytes]]:
    """A nameless file for what a daemon sends."""
    with tempfile.TemporaryFile(prefix="envbuild-image-") as file:
        yield file


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """The SDK's errors as ours."""
    import requests
    from docker.errors import APIError, DockerException

    try:
        yield
    except EnvbuildError:
        raise
    except APIError as error:
        raise _failed(str(error.explanation or error)) from error
    except (DockerException, requests.exceptions.RequestException) as error:
        raise _unavailable(error) from error


def _failed(words: str) -> ImageError:
    words = redacted(" ".join(words.split()))
    if "no space left on device" in words:
        return ImageError(
            f"the daemon's disk is full: {words[:300]}",
            hint="docker system df shows what takes it; docker image prune frees some",
        )
    return ImageError(f"the Docker daemon refuses: {words[:500]}", hint="the daemon's own log may say more")


def _pull_failed(reference: str, words: str) -> EnvbuildError:
    words = redacted(" ".join(words.split()))
    if "no space left" in words:
        return _failed(words)
    # Docker says of a repository that is not there that it may need a login.
    if any(said in words for said in ("not found", "denied", "unauthorized", "manifest unknown", "authentication")):
        return RegistryRefused(
            f"{reference} cannot be pulled: {words[:300]}", hint="is the name right? docker login, if it needs one"
        )
    if "invalid reference" in words:
        return UsageError(f"{reference!r} is no image's name")
    return RegistryUnreachable(
        f"{reference} cannot be pulled: {words[:300]}",
        hint="is there a network? --base-image names another image, one that the daemon has included",
    )


def _unavailable(error: BaseException) -> DockerUnavailable:
    words = redacted(str(error))
    if "Permission denied" in words or "PermissionError" in words:
        return DockerUnavailable(
            "this user may not talk to the Docker daemon",
            hint="add the user to the group docker, or set DOCKER_HOST to a daemon of its own",
        )
    return DockerUnavailable(
        f"the Docker daemon does not answer: {words[:300]}",
        hint="start it (systemctl start docker), or set DOCKER_HOST to where it listens",
    )
