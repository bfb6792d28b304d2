"""With what copies are signed: the user's certificate and key, or a pair made here for trying it.

The key is read from a file that nobody else may read, or from an environment variable, and is held in memory alone: never copied, logged
or shown. The authority above a self-made certificate exists for the moment in which it signs it; its key is never written.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifeos import files, times
from lifeos.errors import InputError, UnavailableError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

CERTIFICATE_FILE, KEY_FILE = "signing-certificate.pem", "signing-key.pem"
SELF_MADE = "LifeOS self-made certificate, unknown to platforms"
YEARS = 10
"""Of a self-made certificate: a copy without a time stamp can be verified only as long as its certificate is valid."""
FROM_ENVIRONMENT = "env:"
MOST_BYTES = 1 << 20
ALGORITHM_OF_CURVE = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
LEAST_RSA_BITS = 2048
EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"
"""The extended key usage that C2PA's reader asks for."""


@dataclass(frozen=True, slots=True)
class SigningIdentity:
    """A certificate with those above it, its key (PKCS#8, PEM), and C2PA's name of the algorithm."""

    chain: bytes
    key: bytes = field(repr=False)
    algorithm: str
    name: str
    fingerprint: str
    """The certificate's SHA-256."""
    expires: datetime
    is_self_made: bool = False
    warnings: tuple[str, ...] = ()


def read_identity(certificate: Path, key: str, now: datetime | None = None) -> SigningIdentity:
    """The user's own: `certificate` is a PEM file, `key` a PEM file or `env:NAME`. Raises InputError for what cannot sign, and says why."""
    now = now or times.now()
    chain = _read_chain(certificate)
    secret, warnings = _read_key(key)
    leaf = chain[0]
    if _spki(leaf.public_key()) != _spki(secret.public_key()):
        raise InputError(_name_of_key(key), f"this key does not belong to the first certificate of {certificate}", "give the one that does")
    _check_times(certificate, leaf, now)
    _check_usage(certificate, leaf)
    warnings += _check_chain(certificate, chain)
    return _identity(chain, secret, is_self_made=_common_name(leaf) == SELF_MADE, warnings=warnings)


def own_identity(folder: Path, now: datetime | None = None) -> SigningIdentity:
    """The self-made pair in a folder, made where there is none, or where it has run out."""
    now = now or times.now()
    certificate, key = folder / CERTIFICATE_FILE, folder / KEY_FILE
    if certificate.is_file() and key.is_file():
        chain = _read_chain(certificate)
        if chain[0].not_valid_after_utc > now:
            return read_identity(certificate, str(key), now)
    from lifeos import locks

    with locks.hold(folder / "signing.lock", str(folder), wait=True):
        if not _is_whole(certificate, key, now):
            _make(certificate, key, now)
    return read_identity(certificate, str(key), now)


def _is_whole(certificate: Path, key: Path, now: datetime) -> bool:
    """Whether another process has just made the pair. One half of a pair is the left-over of a killed run."""
    try:
        read_identity(certificate, str(key), now)
    except InputError:
        return False
    return True


def _make(certificate: Path, key: Path, now: datetime) -> None:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509 import BasicConstraints

    authority_key, own_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, own_name = _subject(f"{SELF_MADE} (authority)"), _subject(SELF_MADE)
    authority = _builder(authority_name, authority_name, authority_key, authority_key, now)
    authority = authority.add_extension(BasicConstraints(ca=True, path_length=0), critical=True)
    authority = authority.add_extension(_usage(signs_certificates=True), critical=True)
    leaf = _builder(own_name, authority_name, own_key, authority_key, now)
    leaf = leaf.add_extension(BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(_usage(signs_certificates=False), critical=True).add_extension(_for_mail(), critical=True)
    signed = [each.sign(authority_key, hashes.SHA256()) for each in (leaf, authority)]
    pem = own_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_private(key, pem)
    files.write_bytes(certificate, b"".join(each.public_bytes(serialization.Encoding.PEM) for each in signed))


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, at no moment otherwise."""
    path.unlink(missing_ok=True)
    with files.replacing(path) as temporary:
        temporary.chmod(0o600)
        temporary.write_bytes(data)


def _subject(name: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, SELF_MADE), x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: Any, issuer: Any, key: Any, issuer_key: Any, now: datetime) -> Any:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # a clock that is set back a little tomorrow
        .not_valid_after(now + timedelta(days=366 * YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> Any:
    from cryptography.x509 import KeyUsage

    return KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _for_mail() -> Any:
    from cryptography.x509 import ExtendedKeyUsage, ObjectIdentifier

    return ExtendedKeyUsage([ObjectIdentifier(EMAIL_PROTECTION)])


def read_anchors(path: Path) -> str:
    """The PEM text of a file of roots. Raises InputError where it holds no certificate."""
    return _pem(_read_chain(path)).decode("ascii")


def _read_chain(path: Path) -> list[Certificate]:
    from cryptography import x509

    data = _read(path)
    try:
        chain: list[Certificate] = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise InputError(
            path, "holds no certificate in PEM form", "give a file with -----BEGIN CERTIFICATE-----, the signer's first"
        ) from None
    return chain


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except OSError as error:
        raise InputError(path, error.strerror or "cannot be read") from None
    if len(data) > MOST_BYTES:
        raise InputError(path, f"over {MOST_BYTES:,} bytes are no certificate or key")
    return data


def _name_of_key(key: str) -> str:
    """How messages call a key: its file, or its variable, never what is in it."""
    return f"the variable {key.removeprefix(FROM_ENVIRONMENT)}" if key.startswith(FROM_ENVIRONMENT) else key


def _read_key(key: str) -> tuple[Any, tuple[str, ...]]:
    """The private key, and what its owner should know of where it lies."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    warnings: tuple[str, ...] = ()
    if "PRIVATE KEY" in key:
        raise InputError("--key", "the key itself was given, where others see it (history, process list)", "give its file, or env:NAME")
    if key.startswith(FROM_ENVIRONMENT):
        text = os.environ.get(key.removeprefix(FROM_ENVIRONMENT))
        if not text:
            raise InputError(_name_of_key(key), "is not set", "put the PEM text of the key into it")
        data = text.encode("utf-8", "surrogateescape")
    else:
        data = _read(Path(key))
        warnings = _check_permissions(Path(key))
    try:
        return load_pem_private_key(data, password=None), warnings
    except TypeError:
        fix = "give one without: openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW; chmod 600 NEW"
        raise InputError(_name_of_key(key), "the key has a passphrase", fix) from None
    except (ValueError, UnsupportedAlgorithm):  # what it says may quote the key
        raise InputError(_name_of_key(key), "holds no private key in PEM form", "give a file that openssl calls a PRIVATE KEY") from None


def _check_permissions(path: Path) -> tuple[str, ...]:
    """Raises InputError for a key that others may read, where its owner can forbid it; a warning where the volume cannot."""
    if os.name != "posix" or not path.stat().st_mode & 0o077:
        return ()
    if not _keeps_permissions(path.parent):
        return ("the key lies on a volume without permissions: whoever may read the volume may read it",)
    raise InputError(path, f"others may read this key (mode {path.stat().st_mode & 0o777:03o})", f"chmod 600 {path}")


def _keeps_permissions(folder: Path) -> bool:
    """Whether files there can be made private: not on exFAT, nor on NTFS as it is mounted by most. Asked by making one."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".permissions-") as probe:
            Path(probe.name).chmod(0o600)
            return not Path(probe.name).stat().st_mode & 0o077
    except OSError:
        return True


def _check_times(path: Path, leaf: Certificate, now: datetime) -> None:
    if now > leaf.not_valid_after_utc:
        raise InputError(path, f"the certificate ran out on {leaf.not_valid_after_utc:%Y-%m-%d}", "get a new one from its issuer")
    if now < leaf.not_valid_before_utc:
        raise InputError(path, f"the certificate is valid only from {times.stamp(leaf.not_valid_before_utc)}", "check this machine's clock")


def _check_usage(path: Path, leaf: Certificate) -> None:
    """C2PA's reader calls every other certificate invalid."""
    from cryptography import x509

    try:
        usages = {usage.dotted_string for usage in leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value}
    except (x509.ExtensionNotFound, ValueError):
        usages = set()
    if EMAIL_PROTECTION not in usages:
        why = "the certificate is not made for signing content: its extended key usage lacks emailProtection"
        raise InputError(path, why, "ask its issuer for one that has it")


def _check_chain(path: Path, chain: list[Certificate]) -> tuple[str, ...]:
    """Raises InputError for a certificate that the one behind it did not issue; warns where nothing leads up from the signer's."""
    from cryptography.exceptions import InvalidSignature

    for lower, upper in itertools.pairwise(chain):
        try:
            lower.verify_directly_issued_by(upper)
        except (ValueError, TypeError, InvalidSignature):
            why = f"{_common_name(upper)} did not issue {_common_name(lower)}, which stands before it"
            raise InputError(path, why, "put the signer's certificate first, then each one's issuer") from None
    last = chain[-1]
    if len(chain) == 1 and last.issuer != last.subject:
        return (f"{path} holds no certificate above the signer's: if its issuer is not itself a root, nobody will trust the signature",)
    return ()


def _identity(chain: list[Certificate], secret: Any, *, is_self_made: bool, warnings: tuple[str, ...]) -> SigningIdentity:
    from cryptography.hazmat.primitives import hashes, serialization

    pem = secret.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    leaf = chain[0]
    return SigningIdentity(
        chain=_pem(chain),
        key=pem,
        algorithm=_algorithm(secret),
        name=_common_name(leaf),
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        expires=leaf.not_valid_after_utc.astimezone(UTC),
        is_self_made=is_self_made,
        warnings=warnings,
    )


def _algorithm(secret: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(secret, ec.EllipticCurvePrivateKey) and secret.curve.name in ALGORITHM_OF_CURVE:
        return ALGORITHM_OF_CURVE[secret.curve.name]
    if isinstance(secret, rsa.RSAPrivateKey) and secret.key_size >= LEAST_RSA_BITS:
        return "ps256"
    if isinstance(secret, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise InputError("the key", "C2PA signs with P-256, P-384, P-521, Ed25519, or RSA of 2,048 bits and more", "have another one certified")


def _pem(chain: list[Certificate]) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)


def _spki(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    data: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return data


def _common_name(certificate: Certificate) -> str:
    from cryptography.x509.oid import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string() or "an unnamed certificate"


def require_packages() -> None:
    """Raises UnavailableError where `setup --publish` was not run."""
    import importlib.util

    for module, package in (("c2pa", "c2pa-python"), ("cryptography", "cryptography")):
        if importlib.util.find_spec(module) is None:
            why = f"content credentials need the package {package}, which is not installed"
            raise UnavailableError(
                "publish", why, "run: python -m lifeos setup --publish; or set publishing.content_credentials: false in the policy"
            )
