"""What a reviewer can take back, step by step to the beginning: read from the decisions themselves, so that it outlives the server.

All lines of one step carry one time. A step that was undone has lines that put back what stood before it (`undo`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from tools.production.decisions import MOVE, REVIEW, Decision

Key = tuple[str, bool]
"""A picture, and whether the verdict on it is an opinion."""


@dataclass(slots=True)
class ReviewStep:
    """One step: the verdict that stood before it about each picture, None for none."""

    when: str
    before: dict[Key, Decision | None] = field(default_factory=dict)


def find_steps(lines: Iterable[Decision], reviewer: str) -> list[ReviewStep]:
    """The steps of a reviewer that can be undone, oldest first. What was moved by hand since is no longer among them."""
    steps: list[ReviewStep] = []
    stood: dict[Key, Decision | None] = {}
    undoing = ""
    for line in lines:
        key = line.picture.name, line.opinion
        if line.by != reviewer:
            continue
        if line.origin == MOVE:
            for step in steps:
                step.before.pop(key, None)
            steps = [step for step in steps if step.before]
        elif line.undo:
            if line.when != undoing and steps:
                steps.pop()
            undoing = line.when
        else:
            if not steps or steps[-1].when != line.when:
                steps.append(ReviewStep(line.when))
            steps[-1].before.setdefault(key, stood.get(key))
        stood[key] = None if line.withdrawn else line
    return steps


def undo_lines(step: ReviewStep, stands: Sequence[Decision], when: str) -> list[Decision]:
    """The lines that put back what stood before a step. `stands`: what the reviewer says now of its pictures."""
    now = {(decision.picture.name, decision.opinion): decision for decision in stands}
    lines = []
    for key, before in step.before.items():
        if before is not None:
            lines.append(replace(before, when=when, origin=REVIEW, undo=True))
        elif key in now:
            lines.append(replace(now[key], when=when, origin=REVIEW, undo=True, withdrawn=True, reason="", overrules=()))
    return lines
