"""Score the pictures of all runs again in one way, so that runs of different protocols can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.comparison.run_pictures import find_run_pictures, is_there
from evals.comparison.runs import RowPicture, Run
from evals.judging import gates
from evals.judging.picture_verdict import verdict
from evals.judging.variety import measure_poses
from lifeos.counting import counted, verb
from lifeos.errors import InputError, UnavailableError
from lifeos.progress import track

if TYPE_CHECKING:
    from evals.judging.assessor import Assessor
    from evals.judging.records import Assessment


def rescore(
    first: Sequence[Run],
    second: Sequence[Run],
    folders: Sequence[Path | None],
    policy: dict[str, Any],
    reference_dir: Path | None,
    *,
    engine: Mapping[str, Any] | None = None,
) -> tuple[list[Run], list[Run]]:
    """The same runs with scores measured now, all against one reference set. The history is not changed. `engine`: as the flags say.

    Raises UnavailableError where pictures are gone, InputError where no references are known.
    """
    from evals.judging.assessor import open_assessor

    sides = [[(run, _all_pictures(run, folder)) for run in runs] for runs, folder in zip((first, second), folders, strict=True)]
    references = reference_dir or _references([*second, *first], policy)
    assessor = open_assessor(references, policy, **(engine or {}))
    again = [[rescore_run(run, paths, assessor, policy) for run, paths in side] for side in sides]
    return again[0], again[1]


def _all_pictures(run: Run, folder: Path | None) -> dict[str, Path]:
    if not run.images:
        raise UnavailableError(run.run_id, "cannot be scored again: its row names no pictures", "run evals/scorecard.py on its pictures")
    paths = find_run_pictures(run, folder)
    missing = [image.file for image in run.images if image.file not in paths]
    if missing:
        where = folder or run.extra.get("generated_dir")
        place = f"are not in {where}" if where else "were not found, because its row names no folder"
        why = f"{len(missing)} of its {counted(len(run.images), 'picture')} {place}, such as {missing[0]}"
        raise UnavailableError(run.run_id, why, "say where they are: --pictures-v1 DIR, --pictures-v2 DIR")
    return paths


def _references(runs: Sequence[Run], policy: Mapping[str, Any]) -> Path:
    told = [Path(run.extra["reference_dir"]) for run in runs if isinstance(run.extra.get("reference_dir"), str)]
    told += [Path(folder) for folder in policy["production"]["reference_dirs"]]
    for folder in told:
        if is_there(folder, Path.is_dir):
            return folder
    raise InputError("--rescore", "no folder of references is known", "name it: --reference-dir DIR")


def rescore_run(run: Run, paths: Mapping[str, Path], assessor: Assessor, policy: dict[str, Any]) -> Run:
    """One run with its pictures assessed now."""
    order = [image.file for image in run.images]
    assessed = track(assessor.assess_many([paths[file] for file in order]), f"scoring {run.run_id}", total=len(order), unit="picture")
    images, changed = [], []
    judged: list[Assessment] = []
    for image, assessment in zip(run.images, assessed, strict=True):
        if image.sha256 not in (None, assessment.sha256):
            changed.append(image.file)
        judged.append(gates.keep_readings(assessment, policy, judged))
        images.append(_with_scores(image, judged[-1], policy))
    if changed:
        these = verb(len(changed), "is not the file that was", "are not the files that were")
        why = f"{len(changed)} of its {counted(len(order), 'picture')} {these} scored, such as {changed[0]}"
        raise UnavailableError(run.run_id, why, "score what is there now as a run of its own: evals/scorecard.py")
    protocol = assessor.protocol
    rescored = _rescored(run, tuple(images), gates.means(judged, policy), {**protocol}, policy)
    poses = measure_poses([item.geometry for item in judged if item.geometry is not None], [item.scene for item in judged])
    return replace(rescored, sameness=poses, sameness_of="")


def _with_scores(picture: RowPicture, found: Assessment, policy: Mapping[str, Any]) -> RowPicture:
    gates_approve = verdict(found, policy).approved and picture.duplicate_of is None
    return replace(
        picture,
        scores={key: reading.score for key, reading in gates.readings(found, policy).items()},
        reason=found.face.reason,
        says_why=True,
        shot=found.geometry.shot_type if found.geometry else None,
        approved=picture.approved if picture.decided_by is not None else gates_approve,
        gates_approved=gates_approve if picture.decided_by is not None else None,
    )


def _rescored(run: Run, pictures: tuple[RowPicture, ...], means: gates.Means, protocol: dict[str, Any], policy: Mapping[str, Any]) -> Run:
    """`run` with other scores of its pictures, and the means and grade that follow from them."""
    return replace(
        run,
        images=pictures,
        protocol_id=str(protocol.get("id")),
        protocol=protocol,
        means={key: mean.value for key, mean in means.by_gate.items()},
        overall=means.overall,
        grade=gates.grade(means.overall, policy),
        coverage={key: mean.coverage for key, mean in means.by_gate.items()},
        images_evaluated=len(pictures),
        images_without_face=sum(picture.reason == "no_face" for picture in pictures),
        problems=(*run.problems, f"scored again now, with protocol {protocol.get('id')}"),
    )
