"""The canary report: every command, with a canary in every place where a deployer may keep a secret.

``PYTHONPATH=.:tests python tests/locations/canaries.py`` prints it as a table; ``test_canaries.py`` holds that nothing was found in it. Images
have tests of their own (``tests/images/test_image_secrets.py``).
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from kit import cli, cli_environ
from local_index import LocalIndex
from machine import free_port, watched
from servers import FileServer, S3Server
from tiny import wheel, write_model

# One for each place; the characters are those that are written in several ways.
CANARIES: Mapping[str, str] = {
    "the index's URL": "canary/u%rl-1f",
    "the variables of an index's name": "canary-variables-2e",
    "a token command": "canary-token-3d",
    "netrc, for a model's archive": "canary-netrc-4c",
    "an object store's key": "canary-objects-5b",
    "a variable that the model gets": "canary-of-the-model-6a",
    "a variable of ours alone": "canary-of-the-shell-79",
    "a proxy's URL": "canary-proxy-88",
    "a channel's URL": "canary-channel-97",
}
# Says what it sees; what it gets on purpose it does not say.
LOADER = """
import os

class Seeing:
    def predict(self, data):
        seen = {name: value for name, value in os.environ.items() if name != "GIVEN"}
        assert os.environ.get("GIVEN", "").endswith("-6a"), "what is given to it is there"
        return [repr(seen)]

def _load_pyfunc(path):
    return Seeing()
"""
_ALL = tuple(CANARIES)
_BY_EXAMPLE = '{"inputs": [1]}'


@dataclass(frozen=True)
class Ran:
    """A command, and the canaries that were found where it had been, by place."""

    command: str
    returncode: int
    words: str
    found: Mapping[str, tuple[str, ...]]


PLACES = ("answer", "stderr", "log", "processes", "files")


class Aviary:
    """A deployer's machine with a canary everywhere, and a model."""

    def __init__(self, folder: Path, s3: S3Server) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.work = folder / "work"
        self.deployer = folder / "deployer"
        self.temporary = folder / "temporary"
        for one in (self.work, self.deployer, self.temporary):
            one.mkdir(parents=True, mode=0o700)
        self.indexes = [LocalIndex() for _ in range(3)]
        self.files = FileServer()
        self._s3 = s3
        self.environ = self._environ()
        self._stock()

    def _environ(self) -> dict[str, str]:
        main, named, by_token = self.indexes
        main.login = ("canary-user", CANARIES["the index's URL"])
        named.login = ("canary-user", CANARIES["the variables of an index's name"])
        by_token.login = ("__token__", CANARIES["a token command"])
        token = self.deployer / "token"
        # One that is for all indexes with a name; that with variables of its own has them first.
        token.write_text(f"#!/bin/sh\necho {CANARIES['a token command']}\n")
        token.chmod(0o700)
        netrc = self.deployer / "netrc"
        of_netrc = CANARIES["netrc, for a model's archive"]
        netrc.write_text(f"machine 127.0.0.1 login reader password {of_netrc}\n")
        self.files.login = f"reader:{of_netrc}"
        of_channel, of_proxy = CANARIES["a channel's URL"], CANARIES["a proxy's URL"]
        channel = f"https://canary-user:{of_channel}@channel.invalid/forge"
        proxy = f"http://canary-user:{of_proxy}@127.0.0.1:9"
        return cli_environ(
            self.home,
            main.with_login("canary-user", quote(CANARIES["the index's URL"], safe="")),
            ENVBUILD_EXTRA_INDEX_URL=f"named={named.url} tokens={by_token.url}",
            ENVBUILD_INDEX_NAMED_USERNAME="canary-user",
            ENVBUILD_INDEX_NAMED_PASSWORD=CANARIES["the variables of an index's name"],
            ENVBUILD_INDEX_TOKEN_COMMAND=str(token),
            ENVBUILD_AS_OF="now",
            ENVBUILD_CONDA_MIRROR=f"conda-forge={channel}",
            ENVBUILD_SET_ENV=f"GIVEN={CANARIES['a variable that the model gets']}",
            MY_OWN_SECRET=CANARIES["a variable of ours alone"],
            NETRC=str(netrc),
            TMPDIR=str(self.temporary),
            HTTPS_PROXY=proxy,
            **{**self._s3.environ, "AWS_SECRET_ACCESS_KEY": CANARIES["an object store's key"]},
        )

    def _stock(self) -> None:
        for index, name in zip(self.indexes, ("acme", "bcme", "ccme")):
            index.add(wheel(name, "1.0"))
        requirements = ["acme", "bcme", "ccme"]
        self.model = write_model(self.work / "model", pip=requirements, loader=LOADER)
        self.other = write_model(self.work / "other", pip=requirements[:1], loader=LOADER)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(self.model, "model")
        self.files.files["/model.tar.gz"] = packed.getvalue()
        self._s3.put_model("aviary", "model", self.model)
        (self.work / "in.json").write_text(_BY_EXAMPLE)
        (self.work / "rows.csv").write_text("a\n1\n")

    def close(self) -> None:
        """End what was started."""
        for index in self.indexes:
            index.close()
        self.files.close()

    def commands(self) -> Iterator[tuple[str | Path, ...]]:
        """Every command that does something with a model, an index, a store or a share; in an order that works."""
        model, given, bundle = self.model, self.work / "in.json", self.work / "model.bundle"
        yield ("inspect", model)
        yield ("inspect", f"{self.files.url}/model.tar.gz")
        yield ("lock", "s3://aviary/model")
        yield ("lock", model)
        yield ("lock", model, "--update", "-o", self.work / "pylock.toml")
        yield ("explain", model)
        yield ("explain", model, "acme")
        yield ("diff", model, self.other)
        yield ("build", model)
        yield ("verify", model)
        yield ("run", model, "--", "true")
        yield ("predict", model, given)
        yield ("predict", f"{self.files.url}/model.tar.gz", given)
        yield ("batch", model, self.work / "rows.csv", self.work / "out.jsonl")
        yield ("check", model, "--input", given, "--set", "acme==1.0")
        yield ("bundle", "export", model, "-o", bundle)
        yield ("bundle", "inspect", bundle)
        yield ("bundle", "verify", bundle)
        yield ("push", model, self.work / "share")
        yield ("push", model, "s3://aviary/share")
        yield ("pull", model, self.work / "share")
        yield ("envs", "list")
        yield ("envs", "show", model)
        yield ("envs", "gc", "--dry-run")
        yield ("workers", "list")
        yield ("cache", "dir")
        yield ("doctor",)
        # What goes wrong is told in full.
        yield ("lock", model, "--add", "nowhere")
        yield ("lock", f"{self.files.url}/nowhere.tar.gz")
        yield ("lock", "s3://aviary/nowhere")
        yield (
            "lock",
            model,
            "--add",
            "alpha",
            "--conda-packages",
            "conda",
            "--python-source",
            "conda",
            "--python",
            "3.2",
        )
        yield ("pull", self.other, "s3://aviary/share")
        yield ("cache", "clean")

    def ran(self, *words: str | Path) -> Ran:
        """One of them, as talkative as it gets."""
        log = self.deployer / "log"
        log.unlink(missing_ok=True)
        split = words.index("--") if "--" in words else len(words)
        with watched(shows) as seen:
            done = cli(
                *words[:split], "--json", "-v", "--log-file", log, *words[split:], environ=self.environ, cwd=self.work
            )
        places = {
            "answer": done.stdout.encode(),
            "stderr": done.stderr.encode(),
            "log": log.read_bytes() if log.exists() else b"",
            "processes": "\n".join(seen).encode(),
        }
        return self._result(words, done.returncode, done.stdout + done.stderr, places)

    def served(self) -> Ran:
        """``envbuild serve``, asked once."""
        words, port = ("serve", self.model), free_port()
        argv = [sys.executable, "-m", "envbuild", *map(str, words), "--port", str(port), "-v"]
        with watched(shows) as seen, tempfile.TemporaryFile() as out:
            server = subprocess.Popen(argv, env=self.environ, stdout=out, stderr=out)
            try:
                answer = _asked(f"http://127.0.0.1:{port}/invocations", server)
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait(60)
            out.seek(0)
            said = out.read()
        places = {"answer": answer, "stderr": said, "processes": "\n".join(seen).encode()}
        return self._result(words, server.returncode, said.decode(), places)

    def _result(self, words: tuple[str | Path, ...], status: int, said: str, places: Mapping[str, bytes]) -> Ran:
        found = {place: in_bytes(content) for place, content in places.items()}
        held = {name for path in self._files() for name in in_file(path)}
        found["files"] = tuple(name for name in _ALL if name in held)
        shown = " ".join(str(word).replace(str(self.work), ".").replace(self.files.url, "http://…") for word in words)
        return Ran(f"envbuild {shown}", status, said, found)

    def _files(self) -> Iterator[Path]:
        for folder in (self.home, self.work, self.temporary):
            yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _asked(url: str, server: subprocess.Popen[bytes]) -> bytes:
    request = urllib.request.Request(url, _BY_EXAMPLE.encode(), {"Content-Type": "application/json"})
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return bytes(answer.read())
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


def forms(canary: str) -> set[bytes]:
    """All ways in which one may be written down."""
    quoted = {quote(canary, safe=""), quote(canary), json.dumps(canary)[1:-1]}
    named = (f"canary-user:{canary}", f"__token__:{canary}", f"reader:{canary}")
    return {text.encode() for text in (canary, *quoted)} | {base64.b64encode(text.encode()) for text in named}


def in_bytes(content: bytes) -> tuple[str, ...]:
    """The canaries that are in something."""
    return tuple(name for name, canary in CANARIES.items() if any(form in content for form in forms(canary)))


def in_file(path: Path) -> tuple[str, ...]:
    """The canaries that are in a file, or in what is packed in it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ()
    found = in_bytes(content)
    if content.startswith(b"\x1f\x8b"):
        found += in_bytes(gzip.decompress(content))
    elif zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found += tuple(name for one in archive.namelist() for name in in_bytes(archive.read(one)))
    return found


def shows(text: str) -> bool:
    """Whether a canary is in it."""
    return bool(in_bytes(text.encode()))


def report(found: list[Ran]) -> str:
    """All of it as a table."""
    lines = [f"| command | status | {' | '.join(PLACES)} |", "| --- " * (len(PLACES) + 2) + "|"]
    for one in found:
        cells = [", ".join(one.found.get(place, ())) or "none" for place in PLACES]
        lines.append(f"| `{one.command}` | {one.returncode} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        s3 = S3Server(Path(name) / "s3")
        aviary = Aviary(Path(name) / "aviary", s3)
        try:
            found = [aviary.ran(*words) for words in aviary.commands()]
            found.append(aviary.served())
        finally:
            aviary.close()
            s3.close()
    print(f"{len(CANARIES)} canaries: {', '.join(CANARIES)}\n\n{report(found)}")


if __name__ == "__main__":
    main()
