"""From an engine's cosine to the policy's score: each engine reports similarity in its own range, and one scale makes them comparable.

The four points of each engine are its row in the policy (`face_similarity.engines`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lifeos.errors import InputError

POLICY_SCORES = (0.0, 0.5, 0.6, 1.0)
"""Scores of the four points of a row: stranger, warn, pass, same."""


@dataclass(frozen=True, slots=True)
class PolicyScale:
    """The four cosines of one engine at which its score is known: an average stranger's, the warn and the pass mark, and 1: the
    middle of the references itself."""

    stranger: float
    warn: float
    passing: float
    same: float

    @classmethod
    def from_policy(cls, row: Mapping[str, Any]) -> PolicyScale:
        return cls(row["stranger"], row["warn"], row["pass"], row["same"])

    def to_json(self) -> dict[str, float]:
        """The four as a row of the policy has them: what a protocol holds of it."""
        return {"stranger": self.stranger, "warn": self.warn, "pass": self.passing, "same": self.same}

    def score(self, cosine: float) -> float:
        """0 = an average stranger, 0.60 = the pass mark, 1 = the middle of the references itself; straight lines between."""
        return float(np.interp(cosine, (self.stranger, self.warn, self.passing, self.same), POLICY_SCORES))


def doubt_of(row: Mapping[str, Any], key: str, model_sha256: str) -> str:
    """Why the marks of an engine's row may not fit the model that runs, for people; empty where they were measured with it."""
    measured = row.get("model")
    if "note" in row:
        why = f"are {row['note']}"
    elif measured is None:
        why = "were not measured with this model file, as far as the policy says"
    elif not model_sha256.startswith(measured):
        why = f"were measured with another model file ({measured}…)"
    else:
        return ""
    return f"the marks of {key} in the policy {why}"


def require_row(scales: Mapping[str, Mapping[str, Any]], key: str, what: str) -> Mapping[str, Any]:
    """The policy's row for an engine. Raises InputError, which shows the row to write, where there is none."""
    if key in scales:
        return scales[key]
    row = f"face_similarity.engines.{key}: {{stranger: …, warn: …, pass: …, same: 1.0}}"
    fix = (
        f"measure it: python evals/calibrate_engine.py --reference-dir DIR --strangers DIR --write; it adds {row} to evals/thresholds.yaml"
    )
    raise InputError(what, "the policy has no thresholds for it, and those of another model do not carry over", fix)
