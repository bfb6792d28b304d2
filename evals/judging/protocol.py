"""The protocol of scores: everything that makes two of them comparable, and its id, a hash over all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evals.faces.face_engine import FaceEngine
    from evals.judging.references import ReferenceSet

AGGREGATION = "centroid"
"""A picture's cosine is that of its unit embedding to the unit mean of the references' unit embeddings (`mean`, until version 3.1: the mean
of its cosines to each of them)."""


def protocol_of(
    engine: FaceEngine, references: ReferenceSet, scale: Mapping[str, Any], *, skin_points: str | None, measures: Mapping[str, str]
) -> dict[str, Any]:
    """The protocol of scores by this engine against these references. `scale`: the engine's row of the policy.

    `skin_points`: whose landmarks place the skin, None where skin is not measured. `measures`: name and version of the measure of each
    further gate that is in force, by gate key; without one the id is that of before, and so it is where no reference has other colours
    than sRGB, which version 3.0 did not convert.
    """
    from evals.faces import subject as faces
    from evals.skin import realism as skin

    return with_id(
        {
            **engine.identity(),
            "aggregation": AGGREGATION,
            "subject": "area - 2 d2",
            "scale": dict(scale),
            "face_metric": faces.METRIC,
            "skin_metric": None if skin_points is None else skin.METRIC,
            **({} if skin_points is None else {"skin_points": skin_points}),
            "reference_set_id": references.set_id,
            "references": len(references.names),
            **({"reference_colors": "converted to sRGB"} if references.converted else {}),
            **({"measures": dict(measures)} if measures else {}),
        }
    )


DETECTOR_FILES = "face_detection_yunet"
"""How the names of the detector's files begin. Another of them is another way of measuring, not another choice."""
CHOSEN = frozenset({"engine", "model_pack", "models", "reference_set_id", "references"})
"""What whoever scores chooses. All else in a protocol is how this version measures, and the scale that belongs to it."""


def chosen_part(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """What was chosen: engine, models, detector, references, further gates. Where two protocols agree in it and differ in the rest, the
    same pictures can be scored again in the way of today."""
    chosen = {key: value for key, value in protocol.items() if key in CHOSEN}
    if isinstance(chosen.get("models"), Mapping):
        chosen["models"] = {name: digest for name, digest in chosen["models"].items() if not name.startswith(DETECTOR_FILES)}
    detector = protocol.get("detector")
    if isinstance(detector, Mapping) and "name" in detector:
        chosen["detector"] = {"name": detector["name"]}
    return {**chosen, "measures": dict.fromkeys(protocol.get("measures", {}), "in force")} if protocol.get("measures") else chosen


def measured_otherwise(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs in how scores were measured, as `aggregation mean then, centroid now`; empty where nothing does, or a protocol is not
    known. What was chosen, and a scale that was set anew, is no other way of measuring."""
    if not then or not now:
        return ()
    keys = [key for key in {**then, **now} if key not in (*CHOSEN, "id", "scale", "measures", "detector")]
    parts = [(key, then.get(key), now.get(key)) for key in keys]
    for key in ("detector", "measures"):
        old, new = then.get(key) or {}, now.get(key) or {}
        both = {**old, **new} if key == "detector" else old.keys() & new.keys()
        parts += [(f"{key} {name}".replace("_", " "), old.get(name), new.get(name)) for name in both if (key, name) != ("detector", "name")]
    parts.append(("detector's file", _detector_file(then), _detector_file(now)))
    return tuple(f"{name.replace('_', ' ')} {_word(old)} then, {_word(new)} now" for name, old, new in parts if old != new)


def _detector_file(protocol: Mapping[str, Any]) -> str | None:
    return next(
        (f"{name} ({digest[:12]}…)" for name, digest in protocol.get("models", {}).items() if name.startswith(DETECTOR_FILES)), None
    )


def _word(value: object) -> str:
    return "none" if value is None else str(value)


def with_id(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol with `id`, a hash over everything else in it."""
    rest = {key: value for key, value in protocol.items() if key != "id"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return {**rest, "id": hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]}
