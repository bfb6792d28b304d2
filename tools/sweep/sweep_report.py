"""The end of a sweep: which configuration to use and how sure that is, as a page, Markdown, JSON, figures and rows of the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.comparison.document import estimate_document, finite
from evals.comparison.inference import Estimate
from evals.comparison.rendering import signed
from evals.comparison.selection import Candidate, Selection, how_sure
from evals.comparison.verdicts import IMPROVED, REGRESSED, UNCHANGED
from evals.judging.gates import DIGITS, Gate, headline_gates
from evals.judging.likeness_range import describe_likeness
from evals.scorecards.card import ConfigScore, build_scorecard
from lifeos import files
from lifeos.counting import counted
from lifeos.escaping import escape_markdown as escape
from tools.production.batch_home import find_original
from tools.production.results import COMPLETE, INCOMPLETE
from tools.sweep.analysis import FACTOR_TITLES, Shot, factor_means, heat_map_of, score_configs
from tools.sweep.running import SWEEP_FILE, Sweep, SweepEnd, read_sweep
from tools.sweep.sweep_page import PAGE_FILE, page_of_selection, write_sweep_page

MOST_RANKED = 27
DEMO_LEAD = "These are demo pictures, which recommend nothing for a LoRA. Of real ones it would read: "
BASELINE_WORDS = {
    IMPROVED: "better than {0}, the settings in use",
    REGRESSED: "worse than {0}, the settings in use",
    UNCHANGED: "neither better nor worse than {0}, the settings in use, by an amount that matters",
}


def judgement(selection: Selection, end: SweepEnd) -> str:
    """The sentence that the sweep was made for. Of the demo server's pictures it says what it would say, and recommends nothing."""
    text = f"{DEMO_LEAD}{how_sure(selection)}" if end.notice else how_sure(selection)
    if selection.baseline is not None and selection.chosen is not None:
        if selection.chosen.name == selection.baseline:
            text += " These are the settings in use."
        else:
            words = BASELINE_WORDS.get(selection.baseline_verdict, "not shown to be better than {0}, the settings in use")
            text += f" It is {words.format(selection.baseline)}."
    if end.why == INCOMPLETE:
        return f"{text} Some planned pictures could not be made; the same command tries them again."
    return text if end.why == COMPLETE else f"NOT FINISHED ({end.why}): so far, {text[0].lower()}{text[1:]}"


def write_html(selection: Selection, sweep: Sweep, end: SweepEnd, policy: Mapping[str, Any], when: str) -> None:
    """sweep_report.html."""
    scored = score_configs(end.shots, policy)
    page = page_of_selection(
        selection,
        sweep.configs,
        end.shots,
        policy,
        run_id=sweep.run_id,
        judgement=judgement(selection, end),
        prompts=sweep.prompts,
        lines=[expectation(selection, scored), likeness_line(selection, scored, end)],
        facts=_facts(sweep, end),
        lead=trained_line(end),
        warnings=end.likeness.get("warnings", ()),
        notice=end.notice,
    )
    write_sweep_page(sweep.request.output_dir / PAGE_FILE, page, command="tools/parameter_sweep.py", when=when)


def draw(selection: Selection, sweep: Sweep, root: Path) -> list[tuple[str, str]]:
    """The heat map of two factors and the ranking; (title, file name) of each."""
    from evals.comparison.figures import draw_heat_map, draw_ranking, label

    drawn: list[tuple[str, str]] = []
    cells = heat_map_of(selection, sweep.configs)
    if cells is not None:
        first, second, rows, columns, values, best = cells
        titles = (FACTOR_TITLES[first], FACTOR_TITLES[second])
        title = "Mean score; the chosen configuration is framed"
        draw_heat_map(values, rows, columns, root / "heat_map.png", title=title, axes_names=titles, best=best)
        drawn.append((f"{titles[0]} × {titles[1]}", "heat_map.png"))
    if selection.chosen is None:
        return drawn
    shown = [item for item in selection.ranked if item is selection.chosen or item.behind is not None][:MOST_RANKED]
    title = f"Difference to {label(selection.chosen.name)}, the chosen one; all intervals hold together, {selection.confidence:.0%} sure"
    draw_ranking([item.name for item in shown], [_lead(item) for item in shown], root / "ranking.png", title=title)
    drawn.append(("Difference to the chosen configuration: one whose bar crosses the line may be as good", "ranking.png"))
    return drawn


def _lead(candidate: Candidate) -> Estimate:
    """How far a configuration is ahead of the chosen one, for the figure; the chosen one itself at 0."""
    behind = candidate.behind
    if behind is None:
        return Estimate(0.0, None, None, None, None, 0, 0, candidate.pictures, "none")
    known = behind.low is not None and behind.high is not None
    return replace(
        behind, effect=-behind.effect, low=-(behind.high or 0.0) if known else None, high=-(behind.low or 0.0) if known else None
    )


def render(selection: Selection, sweep: Sweep, end: SweepEnd, pictures: Sequence[tuple[str, str]], policy: Mapping[str, Any]) -> str:
    """sweep_report.md."""
    scored = score_configs(end.shots, policy)
    sure = f"{selection.confidence:.0%}".replace("%", " %")
    parts = [
        f"# Parameter sweep: {escape(sweep.run_id)}",
        f"**{escape(trained_line(end))}**" if trained_line(end) else "",
        f"**{escape(judgement(selection, end))}**",
        expectation(selection, scored),
    ]
    if warnings := end.likeness.get("warnings"):
        parts.append("**Before you trust this**\n\n" + "\n".join(f"- {escape(line)}" for line in warnings))
    parts.append(_table(selection, scored, headline_gates(policy)))
    parts.append(
        "Score: the overall score, as a scorecard of these pictures gives it. Behind: how much lower a configuration scores than the "
        "chosen one on the pictures that both have. For a configuration that was dropped early, Score is the chosen one's less this, "
        f"because it was tried on fewer prompts. All intervals of the column are right at once ({sure} sure), although many configurations "
        "were compared. A picture without a score is left out of the mean; Scored says how many have one."
    )
    parts.append(escape(likeness_line(selection, scored, end)))
    parts += [
        f"{escape(candidate.name)} cannot be ranked: {escape(candidate.shortfall)}."
        for candidate in selection.ranked
        if candidate.shortfall
    ]
    for factor, levels in factor_means(selection, sweep.configs).items():
        rows = [f"| {escape(level)} | {mean:.2f} |" for level, mean in levels.items()]
        parts.append("\n".join([f"## {FACTOR_TITLES[factor]}", "", f"| {FACTOR_TITLES[factor]} | Mean score |", "|---|---:|", *rows]))
    parts += [f"## {escape(title)}\n\n![{escape(title)}]({name})" for title, name in pictures]
    facts = [*_facts(sweep, end), *([end.notice] if end.notice else [])]
    parts.append("\n".join(["## How it was made", "", *(f"- {escape(line)}" for line in facts)]))
    parts += [f"**{escape(trained_line(end))}**"] if trained_line(end) else []
    return "\n\n".join(part for part in parts if part) + "\n"


def trained_line(end: SweepEnd) -> str:
    """What is said first and last where references were trained on; empty where they were not, or nobody asked."""
    return end.references.told if end.references is not None and end.references.are_trained else ""


def expectation(selection: Selection, scored: Mapping[str, ConfigScore]) -> str:
    """What the chosen configuration scored, and what a choice made in this way scores on prompts that it was not made on."""
    chosen = selection.chosen
    if selection.fair_score is None or chosen is None:
        return ""
    approved = scored[chosen.name].approved / scored[chosen.name].images
    level, expected = f"{chosen.score:.2f}", f"{selection.fair_score:.2f}"
    text = f"It scored {level} here ({100 * approved:.0f} % of its pictures approved)."
    if level == expected:
        return f"{text} Expect about as much for new prompts."
    return f"{text} Expect {expected} for new prompts: the best of many always looks a little better than it is."


def likeness_line(selection: Selection, scored: Mapping[str, ConfigScore], end: SweepEnd) -> str:
    """What the face score of the chosen configuration, else of the first, stands between; empty where that is not known."""
    shown = selection.chosen or next(iter(selection.ranked), None)
    between = "" if shown is None else describe_likeness(scored[shown.name].means.value("face"), end.likeness)
    return f"Face similarity of {shown.name} {between}." if shown is not None and between else ""


def _table(selection: Selection, scored: Mapping[str, ConfigScore], gates: Sequence[Gate]) -> str:
    shown = [gate for gate in gates if gate.weight_key or any(score.means.value(gate.key) is not None for score in scored.values())]
    means = " | ".join(gate.key.capitalize() for gate in shown)
    head = f"| Configuration | Score | Behind | Interval | May be the best | {means} | Scored | No face | Approved | Pictures |"
    lines = [head, f"|---|---:|---:|---|---|{'---:|' * len(shown)}---:|---:|---:|---:|"]
    for candidate in selection.ranked:
        score, behind = scored[candidate.name], candidate.behind
        gap, span = ("-", "-") if behind is None else (signed(behind.effect), "not known")
        if behind is not None and behind.low is not None and behind.high is not None:
            span = f"{signed(behind.low)} to {signed(behind.high)}"
        verdict = "chosen" if candidate is selection.chosen else ("yes" if candidate.may_be_best else "no")
        cells = [escape(candidate.name), _number(candidate.score), gap, span, verdict]
        cells += [_number(score.means.value(gate.key)) for gate in shown]
        cells += [
            f"{100 * score.means.coverage:.0f} %",
            str(score.faceless),
            f"{100 * score.approved / score.images:.0f} %",
            str(score.images),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{round(value, DIGITS):.2f}"


def _facts(sweep: Sweep, end: SweepEnd) -> list[str]:
    lines = []
    for rung in sweep.rungs:
        each = f"{counted(rung.pictures_each, 'picture')} each of {counted(len(rung.prompts), 'prompt')}"
        lines.append(f"round {rung.number}: {counted(rung.keep, 'configuration')}, {each}")
    return [*lines, f"{counted(len(end.shots), 'picture')} scored, protocol {end.protocol.get('id')}, cost ${end.usd:.2f}"]


def to_document(
    selection: Selection, sweep: Sweep, end: SweepEnd, report: Path, pictures: Sequence[tuple[str, str]], policy: Mapping[str, Any]
) -> dict[str, Any]:
    scored = score_configs(end.shots, policy)
    chosen = selection.chosen.name if selection.chosen else None
    ranking = [
        {
            "config": candidate.name,
            "score": finite(candidate.score),
            "behind": estimate_document(candidate.behind),
            "may_be_best": candidate.may_be_best,
            "pictures": scored[candidate.name].images,
            "without_face": scored[candidate.name].faceless,
            "approved": scored[candidate.name].approved,
            "means": {key: mean.value for key, mean in scored[candidate.name].means.by_gate.items()},
            "coverage": {key: finite(mean.coverage) for key, mean in scored[candidate.name].means.by_gate.items()},
            "shortfall": candidate.shortfall or None,
        }
        for candidate in selection.ranked
    ]
    return {
        "schema": 1,
        "run_id": sweep.run_id,
        "ended": end.why,
        "judgement": judgement(selection, end),
        "chosen": chosen,
        "settings": next(({"lora": c.lora, "lora_strength": c.strength, "cfg": c.cfg, "sampler": c.sampler}
                          for c in sweep.configs if c.name == chosen), None),
        "confidence": selection.confidence,
        "rivals": [rival.name for rival in selection.rivals],
        "at_most_below_best": finite(selection.regret),
        "expected_score": finite(selection.fair_score),
        "baseline": selection.baseline,
        "baseline_verdict": selection.baseline_verdict or None,
        "ranking": ranking,
        "factors": factor_means(selection, sweep.configs),
        "images": len(end.shots),
        "cost_usd": round(end.usd, 4),
        "protocol": end.protocol,
        "likeness": {name: end.likeness[name] for name in ("strangers", "references")} if end.likeness else None,
        "warnings": list(end.likeness.get("warnings", [])),
        "references": None if end.references is None else {"trained": list(end.references.trained), "sentence": end.references.told},
        "report": str(report),
        "pictures": [name for _, name in pictures],
    }  # fmt: skip


def record_runs(sweep: Sweep, end: SweepEnd, policy: Mapping[str, Any], history: Path, timestamp: str) -> int:
    """One row of the history for each configuration, once; a copy of a sweep adds none. Returns how many were added."""
    state = read_sweep(sweep.request.output_dir)
    if state.get("recorded") or find_original(sweep.request.output_dir / "rung_1") is not None:
        return 0
    added = append_rows(sweep, end, policy, history, timestamp)
    files.write_json(sweep.request.output_dir / SWEEP_FILE, {**state, "recorded": timestamp})
    return added


def append_rows(sweep: Sweep, end: SweepEnd, policy: Mapping[str, Any], history: Path, timestamp: str) -> int:
    """A row for each configuration that has pictures and none yet under this protocol. Returns how many were added."""
    rows = [record.data for record in files.read_records(history)] if history.exists() else []
    known = {str(row.get("run_id")) for row in rows if row.get("protocol_id") == end.protocol.get("id")}
    added = 0
    for config in sweep.configs:
        shots = [shot for shot in end.shots if shot.config == config.name]
        run_id = f"{sweep.run_id}_{config.name}"
        if shots and run_id not in known:
            files.append_record(history, make_row(run_id, sweep, shots, end, policy, timestamp))
            added += 1
    return added


def make_row(run_id: str, sweep: Sweep, shots: Sequence[Shot], end: SweepEnd, policy: Mapping[str, Any], timestamp: str) -> dict[str, Any]:
    """A configuration's scorecard as a history row; its pictures carry the sweep's prompt numbers and seeds."""
    card = build_scorecard(
        [replace(shot.assessment, file=shot.file) for shot in shots],
        policy,
        run_id=run_id,
        lora_version=sweep.request.lora_version or sweep.run_id,
        timestamp=timestamp,
        protocol=end.protocol,
        config_of=lambda assessment: shots[0].config,
        notes=end.notice or "",
    )
    row = card.history_row()
    for entry, shot in zip(row["images"], shots, strict=True):
        entry.update(prompt_id=shot.prompt_id, seed=shot.seed)
    folders = {"generated_dir": sweep.request.output_dir, "reference_dir": sweep.request.reference_dir}
    return {**row, **{name: folder.as_posix() for name, folder in folders.items() if folder is not None}}
