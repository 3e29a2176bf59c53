"""An index with a certificate of the company's own, which lets in those alone who show one of theirs."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit import Kit, cli, cli_environ, run_python, versions
from local_index import LocalIndex
from tiny import wheel

from envbuild.errors import IndexUnreachable, UsageError
from envbuild.indexes import choose
from envbuild.projects import read_projects

MakeModel = Callable[..., Path]


@pytest.fixture(scope="session")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority (``ca.pem``), a server's certificate by it, and a client's (``client.pem``, with its key)."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(words: str) -> None:
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)

    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=own")
    for name, more in (("server", "subjectAltName=IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")):
        (folder / f"{name}.cnf").write_text(f"{more}\nbasicConstraints=CA:FALSE\n")
        openssl(f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}")
        signed = f"-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.cnf"
        openssl(f"x509 -req -in {name}.csr -out {name}.crt {signed}")
    (folder / "client.pem").write_text((folder / "client.crt").read_text() + (folder / "client.key").read_text())
    return folder


@pytest.fixture
def closed(issued: Path) -> Iterator[LocalIndex]:
    """An index that talks to those alone who show a certificate of the same authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued / "server.crt", issued / "server.key")
    context.load_verify_locations(issued / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    index = LocalIndex(context)
    index.add(wheel("acme", "1.0"))
    yield index
    index.close()


def test_an_own_authority_and_a_certificate_let_both_engines_in(
    either: Kit, make_model: MakeModel, closed: LocalIndex, issued: Path
) -> None:
    either.index.add(wheel("beta", "1.0"))
    either.more |= {
        "extra_index_url": (closed.url,),
        "index_ca": issued / "ca.pem",
        "index_client_cert": issued / "client.pem",
    }
    built = either.build(make_model(pip=["acme", "beta"]))
    assert versions(built.locked) == {"acme": "1.0", "beta": "1.0"}
    assert run_python(built.environment.path, "import acme; print(acme.version)") == "1.0"


def test_without_either_the_index_is_not_to_be_had(kit: Kit, closed: LocalIndex, issued: Path) -> None:
    ca, certificate = issued / "ca.pem", issued / "client.pem"
    for given in ({}, {"index_ca": ca}, {"index_client_cert": certificate}):
        indexes, _ = choose(kit.settings(index_url=closed.url, **given), (), "")
        with pytest.raises(IndexUnreachable):
            read_projects(["acme"], indexes, "")
    indexes, _ = choose(kit.settings(index_url=closed.url, index_ca=ca, index_client_cert=certificate), (), "")
    assert list(read_projects(["acme"], indexes, "")) == ["acme"]


def test_uv_is_told_to_believe_the_own_authority_beside_the_systems(
    kit: Kit, make_model: MakeModel, closed: LocalIndex, issued: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The other way about: the authority is the system's, and the file holds another.
    monkeypatch.setenv("SSL_CERT_FILE", str(issued / "ca.pem"))
    other = {"index_ca": issued / "client.crt", "index_client_cert": issued / "client.pem"}
    assert versions(kit.lock(make_model(pip=["acme"]), index_url=closed.url, **other)) == {"acme": "1.0"}


def test_the_key_is_in_no_file_and_no_output(
    home: Path, make_model: MakeModel, closed: LocalIndex, issued: Path, tmp_path: Path
) -> None:
    key = "".join((issued / "client.key").read_text().splitlines()[1:-1])[:48]
    environ = cli_environ(home, closed.url, ENVBUILD_INDEX_CA=str(issued / "ca.pem"))
    certificate = ("--index-client-cert", issued / "client.pem")
    done = cli("build", make_model(pip=["acme"]), "--json", "-v", *certificate, environ=environ)
    assert done.returncode == 0, done.stderr
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and b"acme" in path.read_bytes()]
    assert kept, "what is looked through is not empty"
    texts = [path.read_bytes().replace(b"\n", b"") for path in tmp_path.rglob("*") if path.is_file()]
    assert [text for text in (*texts, done.stdout.encode(), done.stderr.encode()) if key.encode() in text] == []


@pytest.mark.parametrize("option", ["index_ca", "index_client_cert"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_is_none_is_said_by_its_option(
    kit: Kit, make_model: MakeModel, tmp_path: Path, option: str, content: str | None
) -> None:
    path = tmp_path / "some.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=f"--{option.replace('_', '-')}: {path} cannot be used"):
        kit.lock(make_model(pip=["acme"]), **{option: path})


def test_a_key_with_a_passphrase_is_said_and_nobody_is_asked_for_it(
    kit: Kit, make_model: MakeModel, issued: Path, tmp_path: Path
) -> None:
    words = ["openssl", "rsa", "-aes128", "-passout", "pass:canary-2", "-in", str(issued / "client.key")]
    sealed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    path = tmp_path / "sealed.pem"
    path.write_text((issued / "client.crt").read_text() + sealed)
    with pytest.raises(UsageError) as failure:
        kit.lock(make_model(pip=["acme"]), index_client_cert=path)
    assert "passphrase" in json.dumps(failure.value.to_dict())
