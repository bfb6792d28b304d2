"""Which labels a file carries, and whether they are whole: known from its bytes alone, by other code than that which wrote them.

XMP is found by a walk through the file and read by expat, content credentials by C2PA's own reader, the watermark by its decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lifeos.errors import InputError
from lifeos.file_names import stored_path
from lifeos.images import ImageError, decode_in_own_colors
from lifeos.picture_formats import format_of
from tools.publishing.carried_parts import ALLOWED, CREDENTIALS, XMP, CarriedPart, carried_parts
from tools.publishing.credentials_structure import check_unsigned
from tools.publishing.publishing_settings import PublishingSettings
from tools.publishing.watermark import read
from tools.publishing.xmp_packet import SOURCE_TYPE, TRAINED_ALGORITHMIC_MEDIA, read_packet

State = Literal["present", "changed", "missing", "not checked"]


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a file: `name`, `state`, and what it says, or what is wrong with it, in words."""

    name: str
    state: State
    told: str

    def to_json(self) -> dict[str, str]:
        return {"state": self.state, "told": self.told}


@dataclass(frozen=True, slots=True)
class LabelReport:
    """The labels of one file. `carries`: all that is in it beside the pixels. `mark_id`: of the watermark, None where none was read."""

    labels: tuple[Label, ...]
    carries: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    mark_id: int | None = None
    fault: str = ""
    """What is wrong with the file as a whole: it is damaged, or carries what no copy does."""

    @property
    def is_whole(self) -> bool:
        return not self.fault and all(label.state in ("present", "not checked") for label in self.labels)

    @property
    def complaint(self) -> str:
        """What is changed or missing, on one line."""
        wrong = [f"{each.name} {each.state}: {each.told}" for each in self.labels if each.state in ("changed", "missing")]
        return "; ".join([self.fault, *wrong] if self.fault else wrong)

    def to_json(self) -> dict[str, Any]:
        return {
            "whole": self.is_whole,
            "fault": self.fault,
            "labels": {label.name: label.to_json() for label in self.labels},
            "carries": list(self.carries),
            "xmp": dict(self.fields),
            "watermark_id": None if self.mark_id is None else id_text(self.mark_id),
        }


def id_text(mark_id: int) -> str:
    """A watermark's id as names and reports show it."""
    return f"{mark_id:08x}"


def check_labels(
    data: bytes,
    path: Path,
    *,
    anchors: str = "",
    with_credentials: bool = True,
    made_size: tuple[int, int] | None = None,
    wide: bool = False,
) -> LabelReport:
    """The labels in the bytes of a file. `with_credentials` False: content credentials are off, and their absence is no fault."""
    fault, parts, watermark = "", [], Label("watermark", "missing", "the picture cannot be decoded")
    try:
        parts = carried_parts(data)
        fault = _find_foreign(parts)
    except ValueError as error:
        fault = f"not a whole picture: {error}"
    mark_id = None
    try:
        reading = read(decode_in_own_colors(data, path)[0].rgb, made_size=made_size, wide=wide)
        watermark = Label("watermark", "missing", "no id can be read")
    except ImageError as error:
        reading, fault = None, fault or f"not a whole picture: {error.why}"
    if reading is not None:
        mark_id = reading.id
        watermark = Label("watermark", "present", f"id {id_text(reading.id)} ({reading.z:.1f} deviations, {reading.found})")
    fields, xmp = _check_xmp(parts)
    credentials = check_credentials(data, parts, anchors=anchors, wanted=with_credentials)
    return LabelReport((xmp, credentials, watermark), tuple(describe_parts(parts)), tuple(fields.items()), mark_id, fault)


def describe_parts(parts: list[CarriedPart]) -> list[str]:
    """The name of each thing that a file carries, once, in its order."""
    return list(dict.fromkeys(part.name for part in parts))


def _find_foreign(parts: list[CarriedPart]) -> str:
    foreign = [name for name in describe_parts(parts) if name not in ALLOWED]
    return f"it carries what a published copy does not: {', '.join(foreign)}" if foreign else ""


def _check_xmp(parts: list[CarriedPart]) -> tuple[dict[str, str], Label]:
    packets = [part.content for part in parts if part.name == XMP]
    if not packets:
        return {}, Label(XMP, "missing", "there is no XMP")
    if len(packets) > 1:
        return {}, Label(XMP, "changed", f"{len(packets)} packets, where one is wanted")
    try:
        fields = read_packet(packets[0])
    except ValueError as error:
        return {}, Label(XMP, "changed", str(error))
    told = fields.get(SOURCE_TYPE)
    if told is None:
        return fields, Label(XMP, "missing", "there is XMP, but no DigitalSourceType in it")
    if told != TRAINED_ALGORITHMIC_MEDIA:
        return fields, Label(XMP, "changed", f"its DigitalSourceType is {told[:80]}")
    return fields, Label(XMP, "present", "DigitalSourceType: trainedAlgorithmicMedia")


def check_credentials(data: bytes, parts: list[CarriedPart], *, anchors: str = "", wanted: bool = True) -> Label:
    """The content credentials alone. `wanted` False: they are off, and their absence is no fault."""
    there = any(part.name == CREDENTIALS for part in parts)
    if not wanted:
        return Label(CREDENTIALS, "not checked", "off by policy (publishing.content_credentials)")
    from tools.publishing.content_credentials import mime_of, read_credentials

    reading = read_credentials(data, mime_of(format_of(data)), anchors)
    if reading is None:
        return Label(CREDENTIALS, "changed" if there else "missing", "they cannot be read" if there else "there are none")
    unsigned = check_unsigned([part.content for part in parts if part.name == CREDENTIALS], are_segments=format_of(data) == "JPEG")
    faults = [*reading.faults, unsigned.fault] if unsigned.fault else list(reading.faults)
    if unsigned.has_stamp and not reading.time_stamp and not faults:
        faults = ["its time stamp was changed, or does not fit"]
    if faults:
        return Label(CREDENTIALS, "changed", f"integrity: not verified: {'; '.join(faults)}")
    if not reading.says_ai:
        return Label(CREDENTIALS, "changed", "integrity: verified, but they do not say that the picture was made with AI")
    stamp = f"time stamp: {reading.time_stamp}" if reading.time_stamp else "time stamp: none"
    older = f"; {reading.older} older manifest(s) as ingredients" if reading.older else ""
    return Label(CREDENTIALS, "present", f"integrity: verified; signer: {reading.signer}; {stamp}{older}")


@dataclass(frozen=True, slots=True)
class Verified:
    """A file, and the labels that were found in it."""

    path: Path
    report: LabelReport

    def to_json(self) -> dict[str, Any]:
        return {"file": stored_path(self.path), **self.report.to_json()}


def verify_file(path: Path, settings: PublishingSettings) -> Verified:
    """Check one file as whoever gets it would: nothing is known of it but its bytes.

    Raises InputError for a file that cannot be read, UnavailableError where content credentials are wanted and cannot be read.
    """
    from tools.publishing.signing_identity import read_anchors, require_packages

    if settings.with_credentials:
        require_packages()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except IsADirectoryError:
        raise InputError(path, "is a directory, not a file") from None
    anchors = read_anchors(settings.anchors) if settings.anchors is not None and settings.with_credentials else ""
    return Verified(path, check_labels(data, path, anchors=anchors, with_credentials=settings.with_credentials, wide=True))
