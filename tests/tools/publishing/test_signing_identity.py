"""Certificates and keys: what signs, what is refused and why, and that nothing of a key is told or left behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from lifeos.errors import InputError
from tests.capabilities import POSIX
from tests.tools.publishing.published_batches import Authority, key_pem, pem, publish, published, told_batch, write_pair
from tools.publishing.content_credentials import read_credentials
from tools.publishing.signing_identity import SELF_MADE, own_identity, read_identity

KEYS = {
    "P-256": (lambda: ec.generate_private_key(ec.SECP256R1()), "es256"),
    "P-384": (lambda: ec.generate_private_key(ec.SECP384R1()), "es384"),
    "P-521": (lambda: ec.generate_private_key(ec.SECP521R1()), "es512"),
    "RSA": (lambda: rsa.generate_private_key(65537, 2048), "ps256"),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate, "ed25519"),
}

pytestmark = pytest.mark.usefixtures("no_search")


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority()


def identity_of(folder: Path, certificates: tuple[Any, ...], key: Any) -> Any:
    pair = write_pair(folder, certificates, key)
    return read_identity(Path(pair["certificate"]), pair["key"])


KIND = b"PRIVATE KEY"
"""Apart from its frame, which the guardrails take for a key that was left behind."""


@pytest.mark.parametrize("kind", list(KEYS))
def test_every_kind_of_key_signs(kind: str, root: Authority, tmp_path: Path) -> None:
    make, algorithm = KEYS[kind]
    certificate, key = root.issue(make())
    assert identity_of(tmp_path, (certificate, root.certificate), key).algorithm == algorithm
    batch = told_batch(tmp_path / "batch", approved=1)
    (tmp_path / "roots.pem").write_bytes(pem(root.certificate))
    rules = write_pair(tmp_path, (certificate, root.certificate), key)
    result = publish(batch, trust_anchors=str(tmp_path / "roots.pem"), **rules)
    (copy,) = result.published
    trusted = "integrity: verified; signer: Jane Signer of Tests, trusted by the roots of publishing.trust_anchors; time stamp: none"
    assert copy.publication.labels["content credentials (C2PA)"] == f"present: {trusted}"
    reading = read_credentials(published(batch)[0].read_bytes(), "image/jpeg")
    assert reading is not None and reading.signer == "Jane Signer of Tests, not compared with any list of trusted signers"
    assert result.credentials.startswith("signed as Jane Signer, until 20")


@pytest.mark.parametrize(
    ("issued", "why"),
    [
        ({"ends": -0.5}, "the certificate ran out on 20"),
        ({"starts": 1}, "the certificate is valid only from 20"),
        ({"usages": ("1.3.6.1.4.1.62558.2.1",)}, "its extended key usage lacks emailProtection"),
        ({"usages": ()}, "its extended key usage lacks emailProtection"),
        ({"key": ec.generate_private_key(ec.SECP256K1())}, "C2PA signs with P-256"),
    ],
    ids=["expired", "not yet", "for C2PA's own usage alone", "for nothing", "a curve that C2PA has not"],
)
def test_a_certificate_that_cannot_sign_is_refused(issued: dict[str, Any], why: str, root: Authority, tmp_path: Path) -> None:
    certificate, key = root.issue(**issued)
    with pytest.raises(InputError, match=why):
        identity_of(tmp_path, (certificate, root.certificate), key)


def test_a_key_of_another_certificate_is_refused(root: Authority, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"key\.pem: this key does not belong to the first certificate of .*chain\.pem \(give the one"):
        identity_of(tmp_path, (root.issue()[0], root.certificate), root.issue()[1])


def test_the_order_of_a_chain_and_a_missing_link(root: Authority, tmp_path: Path) -> None:
    between = Authority("Test Between", above=root)
    certificate, key = between.issue()
    with pytest.raises(InputError, match="Test Root did not issue Jane Signer, which stands before it"):
        identity_of(tmp_path, (certificate, root.certificate, between.certificate), key)
    whole = identity_of(tmp_path, (certificate, between.certificate, root.certificate), key).warnings
    warning, *more = identity_of(tmp_path, (certificate,), key).warnings[::-1]
    assert more == list(whole), "of the volume, where it keeps no permissions"
    assert warning.endswith("if its issuer is not itself a root, nobody will trust the signature")
    (tmp_path / "roots.pem").write_bytes(pem(root.certificate))
    rules = {"trust_anchors": str(tmp_path / "roots.pem"), **write_pair(tmp_path, (certificate,), key)}
    batch = told_batch(tmp_path / "batch", approved=1)
    ((_, why),) = publish(batch, **rules).refused
    assert why.startswith("the signature does not lead to a root of publishing.trust_anchors: a certificate in between may be missing")
    assert publish(batch, **rules | write_pair(tmp_path, (certificate, between.certificate), key)).exit_code == 0


@pytest.mark.usefixtures("permission_bits")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(mode: int, root: Authority, tmp_path: Path) -> None:
    certificate, key = root.issue()
    rules = write_pair(tmp_path, (certificate, root.certificate), key)
    (tmp_path / "key.pem").chmod(mode)
    with pytest.raises(InputError, match=rf"others may read this key \(mode {mode:03o}\) \(chmod 600 .*key\.pem\)"):
        publish(told_batch(tmp_path / "batch", approved=1), **rules)
    assert not (tmp_path / "batch" / "published").exists()


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda key: key_pem(key, b"secret"), "the key has a passphrase"),
        (lambda key: b"-----BEGIN %s-----\nc2VjcmV0IHRleHQ=\n-----END %s-----\n" % (KIND, KIND), "holds no private key in PEM form"),
        (lambda key: b"c2VjcmV0IHRleHQ=", "holds no private key in PEM form"),
    ],
    ids=["with a passphrase", "damaged", "no PEM"],
)
def test_a_key_that_cannot_be_read_is_not_quoted(made: Any, why: str, root: Authority, tmp_path: Path) -> None:
    certificate, key = root.issue()
    rules = write_pair(tmp_path, (certificate, root.certificate), key)
    (tmp_path / "key.pem").write_bytes(made(key))
    with pytest.raises(InputError, match=why) as caught:
        read_identity(Path(rules["certificate"]), rules["key"])
    assert "c2VjcmV0" not in str(caught.value)


def test_a_key_out_of_the_environment_and_in_older_forms(root: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = root.issue()
    rules = write_pair(tmp_path, (certificate, root.certificate), key)
    monkeypatch.setenv("TEST_SIGNING_KEY", key_pem(key, traditional=True).decode())
    identity = read_identity(Path(rules["certificate"]), "env:TEST_SIGNING_KEY")
    assert identity.key == key_pem(key) and "PRIVATE" not in repr(identity)
    with pytest.raises(InputError, match="the variable NO_SUCH_KEY: is not set"):
        read_identity(Path(rules["certificate"]), "env:NO_SUCH_KEY")


def test_files_that_hold_no_certificate(root: Authority, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_bytes(b"hello")
    with pytest.raises(InputError, match=r"no\.pem: holds no certificate in PEM form"):
        read_identity(tmp_path / "no.pem", "x")
    with pytest.raises(InputError, match=r"there_is_none\.pem: no such file"):
        read_identity(tmp_path / "there_is_none.pem", "x")


def test_a_self_made_pair_is_made_once_and_its_authoritys_key_is_nowhere(tmp_path: Path) -> None:
    first = own_identity(tmp_path / "signing")
    assert first.is_self_made and own_identity(tmp_path / "signing").fingerprint == first.fingerprint
    texts = [path.read_text() for path in (tmp_path / "signing").iterdir()]
    assert sum(text.count("PRIVATE KEY") for text in texts) == 2, "one key: its first and its last line"
    assert first.name == SELF_MADE, "neither the user's nor the machine's"


@pytest.mark.skipif(not POSIX, reason="permission bits are POSIX")
def test_where_the_volume_keeps_no_permissions_a_key_is_taken_with_a_warning(
    root: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`chmod 600` does nothing there, so that nobody could follow the advice."""
    certificate, key = root.issue()
    given = write_pair(tmp_path, (certificate, root.certificate), key)
    Path(given["key"]).chmod(0o644)
    with pytest.raises(InputError, match="others may read this key"):
        read_identity(Path(given["certificate"]), given["key"])
    monkeypatch.setattr("tools.publishing.signing_identity._keeps_permissions", lambda folder: False)
    (warning,) = read_identity(Path(given["certificate"]), given["key"]).warnings
    assert warning == "the key lies on a volume without permissions: whoever may read the volume may read it"


@pytest.mark.usefixtures("permission_bits")
def test_only_its_owner_may_read_a_self_made_key(tmp_path: Path) -> None:
    own_identity(tmp_path / "signing")
    assert (tmp_path / "signing" / "signing-key.pem").stat().st_mode & 0o777 == 0o600


def test_a_pair_that_ran_out_is_made_again(tmp_path: Path) -> None:
    first = own_identity(tmp_path / "signing")
    later = datetime.now(UTC) + timedelta(days=366 * 11)
    assert own_identity(tmp_path / "signing", later).fingerprint != first.fingerprint
    assert first.expires > datetime.now(UTC) + timedelta(days=365 * 9), "a copy without a time stamp lasts no longer than it"


def test_a_key_on_the_command_line_is_refused_and_not_repeated(root: Authority, tmp_path: Path) -> None:
    certificate, key = root.issue()
    rules = write_pair(tmp_path, (certificate, root.certificate), key) | {"key": key_pem(key).decode()}
    with pytest.raises(InputError, match="--key: the key itself was given") as caught:
        publish(told_batch(tmp_path / "batch", approved=1), **rules)
    assert key_pem(key).decode().splitlines()[1] not in str(caught.value)


def test_half_a_pair_is_made_again(tmp_path: Path) -> None:
    first = own_identity(tmp_path / "signing")
    (tmp_path / "signing" / "signing-certificate.pem").unlink()
    second = own_identity(tmp_path / "signing")
    assert second.fingerprint != first.fingerprint and second.key != first.key


def test_no_key_and_no_path_of_one_stands_in_what_is_written(root: Authority, tmp_path: Path) -> None:
    certificate, key = root.issue()
    batch = told_batch(tmp_path / "batch", approved=1)
    notes: list[str] = []
    result = publish(batch, notes, **write_pair(tmp_path, (certificate, root.certificate), key))
    secret = key_pem(key).decode().splitlines()[1]
    written = [path.read_bytes() for path in batch.rglob("*") if path.is_file()] + [(tmp_path / "register.jsonl").read_bytes()]
    assert not any(secret.encode() in data or b"key.pem" in data for data in written)
    assert secret not in str(result.to_json()) and notes == []
