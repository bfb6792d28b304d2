"""May two runs be compared: scores that were measured in different ways say nothing about each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evals.comparison.runs import Run
from lifeos.errors import InputError

SHOWN_DIFFERENCES = 8
NOT_OF_THE_ENGINE = frozenset(
    {"engine", "model_pack", "aggregation", "subject", "face_metric", "skin_metric", "skin_points", "reference_set_id", "references"}
)


class ProtocolMismatch(InputError):
    """Two runs whose scores cannot be compared: they were measured in different ways."""


def check_protocols(runs: Sequence[Run], *, allow: bool) -> list[str]:
    """Notes on protocols. Raises ProtocolMismatch with what differs when the runs were scored in different ways."""
    known = {run.protocol_id: run for run in runs if run.protocol_id}
    notes = [f"{run.run_id} does not say how it was scored (no protocol_id)" for run in runs if not run.protocol_id]
    if notes:
        notes.append("If the runs were scored with another engine or reference set, their difference has no meaning.")
    if len(known) < 2:
        return notes
    one, other = list(known.values())[:2]
    what = describe_protocol_difference(one, other)
    if not allow:
        ids = f"{one.run_id} and {other.run_id}"
        again = f"python evals/compare_versions.py --v1 {one.run_id} --v2 {other.run_id} --rescore"
        raise ProtocolMismatch(ids, f"scored in different ways: {what}", f"score both again in one way: {again}")
    forced = f"FORCED: {one.run_id} and {other.run_id} were scored in different ways ({what}): differences may come from that alone."
    return [*notes, forced]


def describe_protocol_difference(one: Run, other: Run) -> str:
    """What differs, key by key where the rows hold their protocols, else the two ids."""
    mine, theirs = _flatten(one.protocol), _flatten(other.protocol)
    differing = [key for key in dict.fromkeys([*mine, *theirs]) if mine.get(key) != theirs.get(key)]
    if "engine" in differing:  # its models, detector and scale differ with it
        differing = [key for key in differing if key in NOT_OF_THE_ENGINE]
    parts = [f"{key} {_short(mine.get(key))} against {_short(theirs.get(key))}" for key in differing]
    if one.protocol and other.protocol and parts:
        return "; ".join(parts[:SHOWN_DIFFERENCES])
    return f"protocol {_short(one.protocol_id)} against {_short(other.protocol_id)}"


def _flatten(protocol: Mapping[str, Any]) -> dict[str, object]:
    """A protocol without its id, `scale: {pass: 0.3}` as `scale.pass`: so that a difference is said by what differs."""
    flat: dict[str, object] = {}
    for key, value in protocol.items():
        flat |= {f"{key}.{inner}": part for inner, part in value.items()} if isinstance(value, Mapping) else {key: value}
    flat.pop("id", None)
    return flat


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:16]}…"
