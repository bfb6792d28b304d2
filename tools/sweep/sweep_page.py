"""The page of a sweep: the sentence first, then the curve over steps and the heat map, and the pictures of each cell beside the chosen
one's.

It shows what the report says and decides nothing itself. A sweep over checkpoints and one over other settings have the same page; the
curve is there where steps are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.comparison.document import finite
from evals.comparison.rendering import signed
from evals.comparison.selection import Candidate, Selection
from evals.judging.gates import DIGITS, gates_in_force
from evals.scorecards.card import ConfigScore
from lifeos.counting import counted
from lifeos.escaping import escape_line
from lifeos.pages.beside import MOST_IN_ONE_FILE, put_beside, relative_address
from lifeos.pages.page_templates import picture_address, write_page
from tools.production.filing import BatchFolder
from tools.production.thumbnails import SUFFIX, read_thumbnail
from tools.sweep.analysis import FACTOR_TITLES, Shot, heat_map_of, score_configs
from tools.sweep.checkpoint_curve import WITHHELD
from tools.sweep.curve_report import TITLES, CurveVerdict, curve_document
from tools.sweep.design import Config

TEMPLATE = "sweep.html.j2"
PAGE_FILE = "sweep_report.html"


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table of words: `numbers` says which columns are right-aligned."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[bool]


@dataclass(frozen=True, slots=True)
class SweepPage:
    """What a page shows. `heat`: rows, columns and their cells (value, low, high, mark, configs). `curve`: that of checkpoints, None
    without steps.

    `lines`: sentences under the judgement. `notice`: of a server that is no model. `lead`: what must be read first and last.
    """

    run_id: str
    judgement: str
    shots: Sequence[Shot]
    prompts: Sequence[str]
    chosen: str | None
    table: PageTable
    heat: Mapping[str, Any] | None = None
    curve: Mapping[str, Any] | None = None
    advice: PageTable | None = None
    lines: Sequence[str] = ()
    facts: Sequence[str] = ()
    warnings: Sequence[str] = ()
    notice: str | None = None
    lead: str = ""
    tiles: Sequence[tuple[str, str]] = field(default_factory=tuple)


def page_of_selection(
    selection: Selection, configs: Sequence[Config], shots: Sequence[Shot], policy: Mapping[str, Any], **said: Any
) -> SweepPage:
    """The page of a sweep over settings. `said`: run_id, judgement, prompts, and what else the report says."""
    scored = score_configs(shots, policy)
    chosen = selection.chosen
    tiles = [(str(len(scored)), "configurations tried"), (str(len(shots)), "pictures scored")]
    if chosen is not None:
        tiles.append((_number(chosen.score), "score of the chosen one"))
        tiles.append((str(len(selection.rivals)), "others that may be as good"))
    name = None if chosen is None else chosen.name
    table = _ranking(selection, scored, policy)
    return SweepPage(shots=shots, chosen=name, table=table, heat=_heat_of_factors(selection, configs), tiles=tiles, **said)


def page_of_curve(verdict: CurveVerdict, shots: Sequence[Shot], **said: Any) -> SweepPage:
    """The page of a sweep over checkpoints. `said` as for `page_of_selection`."""
    document, choice = curve_document(verdict), verdict.choice
    traits = [{"key": name, "title": TITLES.get(name, name.capitalize())} for name in document["traits"]]
    tiles = [(str(len(verdict.curve.judged)), "checkpoints judged"), (str(len(shots)), "pictures scored")]
    if choice.chosen is not None:
        tiles.append((_number(choice.score), f"score of {choice.chosen.title}"))
    if choice.shares is not None:
        near = choice.shares.near
        tiles.append(("over 99 %" if near > 0.99 else f"{100 * near:.0f} %", "sure that none is better by an amount that matters"))
    if verdict.advice:
        tiles.append((verdict.advice[-1].kind, "advice for the training"))
    rows = [[str(each.step), each.kind, each.sentence] for each in verdict.advice]
    own = [*(each.sentence for each in verdict.advice[-1:]), choice.detail, *([verdict.gap.sentence] if verdict.gap is not None else [])]
    return SweepPage(
        shots=shots,
        chosen=None if choice.chosen is None else choice.chosen.config,
        table=_points_of(verdict, traits),
        heat=_heat_of_steps(verdict),
        curve={"traits": [each for each in traits if _is_measured(verdict, each["key"])], "points": document["points"]},
        advice=PageTable("Advice after each checkpoint", ["step", "advice", "why"], rows, [True, False, False]) if rows else None,
        lead=WITHHELD if verdict.curve.references_trained else "",
        tiles=tiles,
        **{**said, "lines": [*own, *said.get("lines", ())]},
    )


def _is_measured(verdict: CurveVerdict, trait: str) -> bool:
    return any(trait in point.values for point in verdict.points)


def _ranking(selection: Selection, scored: Mapping[str, ConfigScore], policy: Mapping[str, Any]) -> PageTable:
    gates = [gate for gate in gates_in_force(policy) if any(score.means.value(gate.key) is not None for score in scored.values())]
    columns = ["configuration", "score", "behind", "interval", "may be the best", *(gate.title for gate in gates), "approved", "pictures"]
    rows = []
    for candidate in selection.ranked:
        score = scored[candidate.name]
        means = [_number(score.means.value(gate.key)) for gate in gates]
        best = "chosen" if candidate is selection.chosen else "yes" if candidate.may_be_best else "no"
        made = (f"{score.approved} of {score.images}", candidate.shortfall or str(score.images))
        rows.append([candidate.name, _number(candidate.score), *_behind(candidate), best, *means, *made])
    return PageTable("All configurations", columns, rows, [False, True, True, True, False, *[True] * len(gates), True, True])


def _behind(candidate: Candidate) -> tuple[str, str]:
    behind = candidate.behind
    if behind is None:
        return "–", "–"
    if behind.low is None or behind.high is None:
        return signed(behind.effect), "not known"
    return signed(behind.effect), f"{signed(behind.low)} to {signed(behind.high)}"


def _points_of(verdict: CurveVerdict, traits: Sequence[Mapping[str, str]]) -> PageTable:
    shown = [each for each in traits if _is_measured(verdict, each["key"])]
    rows = []
    for point in verdict.points:
        cells = [_number(None if (value := point.values.get(each["key"])) is None else value.effect) for each in shown]
        made = str(point.made) if not point.unjudged else point.unjudged
        rows.append([str(point.cell.step), f"{point.cell.strength:.2f}", *cells, made, point.cell.checkpoint])
    columns = ["step", "strength", *(each["title"].lower() for each in shown), "pictures", "file"]
    return PageTable("All checkpoints", columns, rows, [True, True, *[True] * len(shown), True, False])


def _heat_of_steps(verdict: CurveVerdict) -> dict[str, Any]:
    """Steps by strengths; the script puts the values of the chosen measure in."""
    curve = verdict.curve
    steps, strengths = list(curve.steps), sorted({cell.strength for cell in curve.cells})
    place = {(cell.step, cell.strength): cell.config for cell in curve.cells}
    configs = [[[place[step, strength]] if (step, strength) in place else [] for strength in strengths] for step in steps]
    columns = {"title": "strength", "names": [f"{strength:.2f}" for strength in strengths]}
    return {"rows": {"title": "step", "names": [str(step) for step in steps]}, "columns": columns, "configs": configs, "cells": None}


def _heat_of_factors(selection: Selection, configs: Sequence[Config]) -> dict[str, Any] | None:
    """The first two factors that vary, the mean over the others in each cell; None where fewer than two vary."""
    found = heat_map_of(selection, configs)
    if found is None:
        return None
    first, second, rows, columns, values, best = found
    inside = [
        [[each.name for each in configs if (each.level(first), each.level(second)) == (row, column)] for column in columns] for row in rows
    ]
    cells = [
        [{"value": finite(float(values[r, c])), "mark": "chosen" if (r, c) == best else None} for c in range(len(columns))]
        for r in range(len(rows))
    ]
    titles = [{"title": FACTOR_TITLES[factor], "names": names} for factor, names in ((first, rows), (second, columns))]
    return {"rows": titles[0], "columns": titles[1], "configs": inside, "cells": cells}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{round(value, DIGITS):.2f}"


def write_sweep_page(path: Path, page: SweepPage, *, command: str, when: str) -> None:
    """Write the page into the sweep's folder; above `MOST_IN_ONE_FILE` pictures their small copies lie beside it. Raises OSError."""
    document = page_document(page)
    document["command"], document["when"] = command, when
    one_file = len(page.shots) <= MOST_IN_ONE_FILE

    def thumbnail(picture: Mapping[str, Any]) -> str:
        small = _small_copy(path.parent / picture["file"])
        if small is None:
            return ""
        return picture_address(small) if one_file else put_beside(small, path.parent, f"{path.stem}_thumbs/{picture['index']:05d}{SUFFIX}")

    data = {name: document[name] for name in ("pictures", "groups", "heat", "curve", "chosen")}
    write_page(path, TEMPLATE, document, page_data=data, filters={"thumbnail": thumbnail})


def _small_copy(picture: Path) -> bytes | None:
    """What the batch of the picture keeps, made again where it is gone."""
    root = picture.parent.parent
    return read_thumbnail(BatchFolder(root), picture.name, f"{picture.parent.name}/{picture.name}")


def page_document(page: SweepPage) -> dict[str, Any]:
    """What the page shows, in plain values."""
    pictures = _pictures(page)
    return {
        "name": escape_line(page.run_id),
        "judgement": escape_line(page.judgement),
        "lead": page.lead,
        "lines": [escape_line(line) for line in page.lines if line],
        "facts": [escape_line(line) for line in page.facts if line],
        "warnings": list(page.warnings),
        "notice": page.notice,
        "tiles": list(page.tiles),
        "tables": [{"title": t.title, "columns": t.columns, "rows": t.rows, "numbers": t.numbers} for t in (page.table, page.advice) if t],
        "heat": page.heat,
        "curve": page.curve,
        "chosen": page.chosen,
        "groups": _groups(page),
        "prompts": [
            (number, escape_line(text)) for number, text in enumerate(page.prompts, 1) if any(p["prompt"] == number for p in pictures)
        ],
        "pictures": pictures,
    }


def _groups(page: SweepPage) -> list[dict[str, Any]]:
    """What can be chosen to be shown: each configuration, the chosen one first, and each cell that holds several."""
    names = list(dict.fromkeys(shot.config for shot in page.shots))
    names.sort(key=lambda name: name != page.chosen)
    found = [{"key": name, "title": f"{name} (chosen)" if name == page.chosen else name, "configs": [name]} for name in names]
    if page.heat is None:
        return found
    rows, columns = page.heat["rows"], page.heat["columns"]
    for r, row in enumerate(page.heat["configs"]):
        for c, configs in enumerate(row):
            if len(configs) > 1:
                levels = f"{rows['title']} {rows['names'][r]}, {columns['title']} {columns['names'][c]}"
                title = f"{levels}: {counted(len(configs), 'configuration')}"
                found.append({"key": f"{r},{c}", "title": title, "configs": configs})
    return found


def _pictures(page: SweepPage) -> list[dict[str, Any]]:
    """By prompt and seed, so that the pictures of one scene stand together; `beside` is the chosen configuration's of the same scene."""
    ordered = sorted(page.shots, key=lambda shot: (shot.prompt_id, shot.seed, shot.config != page.chosen, shot.config))
    index_of = {(shot.config, shot.prompt_id, shot.seed): index for index, shot in enumerate(ordered, 1)}
    found = []
    for index, shot in enumerate(ordered, 1):
        beside = index_of.get((page.chosen or "", shot.prompt_id, shot.seed))
        scores = {"face": shot.assessment.face.score, "skin": shot.assessment.skin.score}
        copied = shot.assessment.measures.get("memorised")
        found.append(
            {
                "index": index,
                "file": shot.file,
                "url": relative_address(Path(shot.file), Path()) or "",
                "config": shot.config,
                "prompt": shot.prompt_id,
                "text": escape_line(page.prompts[shot.prompt_id - 1]) if shot.prompt_id <= len(page.prompts) else "",
                "seed": str(shot.seed),
                "approved": shot.approved,
                "scores": {**scores, **({} if copied is None else {"memorised": copied.score})},
                "beside": beside if beside != index else None,
            }
        )
    return found
