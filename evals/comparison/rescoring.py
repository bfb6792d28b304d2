"""Score the pictures of all runs again in one way, so that runs of different protocols can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.comparison.pairing import PassMark
from evals.comparison.run_pictures import find_run_pictures
from evals.comparison.runs import ImageScore, Run
from evals.comparison.verdicts import DIGITS, grade_for
from lifeos.errors import InputError, UnavailableError
from lifeos.progress import track

if TYPE_CHECKING:
    from evals.judging.assessor import Assessor


def rescore(
    first: Sequence[Run],
    second: Sequence[Run],
    folders: Sequence[Path | None],
    policy: dict[str, Any],
    reference_dir: Path | None,
    *,
    engine: str = "auto",
    model_root: Path | None = None,
) -> tuple[list[Run], list[Run]]:
    """The same runs with scores measured now, all against one reference set. The history is not changed.

    Raises UnavailableError where pictures are gone, InputError where no references are known.
    """
    from evals.judging.assessor import open_assessor

    sides = [[(run, _all_pictures(run, folder)) for run in runs] for runs, folder in zip((first, second), folders, strict=True)]
    references = reference_dir or _references([*second, *first], policy)
    assessor = open_assessor(references, policy, engine=engine, model_root=model_root)
    again = [[rescore_run(run, paths, assessor, policy) for run, paths in side] for side in sides]
    return again[0], again[1]


def _all_pictures(run: Run, folder: Path | None) -> dict[str, Path]:
    if not run.images:
        raise UnavailableError(run.run_id, "cannot be scored again: its row names no pictures", "run evals/scorecard.py on its pictures")
    paths = find_run_pictures(run, folder)
    missing = [image.file for image in run.images if image.file not in paths]
    if missing:
        where = folder or run.extra.get("generated_dir")
        place = f"are not in {where}" if where else "are not at hand, for its row names no folder"
        why = f"{len(missing)} of its {len(run.images)} pictures {place}, such as {missing[0]}"
        raise UnavailableError(run.run_id, why, "say where they are: --pictures-v1 DIR, --pictures-v2 DIR")
    return paths


def _references(runs: Sequence[Run], policy: Mapping[str, Any]) -> Path:
    told = [Path(run.extra["reference_dir"]) for run in runs if isinstance(run.extra.get("reference_dir"), str)]
    told += [Path(folder) for folder in policy["production"]["reference_dirs"]]
    for folder in told:
        if folder.is_dir():
            return folder
    raise InputError("--rescore", "no folder of references is known", "name it: --reference-dir DIR")


def rescore_run(run: Run, paths: Mapping[str, Path], assessor: Assessor, policy: dict[str, Any]) -> Run:
    """One run with its pictures assessed now."""
    order = [image.file for image in run.images]
    assessed = track(assessor.assess_many([paths[file] for file in order]), f"scoring {run.run_id}", total=len(order), unit="picture")
    images, changed = [], []
    for image, assessment in zip(run.images, assessed, strict=True):
        shot = assessment.geometry.shot_type if assessment.geometry else None
        if image.sha256 not in (None, assessment.sha256):
            changed.append(image.file)
        images.append(replace(image, face=assessment.face.score, skin=assessment.skin.score, shot=shot, approved=None))
    if changed:
        why = f"{len(changed)} of its {len(order)} pictures are not the files that were scored, such as {changed[0]}"
        raise UnavailableError(run.run_id, why, "score what is there now as a run of its own: evals/scorecard.py")
    protocol = assessor.protocol
    return rescored(run, tuple(images), {**protocol}, policy)


def rescored(run: Run, images: tuple[ImageScore, ...], protocol: dict[str, Any], policy: dict[str, Any]) -> Run:
    """`run` with other scores of its pictures, and the means and grade that follow from them."""
    faces = [image.face for image in images if image.face is not None]
    skins = [image.skin for image in images if image.skin is not None]
    face = sum(faces) / len(faces) if faces else None
    skin = sum(skins) / len(skins) if skins else None
    mark = PassMark.of(policy)
    overall = None if face is None or skin is None else round(mark.face_weight * face + mark.skin_weight * skin, DIGITS)
    return replace(
        run,
        images=images,
        protocol_id=str(protocol.get("id")),
        protocol=protocol,
        scores={"face_similarity_mean": face, "skin_realism_mean": skin, "overall_score": overall},
        grade=None if overall is None else grade_for(overall, policy["scorecard"]["grade_boundaries"]),
        images_evaluated=len(images),
        images_without_face=sum(image.face is None for image in images),
        problems=(*run.problems, f"scored again now, with protocol {protocol.get('id')}"),
    )
