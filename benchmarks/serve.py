"""How fast a model is served, side by side: one worker of each server, asked one row at a time by ``wrk``.

The servers take turns in each round of one run; medians of the rounds, one line a server and a number of clients::

    floor           uvicorn with the model in its own process: the model's environment, and a few lines around pyfunc
    envbuild        envbuild serve --workers 1
    envbuild batch  envbuild serve --workers 1 --batch-size 64
    mlflow          mlflow models serve --env-manager local, in the model's environment: its own mlflow, 3.17.2 in the newest
    mlserver        MLServer with its MLflow runtime and as many of the model's pins as it lets stand

The environments of all but envbuild are made by uv in the folder that ``--cache`` names, once. Run it with the Python that
envbuild is installed in, on a machine that does nothing else; ``wrk`` is Debian's::

    python benchmarks/serve.py tests/models/py311_mlflow3_17/heart echo [--clients 1 10 100] [--seconds 5] [--rounds 5]
        [--peers floor,mlflow,mlserver] [--cache DIR]

``echo`` is no directory but a model that gives back its input; it is written into the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PEERS = ("floor", "mlflow", "mlserver")
# The newest first; what a model pins decides which of them there can be beside it.
MLSERVER = ("1.7.1", "1.6.1", "1.3.5")
START_SECONDS = 120.0

# What a server would be that does nothing but what it must; runs on every Python since 3.7.
FLOOR = """
import json, sys
import mlflow.pyfunc, pandas, uvicorn

model = mlflow.pyfunc.load_model(sys.argv[1])

def plain(value):
    return value.item() if hasattr(value, "item") else value

def predicted(body):
    said = json.loads(body)
    split = said.get("dataframe_split", said)
    answer = model.predict(pandas.DataFrame(split["data"], columns=split["columns"]))
    if hasattr(answer, "to_dict"):
        answer = answer.to_dict(orient="records")
    else:
        answer = [plain(value) for value in answer]
    return json.dumps({"predictions": answer}).encode()

async def app(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    answer = b"" if scope["path"] == "/ping" else predicted(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=False, loop="asyncio", http="httptools")
"""

ECHO_LOADER = """
class Echo:
    def predict(self, data, params=None):
        return data

def _load_pyfunc(path):
    return Echo()
"""
ECHO_REQUIREMENTS = "mlflow==3.17.2\npandas==2.3.3\nnumpy==2.2.6\n"
ECHO = """\
flavors:
  python_function:
    code: code
    env:
      virtualenv: python_env.yaml
    loader_module: echo_loader
    python_version: 3.11.7
mlflow_version: 3.17.2
utc_time_created: '2026-06-01 12:00:00.000000'
"""

LOAD = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[%s]==]
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of one run of ``wrk``: requests a second, milliseconds, requests that failed."""

    rate: float
    p50: float
    p99: float
    failed: int


@dataclass(slots=True, kw_only=True)
class Contestant:
    """A server that runs: where, how long it took to get there, and what it was measured to do."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    listens: float
    ready: float
    runs: dict[int, list[Load]] = field(default_factory=dict)

    def line(self, clients: int, floor: Contestant | None) -> str:
        """The medians with so many clients."""
        runs = self.runs[clients]
        rate, p50, p99 = (statistics.median(getattr(run, name) for run in runs) for name in ("rate", "p50", "p99"))
        failed = sum(run.failed for run in runs)
        text = f"  {self.name:<15}{clients:>4} clients {rate:>9.1f}/s  p50 {p50:>8.2f} ms  p99 {p99:>8.2f} ms"
        if floor is not None:
            ratios = [ours.rate / theirs.rate for ours, theirs in zip(runs, floor.runs[clients])]
            text += f"  {statistics.median(ratios):>5.2f} times the floor"
        return text + (f"  {failed} FAILED" if failed else "")


def main() -> None:
    """Measure every model given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("models", nargs="+", type=Path, help="model directories, NAME.input.json beside each; or: echo")
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 10, 100])
    parser.add_argument("--seconds", type=int, default=5, help="of each run of wrk")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(PEERS), help="with commas (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path(".cache/serve-benchmark"), help="where environments stay")
    options = parser.parse_args()
    peers = [peer for peer in options.peers.split(",") if peer]
    if unknown := sorted(set(peers) - set(PEERS)):
        sys.exit(f"no such peer: {', '.join(unknown)}")
    if shutil.which("wrk") is None:
        sys.exit("there is no wrk; on Debian: apt-get install wrk")
    cache = options.cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    for path in options.models:
        model = echo_in(cache) if str(path) == "echo" else path.absolute()
        measure(model, peers, options, cache)


def measure(model: Path, peers: Sequence[str], options: argparse.Namespace, cache: Path) -> None:
    """Start every server, have them take turns, and print what came of it."""
    body = one_row(model)
    print(f"{model.parent.name}/{model.name}, one row a request, {options.seconds} s x {options.rounds}", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "load.lua").write_text(LOAD % body.decode())
        started = [stack.enter_context(one) for one in starting(model, peers, cache, folder)]
        contestants = answering(started, body)
        for _ in range(options.rounds):
            for clients in options.clients:
                for one in contestants:
                    one.runs.setdefault(clients, []).append(load(one, folder, clients, options.seconds))
        report(contestants, options.clients)


def report(contestants: Sequence[Contestant], clients: Sequence[int]) -> None:
    """A line a server and a number of clients, and one a server."""
    floor = next((one for one in contestants if one.name == "floor"), None)
    for number in clients:
        for one in contestants:
            print(one.line(number, None if one is floor else floor))
    for one in contestants:
        memory = sum(map(pss, tree(one.process.pid))) / 1024
        split = f"listens after {one.listens:.2f} s, ready after {one.ready:.2f} s"
        print(f"  {one.name:<15}{split}, {memory:.0f} MiB (PSS of all its processes)", flush=True)


def starting(model: Path, peers: Sequence[str], cache: Path, folder: Path) -> Iterator[Any]:
    """Each server as a context in which it runs; one that cannot be had is said and left out."""
    serve = [sys.executable, "-m", "envbuild", "serve", str(model), "--workers", "1", "--no-page", "--port"]
    subprocess.run([sys.executable, "-m", "envbuild", "build", str(model), "-q"], check=True, stdout=subprocess.DEVNULL)
    for peer in peers:
        try:
            python = environment_of(peer, model, cache)
        except subprocess.CalledProcessError as error:
            print(f"  {peer}: no environment for it: {error.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        yield running(peer, *peer_command(peer, python, model, folder))
    yield running("envbuild", serve, "/invocations", "/ping")
    yield running("envbuild batch", [*serve[:-1], "--batch-size", "64", "--port"], "/invocations", "/ping")


def peer_command(peer: str, python: Path, model: Path, folder: Path) -> tuple[list[str], str, str]:
    """How a peer is started, but for its port at the end; the paths of its predictions and of its readiness."""
    if peer == "floor":
        return [str(python), "-c", FLOOR, str(model)], "/invocations", "/ping"
    if peer == "mlflow":
        words = ["models", "serve", "-m", str(model), "--env-manager", "local", "--workers", "1", "--port"]
        return [str(python.parent / "mlflow"), *words], "/invocations", "/ping"
    settings = {"name": "model", "implementation": "mlserver_mlflow.MLflowRuntime", "parameters": {"uri": str(model)}}
    place = folder / "mlserver"
    place.mkdir()
    (place / "model-settings.json").write_text(json.dumps(settings))
    # Its port is a setting: a line of sh puts it there. Without workers of its own the model is in its one process.
    common = "MLSERVER_HOST=127.0.0.1 MLSERVER_PARALLEL_WORKERS=0 MLSERVER_GRPC_PORT=0 MLSERVER_METRICS_PORT=0"
    line = f'{common} MLSERVER_HTTP_PORT="$1" exec {python.parent / "mlserver"} start {place}'
    return ["sh", "-c", line, "sh"], "/invocations", "/v2/health/ready"


@contextmanager
def running(name: str, command: Sequence[str], path: str, ready: str) -> Iterator[Contestant]:
    """A server from its start to its end, ready to be asked."""
    port = free_port()
    known = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MLFLOW", "MLSERVER"))}
    if name.startswith("envbuild") and "PYTHONPATH" in os.environ:
        known["PYTHONPATH"] = os.environ["PYTHONPATH"]
    program = Path(command[0]).parent
    environ = {**known, "PATH": f"{program}:{known.get('PATH', '')}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, str(port)], env=environ, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            listens = began_to(process, lambda: answers_at(port), began)
            until = began_to(process, lambda: status_of(f"http://127.0.0.1:{port}{ready}") == 200, began)
            yield Contestant(
                name=name, url=f"http://127.0.0.1:{port}{path}", process=process, listens=listens, ready=until
            )
        except NotReady:
            said.seek(0)
            sys.exit(f"{name} did not start:\n{said.read().decode('utf-8', 'replace')[-3000:]}")
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


class NotReady(Exception):
    """A server ended, or took too long."""


def began_to(process: subprocess.Popen[bytes], holds: Any, began: float) -> float:
    """How many seconds after its start something held."""
    while time.perf_counter() - began < START_SECONDS and process.poll() is None:
        if holds():
            return time.perf_counter() - began
        time.sleep(0.01)
    raise NotReady


def answers_at(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - of our own making
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def load(one: Contestant, folder: Path, clients: int, seconds: int) -> Load:
    """One run of ``wrk``; a short one before it is not counted."""
    for length in (1, seconds):
        argv = [
            "wrk",
            "-t1",
            f"-c{clients}",
            f"-d{length}s",
            "--timeout",
            "30s",
            "-s",
            str(folder / "load.lua"),
            one.url,
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+)$", done.stdout, re.MULTILINE)
    if found is None:
        sys.exit(f"wrk said:\n{done.stdout}{done.stderr}")
    requests, took, p50, p99, failed = map(int, found.groups())
    return Load(rate=requests / took * 1e6, p50=p50 / 1000, p99=p99 / 1000, failed=failed)


def answering(contestants: Sequence[Contestant], body: bytes) -> list[Contestant]:
    """Those that answer; the others are said and left out. Ends the run where two answer differently."""
    answers: dict[str, str] = {}
    for one in contestants:
        request = urllib.request.Request(one.url, body, {"Content-Type": "application/json"})  # noqa: S310 - of our own making
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
                given = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                print(f"  {one.name}: does not take the request: {error.code} {error.read()[:200]!r}", flush=True)
            continue
        answers[one.name] = json.dumps(given["predictions"] if isinstance(given, dict) else given, sort_keys=True)
    if len(set(answers.values())) != 1:
        sys.exit(f"the answers differ: {answers}")
    return [one for one in contestants if one.name in answers]


def one_row(model: Path) -> bytes:
    """The first row of the input beside a model, as a request that MLflow's servers of its era read."""
    written = json.loads((model.parent / f"{model.name}.input.json").read_text())
    split = written.get("dataframe_split", written)
    row = {"columns": split["columns"], "data": split["data"][:1]}
    # MLflow before 2.0 takes the table itself.
    is_old = re.search(r"^mlflow_version: [01]\.", (model / "MLmodel").read_text(), re.MULTILINE) is not None
    return json.dumps(row if is_old else {"dataframe_split": row}).encode()


def environment_of(peer: str, model: Path, cache: Path) -> Path:
    """The Python of a peer's environment, which is made where it is not there yet.

    :raises CalledProcessError: it cannot be.
    """
    shared = "mlserver" if peer == "mlserver" else "plain"
    place = cache / f"{model.parent.name}-{model.name}-{shared}"
    python = place / "bin" / "python"
    if (place / "complete").exists():
        return python
    lock = said([sys.executable, "-m", "envbuild", "lock", str(model), "--format", "requirements", "-q"])
    built = json.loads(said([sys.executable, "-m", "envbuild", "build", str(model), "--json", "-q"]))
    pins = re.findall(r"^[A-Za-z0-9_.-]+==[^\s;\\]+", lock, re.MULTILINE)
    uv = [sys.executable, "-m", "uv", "-q"]
    said([*uv, "venv", "--clear", "--python", f"{built['path']}/bin/python", str(place)])
    install = [*uv, "pip", "install", "--python", str(python)]
    if peer != "mlserver":
        said([*install, *pins, "uvicorn", "httptools"])
    else:
        with_mlserver([*install, *(pin for pin in pins if is_models_own(pin, model))])
    (place / "complete").touch()
    return python


def with_mlserver(install: Sequence[str]) -> None:
    """Install the newest MLServer that the model's own pins let stand.

    :raises CalledProcessError: there is none.
    """
    for version in MLSERVER:
        try:
            said([*install, f"mlserver=={version}", f"mlserver-mlflow=={version}"])
        except subprocess.CalledProcessError:
            if version == MLSERVER[-1]:
                raise
        else:
            return


def is_models_own(pin: str, model: Path) -> bool:
    """Whether the model itself asks for it: MLServer has a say in all others."""
    name = pin.partition("==")[0].lower()
    text = "".join(path.read_text() for path in (model / "requirements.txt", model / "conda.yaml") if path.exists())
    return re.search(rf"^[\s-]*{re.escape(name)}\b", text.lower(), re.MULTILINE) is not None and name != "numpy"


def said(argv: Sequence[str]) -> str:
    """What a command prints."""
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def echo_in(cache: Path) -> Path:
    """A model that gives back what it is asked, written anew."""
    model = cache / "models" / "echo"
    files: Mapping[str, str] = {
        "MLmodel": ECHO,
        "requirements.txt": ECHO_REQUIREMENTS,
        "python_env.yaml": "python: 3.11.7\ndependencies:\n- -r requirements.txt\n",
        "code/echo_loader.py": ECHO_LOADER,
    }
    for name, text in files.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(text)
    columns = [f"column {number}" for number in range(10)]
    row = {"dataframe_split": {"columns": columns, "data": [[number + 0.5 for number in range(10)]]}}
    (model.parent / "echo.input.json").write_text(json.dumps(row))
    return model


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        below = [int(child) for task in tasks for child in task.read_text().split()]
    except OSError:
        return []
    return [pid, *(found for child in below for found in tree(child))]


def pss(pid: int) -> int:
    """What a process takes, its share of what it shares included, in KiB."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main()
