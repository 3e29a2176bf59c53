"""What can go wrong, and how it is said.

Every error has a stable ``code`` (for programs), an ``exit_code`` (for shells), a message that says what went
wrong, where it can a place (file and line), and a hint that says what to do next. The command line prints them
without a traceback; ``--json`` prints :meth:`EnvbuildError.to_dict`.

.. code-block:: text

    EnvbuildError                          exit  code
    ├── InternalError                         1  internal
    ├── UsageError                            2  usage
    │   ├── OverrideInvalid                   2  override-invalid
    │   └── EnvironmentUnknown                2  environment-unknown
    ├── ModelError                            3  model-invalid
    │   ├── ModelNotFound                     3  model-not-found
    │   ├── ModelUnreadable                   3  model-unreadable
    │   ├── ModelUnreachable                  3  model-unreachable
    │   └── NoPyfuncFlavor                    3  model-no-pyfunc
    ├── LockError                             4  lock-failed
    │   ├── SpecError                         4  spec-invalid
    │   ├── Unresolvable                      4  lock-unresolvable
    │   ├── InterpreterNotFound               4  python-not-found
    │   ├── IndexUnreachable                  4  index-unreachable
    │   ├── LockInvalid                       4  lock-invalid
    │   ├── LockMissing                       4  lock-missing
    │   ├── LockStale                         4  lock-stale
    │   ├── LockTimedOut                      4  lock-timed-out
    │   └── EnvironmentUnreachable            4  environment-unreachable
    ├── BuildError                            5  build-failed
    │   ├── InterpreterMissing                5  build-python-not-found
    │   ├── WrongTarget                       5  build-wrong-target
    │   ├── HashMismatch                      5  build-hash-mismatch
    │   ├── SdistFailed                       5  build-sdist-failed
    │   ├── DownloadFailed                    5  build-download-failed
    │   ├── BuildTimedOut                     5  build-timed-out
    │   ├── StoreError                        5  store-unusable
    │   │   └── StoreUntrusted                5  store-untrusted
    │   ├── EnvironmentDamaged                5  environment-damaged
    │   ├── EnvironmentInUse                  5  environment-in-use
    │   ├── BundleError                       5  bundle-failed
    │   │   ├── BundleInvalid                 5  bundle-invalid
    │   │   ├── BundleUntrusted               5  bundle-untrusted
    │   │   └── BundleIncomplete              5  bundle-incomplete
    │   ├── ShareError                        5  share-failed
    │   │   ├── ShareUnreachable              5  share-unreachable
    │   │   ├── ShareMissing                  5  share-missing
    │   │   └── SharePoisoned                 5  share-poisoned
    │   ├── SparkUnavailable                  5  spark-unavailable
    │   └── ImageError                        5  image-failed
    │       ├── DockerUnavailable             5  docker-unavailable
    │       ├── BaseImageUnusable             5  image-base-unusable
    │       ├── RegistryRefused               5  registry-refused
    │       └── RegistryUnreachable           5  registry-unreachable
    ├── InputError                            6  input-invalid
    │   ├── InputNotFound                     6  input-not-found
    │   └── InputMismatch                     6  input-mismatch
    ├── ModelFailed                           7  model-failed
    │   ├── ModelNotLoaded                    7  model-not-loaded
    │   │   └── SystemPackageMissing          7  system-package-missing
    │   ├── ModelRaised                       7  model-raised
    │   ├── OutputInvalid                     7  output-invalid
    │   ├── OutputTooLarge                    7  output-too-large
    │   ├── ConfinementUnavailable            7  confinement-unavailable
    │   ├── CommandNotStarted                 7  command-not-started
    │   ├── WorkerExited                      7  worker-exited
    │   └── ProtocolError                     7  worker-protocol
    ├── Stopped                               8  stopped
    │   ├── TimedOut                          8  timed-out
    │   ├── ServerBusy                        8  server-busy
    │   ├── SparkFailed                       8  spark-failed
    │   ├── OutOfMemory                       8  out-of-memory
    │   └── WorkerKilled                      8  worker-killed
    └── Interrupted                         130  interrupted

Codes and exit codes do not change once released; ``docs/cli.md`` lists them and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something stands; ``line`` counts from 1, ``None`` means the file as a whole."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


class EnvbuildError(Exception):
    """The root of all errors that envbuild raises on purpose."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        place: Place | None = None,
        details: Sequence[str] = (),
    ) -> None:
        """
        :param message: what went wrong, one sentence.
        :param hint: what to do next.
        :param place: the file and line that it is about.
        :param details: more lines: a tool's own words, the requirements concerned, the end of a log.
        """
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place
        self.details = tuple(details)

    def __str__(self) -> str:
        return self.message if self.place is None else f"{self.place}: {self.message}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.hint, self.place, self.details))

    def to_dict(self) -> dict[str, Any]:
        """The form that ``--json`` prints; its keys are documented in ``docs/cli.md``."""
        place = None if self.place is None else {"file": self.place.file, "line": self.place.line}
        return {
            "code": self.code,
            "exit_code": self.exit_code,
            "message": self.message,
            "hint": self.hint,
            "place": place,
            "details": list(self.details),
        }


def _rebuild(
    kind: type[EnvbuildError], message: str, hint: str | None, place: Place | None, details: tuple[str, ...]
) -> EnvbuildError:
    """Make an error again from its pickle, so that errors cross process pools whole."""
    return kind(message, hint=hint, place=place, details=details)


def place_in(path: Path, line: int | None = None) -> Place:
    """The place of a line in a file, named by the file's own path."""
    return Place(str(path), line)


class InternalError(EnvbuildError):
    """A fault of envbuild's own; the only one that shows a traceback (with ``-v``)."""

    code = "internal"


class UsageError(EnvbuildError):
    """The command line, the call or a setting is wrong."""

    code = "usage"
    exit_code = 2


class OverrideInvalid(UsageError):
    """An override file, or the file of a curated environment, does not say what such a file must say."""

    code = "override-invalid"


class EnvironmentUnknown(UsageError):
    """There is no curated environment of that name, or not in that version."""

    code = "environment-unknown"


class ModelError(EnvbuildError):
    """The model directory does not say what a model must say."""

    code = "model-invalid"
    exit_code = 3


class ModelNotFound(ModelError):
    """There is no model at that path."""

    code = "model-not-found"


class ModelUnreadable(ModelError):
    """A file of the model cannot be read, or is not what its name says."""

    code = "model-unreadable"


class ModelUnreachable(ModelError):
    """Whoever has the model does not answer, or does not let us have it."""

    code = "model-unreachable"


class NoPyfuncFlavor(ModelError):
    """The model has no ``python_function`` flavor."""

    code = "model-no-pyfunc"


class LockError(EnvbuildError):
    """The model's environment cannot be locked."""

    code = "lock-failed"
    exit_code = 4


class SpecError(LockError):
    """What the model asks for cannot be understood."""

    code = "spec-invalid"


class Unresolvable(LockError):
    """No set of packages meets everything that was asked for."""

    code = "lock-unresolvable"


class InterpreterNotFound(LockError):
    """The Python that the model needs is not here."""

    code = "python-not-found"


class IndexUnreachable(LockError):
    """A package index does not answer, or refuses us."""

    code = "index-unreachable"


class LockInvalid(LockError):
    """A lock file cannot be read, or breaks its format."""

    code = "lock-invalid"


class LockMissing(LockError):
    """A lock was demanded and there is none."""

    code = "lock-missing"


class LockStale(LockError):
    """The lock does not fit what the model asks for."""

    code = "lock-stale"


class LockTimedOut(LockError):
    """Resolving took longer than was allowed."""

    code = "lock-timed-out"


class EnvironmentUnreachable(LockError):
    """The place that curated environments are fetched from does not answer, or refuses us."""

    code = "environment-unreachable"


class BuildError(EnvbuildError):
    """The environment cannot be built."""

    code = "build-failed"
    exit_code = 5


class InterpreterMissing(BuildError):
    """The Python that the lock demands is not here."""

    code = "build-python-not-found"


class WrongTarget(BuildError):
    """The lock is for another Python or platform than this one."""

    code = "build-wrong-target"


class HashMismatch(BuildError):
    """A file is not the one that was locked."""

    code = "build-hash-mismatch"


class SdistFailed(BuildError):
    """An sdist could not be built into a wheel."""

    code = "build-sdist-failed"


class DownloadFailed(BuildError):
    """A locked file could not be fetched."""

    code = "build-download-failed"


class BuildTimedOut(BuildError):
    """Building took longer than was allowed."""

    code = "build-timed-out"


class StoreError(BuildError):
    """The store cannot be used: permissions, space or file locks."""

    code = "store-unusable"


class StoreUntrusted(StoreError):
    """The store belongs to somebody else, or anybody may write into it."""

    code = "store-untrusted"


class EnvironmentDamaged(BuildError):
    """An environment in the store is not as it was built."""

    code = "environment-damaged"


class EnvironmentInUse(BuildError):
    """An environment is in use, and what was asked would take it away."""

    code = "environment-in-use"


class BundleError(BuildError):
    """A bundle cannot be made or used."""

    code = "bundle-failed"


class BundleInvalid(BundleError):
    """A bundle is damaged, or holds what no bundle may hold."""

    code = "bundle-invalid"


class BundleUntrusted(BundleError):
    """A bundle is not signed, or not by the key that is demanded."""

    code = "bundle-untrusted"


class BundleIncomplete(BundleError):
    """What is wanted of a bundle, or into one, is not to be had: a lock for this machine, the wheel of a package."""

    code = "bundle-incomplete"


class ShareError(BuildError):
    """What was built cannot be shared, or not be had from a share."""

    code = "share-failed"


class ShareUnreachable(ShareError):
    """A share does not answer, or does not let us."""

    code = "share-unreachable"


class ShareMissing(ShareError):
    """A share has nothing of a model."""

    code = "share-missing"


class SharePoisoned(ShareError):
    """What a share has is not what it says that it is."""

    code = "share-poisoned"


class SparkUnavailable(BuildError):
    """There is no Spark, no Java that it runs on, or nobody at the master's address."""

    code = "spark-unavailable"


class ImageError(BuildError):
    """An image cannot be made, found or sent."""

    code = "image-failed"


class DockerUnavailable(ImageError):
    """There is no Docker daemon, or it may not be talked to."""

    code = "docker-unavailable"


class BaseImageUnusable(ImageError):
    """The base image is not to be had, or lacks what an environment needs."""

    code = "image-base-unusable"


class RegistryRefused(ImageError):
    """A registry refuses what was asked of it."""

    code = "registry-refused"


class RegistryUnreachable(ImageError):
    """A registry does not answer."""

    code = "registry-unreachable"


class InputError(EnvbuildError):
    """The input cannot be understood."""

    code = "input-invalid"
    exit_code = 6


class InputNotFound(InputError):
    """There is no such input, or the model has no input example."""

    code = "input-not-found"


class InputMismatch(InputError):
    """The input does not fit the model's signature."""

    code = "input-mismatch"


class ModelFailed(EnvbuildError):
    """The model, or something run in its environment, failed."""

    code = "model-failed"
    exit_code = 7


class ModelNotLoaded(ModelFailed):
    """The model could not be loaded."""

    code = "model-not-loaded"


class SystemPackageMissing(ModelNotLoaded):
    """Something of the system that the model's libraries need is not here: a shared library, or a Java."""

    code = "system-package-missing"


class ModelRaised(ModelFailed):
    """The model's ``predict`` raised an exception."""

    code = "model-raised"


class OutputInvalid(ModelFailed):
    """What the model answered cannot be written as strict JSON."""

    code = "output-invalid"


class OutputTooLarge(ModelFailed):
    """The model's answer is longer than the limit."""

    code = "output-too-large"


class ConfinementUnavailable(ModelFailed):
    """This machine cannot confine a worker in the way that was asked for; the model was not started."""

    code = "confinement-unavailable"


class CommandNotStarted(ModelFailed):
    """The command is not there or cannot be started."""

    code = "command-not-started"


class WorkerExited(ModelFailed):
    """The worker ended by itself in the middle of its work."""

    code = "worker-exited"


class ProtocolError(ModelFailed):
    """What came from the worker is not our protocol, or another version."""

    code = "worker-protocol"


class Stopped(EnvbuildError):
    """Something was ended from outside."""

    code = "stopped"
    exit_code = 8


class TimedOut(Stopped):
    """The model took longer than was allowed."""

    code = "timed-out"


class ServerBusy(Stopped):
    """As many requests as may wait for a worker wait already."""

    code = "server-busy"


class SparkFailed(Stopped):
    """A job of Spark's failed, and not for what was to be predicted."""

    code = "spark-failed"


class OutOfMemory(Stopped):
    """The worker, or what it started, wanted more memory than it may have."""

    code = "out-of-memory"


class WorkerKilled(Stopped):
    """A signal ended the worker."""

    code = "worker-killed"


class Interrupted(EnvbuildError):
    """The user interrupted (Ctrl-C, SIGTERM)."""

    code = "interrupted"
    exit_code = 130


def error_from(content: Mapping[str, Any]) -> EnvbuildError:
    """An error from what :meth:`EnvbuildError.to_dict` gave.

    :raises KeyError: it is of no code that there is.
    """
    place = content["place"]
    kind = _by_code(EnvbuildError)[content["code"]]
    return kind(
        content["message"],
        hint=content["hint"],
        place=None if place is None else Place(place["file"], place["line"]),
        details=content["details"],
    )


def _by_code(kind: type[EnvbuildError]) -> dict[str, type[EnvbuildError]]:
    found = {kind.code: kind}
    for below in kind.__subclasses__():
        found.update(_by_code(below))
    return found
