"""One copy after another: decoded, reduced, marked, labelled, signed, read back, and only then put into published/ and recorded.

The order is what makes it safe: the id is in the register before the mark is made, the copy is verified before it has its name, and
recorded after it has. A process may be killed between any two steps; the same command does the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from lifeos import files
from lifeos.errors import InputError
from lifeos.images import decode_in_own_colors
from tools.publishing.carried_parts import CREDENTIALS, carried_parts
from tools.publishing.content_credentials import CredentialsWriter, Older, mime_of, read_credentials
from tools.publishing.copy_encoding import MIME, check_side, encode, reduce_to
from tools.publishing.label_check import LabelReport, check_labels, id_text
from tools.publishing.publishing_settings import PublishingSettings
from tools.publishing.register import Publication, Register, RegisteredPicture, RegisterEntry
from tools.publishing.signing_identity import own_identity, read_anchors, read_identity, require_packages
from tools.publishing.watermark import mark
from tools.publishing.xmp_packet import write_packet

PUBLISHED = "published"
STAGED = ".work/publishing"
"""Where a copy lies until it is verified."""
LEAST_PRIVATE = 12
"""Characters; shorter prompts stand in any file by chance."""
SELF_MADE_SIGNER, NO_SIGNER = "self-made", "none"


class NotPublishedError(InputError):
    """A picture that cannot be labelled, and is therefore not published."""


@dataclass(frozen=True, slots=True)
class Original:
    """An approved picture. `sha256`: of its bytes as they were judged. `index`: its number in the batch."""

    name: str
    path: Path
    sha256: str
    index: int


@dataclass(frozen=True, slots=True)
class BatchIdentity:
    """What the register and the names of copies say of a batch. `software` made the pictures; `prompts` must stand in no copy."""

    batch_id: str
    run_id: str
    place: str
    software: str = ""
    prompts: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What tells its pictures from the same files in another batch (`RegisteredPicture.identity`)."""
        return self.batch_id or self.run_id or self.place

    def registered(self, original: Original) -> RegisteredPicture:
        return RegisteredPicture(original.sha256, original.name, self.place, self.batch_id, self.run_id)


@dataclass(frozen=True, slots=True)
class PublishedCopy:
    """A copy in published/. `report` is what its labels were found to say."""

    original: str
    mark_id: int
    publication: Publication
    report: LabelReport


@dataclass(frozen=True, slots=True)
class Signing:
    """What signs copies (None: content credentials are off), and the PEM text of the roots that are trusted."""

    writer: CredentialsWriter | None
    anchors: str = ""


class Publisher:
    """Makes the copies of one batch. `root`: its directory."""

    def __init__(
        self, root: Path, settings: PublishingSettings, batch: BatchIdentity, signing: Signing, note: Callable[[str], None]
    ) -> None:
        self.root, self.settings, self.batch = root, settings, batch
        self.writer, self.anchors = signing.writer, signing.anchors
        self.register = Register(settings.register, lambda text: note(f"warning: {text}"))
        self.xmp = write_packet(settings.credits)

    @cached_property
    def settings_document(self) -> dict[str, object]:
        return self.settings.to_json(self.signer)

    @property
    def signer(self) -> str:
        """What is recorded of who signs: a new self-made certificate is no reason to make every copy again."""
        if self.writer is None:
            return NO_SIGNER
        return SELF_MADE_SIGNER if self.writer.identity.is_self_made else self.writer.identity.fingerprint

    def entry_of(self, original: Original) -> RegisterEntry | None:
        """What the register holds of a picture of this batch."""
        wanted = self.batch.registered(original).identity
        return next((entry for entry in self.register.find(original.sha256) if entry.picture.identity == wanted), None)

    def find_current(self, original: Original) -> Publication | None:
        """The picture's copy that was recorded with these settings and lies unchanged in published/."""
        entry = self.entry_of(original)
        if entry is None:
            return None
        name = self._name(original, entry.id)
        path = self.root / PUBLISHED / name
        known = [line.publication for line in entry.published if line.publication.file == name]
        known = [each for each in known if dict(each.settings) == self.settings_document]
        if not known or not path.is_file():
            return None
        found = files.sha256_file(path)
        return next((each for each in known if each.sha256 == found), None)

    def publish(self, original: Original, taken: Mapping[str, str] = MappingProxyType({})) -> PublishedCopy:
        """Make a copy, verify it and record it. `taken`: names of copies that other pictures have.

        Raises NotPublishedError with the reason; then nothing of it is left.
        """
        try:
            return self._publish(original, taken)
        except InputError as error:
            raise NotPublishedError(original.name, error.why, error.fix) from None

    def _publish(self, original: Original, taken: Mapping[str, str]) -> PublishedCopy:
        data = _read_judged(original)
        picture, profile = decode_in_own_colors(data, original.path)
        pixels = reduce_to(picture.rgb, self.settings.max_side)
        check_side(pixels, self.settings.format)
        mark_id = self.register.claim(self.batch.registered(original))
        name = self._name(original, mark_id)
        if name in taken:
            raise NotPublishedError(
                original.name, f"its copy would be called {name}, as that of {taken[name]}", "use {id} in publishing.name"
            )
        copy = encode(mark(pixels, mark_id), self.settings.format, self.settings.quality, profile, self.xmp)
        if self.writer is not None:
            mime = MIME[self.settings.format]
            copy = self.writer.sign(copy, mime, name, self.batch.software, self._older(data, picture.format))
        staged = self.root / STAGED / name
        try:
            files.write_bytes(staged, copy)
            report = self._verify(staged, mark_id, original, data)
            publication = self._publication(name, copy, report)
            self.register.record(mark_id, publication)  # first: what lies in published/ is known, whenever this ends
            files.move(staged, self.root / PUBLISHED / name)
        finally:
            staged.unlink(missing_ok=True)
        return PublishedCopy(original.name, mark_id, publication, report)

    def _publication(self, name: str, copy: bytes, report: LabelReport) -> Publication:
        return Publication(
            name,
            hashlib.sha256(copy).hexdigest(),
            self.settings.format,
            self.settings_document,
            {label.name: f"{label.state}: {label.told}" for label in report.labels},
            self.writer.identity.fingerprint if self.writer is not None else "",
        )

    def _name(self, original: Original, mark_id: int) -> str:
        stem = Path(original.name).stem
        return self.settings.name_of(index=original.index, mark_id=id_text(mark_id), stem=stem, run_id=self.batch.run_id)

    def _older(self, data: bytes, kind: str) -> Older | None:
        """The original as an ingredient, where it carries content credentials."""
        if not self.settings.keeps_older or read_credentials(data, mime_of(kind)) is None:
            return None
        return Older(data, mime_of(kind))

    def _verify(self, path: Path, mark_id: int, original: Original, data: bytes) -> LabelReport:
        """Read the written file again. Raises NotPublishedError where a label is not as it must be, or something private is left."""
        written = path.read_bytes()
        report = check_labels(written, path, anchors=self.anchors, with_credentials=self.writer is not None)
        if not report.is_whole:
            raise NotPublishedError(original.name, f"read back, its labels are not whole: {report.complaint}")
        if report.mark_id != mark_id:
            raise NotPublishedError(original.name, "read back, its watermark carries another id")
        told = " ".join(label.told for label in report.labels)
        if self.anchors and "not trusted by" in told:
            why = "the signature does not lead to a root of publishing.trust_anchors: a certificate in between may be missing"
            raise NotPublishedError(original.name, why, "put the certificates between into the certificate's file, behind the signer's")
        leaked = find_private(written, (*self.batch.prompts, *private_texts(data)))
        if leaked:
            fix = "set publishing.older_credentials: drop" if CREDENTIALS in leaked else ""
            raise NotPublishedError(original.name, f"its {leaked} would tell the prompt", fix)
        return report


def open_signing(settings: PublishingSettings, own_folder: Path, note: Callable[[str], None]) -> Signing:
    """What signs with these settings; `own_folder` is that of a self-made certificate. A small picture is signed first, as a trial.

    Raises UnavailableError without the packages, InputError for a certificate or key that cannot sign.
    """
    if not settings.with_credentials:
        return Signing(None)
    require_packages()
    identity = read_identity(settings.certificate, settings.key) if settings.certificate is not None else own_identity(own_folder)
    for warning in identity.warnings:
        note(f"warning: {warning}")
    _try_out(CredentialsWriter(identity), settings)
    anchors = read_anchors(settings.anchors) if settings.anchors is not None else ""
    return Signing(CredentialsWriter(identity, settings.stamp_url, note), anchors)


def _try_out(writer: CredentialsWriter, settings: PublishingSettings) -> None:
    import numpy as np

    small = encode(np.zeros((8, 8, 3), np.uint8), "png", 90, None, write_packet(settings.credits))
    try:
        writer.sign(small, MIME["png"], "trial.png", "")
    except InputError as error:
        where = settings.certificate or "the self-made certificate"
        raise InputError(where, f"C2PA cannot sign with it: {error.why}", "ask its issuer for one for content credentials") from None


def _read_judged(original: Original) -> bytes:
    try:
        data = original.path.read_bytes()
    except OSError as error:
        raise NotPublishedError(original.name, error.strerror or "cannot be read") from None
    if original.sha256 and hashlib.sha256(data).hexdigest() != original.sha256:
        why = "the file was changed since it was judged"
        raise NotPublishedError(original.name, why, "put the judged one back, or judge the changed one in a batch of its own (--images)")
    return data


def find_private(data: bytes, texts: Iterable[str]) -> str:
    """The name of the first thing in a file that holds one of these texts, as it is or as JSON writes it; empty where none does."""
    needles = set()
    for text in texts:
        plain = text.strip()
        if len(plain) >= LEAST_PRIVATE:
            needles |= {plain.encode("utf-8", "replace"), json.dumps(plain)[1:-1].encode()}
    return next((part.name for part in carried_parts(data) if any(needle in part.content for needle in needles)), "")


def private_texts(data: bytes) -> list[str]:
    """The texts that a picture's own `prompt`, `workflow` and `parameters` hold: sentences, not names of nodes."""
    try:
        parts = carried_parts(data)
    except ValueError:
        return []
    found: list[str] = []
    for part in parts:
        if not part.name.startswith("text "):
            continue
        text = part.content.partition(b"\0")[2].decode("utf-8", "replace")
        try:
            found += [each for each in _strings(json.loads(text)) if " " in each]
        except (ValueError, RecursionError):
            found += [line for line in text.splitlines() if " " in line.strip()]
    return found


def _strings(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
