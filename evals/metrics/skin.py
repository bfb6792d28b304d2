"""Skin realism: texture and colour, measured on skin, relative to the references."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SkinScore:
    """How real the skin looks, 0..1. `score` is None, with a reason, where there is too little skin to judge."""

    score: float | None
    reason: str | None
    texture: float | None = None
    color: float | None = None
    flags: tuple[str, ...] = ()
