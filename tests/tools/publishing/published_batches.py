"""What the tests of publishing share: small batches whose pictures carry their prompt in every way that programs have, and certificates."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lifeos.policy.loading import load_thresholds
from tests.lifeos.odd_pictures import chunk, exif
from tests.tools.production.scenes import make_assessment, make_plan
from tools.production.filing import BatchFolder
from tools.production.journal import JOURNAL_FILE, Journal
from tools.production.plan import write_plan
from tools.publishing.publishing_run import PublisherMaker, PublishingResult, publish_batch
from tools.publishing.publishing_settings import PublishingSettings, settings_of

Rgb = Any

PROMPT = "amiranoor, on a secret pier at dawn, yellow raincoat"
WORDS = (PROMPT, "secret pier", "KSampler", "amiranoor_v3.safetensors", "D:/of somebody")
"""What must be in no published file."""
GRAPH = json.dumps({"3": {"class_type": "KSampler", "inputs": {"text": PROMPT, "lora": "amiranoor_v3.safetensors"}}})


def rough_picture(seed: int, width: int = 320, height: int = 384) -> Rgb:
    """Coloured noise as rough as a photo's detail, over a gradient."""
    random = np.random.default_rng(seed)
    waves = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    waves[0, 0] = 1
    rough = np.fft.irfft2(np.fft.rfft2(random.standard_normal((height, width))) / waves**1.2, (height, width))
    plane = 15 * rough / rough.std() + np.linspace(60, 180, height)[:, None]
    return np.clip(np.stack([plane * gain for gain in (1.1, 1.0, 0.85)], axis=-1), 0, 255).astype(np.uint8)


def encoded(rgb: Rgb, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, kind, **options)
    return buffer.getvalue()


def told_png(seed: int, **size: int) -> bytes:
    """A PNG that tells its prompt in a tEXt, a zTXt, an iTXt (packed), EXIF and XMP chunk, and behind its end."""
    text = GRAPH.encode()
    says = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + PROMPT.encode() + b"</x:xmpmeta>"
    camera = exif((0x010E, 2, 4, b"D:/o")) + b"D:/of somebody " + PROMPT.encode()
    chunks = (
        chunk(b"tEXt", b"prompt\0" + text),
        chunk(b"zTXt", b"workflow\0\0" + zlib.compress(text)),
        chunk(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(text)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + says),
        chunk(b"eXIf", camera),
        chunk(b"prVt", text),
    )
    data = encoded(rough_picture(seed, **size))
    return data[:33] + b"".join(chunks) + data[33:] + text


def make_batch(root: Path, pictures: Mapping[str, tuple[bytes, bool]], reason: tuple[str, str] = ("face", "too low"), **plan: Any) -> Path:
    """A batch whose pictures (name -> bytes, whether approved) are judged and filed. `reason`: gate and words against the rejected ones."""
    folder = BatchFolder(root)
    folder.prepare()
    write_plan(root, make_plan(prompts=(PROMPT,), count=len(pictures), **plan))
    with closing(Journal(root / JOURNAL_FILE)) as journal:
        for index, (name, (data, approved)) in enumerate(pictures.items(), 1):
            place = "approved" if approved else "rejected"
            (root / place / name).write_bytes(data)
            told = make_assessment(name, 0.9, sha256=hashlib.sha256(data).hexdigest()).to_json()
            against = {} if approved else {"reasons": [reason[1]], "grounds": [{"gate": reason[0], "kind": "above", "cause": ""}]}
            journal.append("downloaded", item=index, files=[{"file": name}])
            journal.append("scored", item=index, file=name, approved=approved, assessment=told, bytes=len(data), **against)
            journal.append("filed", item=index, file=name, place=place)
        journal.append("ended", why="complete")
    return root


def told_batch(root: Path, approved: int = 2, rejected: int = 1) -> Path:
    names = [f"{index:04d}_p001_v{index:02d}_seed{index}_on-a-secret-pier.png" for index in range(1, approved + rejected + 1)]
    return make_batch(root, {name: (told_png(index), index < approved) for index, name in enumerate(names)})


def settings(project: Path, **rules: Any) -> PublishingSettings:
    """The policy's settings, with other values for some keys; the register lies in `project`."""
    policy = load_thresholds()
    policy["publishing"] |= {"register": "register.jsonl", "languages": ["en"], **rules}
    return settings_of(policy, project)


def publish(batch: Path, notes: list[str] | None = None, project: Path | None = None, **rules: Any) -> PublishingResult:
    """Publish a batch; register and self-made certificate lie beside it."""
    project = project or batch.parent
    note = (notes if notes is not None else []).append
    return publish_batch(batch, PublisherMaker(load_thresholds(), settings(project, **rules), project, note, project / "signing"), note)


def published(batch: Path) -> list[Path]:
    return sorted(path for path in (batch / "published").iterdir() if path.name != "README.txt")


class Authority:
    """A certificate authority for a test, and what it issues."""

    def __init__(self, name: str = "Test Root", above: Authority | None = None) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name, self.above = name, above
        signer = above or self
        self.certificate = _certificate(name, signer.name, self.key.public_key(), signer.key, is_authority=True)

    def issue(
        self, key: Any = None, *, usages: tuple[str, ...] = ("1.3.6.1.5.5.7.3.4",), starts: float = -1, ends: float = 30
    ) -> tuple[Any, Any]:
        """A certificate and its key; `starts` and `ends` in days from now."""
        from cryptography.hazmat.primitives.asymmetric import ec

        key = key or ec.generate_private_key(ec.SECP256R1())
        return _certificate("Jane Signer", self.name, key.public_key(), self.key, usages=usages, starts=starts, ends=ends), key


def _certificate(
    name: str, issuer: str, key: Any, signing_key: Any, *, is_authority: bool = False, usages: tuple[str, ...] = (), starts: float = -1,
    ends: float = 30,
) -> Any:  # fmt: skip
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    def subject(text: str) -> Any:
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests"), x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(subject(issuer), subject(name), key, x509.random_serial_number())
        .not_valid_before(now + timedelta(days=starts))
        .not_valid_after(now + timedelta(days=ends))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(not is_authority, False, False, False, False, is_authority, is_authority, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(each) for each in usages]), critical=True)
    return builder.sign(signing_key, hashes.SHA256())


def pem(*certificates: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def key_pem(key: Any, passphrase: bytes = b"", *, traditional: bool = False) -> bytes:
    from cryptography.hazmat.primitives import serialization

    form = serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
    locked: Any = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    data: bytes = key.private_bytes(serialization.Encoding.PEM, form, locked)
    return data


def write_pair(folder: Path, certificates: tuple[Any, ...], key: Any) -> dict[str, str]:
    """The rules of the policy that name a certificate and its key, which are written into `folder`."""
    (folder / "chain.pem").write_bytes(pem(*certificates))
    (folder / "key.pem").write_bytes(key_pem(key))
    (folder / "key.pem").chmod(0o600)
    return {"certificate": str(folder / "chain.pem"), "key": str(folder / "key.pem")}
