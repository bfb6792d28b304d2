"""The trainer's own sample pictures: of which step and, where the trainer was given a file of prompts, of which prompt each is.

Names as sd-scripts and musubi-tuner (`NAME_000500_00_20260101120000_42.png`, `e000003` for an epoch) and ai-toolkit
(`1767268800000__000000500_0.jpg`) write them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.judging.assessor import Assessor
from lifeos.errors import InputError
from lifeos.images import list_pictures
from tools.sweep.analysis import Shot
from tools.sweep.curve_report import CurveVerdict
from tools.sweep.trainer_samples import SampleGap, ShownPicture, compare_samples
from tools.training.training_record import RecordedRun

NAMES = (
    re.compile(r"^\d{10,}__0*(?P<step>\d+)_(?P<place>\d+)$"),
    re.compile(r"(?:^|_)0*(?P<step>\d{1,9})_(?P<place>\d{2,3})_\d{14}(?:_\d+)?$"),
)
PROMPTS_OPTION, SAMPLER_OPTION = "--sample_prompts", "--sample_sampler"
TRAINED_STRENGTH = 1.0
"""A trainer samples with the LoRA at full strength."""
PROMPT_ENDS = re.compile(r"\s--[a-z]\b")


@dataclass(frozen=True, slots=True)
class TrainerSample:
    """One sample picture. `step`, `place`: None where its name does not tell."""

    path: Path
    step: int | None
    place: int | None


def list_samples(folder: Path) -> list[TrainerSample]:
    """The sample pictures of a folder, by name. Raises InputError where there is none."""
    if not folder.is_dir():
        raise InputError(folder, "no such directory", "give --trainer-samples the trainer's sample folder")
    found = []
    for path in list_pictures(folder).pictures:
        name = next((match for pattern in NAMES if (match := pattern.search(path.stem))), None)
        found.append(TrainerSample(path, int(name["step"]) if name else None, int(name["place"]) if name else None))
    if not found:
        raise InputError(folder, "holds no pictures", "give --trainer-samples the trainer's sample folder")
    return found


def measure_gap(
    samples: Sequence[TrainerSample],
    verdict: CurveVerdict,
    shots: Sequence[Shot],
    prompts: Sequence[str],
    assessor: Assessor,
    policy: Mapping[str, Any],
    record: RecordedRun | None,
    causes: Sequence[str] = (),
) -> SampleGap | None:
    """Score the trainer's samples and hold the graph's pictures of the same step against them; None where nothing was judged.

    The step is the chosen one, where there are samples of it, else the latest judged one that has samples; samples whose names tell no
    step are taken for those of the chosen one.
    """
    judged = verdict.curve.judged
    if not judged:
        return None
    chosen = verdict.choice.chosen.step if verdict.choice.chosen is not None else judged[-1]
    named = {sample.step for sample in samples if sample.step is not None}
    step = next((each for each in (chosen, *reversed(judged)) if each in named), None)
    unplaced = [] if named else ["the samples' names tell no step, so all of them are compared"]
    if named and step is None:
        unplaced = [f"no sample is of a judged step: those of step {max(named)} are compared with step {chosen}"]
    shown_step = step if step is not None else max(named, default=None)
    kept = [sample for sample in samples if sample.step == shown_step]
    texts = _sample_prompts(record)
    scored = assessor.assess_many([sample.path for sample in kept])
    theirs = [ShownPicture(found, _at(texts, sample.place)) for sample, found in zip(kept, scored, strict=True)]
    cells = {cell.config: cell for cell in verdict.curve.cells if cell.step == (step if step is not None else chosen)}
    ours = [
        ShownPicture(shot.assessment, prompts[shot.prompt_id - 1], cells[shot.config].strength) for shot in shots if shot.config in cells
    ]
    strengths = {picture.strength for picture in ours if picture.strength is not None}
    strength = min(strengths, key=lambda each: abs(each - TRAINED_STRENGTH), default=None)
    known = [*unplaced, *causes]
    if strength is not None and strength != TRAINED_STRENGTH:
        known.append(f"the LoRA's strength is {strength:g} in the graph and {TRAINED_STRENGTH:g} in the trainer's samples")
    if sampler := _option(record, SAMPLER_OPTION):
        known.append(f"the trainer samples with {sampler}")
    return compare_samples(theirs, ours, policy, strength=strength, known_causes=known, references_trained=verdict.curve.references_trained)


def _option(record: RecordedRun | None, name: str) -> str:
    words = [word for text in (record.argv if record is not None else ()) for word in text.split("=", 1)]
    return words[words.index(name) + 1] if name in words[:-1] else ""


def _sample_prompts(record: RecordedRun | None) -> list[str]:
    """The prompts of the trainer's own file, without its options; none where there is no such text file."""
    path = Path(_option(record, PROMPTS_OPTION) or ".")
    if path.suffix != ".txt" or not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return [PROMPT_ENDS.split(line)[0].strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _at(texts: Sequence[str], place: int | None) -> str | None:
    return texts[place] if place is not None and place < len(texts) else None
