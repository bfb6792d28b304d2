"""What a face score stands between: how strangers score against a reference set (the floor), and the references among themselves (the
ceiling), both on the policy's scale. And whether the references are enough, and agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evals.faces.policy_scale import PolicyScale
    from evals.judging.references import ReferenceSet

ENOUGH = 5
"""With fewer references one of them moves the middle, and every score, by much."""
FAR_BELOW = 0.4
"""Of the way from a stranger to the middle one of the references: below it a reference is called unlike the others. The least like of 13
good ones lay at .47 of that way with SFace, .50 with InsightFace's small pack, .84 with dlib. Of 206 strangers 95 % lay below .27, .35 and
.49 of it: a stranger among the references is named nearly always with the first two, and mostly with dlib. Computer-made people of one
program are more alike: among six references of such a woman 27 of 46 others were named with SFace, of such a man 38, of a photographed
woman 46, and never a reference of theirs."""
STEPS = 200


@dataclass(frozen=True, slots=True)
class LikenessRange:
    """`strangers`: the mean score of other people. `references`: the middle one of the references' scores, each left out of the set that
    it is held against; None for a single reference."""

    strangers: float
    references: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe_likeness(score: float | None, likeness: Mapping[str, Any] | None) -> str:
    """`0.71: strangers 0.02, your references among themselves 0.78`; empty where there is no score, or the range is not known."""
    if score is None or not likeness or likeness.get("strangers") is None:
        return ""
    references = likeness.get("references")
    ceiling = "" if references is None else f", your references among themselves {references:.2f}"
    return f"{score:.2f}: strangers {likeness['strangers']:.2f}{ceiling}"


def measure_range(references: ReferenceSet, scale: PolicyScale, scale_key: str) -> LikenessRange:
    """By the numbers of strangers that are carried for the engine, else by its row in the policy, whose average stranger scores 0."""
    import numpy as np

    from evals.faces.centroid import left_out_cosines
    from evals.faces.strangers import statistics_of

    known = statistics_of(scale_key)
    strangers = scale.score(scale.stranger)
    if known is not None and len(known.mean) == references.embeddings.shape[1]:
        floor = known.floor_for(references.centroid)
        strangers = float(np.mean([scale.score(floor.cosine_at((step + 0.5) / STEPS)) for step in range(STEPS)]))
    cosines = left_out_cosines(references.embeddings)
    middle = scale.score(float(np.median(cosines))) if len(cosines) else None
    return LikenessRange(round(strangers, 4), None if middle is None else round(middle, 4))


def doubts_about(references: ReferenceSet, scale: PolicyScale) -> tuple[str, ...]:
    """What a person should know before trusting scores against this set: too few of them, or some that do not fit the others."""
    import numpy as np

    from evals.faces.centroid import left_out_cosines
    from lifeos.counting import counted
    from lifeos.escaping import escape_line

    count = len(references.names)
    if count == 1:
        return ("only one reference with a face: scores depend on that one picture; five or more are steadier",)
    found = [f"only {counted(count, 'reference')} with a face: five or more are steadier"] if count < ENOUGH else []
    cosines = left_out_cosines(references.embeddings)
    middle = float(np.median(cosines))
    if middle < scale.warn:
        among = f"each against the others they reach {middle:.2f} in the middle, and a picture needs {scale.passing:.2f} to pass"
        return (*found, f"the references disagree with each other: {among}; look whether all of them show the character")
    limit = scale.stranger + FAR_BELOW * (middle - scale.stranger)
    for name, cosine in zip(references.names, cosines, strict=True):
        if cosine < limit:
            found.append(
                f"reference {escape_line(name)} is far less like the others ({cosine:.2f}) than they are among themselves ({middle:.2f}): "
                "look whether it shows the character"
            )
    return tuple(found)
