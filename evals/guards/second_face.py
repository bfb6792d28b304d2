"""Guard *second face*: is the person alone? The largest other face, measured against the subject's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evals.judging.gate import look_up
from evals.judging.records import Reading

if TYPE_CHECKING:
    from evals.judging.view import View

METRIC = "second_face/1"
LIMIT_KEY = "gates.second_face.limit"


def measure(view: View) -> Reading:
    """The share of the subject's area that the largest other face has, at most 1; 0 for a person who is alone."""
    from evals.faces.subject import second_face_share

    if view.sighting is None:
        return Reading(None, "no_face")
    return Reading(round(min(1.0, second_face_share(view.sighting.faces, view.sighting.subject)), 6))


def limit_in_force(policy: Mapping[str, Any]) -> float:
    """From which share on another face counts as a second person: the limit of the guard where that is on, so that the mark `second_face`
    and the verdict say the same; else the share that the mark has."""
    limit = look_up(policy, LIMIT_KEY)
    return float(policy["face_similarity"]["second_face_area_ratio"] if limit is None else limit)
