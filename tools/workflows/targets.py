"""Places for settings in a graph, and why there is none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """An input that takes a setting. `part`: a value within an input that holds several (a row of a LoRA loader)."""

    node: str
    key: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A value that is written: for which setting, where, and what it was. `remark`: what a person should know of it."""

    setting: str
    target: Target
    value: object
    remark: str = ""


class Unplaceable(Exception):
    """Why a setting has no place in this graph, and what would give it one."""
