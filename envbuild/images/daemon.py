"""The Docker daemon: images found, pulled, loaded and saved; containers made.

With ``container``, ``daemon_errors`` and ``credentials`` all that knows Docker's SDK (``envbuild[docker]``).
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

from envbuild import process
from envbuild.errors import (
    DockerUnavailable,
    ImageError,
)
from envbuild.images.config import ImageConfig, config_from
from envbuild.images.container import Box, Container
from envbuild.images.daemon_errors import explained, failed, pull_failed, unavailable
from envbuild.progress import Report, Step

# Of what belongs to a call of ours while it lasts, and the process that it belongs to.
WORKING_LABEL = "envbuild.working"
_PROCESS_LABEL = "envbuild.process"
STAGES = "envbuild-stage"
_RUN_KEYS = ("User", "Env", "Entrypoint", "Cmd", "WorkingDir", "Labels", "ExposedPorts", "Healthcheck")
_MAPPINGS = ("Labels", "ExposedPorts", "Healthcheck")
_TIMEOUT_SECONDS = 900


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
            raise unavailable(error) from error

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

        :raises ImageError: it is no image of ours: it says other things, or has layers that are not in its history.
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
        # Where containerd keeps the images, an image's ID is its manifest's digest and not its config's.
        if config is None or not (config.id == image.id or len(texts) == len(image.diff_ids)):
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
                        raise pull_failed(reference, str(event["error"]))
            except APIError as error:
                raise pull_failed(reference, str(error.explanation or error)) from error
        report(Step("downloading", f"image {reference}", done=True))

    def load(self, archive: Iterable[bytes]) -> None:
        """Load an image (``docker load``).

        :raises ImageError: the daemon refuses it.
        """
        with explained():
            # An iterator is sent in chunks; a list would be taken for a form.
            for event in self._client.load_image(iter(archive)):
                if "error" in event:
                    raise failed(str(event["error"]))

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
