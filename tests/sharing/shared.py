"""What the tests of shares share."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit import cli, cli_environ

LOADER = """
import fruit, nut

class Says:
    def predict(self, data):
        return [[fruit.version, nut.version]]

def _load_pyfunc(path):
    return Says()
"""
# No index answers there.
NOWHERE = "http://127.0.0.1:9/simple/"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A share of some kind."""

    kind: str
    name: str
    environ: Mapping[str, str] = field(default_factory=dict)
    storage: Path | None = None
    server: Any = None

    def contents(self) -> dict[str, bytes]:
        """What is in it, by whatever name it has there."""
        if self.storage is not None:
            return {str(path): path.read_bytes() for path in self.storage.rglob("*") if path.is_file()}
        bucket = self.name.split("/")[2]
        listed = self._asked("GET", f"{bucket}?list-type=2")
        names = re.findall(rb"<Key>([^<]+)</Key>", listed)
        return {f"{bucket}/{name.decode()}": self._asked("GET", f"{bucket}/{name.decode()}") for name in names}

    def write(self, name: str, content: bytes) -> None:
        """Put something in the place of what has that name there."""
        if self.storage is not None:
            Path(name).write_bytes(content)
        else:
            bucket, _, key = name.partition("/")
            self.server.put(bucket, key, content)

    def _asked(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(f"{self.server.url}/{path}", method=method)
        request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())


def call(home: Path, *words: str | Path, place: Place, index: str = NOWHERE, **more: str) -> Any:
    return cli(*words, environ=cli_environ(home, index, **place.environ, **more))


def answer_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert isinstance(said, dict)
    return said
