"""What the Docker daemon's errors, and its SDK's, mean to the one who runs us."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from envbuild.errors import (
    DockerUnavailable,
    EnvbuildError,
    ImageError,
    RegistryRefused,
    RegistryUnreachable,
    UsageError,
)
from envbuild.redaction import redacted


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
        raise failed(str(error.explanation or error)) from error
    except (DockerException, requests.exceptions.RequestException) as error:
        raise unavailable(error) from error


def failed(words: str) -> ImageError:
    """What a daemon refuses, in its words."""
    words = redacted(" ".join(words.split()))
    if "no space left on device" in words:
        return ImageError(
            f"the daemon's disk is full: {words[:300]}",
            hint="docker system df shows what takes it; docker image prune frees some",
        )
    return ImageError(f"the Docker daemon refuses: {words[:500]}", hint="the daemon's own log may say more")


def pull_failed(reference: str, words: str) -> EnvbuildError:
    """Why an image cannot be pulled."""
    words = redacted(" ".join(words.split()))
    if "no space left" in words:
        return failed(words)
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


def unavailable(error: BaseException) -> DockerUnavailable:
    """Why there is no daemon."""
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
