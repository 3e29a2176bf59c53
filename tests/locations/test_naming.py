"""What a text names that is given for a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.errors import UsageError
from envbuild.locations import is_elsewhere
from envbuild.locations.naming import named


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("models:/heart/3", "mlflow", "heart"),
        ("models:/heart@prod", "mlflow", "heart"),
        ("models:/team heart/Production", "mlflow", "team-heart"),
        ("models:/m-0123abcd", "mlflow", "m-0123abcd"),
        ("runs:/0123/some/model", "mlflow", "model"),
        ("mlflow-artifacts:/0/0123/artifacts/model", "mlflow", "model"),
        ("s3://bucket/models/heart", "objects", "heart"),
        ("s3://bucket", "objects", "bucket"),
        ("gs://bucket/heart/", "objects", "heart"),
        ("az://container/heart", "objects", "heart"),
        ("abfss://container@account.dfs.core.windows.net/heart", "objects", "heart"),
        ("https://h.invalid/models/heart.tar.gz", "web", "heart"),
        ("https://u:canary@h.invalid/heart.zip?token=canary", "web", "heart"),
        ("HTTP://h.invalid/heart.tgz", "web", "heart"),
        ("file:///models/heart", "folder", "heart"),
        ("file:/models/heart", "folder", "heart"),
        ("file://localhost/models/a%20heart", "folder", "a-heart"),
        ("heart", "folder", "heart"),
        ("./models/heart", "folder", "heart"),
        ("heart.zip", "folder", "heart"),
        ("host:5000/env:tag", "folder", "env-tag"),
    ],
)
def test_a_text_names_a_model_of_its_kind(text: str, kind: str, name: str) -> None:
    found = named(text)
    assert (found.kind, found.name) == (kind, name)
    assert "canary" not in found.said


@pytest.mark.parametrize("text", ["ftp://h.invalid/heart", "hdfs://h/heart", "git+https://h.invalid/r", "model:/x/1"])
def test_a_uri_that_nothing_here_reads_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="no place where a model can lie"):
        named(text)


def test_a_file_uri_of_another_machine_is_said() -> None:
    with pytest.raises(UsageError, match="names another machine"):
        named("file://elsewhere/models/heart")


def test_what_is_there_is_what_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models:").mkdir()
    Path("models:/heart").mkdir()
    assert named("models:/heart").kind == "folder"
    Path("heart.zip").write_bytes(b"")
    assert (named("heart.zip").kind, named(Path("heart.zip")).kind) == ("archive", "archive")
    Path("folder.zip").mkdir()
    assert named("folder.zip").kind == "folder"


def test_an_image_s_name_is_no_model_s_place() -> None:
    assert not any(
        map(is_elsewhere, ("env:3.8", "host:5000/team/env:3.8", "ftp://h.invalid/x", "0123abcd", "/nowhere"))
    )
    assert all(map(is_elsewhere, ("models:/heart/1", "s3://bucket/x", "https://h.invalid/x.zip")))
