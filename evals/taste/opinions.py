"""People's verdicts on the pictures of batches, as they are calibrated with: who said what of which picture, and why this one was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from evals.faces import subject as faces
from evals.judging.protocol import AGGREGATION
from evals.judging.records import Assessment
from evals.skin import realism
from lifeos.counting import counted, verb
from lifeos.errors import InputError
from lifeos.escaping import escape_line

RANDOM: Final = "random"
INFORMATIVE: Final = "informative"
FREE: Final = "free"
MOVED: Final = "moved"
Choice = Literal["random", "informative", "free", "moved"]
"""Why a picture was judged: drawn at random (or every picture of the batch was), asked for since its verdict says much, chosen by whoever
judged, or moved because the gates were wrong."""
OWNER = "owner"
"""Who moves pictures by hand."""
MARKS = ("stranger", "warn", "pass", "same")


@dataclass(frozen=True, slots=True)
class SeenPicture:
    """A scored picture of a batch. `prompt`: what those have in common that were made from one prompt; `sha256`: of its bytes."""

    file: str
    prompt: str
    assessment: Assessment
    gates_approve: bool
    """As its batch was judged."""
    is_copy: bool = False
    """Of another picture of its batch, and rejected for that: a verdict on it says nothing of the gates."""
    is_gone: bool = False
    """Deleted or taken away since it was scored."""

    @property
    def sha256(self) -> str:
        return self.assessment.sha256 or ""


@dataclass(frozen=True, slots=True)
class Opinion:
    """One person's verdict on one picture, the newest of that person."""

    picture: SeenPicture
    by: str
    approved: bool
    choice: Choice
    weight: float | None = None
    """How many pictures it stands for in rates (Horvitz, Thompson 1952); None: it was chosen in a way that no weight mends."""
    reason: str = ""
    when: str = ""
    blind: bool = False
    batch: str = ""


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    """A batch with what people say of it. `revised` counts verdicts that their own reviewer replaced by the opposite."""

    name: str
    protocol: Mapping[str, Any]
    pictures: tuple[SeenPicture, ...]
    opinions: tuple[Opinion, ...]
    limits: Mapping[str, float]
    """Of the gates that judge it, by gate key."""
    revised: int = 0
    running: bool = False
    notice: str = ""
    """What the batch says of its pictures, such as that they are a demonstration's."""


def check_one_protocol(batches: Sequence[JudgedBatch]) -> None:
    """Raises InputError, which names the batches, where their scores may not be put together."""
    groups: dict[str, list[str]] = {}
    for batch in batches:
        groups.setdefault(str(batch.protocol.get("id", "unknown")), []).append(batch.name)
    if len(groups) > 1:
        parts = (f"{', '.join(map(escape_line, names))} ({protocol})" for protocol, names in groups.items())
        why = f"scored under {len(groups)} protocols, so their scores cannot be put together: {'; '.join(parts)}"
        raise InputError("batches", why, "calibrate with the batches of one protocol at a time")


def measured_before(protocol: Mapping[str, Any], engines: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """In which way scores of a protocol were measured otherwise than today, in words; limits found with them are not today's."""
    now = {"aggregation": AGGREGATION, "face_metric": faces.METRIC, "skin_metric": realism.METRIC}
    words = [
        f"{key.replace('_', ' ')} {protocol[key]} then, {value} now"
        for key, value in now.items()
        if protocol.get(key) is not None and protocol[key] != value
    ]
    scale = protocol.get("scale")
    if isinstance(scale, Mapping) and not any(all(row.get(mark) == scale.get(mark) for mark in MARKS) for row in engines.values()):
        words.append("the marks of the face engine were others")
    return tuple(words)


def collect(batches: Sequence[JudgedBatch], *, looked_at_all: bool = False) -> tuple[list[Opinion], list[str]]:
    """The opinions to calibrate with, and sentences on those that are left out.

    The same picture in two batches counts once for each person, by the newer verdict. `looked_at_all`: whoever moved pictures looked at
    every picture of the batches, and agrees with the gates where they left it.
    """
    notes: list[str] = []
    newest: dict[tuple[str, str], Opinion] = {}
    copies = moved = 0
    for opinion in (each for batch in batches for each in _chosen_fairly(batch, looked_at_all)):
        key = (opinion.picture.sha256 or f"{opinion.batch}/{opinion.picture.file}", opinion.by)
        known = newest.get(key)
        if opinion.picture.is_copy:
            copies += 1
        elif opinion.choice == MOVED:
            moved += 1
        elif known is None or opinion.when >= known.when:
            newest[key] = opinion
    if copies:
        notes.append(f"{counted(copies, 'verdict')} on duplicates left out: they are rejected for being duplicates")
    if moved:
        why = "pictures are moved where the gates were wrong, so they alone would make every limit look wrong"
        notes.append(f"{counted(moved, 'moved picture')} left out: {why}; add --looked-at-all if you looked at every picture")
    revised = sum(batch.revised for batch in batches)
    if revised:
        notes.append(f"{counted(revised, 'verdict')} changed later by the same person: the newest {verb(revised, 'counts', 'count')}")
    gone = sum(opinion.picture.is_gone for opinion in newest.values())
    if gone:
        notes.append(f"{counted(gone, 'judged picture')} deleted since: the scores are known, and the verdicts count")
    return list(newest.values()), notes


def _chosen_fairly(batch: JudgedBatch, looked_at_all: bool) -> list[Opinion]:
    """The opinions on a batch; those of a person who judged every picture of it are as good as drawn at random."""
    there = [picture for picture in batch.pictures if not picture.is_copy and not picture.is_gone]
    judged: dict[str, set[str]] = {}
    for opinion in batch.opinions:
        judged.setdefault(opinion.by, set()).add(opinion.picture.file)
    opinions = list(batch.opinions)
    if looked_at_all:
        known = judged.get(OWNER, set())
        left = [picture for picture in there if picture.file not in known]
        opinions += [Opinion(picture, OWNER, picture.gates_approve, RANDOM, 1.0, batch=batch.name) for picture in left]
        judged[OWNER] = known | {picture.file for picture in left}
    whole = {by for by, files in judged.items() if all(picture.file in files for picture in there)}
    return [
        replace(each, choice=RANDOM, weight=1.0) if each.by in whole and (each.choice != MOVED or looked_at_all) else each
        for each in opinions
    ]
