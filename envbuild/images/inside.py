"""The program that runs inside building containers, in the HTTP side's own Python: ``python3 -I -m envbuild.images.inside``.

Standard input, or the file that is named, holds one JSON object: ``verb`` and what belongs to it. Standard output gets a JSON object a line:
``{"step": …}`` any number of times, then ``{"done": …}`` or ``{"error": …}``. What is secret comes this way alone, and
is written to a directory in memory.

* ``probe``: what is in this image (:class:`envbuild.images.base.Facts`).
* ``apt``: install Debian packages; gives the versions of what is new.
* ``build``: build the environment of a lock at its final place, as it is built on a host.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild import interpreters, process, system_errors, target
from envbuild.errors import EnvbuildError, ImageError, InternalError
from envbuild.files import make_private
from envbuild.indexes import Indexes
from envbuild.interpreters import Interpreter
from envbuild.progress import Report, Step
from envbuild.redaction import redacted
from envbuild.settings import Settings

if TYPE_CHECKING:
    from envbuild.builders import Builder, Order
    from envbuild.lock import Lock

HOME = Path("/var/cache/envbuild")
MODEL = Path("/var/lib/envbuild/model")
MEMORY = "/run/envbuild"
ENVIRONMENT = Path("/opt/environment")
_PROGRAMS = ("/usr/local/bin", "/usr/bin", "/opt/python/bin")
_MODES = ("opt", "etc", "home")
_APT = ("-q", "-y", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends")


def main() -> None:
    """Answer the one question."""
    named = sys.argv[1:]
    order: Mapping[str, Any] = json.loads(Path(named[0]).read_text(encoding="utf-8")) if named else json.load(sys.stdin)
    os.environ.update(order.get("environ", {}))
    try:
        done = _VERBS[order["verb"]](order)
    except EnvbuildError as error:
        _fail(error)
    except OSError as error:
        _fail(system_errors.explanation(error, HOME))
    except Exception as error:  # noqa: BLE001 - whatever it is, the host says it
        _fail(InternalError(redacted(f"inside the container: {error!r}")))
    else:
        _say("done", done)


def _fail(error: EnvbuildError) -> None:
    _say("error", error.to_dict())
    # Where a Dockerfile runs this, its status is what counts.
    sys.exit(error.exit_code)


def _say(kind: str, content: Mapping[str, Any]) -> None:
    print(json.dumps({kind: content}), flush=True)  # noqa: T201 - this is the channel


def _report(step: Step) -> None:
    _say("step", asdict(step))


def _probe(order: Mapping[str, Any]) -> Mapping[str, Any]:
    pythons = {found.executable: found for found in map(interpreters.probe, _programs(order["python"])) if found}
    release = dict(
        line.split("=", 1) for line in _text("/etc/os-release").splitlines() if "=" in line and not line.startswith("#")
    )
    return {
        "platform": target.here("3.8").platform,
        "system": release.get("PRETTY_NAME", "").strip('"'),
        "pythons": [found.to_dict() for found in pythons.values()],
        "packages": _packages(),
        "certificates": Path("/etc/ssl/certs/ca-certificates.crt").is_file(),
        "users": _text("/etc/passwd"),
        "groups": _text("/etc/group"),
        "modes": {name: Path("/", name).stat().st_mode & 0o7777 for name in _MODES if Path("/", name).is_dir()},
    }


def _programs(python: str) -> Iterator[Path]:
    """The programs that may be the model's Python; ours is no such."""
    minor = ".".join(python.split(".")[:2])
    for folder in dict.fromkeys((*os.environ.get("PATH", "").split(os.pathsep), *_PROGRAMS)):
        for name in (f"python{minor}", "python3", "python"):
            path = Path(folder, name)
            if folder.startswith("/") and path.exists():
                yield path


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _packages() -> dict[str, str]:
    """Debian's packages that are installed; none where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return {}
    argv = ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}\\t${Package}\\t${Version}\\n"]
    done = process.run(argv, env={"PATH": os.defpath})
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {row[1]: row[2] for row in rows if len(row) == 3 and row[0].startswith("ii")}


def _apt(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """Install packages, of the versions that are given where they are."""
    before = _packages()
    names = [name if version is None else f"{name}={version}" for name, version in order["packages"].items()]
    _run_apt(["update", "-q"], "the lists of Debian's packages")
    _run_apt(["install", *_APT, *names], ", ".join(order["packages"]))
    after = _packages()
    return {"packages": {name: version for name, version in after.items() if before.get(name) != version}}


def _run_apt(arguments: list[str], what: str) -> None:
    _report(Step("installing", what))
    environ = {"PATH": f"{os.defpath}:/usr/sbin:/sbin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    environ |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    try:
        done = process.run(["apt-get", *arguments], env=environ)
    except process.NotStarted as error:
        raise ImageError(
            "this base has no apt-get, and Debian packages are needed",
            hint="take a base on Debian, or one that has them already",
        ) from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise ImageError(
            f"apt-get {arguments[0]} fails: {' '.join(said)[:400] or done.stderr[-400:]}",
            hint="are the names right, and has the building container a network (--network)?",
            details=done.stderr.splitlines()[-15:],
        )
    _report(Step("installing", what, done=True))


def _build(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """Build the environment where it stays, with the same code as on a host."""
    from envbuild.builders import Order
    from envbuild.lock import read_kept
    from envbuild.store.completion import complete

    Path(MEMORY).mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = MEMORY
    if program := order.get("uv"):
        shutil.copy(program, Path(sys.executable).with_name("uv"))
    if authorities := order.get("authorities"):
        path = Path(MEMORY, "authorities.pem")
        path.write_text(authorities, encoding="utf-8")
        os.environ["SSL_CERT_FILE"] = str(path)
    make_private(HOME)
    lock = read_kept(order["lock"], "the lock")
    interpreter = Interpreter(**order["python"])
    shown = order.get("client_cert")
    indexes = Indexes(**_frozen(order["indexes"]), client_cert=None if shown is None else _private("shown.pem", shown))
    built = Order(
        lock=read_kept(order["ready"], "the lock as it is built"),
        interpreter=interpreter,
        place=ENVIRONMENT,
        model=Path(order.get("model", MODEL)),
        indexes=indexes,
        settings=Settings(home=HOME, **_frozen(order["settings"])),
        bytecode=HOME / "bytecode",
        python_build=order["base"],
        link_mode="copy",
    )
    manifest = _builder(order.get("prefix"), lock).build(built, _report)
    complete(ENVIRONMENT, lock, interpreter, manifest, linked=False, durable=False)
    return {"size": manifest.size, "files": len(manifest.files)}


def _private(name: str, text: str) -> str:
    """A file in memory that nobody else may read."""
    path = Path(MEMORY, name)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return str(path)


def _builder(archive: str | None, lock: Lock) -> Builder:
    """The builder of a lock.

    :param archive: what comes from conda's channels, where it does not lie at its place already.
    """
    from envbuild.builders.conda import CondaBuilder
    from envbuild.builders.uv import UvBuilder

    if lock.conda is None:
        return UvBuilder()

    def fill(order: Order, report: Report) -> None:
        """The channels' packages were installed where py-rattler is, and an archive of them has whole names."""
        if archive:
            report(Step("installing", "the conda packages"))
            with tarfile.open(archive) as tar:
                tar.extractall(order.place.anchor, filter="tar")

    return CondaBuilder(fill)


def _frozen(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}


_VERBS: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    "probe": _probe,
    "apt": _apt,
    "build": _build,
}

if __name__ == "__main__":
    main()
