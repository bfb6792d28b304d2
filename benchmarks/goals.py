"""A figure with its goal beside it: shown, missed, or not shown because the pictures are too few. One table and one exit code for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lifeos.counting import counted
from lifeos.errors import EXIT_GATE, EXIT_OK

LEAST_SHOWN = 15
"""Pictures from which a figure shows anything: with none wrong of 15 the truth may still be 20 %."""
SHOWN, MISSED, NOT_SHOWN = "shown", "missed", "not shown"
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one group: of a share, `hits` of `of` (of the pictures, unless said); else `hits` is None.

    `goal` is the bound, `at_least` its side; a figure without a goal is a report. `pictures` is how many it rests on, of two sets that
    are compared the smaller one, `on` says them in words.
    """

    group: str
    name: str
    value: float | None
    hits: int | None
    pictures: int
    goal: float | None = None
    at_least: bool = False
    least: int = LEAST_SHOWN
    """Pictures from which this figure shows anything."""
    on: str = ""
    of: int | None = None

    @property
    def status(self) -> str:
        """`shown`, `missed`, `not shown` (too few pictures), or empty for a report."""
        if self.goal is None:
            return ""
        if self.value is None or self.pictures < self.least:
            return NOT_SHOWN
        reached = self.value >= self.goal - ROUNDING if self.at_least else self.value <= self.goal + ROUNDING
        return SHOWN if reached else MISSED

    @property
    def basis(self) -> str:
        """`shown on 24 pictures`, `not shown: 7 pictures, 15 wanted`; of a report the pictures alone."""
        on = self.on or counted(self.pictures, "picture")
        return {"": on, NOT_SHOWN: f"not shown: {on}, {self.least} wanted"}.get(self.status, f"{self.status} on {on}")

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "status": self.status}


def share(
    group: str,
    name: str,
    hits: int,
    of: int,
    goal: float | None = None,
    *,
    at_least: bool = False,
    on: str = "",
    pictures: int | None = None,
) -> Figure:
    """A share, which rests on as many pictures as it is of, unless said."""
    has_any = of > 0
    return Figure(
        group,
        name,
        hits / of if has_any else None,
        hits if has_any else None,
        of if pictures is None else pictures,
        goal,
        at_least,
        on=on,
        of=of,
    )


def render_figures(figures: Sequence[Figure]) -> str:
    """The table, by groups, and how many goals are shown."""
    lines: list[str] = []
    group = ""
    for figure in figures:
        if figure.group != group:
            group = figure.group
            lines += ["", f"{group:62}{'figure':>8}  {'of':>12}  goal"]
        bound = _bound(figure)
        lines.append(f"  {figure.name:60}{_value(figure):>8}  {_of(figure):>12}  {bound:8} {figure.basis}".rstrip())
    counts = {status: sum(figure.status == status for figure in figures) for status in (SHOWN, MISSED, NOT_SHOWN)}
    lines += ["", f"{counts[SHOWN]} goals shown, {counts[MISSED]} missed, {counts[NOT_SHOWN]} not shown (too few pictures)"]
    return "\n".join(lines).lstrip("\n")


def exit_code(figures: Sequence[Figure]) -> int:
    """1 where a goal is missed on enough pictures."""
    return EXIT_GATE if any(figure.status == MISSED for figure in figures) else EXIT_OK


def _value(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    return f"{figure.value:.1%}".replace(".0%", "%") if figure.hits is not None else f"{figure.value:.3f}"


def _of(figure: Figure) -> str:
    return "" if figure.hits is None else f"{figure.hits} of {figure.pictures if figure.of is None else figure.of}"


def _bound(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    bound = f"{figure.goal:.0%}" if figure.hits is not None else f"{figure.goal:g}"
    return f"{'≥' if figure.at_least else '≤'} {bound}"
