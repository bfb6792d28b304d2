"""The mark `borderline`: the verdict on a picture's skin could be the other one. It stands beside the verdict, which follows the limit.

With `skin_realism.reject_borderline` in the policy pictures that carry it are rejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evals.judging import gates
from evals.skin.realism import BORDERLINE, SkinScore


def is_borderline(skin: SkinScore, policy: Mapping[str, Any]) -> bool:
    """Whether the policy's limit of skin texture lies within what the texture score may really be (`SkinScore.texture_range`).

    False where the policy has no such limit, and for scores of version 1 of the measure, which do not hold the range.
    """
    gate = gates.gate_of("texture")
    limit = gate.limit(policy)
    if limit is None or skin.texture_range is None:
        return False
    low, high = skin.texture_range
    return not gate.passes(low, limit) and gate.passes(high, limit)


def mark_borderline(skin: SkinScore, policy: Mapping[str, Any]) -> SkinScore:
    """The same score with the flag as that policy makes it."""
    flags = tuple(flag for flag in skin.flags if flag != BORDERLINE)
    return replace(skin, flags=(BORDERLINE, *flags) if is_borderline(skin, policy) else flags)


def rejects_borderline(policy: Mapping[str, Any]) -> bool:
    """Whether the policy rejects what is borderline."""
    return bool(gates.look_up(policy, "skin_realism.reject_borderline"))
