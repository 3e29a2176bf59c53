"""How long an image takes, and how large it is: from nothing, after each kind of change, and beside MLflow's Dockerfile.

With the real Docker daemon, which nobody else may use meanwhile; the ways take turns, medians, least and most::

    cold         envbuild image MODEL, with an empty home (nothing downloaded, no lock) and no image
    warm         the same, with the downloads, the lock and the byte code kept, and no image
    model        the same after a byte more in the model's largest data file: nothing is installed
    second       another model with the same lock: nothing is installed
    requirement  one small package more in requirements.txt and conda.yaml: locked and built anew
    push, again  envbuild image --push to an empty registry, and once more (only with --registry)
    mlflow cold  docker build of what mlflow models generate-dockerfile writes (only with --mlflow)
    mlflow model the same after a byte more in the data file, with Docker's own cache

A turn is all of them, in a home of its own; none is uncounted. The base gets one small random file, so that no layer or key
is shared with what the daemon has, and all that is made here can be found and removed. A base that had to be pulled stays.

MLflow's Dockerfile is that of ``--env-manager local``, on an image of the model's Python too; that of ``virtualenv`` compiles
CPython, with pyenv from its repository and Ubuntu's packages. Its FROM line is replaced by the same base. What else had to be
changed is printed: the authorities that this machine trusts (``SSL_CERT_FILE``) and, where the base has none, pip are put
into its base, outside its times; today's mlflow gives way to an older one where the base's Python is too old for it.

Run it with the Python that envbuild is installed in::

    python benchmarks/image.py MODEL --base-image IMAGE [--network host] [--runs 3] [--mlflow 1] [--registry]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml
from build import plain_environ, spread
from predict import MLFLOW

NAMES = "envbuild-benchmark"
REPEATS = 3
"""How often a change in the model is tried in a turn."""
PACKAGE = "colorama==0.4.4"
"""Small, pure, for every Python, and in few locks: those who depend on it do so on another system."""
PASSED = ("ENVBUILD_PYTHON_DOWNLOADS", "ENVBUILD_SERVER_PYTHON")
STATED = {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"}
DOCKER = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
AUTHORITIES = "/etc/ssl/envbuild-benchmark.pem"
REGISTRY = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


class CommandFailed(Exception):
    """A command failed; the message holds the end of what it said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """One call: its wall time in seconds, and what ``--json`` said."""

    seconds: float
    said: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """A model, the base that everything is built on, and where copies and homes lie."""

    model: Path
    folder: Path
    repository: str
    mark: str
    """The digest of the layer that all images made here have, and no others."""
    network: str

    @property
    def base(self) -> str:
        """The base's name."""
        return f"{self.repository}:base"

    @property
    def home(self) -> Path:
        """``ENVBUILD_HOME`` of the present turn."""
        return self.folder / "home"

    def copy(self, name: str) -> Path:
        """A fresh copy of the model."""
        target = self.folder / "models" / name / self.model.name
        shutil.rmtree(target.parent, ignore_errors=True)
        shutil.copytree(self.model, target)
        return target

    def image(self, model: Path, tag: str, *words: str, origin: str = "local") -> Made:
        """``envbuild image`` of a model, which must find its environment's image where it is said to come from."""
        command = [str(Path(sys.executable).with_name("envbuild")), "image", str(model), "-t", tag, "--json", "-q"]
        command += ["--base-image", self.base, "--network", self.network, *words]
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        passed = {name: os.environ[name] for name in PASSED if name in os.environ}
        environ = {**plain_environ(), **passed, "ENVBUILD_HOME": str(self.home), "TMPDIR": str(temporary)}
        began = time.perf_counter()
        answer = told(command, environ)
        seconds, said = time.perf_counter() - began, json.loads(answer)
        if (found := said["environment"]["origin"]) != origin:
            raise CommandFailed(
                f"{tag}: the environment's image was {found}, not {origin}; did envbuild change meanwhile?"
            )
        return Made(seconds=seconds, said=said)

    def size(self, image: str) -> int:
        """The bytes of an image."""
        return int(docker("image", "inspect", "--format", "{{.Size}}", image))

    def forget(self, *kept: str) -> bool:
        """Remove every container and image on the base, but for what has a name that is kept; whether all are gone."""
        names = {f"{self.repository}:{name}" for name in kept}
        images = {image for image, tags in images_with(self.mark).items() if not names & set(tags)}
        containers = docker("ps", "--all", "--quiet", "--no-trunc").split()
        for row in docker("inspect", "--format", "{{.Id}} {{.Image}}", *containers, check=False).splitlines():
            if row.split()[1] in images:
                docker("rm", "--force", "--volumes", row.split()[0], check=False)
        if images:
            # Parents of what is kept are refused; those of what is removed go with it.
            docker("rmi", "--force", *images, check=False)
        return not images_with(self.mark)


def main() -> None:
    """Measure one model, and print a line a way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", type=Path, help="a model's directory")
    parser.add_argument("--base-image", required=True, metavar="IMAGE", help="what both are built on")
    parser.add_argument("--network", default="default", help="the Docker network of building containers")
    parser.add_argument("--runs", type=int, default=3, help="turns")
    parser.add_argument(
        "--mlflow", type=int, default=0, metavar="RUNS", help="the turns that have MLflow's Dockerfile in them"
    )
    parser.add_argument("--registry", action="store_true", help="start docker-registry here, and push to it")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    print(f"{options.model.absolute().parent.name}/{options.model.name} on {options.base_image}", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="envbuild-bench-") as name, prepared(options, Path(name)) as bench:
            measure(bench, options)
    except CommandFailed as failed:
        sys.exit(str(failed))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


@contextlib.contextmanager
def prepared(options: argparse.Namespace, folder: Path) -> Iterator[Bench]:
    """The base; it and all that was built on it are removed at the end."""
    repository = f"{NAMES}/{secrets.token_hex(6)}"
    context = folder / "base"
    context.mkdir()
    (context / "mark").write_text(secrets.token_hex(16))
    (context / "Dockerfile").write_text(f"FROM {options.base_image}\nCOPY mark /etc/envbuild-benchmark\n")
    try:
        docker("build", "--quiet", "--tag", f"{repository}:base", str(context))
        layers = docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", f"{repository}:base")
        mark, model = str(json.loads(layers)[-1]), options.model.absolute()
        bench = Bench(model=model, folder=folder, repository=repository, mark=mark, network=options.network)
        # What is interrupted may go on in the daemon: a layer of some hundred megabytes takes it seconds.
        seconds = 15
        try:
            yield bench
            seconds = 0
        finally:
            with undisturbed():
                clean_up(bench, seconds)
    finally:
        with undisturbed():
            docker("rmi", "--force", f"{repository}:base", check=False)


def clean_up(bench: Bench, seconds: float) -> None:
    """Remove all that was made, and what comes up within some seconds."""
    end = time.monotonic() + seconds
    while not bench.forget() or time.monotonic() < end:
        if time.monotonic() > end + 60:
            print(f"not removed: {' '.join(images_with(bench.mark))}", file=sys.stderr)
            return
        time.sleep(1)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Cleaning up is not interrupted."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def measure(bench: Bench, options: argparse.Namespace) -> None:
    """All turns, and what they came to."""
    rival = Rival.prepared(bench) if options.mlflow else None
    seconds: dict[str, list[float]] = {}
    warm, sizes = None, {"base": bench.size(bench.base)}
    for number in range(options.runs):
        for way, made in turn(bench, registry=options.registry):
            seconds.setdefault(way, []).append(made.seconds)
            warm = made if way == "warm" else warm
        sizes["envbuild"] = bench.size(f"{bench.repository}:model")
        # MLflow's images go as well, or nothing of a later turn would be cold.
        if rival is not None and number < options.mlflow and not rival.measured(seconds, sizes):
            rival = None
        if number + 1 < options.runs:
            bench.forget("base", "mlflow-base")
    for way, values in seconds.items():
        target = "   target: under 1 s" if way == "model" else ""
        print(f"  {way:<13} {spread(values)}   {len(values)} runs{target}")
    if warm is not None:
        steps = ", ".join(f"{name} {value:.1f} s" for name, value in warm.said["seconds"].items())
        print(f"  of a warm one: {steps}")
        print_sizes(bench, warm.said, sizes)


def turn(bench: Bench, *, registry: bool) -> Iterator[tuple[str, Made]]:
    """Every way of envbuild's once, and those with a change in the model alone a few times."""
    shutil.rmtree(bench.home, ignore_errors=True)
    one, other, changed = bench.copy("one"), bench.copy("other"), bench.copy("changed")
    tag = f"{bench.repository}:model"
    yield "cold", bench.image(one, tag, origin="built")
    bench.forget("base", "mlflow-base")
    built = bench.image(one, tag, origin="built")
    yield "warm", built
    for _ in range(REPEATS):
        for way, model in (("model", one), ("second", other)):
            append_byte(model)
            yield way, bench.image(model, tag if model is one else f"{bench.repository}:second")
    add_requirement(changed)
    with_more = bench.image(changed, f"{bench.repository}:changed", origin="built")
    if with_more.said["lock_hash"] == built.said["lock_hash"]:
        raise CommandFailed(f"{PACKAGE} changes nothing in the lock")
    yield "requirement", with_more
    if registry:
        with docker_registry(bench.folder / "registry") as address:
            # How the layers were compressed is remembered, and a first push does not know that.
            (bench.home / "images" / "notes" / "blobs.json").unlink(missing_ok=True)
            for way in ("push", "again"):
                yield way, bench.image(one, f"{address}/{NAMES}/model:1", "--push")


def append_byte(model: Path) -> None:
    """Change the model alone: a line's end more in its largest data file, which no format minds."""
    files = [path for path in model.rglob("*") if path.is_file() and path.name not in STATED]
    with open(max(files, key=lambda path: path.stat().st_size), "ab") as file:
        file.write(b"\n")


def add_requirement(model: Path) -> None:
    """Ask for one package more, wherever the model asks for any."""
    text = model / "requirements.txt"
    if text.exists():
        text.write_text(f"{text.read_text().rstrip()}\n{PACKAGE}\n")
    conda = model / "conda.yaml"
    if conda.exists():
        document = yaml.safe_load(conda.read_text())
        parts = document.setdefault("dependencies", [])
        pip = next((part["pip"] for part in parts if isinstance(part, dict) and "pip" in part), None)
        if pip is None:
            parts.append({"pip": [PACKAGE]})
        else:
            pip.append(PACKAGE)
        conda.write_text(yaml.safe_dump(document, sort_keys=False))


def print_sizes(bench: Bench, said: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """The environment's layer against the wheels in it, and whole images, in millions of bytes."""
    wheels, bytecode = installed_sizes(bench, said["environment"]["image"])
    layers = {layer["what"].partition(" of ")[0].partition(" at ")[0]: layer["size"] for layer in said["layers"]}
    layer, server = layers["the environment"], layers["the HTTP side"]
    if layer is None or server is None:
        raise CommandFailed("the daemon does not say how large the layers are")
    mega = {name: f"{size / 1e6:.1f} MB" for name, size in sizes.items()}
    print(f"  environment   {layer / 1e6:.1f} MB in its layer, {wheels / 1e6:.1f} MB in its wheels as installed")
    print(
        f"                {layer / wheels:.3f} times (target 1.05), {(layer - bytecode) / wheels:.3f} without byte code"
    )
    print(f"  byte code     {bytecode / 1e6:.1f} MB of that layer, {bytecode / wheels:.3f} times the wheels")
    print(f"  image         {mega['envbuild']} by envbuild: base {mega['base']}, HTTP side {server / 1e6:.1f} MB")
    if "mlflow" in sizes:
        print(f"  image         {mega['mlflow']} by mlflow: base with what that needs {mega['mlflow-base']}")


def installed_sizes(bench: Bench, image: str) -> tuple[int, int]:
    """The bytes of all files that the RECORDs in an environment name, without byte code; and of all byte code."""
    place = bench.folder / "environment"
    container = docker("create", image).strip()
    try:
        docker("cp", f"{container}:/opt/environment", str(place))
    finally:
        with undisturbed():
            docker("rm", "--force", "--volumes", container, check=False)
    packages = [str(path) for path in place.glob("lib/python*/site-packages")]
    files = {
        os.path.normpath(str(file.locate()))
        for distribution in distributions(path=packages)
        for file in distribution.files or ()
    }
    wheels = sum(Path(file).stat().st_size for file in files if not file.endswith(".pyc") and Path(file).is_file())
    return wheels, sum(path.stat().st_size for path in place.rglob("*.pyc"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Rival:
    """MLflow's Dockerfile for the model, on the same base."""

    bench: Bench
    context: Path

    @classmethod
    def prepared(cls, bench: Bench) -> Rival | None:
        """What MLflow writes, with its base replaced; ``None``, and it is said why, where that fails."""
        try:
            context = written(bench)
            dockerfile = context / "Dockerfile"
            text = re.sub(r"(?m)^FROM .*$", f"FROM {bench.repository}:mlflow-base", dockerfile.read_text())
            if docker(*_IN, "python3", bench.base, "-c", "import sys; print(sys.version_info < (3, 10))") == "True\n":
                print(f"  mlflow: {MLFLOW} is not for the base's Python; the newest that is takes its place")
                text = text.replace(f"pip install {MLFLOW}", f"pip install {MLFLOW.partition('=')[0]}")
            dockerfile.write_text(text)
        except CommandFailed as failed:
            print(f"  mlflow: cannot be prepared: {failed}", flush=True)
            return None
        return cls(bench=bench, context=context)

    def measured(self, seconds: dict[str, list[float]], sizes: dict[str, int]) -> bool:
        """Build it from nothing, and again after a change in the model; whether that could be done."""
        image = f"{self.bench.repository}:mlflow"
        try:
            cold = self._build(image, "--no-cache")
            docker(*_IN, "python", image, "-c", _LOADS)
            append_byte(next((self.context / "model_dir").iterdir()))
            seconds.setdefault("mlflow cold", []).append(cold)
            seconds.setdefault("mlflow model", []).append(self._build(image))
        except CommandFailed as failed:
            print(f"  mlflow: cannot be built: {failed}", flush=True)
            return False
        sizes["mlflow"] = self.bench.size(image)
        sizes["mlflow-base"] = self.bench.size(f"{self.bench.repository}:mlflow-base")
        return True

    def _build(self, image: str, *words: str) -> float:
        began = time.perf_counter()
        docker("build", *words, "--force-rm", "--network", self.bench.network, "--tag", image, str(self.context))
        return time.perf_counter() - began


_IN = ("run", "--rm", "--network", "none", "--entrypoint")
_LOADS = "import mlflow.pyfunc; mlflow.pyfunc.load_model('/opt/ml/model')"


def written(bench: Bench) -> Path:
    """The context that MLflow writes, from a virtualenv of its own, and the base that it needs."""
    place, context, environ = bench.folder / "mlflow", bench.folder / "mlflow-image", plain_environ()
    told([sys.executable, "-m", "uv", "venv", "-q", "--python", sys.executable, str(place)], environ)
    told([sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(place), MLFLOW], environ)
    command = [f"{place}/bin/mlflow", "models", "generate-dockerfile", "-m", str(bench.model), "-d", str(context)]
    told([*command, "--env-manager", "local"], {**environ, "MLFLOW_DISABLE_TELEMETRY": "true"})
    below = bench.folder / "mlflow-base"
    below.mkdir()
    lines = [f"FROM {bench.base}"]
    if bundle := os.environ.get("SSL_CERT_FILE"):
        shutil.copyfile(bundle, below / "authorities.pem")
        names = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
        lines += [f"COPY authorities.pem {AUTHORITIES}", f"ENV {' '.join(f'{name}={AUTHORITIES}' for name in names)}"]
        print("  mlflow: the authorities of SSL_CERT_FILE are copied into its base")
    if docker(*_IN, "sh", bench.base, "-c", "command -v pip; :") == "":
        lines += ["RUN command -v python || ln -s $(command -v python3) /usr/local/bin/python"]
        lines += ["RUN python -m ensurepip --default-pip"]
        print("  mlflow: the base has no pip; ensurepip puts one into it")
    (below / "Dockerfile").write_text("\n".join(lines) + "\n")
    docker("build", "--quiet", "--force-rm", "--tag", f"{bench.repository}:mlflow-base", str(below))
    return context


@contextlib.contextmanager
def docker_registry(folder: Path) -> Iterator[str]:
    """Debian's docker-registry with an empty storage, removed at the end; its host and port."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    (folder / "config.yml").write_text(REGISTRY.format(root=folder / "storage", port=port))
    command = ["docker-registry", "serve", str(folder / "config.yml")]
    with open(folder / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            with socket.socket() as client:
                while process.poll() is None and client.connect_ex(("127.0.0.1", port)) != 0:
                    time.sleep(0.05)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
    shutil.rmtree(folder)


def images_with(mark: str) -> dict[str, list[str]]:
    """The images that have a layer, and their names."""
    images = docker("image", "ls", "--all", "--quiet", "--no-trunc").split()
    form = '{"id": {{json .Id}}, "tags": {{json .RepoTags}}, "layers": {{json .RootFS.Layers}}}'
    # Others may remove theirs meanwhile, which is none of our business.
    said = docker("image", "inspect", "--format", form, *images, check=False)
    return {
        image["id"]: image["tags"] or []
        for image in map(json.loads, said.splitlines())
        if mark in (image["layers"] or ())
    }


def docker(*words: str, check: bool = True) -> str:
    """What a command of Docker's prints; with the builder that every daemon has, unless the caller names one."""
    environ = {**plain_environ(), "DOCKER_BUILDKIT": os.environ.get("DOCKER_BUILDKIT", "0")}
    return told([DOCKER, *words], environ, check=check)


def told(command: list[str], environ: Mapping[str, str], *, check: bool = True) -> str:
    """What a command prints. Where we are interrupted it is too, and may clean up after itself.

    :raises CommandFailed: it failed.
    """
    with subprocess.Popen(
        command, env=dict(environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate()
        except BaseException:
            with undisturbed():
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=60)
                process.kill()
            raise
    if check and process.returncode != 0:
        raise CommandFailed(f"{' '.join(command[:4])} … failed:\n{f'{out}{err}'[-3000:]}")
    return out


if __name__ == "__main__":
    main()
