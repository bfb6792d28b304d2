"""A sample of a batch for calibration: the most informative pictures, and at least as many drawn at random from all others.

Informative is a picture whose verdict is a near thing: its worst score lies next to that gate's limit. These are taken as they are, and
each stands for itself (weight 1). Of the M others R are drawn at random; each stands for M / R. Rates that are weighted so are those of
the whole batch (Horvitz and Thompson 1952), though the picked pictures alone would make every threshold look worse than it is.

The sample is written down in `.work/` before the first picture is shown: the same command goes on with it, and another reviewer is asked
the same pictures, so that the two can be compared.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evals.judging.gates import gates_in_force
from lifeos import files, foreign
from lifeos.counting import counted
from lifeos.errors import InputError
from tools.production.decisions import SampleMark
from tools.production.filing import WORK
from tools.production.results import PictureResult

SCHEMA = 1
FIX = "remove it to have another sample drawn; what was decided stays"


@dataclass(frozen=True, slots=True)
class SampledPicture:
    """A picture of a sample, and what is recorded with each verdict on it."""

    name: str
    sha256: str
    random: bool
    weight: float


@dataclass(frozen=True, slots=True)
class ReviewSample:
    """A sample as it is kept, its pictures in the order in which they are asked: a mixture, so that nobody can tell the two kinds apart."""

    batch_id: str
    size: int
    seed: int
    pictures: tuple[SampledPicture, ...]
    schema: int = SCHEMA

    def mark_of(self, name: str) -> SampleMark | None:
        return next((SampleMark(len(self.pictures), each.random, each.weight) for each in self.pictures if each.name == name), None)


def margin_of(picture: PictureResult, policy: Mapping[str, Any]) -> float | None:
    """How far the worst score of a picture is above its limit (negative: below), as a share of the possible; None without a score."""
    margins = []
    for gate in gates_in_force(policy):
        score, limit = gate.reading(picture.assessment).score, gate.limit(policy)
        if score is not None and limit is not None:
            room = (gate.span[1] - gate.span[0]) or 1.0
            margins.append((limit - score if gate.lower_is_better else score - limit) / room)
    return min(margins, default=None)


def draw_sample(batch_id: str, size: int, pictures: Mapping[str, PictureResult], policy: Mapping[str, Any], seed: int) -> ReviewSample:
    """A sample of `size` pictures (all, where there are no more). Raises InputError where there is none."""
    if not pictures:
        raise InputError("--sample", "the batch has no scored picture to ask for", "wait for the first ones")
    margins = {name: margin for name, picture in pictures.items() if (margin := margin_of(picture, policy)) is not None}
    nearest = sorted(margins, key=lambda name: (abs(margins[name]), name))
    picked = nearest[: size // 2] if size < len(pictures) else []
    others = sorted(pictures.keys() - set(picked))
    draw = random.Random(seed)
    drawn = draw.sample(others, min(size - len(picked), len(others)))
    weight = round(len(others) / len(drawn), 6)
    chosen = [SampledPicture(name, pictures[name].assessment.sha256 or "", False, 1.0) for name in picked]
    chosen += [SampledPicture(name, pictures[name].assessment.sha256 or "", True, weight) for name in drawn]
    draw.shuffle(chosen)
    return ReviewSample(batch_id, size, seed, tuple(chosen))


def sample_path(root: Path, size: int) -> Path:
    return root / WORK / f"sample_{size}.json"


def open_sample(
    root: Path, batch_id: str, size: int, pictures: Mapping[str, PictureResult], policy: Mapping[str, Any], seed: int | None = None
) -> ReviewSample:
    """The sample of that size that was begun, else a new one, written down. Raises InputError for a file that is of no use.

    The caller holds the lock of the decisions.
    """
    path = sample_path(root, size)
    if not path.exists():
        sample = draw_sample(batch_id, size, pictures, policy, secrets.randbits(32) if seed is None else seed)
        files.write_json(path, asdict(sample))
        return sample
    sample = foreign.read_file(path, ReviewSample, surrogates="keep", fix=FIX)
    if sample.schema != SCHEMA or sample.batch_id != batch_id:
        raise InputError(path, "is the sample of another batch, or of another version of LifeOS", FIX)
    lost = [each.name for each in sample.pictures if each.name not in pictures]
    if lost:
        raise InputError(path, f"{counted(len(lost), 'picture')} of it cannot be asked for any more, such as {lost[0]}", FIX)
    return sample
