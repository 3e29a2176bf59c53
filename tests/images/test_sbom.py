"""What is in an image: valid CycloneDX, the same bytes each time, and nothing secret."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from envbuild.conda.package import CondaHalf, CondaPackage
from envbuild.errors import ImageError
from envbuild.images.sbom import sbom_of
from envbuild.lock import BuildLock, Lock, LockedPackage
from envbuild.target import Target

CANARY = "canary-4b1f0c"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = f"sha256:{'d' * 64}"
MADE = datetime(2021, 3, 4, 5, 6, 7, tzinfo=timezone.utc)
WHEEL = LockedPackage(
    name="numpy",
    version="1.19.5",
    kind="wheel",
    sha256="a" * 64,
    url=f"https://user:{CANARY}@index.example/simple/numpy-1.19.5-cp38-cp38-manylinux2010_x86_64.whl?sig={CANARY}",
    file_name="numpy-1.19.5-cp38-cp38-manylinux2010_x86_64.whl",
)
FROM_GIT = LockedPackage(
    name="own",
    version="1.0+local",
    kind="vcs",
    sha256="",
    url=f"https://{CANARY}@git.example/team/own.git",
    commit=COMMIT,
    subdirectory="python",
)
ARCHIVE = LockedPackage(
    name="packed",
    version="2",
    kind="archive",
    sha256="b" * 64,
    url="https://files.example/packed-2.tar.gz",
    file_name="packed-2.tar.gz",
)
DIRECTORY = LockedPackage(name="inside", version=None, kind="directory", sha256="c" * 64, path="code/inside")
TOOL = LockedPackage(name="setuptools", version="65.5.1", kind="wheel", sha256="e" * 64)
LOCK = Lock(
    python="3.8.20",
    target=Target("cp38", "manylinux_2_36_x86_64"),
    packages=(WHEEL, FROM_GIT, ARCHIVE, DIRECTORY),
    build=(BuildLock(builds=("own",), packages=(TOOL,)),),
)


def conda_package(name: str, version: str, url: str) -> CondaPackage:
    build, subdir = "h1_0", url.split("/")[-2]
    return CondaPackage(
        name=name,
        version=version,
        build=build,
        build_number=0,
        subdir=subdir,
        url=url,
        channel="",
        md5="f" * 32,
        sha256="9" * 64,
    )


WITH_CONDA = replace(
    LOCK,
    conda=CondaHalf(
        packages=(
            conda_package(
                "python", "3.8.18", "https://repo.anaconda.com/pkgs/main/linux-64/python-3.8.18-h1_0.tar.bz2"
            ),
            conda_package("libgcc", "9.1", "https://conda.anaconda.org/conda-forge/linux-64/libgcc-9.1-h1_0.conda"),
            conda_package(
                "hidden", "1", f"https://{CANARY}:x@conda.example/t/{CANARY}/own/noarch/hidden-1-h1_0.conda?x={CANARY}"
            ),
            conda_package("near", "2", f"file:///home/{CANARY}/channel/noarch/near-2-h1_0.conda"),
        ),
        channels=(),
        subdir="linux-64",
    ),
)


def written(**changes: Any) -> bytes:
    asked: dict[str, Any] = {
        "image": "registry.example/team/model-env",
        "key": "0f" * 32,
        "base": "debian:bookworm-slim",
        "base_digest": DIGEST,
        "python": "3.8.20",
        "debian": {"libgomp1": "12.2.0-14+deb12u1", "libssl3:arm64": "1:3.0.11-1~deb12u2"},
        "architecture": "amd64",
        "made": MADE,
        **changes,
    }
    return sbom_of(asked.pop("lock", LOCK), **asked)


def components(bom: bytes) -> dict[str, dict[str, Any]]:
    return {component["name"]: component for component in json.loads(bom)["components"]}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"debian": {}},
        {"base_digest": None},
        {"base": "sha256:" + "1" * 64},
        {"lock": Lock(python="3.8", target=LOCK.target, packages=())},
        {"lock": WITH_CONDA},
    ],
)
def test_it_is_valid_cyclonedx_by_the_standards_own_schema(changes: dict[str, Any]) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written(**changes).decode()) is None


def test_the_validator_that_says_so_finds_faults() -> None:
    broken = written().replace(b'"library"', b'"book"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken.decode()) is not None


def test_the_same_inputs_are_the_same_bytes_in_another_process_too() -> None:
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_sbom"
    script += "; sys.stdout.buffer.write(test_sbom.written())"
    seeds = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env={"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    assert [done.stdout for done in seeds] == [written(), written()]


def test_another_content_has_another_serial_number() -> None:
    numbers = [json.loads(written(**changes))["serialNumber"] for changes in ({}, {"debian": {}}, {"key": "1f" * 32})]
    assert len(set(numbers)) == 3


def test_the_image_is_what_the_bill_is_about_and_all_else_is_in_it() -> None:
    bom = json.loads(written())
    main = bom["metadata"]["component"]
    assert (main["type"], main["name"], main["version"]) == ("container", "registry.example/team/model-env", "0f" * 32)
    assert {"name": "envbuild:lock-hash", "value": LOCK.hash} in main["properties"]
    assert bom["metadata"]["timestamp"] == "2021-03-04T05:06:07+00:00"
    below = next(entry["dependsOn"] for entry in bom["dependencies"] if entry["ref"] == main["bom-ref"])
    assert set(below) == {component["bom-ref"] for component in bom["components"]}


def test_what_packages_were_built_with_is_not_in_the_image() -> None:
    assert set(components(written())) == {"debian", "python", "libgomp1", "libssl3", "numpy", "own", "packed", "inside"}


@pytest.mark.parametrize(
    ("name", "purl"),
    [
        ("numpy", f"pkg:pypi/numpy@1.19.5?file_name={WHEEL.file_name}"),
        (
            "own",
            "pkg:pypi/own@1.0%2Blocal?vcs_url=git%2Bhttps://git.example/team/own.git%40"
            + COMMIT
            + "%23subdirectory%3Dpython",
        ),
        ("packed", "pkg:pypi/packed@2?download_url=https://files.example/packed-2.tar.gz&file_name=packed-2.tar.gz"),
        ("libgomp1", "pkg:deb/debian/libgomp1@12.2.0-14%2Bdeb12u1?arch=amd64"),
        ("libssl3", "pkg:deb/debian/libssl3@1:3.0.11-1~deb12u2?arch=arm64"),
        ("python", "pkg:generic/python@3.8.20"),
        (
            "debian",
            f"pkg:oci/debian@{DIGEST}?arch=amd64&repository_url=docker.io/library/debian&tag=bookworm-slim",
        ),
    ],
)
def test_each_thing_has_the_purl_that_scanners_know_it_by(name: str, purl: str) -> None:
    found = components(written())[name]["purl"]
    assert PackageURL.from_string(found).to_dict() == PackageURL.from_string(purl).to_dict()


def test_a_directory_of_the_model_is_no_package_of_an_index() -> None:
    found = components(written())["inside"]
    assert "purl" not in found
    assert "hashes" not in found


@pytest.mark.parametrize("name", [f"sha256:{'1' * 64}", "1" * 64])
def test_a_base_that_is_named_by_its_id_has_no_purl(name: str) -> None:
    found = components(written(base=name))[name]
    assert found["version"] == DIGEST
    assert "purl" not in found


def test_files_have_their_hash_and_where_they_came_from() -> None:
    found = components(written())
    assert found["numpy"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert found["own"]["externalReferences"] == [{"type": "vcs", "url": "https://git.example/team/own.git"}]


def test_no_credential_of_a_url_is_in_it() -> None:
    assert CANARY.encode() not in written()


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cyclonedx", None)
    with pytest.raises(ImageError, match="cyclonedx-python-lib is not installed") as caught:
        written()
    assert caught.value.hint == "pip install 'envbuild[docker]'"


def test_conda_packages_are_named_by_their_channels_and_the_python_among_them_stands_there_once() -> None:
    bom = written(lock=WITH_CONDA)
    purls = {one["bom-ref"]: one.get("purl") for one in json.loads(bom)["components"]}
    assert {ref: purl for ref, purl in purls.items() if ref.startswith("conda:") or ref == "python"} == {
        "conda:python": "pkg:conda/python@3.8.18?build=h1_0&channel=main&subdir=linux-64&type=tar.bz2",
        "conda:libgcc": "pkg:conda/libgcc@9.1?build=h1_0&channel=conda-forge&subdir=linux-64&type=conda",
        "conda:hidden": "pkg:conda/hidden@1?build=h1_0&channel=https://conda.example/own&subdir=noarch&type=conda",
        "conda:near": "pkg:conda/near@2?build=h1_0&subdir=noarch&type=conda",
    }
    assert purls["package:numpy"].startswith("pkg:pypi/numpy@")
    assert CANARY.encode() not in bom
    (python,) = [one for one in json.loads(bom)["components"] if one["name"] == "python"]
    assert python["hashes"] == [{"alg": "SHA-256", "content": "9" * 64}]
