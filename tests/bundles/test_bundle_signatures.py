"""A bundle that must be signed is refused where it is not, before anything of it is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kit import cli
from made import ANSWER, Made, answer_of, code_of, nothing_was_used, offline

from envbuild.bundles import members
from envbuild.bundles.reading import Bundle
from envbuild.bundles.sealing import sealed, unsealed
from envbuild.bundles.signature import signed
from envbuild.errors import BundleInvalid

MakeKey = Callable[[str], tuple[Path, Path]]


@pytest.fixture
def make_key(tmp_path: Path) -> MakeKey:
    """Makes a pair of keys, the private one first."""

    def make(name: str) -> tuple[Path, Path]:
        key = Ed25519PrivateKey.generate()
        private, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub.pem"
        form = serialization.Encoding.PEM
        private.write_bytes(key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(form, serialization.PublicFormat.SubjectPublicKeyInfo))
        return private, public

    return make


def export(made: Made, target: Path, key: Path) -> Path:
    done = cli("bundle", "export", made.model, "-o", target, "--sign-key", key, environ=made.environ())
    assert done.returncode == 0, done.stderr
    return target


def test_a_signed_bundle_is_used_where_its_key_is_demanded(
    made: Made, make_key: MakeKey, home: Path, tmp_path: Path
) -> None:
    private, public = make_key("ours")
    bundle = export(made, tmp_path / "signed.bundle", private)
    demanded = ("--require-signature", public)
    assert answer_of(offline(home, "predict", "--bundle", bundle, made.input, *demanded)) == ANSWER
    assert answer_of(offline(home, "predict", bundle, made.input, ENVBUILD_REQUIRE_SIGNATURE=str(public))) == ANSWER
    checked = answer_of(offline(home, "bundle", "verify", bundle, *demanded, "--json"))
    assert checked["signature_checked"] is True
    # Whoever demands none takes it as well, and an older signature is the same bytes.
    assert answer_of(offline(home, "predict", bundle, made.input)) == ANSWER
    assert export(made, tmp_path / "again.bundle", private).read_bytes() == bundle.read_bytes()


def test_an_unsigned_one_and_one_of_another_key_are_refused_before_anything_is_used(
    made: Made, make_key: MakeKey, home: Path, tmp_path: Path
) -> None:
    (_, ours), (theirs, _) = make_key("ours"), make_key("theirs")
    other = export(made, tmp_path / "theirs.bundle", theirs)
    for bundle in (made.bundle, other):
        for command in ("lock", "build", "inspect", "explain"):
            done = offline(home, command, "--bundle", bundle, "--require-signature", ours)
            assert (code_of(done), done.returncode) == ("bundle-untrusted", 5), done.stderr
        done = offline(home, "predict", bundle, made.input, ENVBUILD_REQUIRE_SIGNATURE=str(ours))
        assert code_of(done) == "bundle-untrusted"
        assert code_of(offline(home, "bundle", "verify", bundle, "--require-signature", ours)) == "bundle-untrusted"
    assert nothing_was_used(home)


def test_a_signature_is_of_one_manifest(made: Made, make_key: MakeKey, home: Path, tmp_path: Path) -> None:
    """One that is put before another's files, whose manifest is whole in itself, is wrong."""
    private, public = make_key("ours")
    whole = made.bundle.read_bytes()
    with Bundle(made.bundle) as bundle:
        text = bundle.manifest.to_bytes()
    files = whole[len(members.head(text, None)) :]
    changed = {**unsealed(text), "model": {**unsealed(text)["model"], "name": "mode1"}}
    signature = signed(text, private).to_bytes()
    target = tmp_path / "forged.bundle"
    target.write_bytes(members.head(text, signature) + files)
    assert offline(home, "bundle", "verify", target, "--require-signature", public).returncode == 0
    target.write_bytes(members.head(sealed(changed), signature) + files)
    assert offline(home, "bundle", "verify", target).returncode == 0
    assert code_of(offline(home, "bundle", "verify", target, "--require-signature", public)) == "bundle-untrusted"


def test_a_byte_of_the_signature_that_is_another_is_seen_even_where_none_is_demanded(
    made: Made, make_key: MakeKey, tmp_path: Path
) -> None:
    private, _ = make_key("ours")
    bundle = export(made, tmp_path / "signed.bundle", private)
    content = bytearray(bundle.read_bytes())
    place = content.index(b'"value": "') + 12
    content[place] = ord("A") if content[place] != ord("A") else ord("B")
    bundle.write_bytes(content)
    with pytest.raises(BundleInvalid, match="signature"), Bundle(bundle):
        pass


def test_what_is_no_key_of_the_kind_is_said_and_not_shown(
    made: Made, make_key: MakeKey, home: Path, tmp_path: Path
) -> None:
    private, public = make_key("ours")
    other = tmp_path / "other.pem"
    other.write_bytes(
        generate_private_key(SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    for key in (public, other, made.input, tmp_path / "none.pem"):
        done = cli("bundle", "export", made.model, "-o", tmp_path / "b", "--sign-key", key, environ=made.environ())
        assert code_of(done) == "usage"
    for key in (private, other, made.input, tmp_path / "none.pem"):
        done = offline(home, "bundle", "verify", made.bundle, "--require-signature", key)
        assert code_of(done) == "usage"
        assert not set(private.read_text().splitlines()[1:-1]) & set(done.stderr.split())
