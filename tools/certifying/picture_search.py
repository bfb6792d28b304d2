"""From the file of a picture to what the register and a batch directory know of it: by its bytes, else by the id in its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos.images import read_picture
from tools.certifying.batch_evidence import BatchEvidence, find_batch_above, read_evidence
from tools.certifying.chain import BROKEN, MISSING, VERIFIED, ChainLink
from tools.publishing.label_check import id_text
from tools.publishing.register import PublicationLine, Register, RegisterEntry, batch_directory
from tools.publishing.watermark import WatermarkReading, read

BY_COPY, BY_ORIGINAL, BY_MARK, UNKNOWN = "copy", "original", "mark", "unknown"


@dataclass(frozen=True, slots=True)
class SoughtPicture:
    """What was found of a picture. `how`: by the bytes of a copy, those of an original, the mark in its pixels, or not at all.

    `original`: the SHA-256 of the picture as it lay in approved/, None where it is not known. `batch`: its directory as far as it is
    known, whether or not it is there.
    """

    path: Path
    sha256: str
    how: str
    entries: tuple[RegisterEntry, ...] = ()
    mark: WatermarkReading | None = None
    evidence: BatchEvidence | None = None
    batch: Path | None = None

    @property
    def entry(self) -> RegisterEntry | None:
        return self.entries[0] if self.entries else None

    @property
    def original(self) -> str | None:
        if self.entry is not None:
            return self.entry.picture.sha256
        return self.sha256 if self.how == BY_ORIGINAL else None

    @property
    def publication(self) -> PublicationLine | None:
        copies = self.entry.published if self.entry is not None else ()
        return next((line for line in copies if line.publication.sha256 == self.sha256), None)


def find_picture(path: Path, register: Register, batch: Path | None, project_root: Path) -> SoughtPicture:
    """Look a picture up. `batch`: the directory to look in, where the caller names one. Raises ImageError for what is no picture."""
    picture = read_picture(path)
    mark = read(picture.rgb)
    entries = register.find(picture.sha256)
    named = read_evidence(batch) if batch is not None else None
    if named is not None:  # the same file may have been made, or published, in several batches
        own = _of_batch(entries, named)
        entries = own if own or named.name_of(picture.sha256) is not None else entries
    how = UNKNOWN
    if entries:
        is_copy = any(line.publication.sha256 == picture.sha256 for line in entries[0].published)
        how = BY_COPY if is_copy else BY_ORIGINAL
    elif mark is not None and (entries := register.find(mark.id)):
        how = BY_MARK
    place = batch or (batch_directory(entries[0].picture.batch, project_root) if entries else None)
    if place is None or (batch is None and not place.is_dir()):
        place = find_batch_above(path) or place
    evidence = named or (read_evidence(place) if place is not None else None)
    if how == UNKNOWN and evidence is not None and evidence.name_of(picture.sha256) is not None:
        how = BY_ORIGINAL
    return SoughtPicture(path, picture.sha256, how, entries, mark, evidence, place)


def _of_batch(entries: tuple[RegisterEntry, ...], evidence: BatchEvidence) -> tuple[RegisterEntry, ...]:
    batch_id = evidence.plan.batch_id if evidence.plan is not None else None
    return tuple(entry for entry in entries if batch_id is not None and entry.picture.batch_id == batch_id)


def copy_link(found: SoughtPicture) -> ChainLink:
    """Whether these bytes are those that were published, or those of an original."""
    facts, private = {"SHA-256": found.sha256}, {"file": str(found.path)}
    line = found.publication
    if line is not None:
        copy = line.publication
        more = {"published": line.time, "format": copy.format, "certificate": copy.certificate}
        facts |= {name: value for name, value in more.items() if value}
        said = "Byte for byte a copy that was published."
        return ChainLink("copy", "copy", VERIFIED, said, facts, {**private, "published as": copy.file})
    if found.how == BY_ORIGINAL:
        return ChainLink(
            "copy", "copy", VERIFIED, "Byte for byte the picture as it was made, before anything was published.", facts, private
        )
    said = "No copy with these bytes was published. It is found by its watermark, so it was saved again or changed since."
    if found.how == UNKNOWN:
        said = "Neither the register nor a batch beside it knows these bytes."
    return ChainLink("copy", "copy", MISSING, said, facts, private)


def mark_link(found: SoughtPicture) -> ChainLink | None:
    """What the pixels say; None for an original, which carries no mark."""
    title, mark, entry = "watermark", found.mark, found.entry
    facts = {"id": id_text(mark.id), "z": round(mark.z, 1), "found": mark.found} if mark is not None else {}
    if mark is None:
        if found.how == BY_ORIGINAL:
            return None
        return ChainLink("watermark", title, MISSING, "No watermark can be read.")
    if found.how == BY_ORIGINAL:
        said = f"The original carries the watermark {id_text(mark.id)}: it is a published copy that was taken for an original."
        return ChainLink("watermark", title, BROKEN, said, facts)
    if entry is None:
        return ChainLink("watermark", title, MISSING, f"The watermark {id_text(mark.id)} stands in no line of this register.", facts)
    if entry.id != mark.id:
        said = f"The watermark says {id_text(mark.id)}, the register says {id_text(entry.id)} of these bytes."
        return ChainLink("watermark", title, BROKEN, said, {**facts, "registered id": id_text(entry.id)})
    hint = " A watermark alone is a hint, no proof." if found.how == BY_MARK else ""
    return ChainLink("watermark", title, VERIFIED, f"The watermark says {id_text(mark.id)}, as the register does.{hint}", facts)


def register_link(found: SoughtPicture) -> ChainLink:
    """What the register says of the picture that was published."""
    entry = found.entry
    if entry is None:
        return ChainLink("register", "register", MISSING, "The register holds nothing of this picture.")
    line = found.publication
    facts: dict[str, Any] = {
        "id": id_text(entry.id),
        "claimed": entry.claimed,
        "original (SHA-256)": entry.picture.sha256,
        "copies": len(entry.published),
    }
    labels = line.publication.labels if line is not None else {}
    if labels:
        facts["labels"] = ", ".join(labels)
    private = {f"label: {name}": str(value) for name, value in labels.items()}
    private |= {"picture": entry.picture.name, "batch": entry.picture.batch, "run id": entry.picture.run_id}
    said = f"The id {id_text(entry.id)} stands for one picture, of which {len(entry.published)} copies were published."
    if len(entry.published) == 1:
        said = f"The id {id_text(entry.id)} stands for one picture, of which one copy was published."
    if len(found.entries) > 1:
        said += f" The same file is registered of {len(found.entries)} batches; the first is followed."
    return ChainLink("register", "register", VERIFIED, said, facts, private)
