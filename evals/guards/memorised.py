"""Guard *memorised*: does the picture repeat one of the training pictures? Such pictures score well, and are worth nothing.

The comparison is that of `evals.likeness.training_pictures`; the score is the correlation with the nearest training picture, 0 where none
is near. The check before a promotion (`evals.comparison.memorisation`) is the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evals.judging.gate import DIGITS, GateFolder, look_up
from evals.judging.records import Reading
from evals.judging.view import Prepared
from evals.likeness.training_pictures import METRIC, Match, TrainingPictures, load_training_set, see
from lifeos.counting import counted, verb

if TYPE_CHECKING:
    from evals.judging.view import Setting, View

__all__ = ["METRIC", "is_memorised", "limit_in_force", "measure", "prepare"]

KEY = "memorised"
FOLDER = GateFolder("gates.memorised.folder", "--training-dir", "the training pictures that no picture may repeat, for that gate")


def limit_in_force(policy: Mapping[str, Any]) -> float:
    """The highest likeness that is allowed: the guard's, and where that is off `comparison.memorised_cosine`."""
    limit = look_up(policy, "gates.memorised.limit")
    return float(policy["comparison"]["memorised_cosine"] if limit is None else limit)


def is_memorised(match: Match, policy: Mapping[str, Any]) -> bool:
    """Whether a picture is too close to a training picture, both numbers at 4 decimals as in every gate."""
    return round(match.score, DIGITS) > round(limit_in_force(policy), DIGITS)


def prepare(setting: Setting) -> Prepared:
    """Read the training pictures. Raises InputError where no folder is named or none of its pictures can be compared, UnavailableError
    without the model of the embedding."""
    from evals.judging.references import content_id
    from evals.likeness.embedding import open_embedder
    from lifeos.images import list_pictures
    from lifeos.picture_labels import is_labelled

    folder = FOLDER.require(setting, "training pictures")
    listing = list_pictures(folder, recursive=True)
    embedder = setting.embedder or open_embedder()
    training = load_training_set(listing.pictures, folder, setting.engine, embedder, workers=setting.workers)
    setting.memory[KEY] = training
    left_out = [*training.left_out, *(f"{item.path.name} ({item.why})" for item in listing.left_out)]
    labelled = sum(is_labelled(path) for path in listing.pictures)
    identity = f"training {content_id(picture.sha256 for picture in training.pictures)}"
    lines = tuple(f"training picture left out: {each}" for each in left_out)
    return Prepared(identity, _warnings(len(left_out), labelled, len(training.pictures)), lines)


def _warnings(left_out: int, labelled: int, total: int) -> tuple[str, ...]:
    lines = []
    if left_out:
        these = verb(left_out, "it", "them")
        lines.append(f"training pictures: {counted(left_out, 'file')} cannot be compared, and what repeats {these} passes")
    if labelled:
        carry = f"{labelled} of {counted(total, 'picture')} {verb(labelled, 'carries', 'carry')} the label of AI-made pictures"
        why = "as published copies do, whose watermark would be learnt: train on the originals"
        lines.append(f"training pictures: {carry}, {why}")
    return tuple(lines)


def measure(view: View) -> Reading:
    """The likeness to the nearest training picture; the note names that."""
    training: TrainingPictures = view.memory[KEY]
    if view.embedding is None:
        return Reading(None, "no_embedding")
    picture = view.picture
    seen = see(picture.sha256, picture.sha256, picture.rgb, view.sighting, view.embedding)
    match = Match(0.0) if seen is None else training.nearest(seen)
    return Reading(round(match.score, 6), note=describe(match))


def describe(match: Match) -> str:
    """`nearest is 10_person/07.png, mirrored`; empty where none is near."""
    return f"nearest is {match.name}{f', {match.how}' if match.how else ''}" if match.name else ""
