"""Sparks: installed releases, drivers in them, and a standalone cluster of processes of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import textwrap
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import REPO, cli_environ
from machine import arguments, free_port
from virtualenvs import python_with
from waiting import eventually

from envbuild.conversation import Conversation

# As newest of its line, and pandas and pyarrow of its time.
RELEASES: Mapping[str, tuple[str, ...]] = {
    "3.5": ("pyspark==3.5.8", "pandas==2.2.3", "pyarrow==17.0.0", "numpy==1.26.4", "setuptools<81"),
    "4.1": ("pyspark==4.1.4", "pandas==2.2.3", "pyarrow==18.1.0", "numpy==2.1.3"),
}
_SECONDS = 600.0
# One that answers nobody: what needs an index fails there.
NOWHERE = "http://127.0.0.1:9/simple"


def python_with_spark(shared_home: Path, release: str) -> Path:
    """A Python with a release of Spark and envbuild."""
    return python_with(shared_home, f"spark-{release}", *RELEASES[release], str(REPO))


class Failed(Exception):
    """What the code raised in the driver."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        super().__init__(said["message"])
        self.kind, self.code, self.hint, self.message = (said[name] for name in ("error", "code", "hint", "message"))
        self.trace = said["trace"]


class Driver:
    """A session of Spark in a process of its own."""

    def __init__(self, python: Path, environ: Mapping[str, str], **conf: str) -> None:
        usual = {
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.log.level": "ERROR",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.session.timeZone": "Europe/Berlin",
        }
        told = {**usual, **{name.replace("__", "."): value for name, value in conf.items()}}
        self.python, self.environ = python, dict(environ)
        argv = [str(python), str(Path(__file__).with_name("driver.py")), json.dumps(told)]
        self._conversation = Conversation(argv, environ)

    def run(self, code: str, **values: Any) -> Any:
        """What ``result`` is when the code has run.

        :raises Failed: it raised.
        """
        plain = {name: str(one) if isinstance(one, Path) else one for name, one in values.items()}
        answer = self._conversation.ask({"code": textwrap.dedent(code), "values": plain}, lambda step: None, _SECONDS)
        if "error" in answer:
            raise Failed(answer)
        return answer["result"]

    def close(self) -> None:
        self._conversation.close()


def environ_of(python: Path, home: Path, **more: str) -> dict[str, str]:
    """The variables of a driver, or of a node."""
    known = cli_environ(home, **more)
    java = {name: known[name] for name in ("JAVA_HOME",) if name in known}
    dropped = ("PYTHONDONTWRITEBYTECODE", "SPARK_HOME", "PYTHONPATH")
    kept = {name: value for name, value in known.items() if name not in dropped}
    return {**kept, **java, "PYSPARK_PYTHON": str(python), "PYTHONPATH": str(REPO), "SPARK_LOCAL_IP": "127.0.0.1"}


@dataclass
class Node:
    """A machine of a cluster, as far as a process can be one: with a store of its own."""

    home: Path
    process: subprocess.Popen[bytes]

    def environments(self) -> list[Path]:
        """What was built on it; the folder's name is the lock's hash, or it lies below that."""
        return sorted(path.parent for path in self.home.glob("store/*/environments/*/*/pyvenv.cfg"))


@dataclass
class Cluster:
    """A standalone master and two workers."""

    url: str
    nodes: tuple[Node, ...]

    def executors(self) -> list[int]:
        """The processes of Java's that run tasks."""
        return processes("CoarseGrainedExecutorBackend")


def processes(*words: str) -> list[int]:
    """The processes that have all of these words in their arguments."""
    return [pid for pid, text in arguments() if all(word in text for word in words)]


def model_workers(home: Path) -> list[int]:
    """The workers of models whose environments lie in a store."""
    return processes(str(home / "store"), str(REPO / "envbuild" / "worker"))


@contextmanager
def cluster(python: Path, folder: Path, **more: str) -> Iterator[Cluster]:
    """A cluster that is there until this ends; its nodes reach no index."""
    port, web = free_port(), free_port()
    url = f"spark://127.0.0.1:{port}"
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, home: Path, *words: str) -> subprocess.Popen[bytes]:
        home.mkdir(parents=True, exist_ok=True)
        spark = next((python.parent.parent / "lib").glob("python3*/site-packages/pyspark"))
        environ = environ_of(python, home, ENVBUILD_INDEX_URL=NOWHERE, **more)
        environ |= {"SPARK_HOME": str(spark), "SPARK_DAEMON_MEMORY": "256m", "SPARK_WORKER_DIR": str(folder / name)}
        with (folder / f"{name}.log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    [str(spark / "bin" / "spark-class"), f"org.apache.spark.deploy.{words[0]}", *words[1:]],
                    env=environ,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        return started[-1]

    try:
        folder.mkdir(parents=True, exist_ok=True)
        start("master", folder / "master-home", "master.Master", "--host", "127.0.0.1", "--port", str(port),
              "--webui-port", str(web))  # fmt: skip
        nodes = []
        for number in range(2):
            home = folder / f"node-{number}"
            words = ("--host", "127.0.0.1", "--cores", "2", "--memory", "1g", "--webui-port", "0", url)
            nodes.append(Node(home, start(f"worker-{number}", home, "worker.Worker", *words)))
        eventually(lambda: _alive(web) == 2, "two workers are registered")
        yield Cluster(url, tuple(nodes))
    finally:
        for process in reversed(started):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _alive(web: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{web}/json/", timeout=5) as answer:
            return int(json.load(answer)["aliveworkers"])
    except (OSError, ValueError, KeyError):
        time.sleep(0.2)
        return 0
