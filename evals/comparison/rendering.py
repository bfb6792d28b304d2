"""The comparison as Markdown: the specification's head first, letter for letter, then the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from evals.comparison import wording
from evals.comparison.comparing import MetricResult, Side, VersionComparison
from evals.comparison.config_details import describe_run
from evals.comparison.estimating import Slice
from evals.comparison.inference import Estimate
from evals.comparison.promotion import PromotionGate
from evals.comparison.verdicts import NO_VERDICT, level_text
from evals.judging.gates import gate_of
from evals.judging.run_kinds import DEMO_NOTICE
from evals.judging.variety import DISTANCE_TITLE, MIXTURE_TITLE, PAIRS_TITLE, SCENE_TITLE, YAW_TITLE
from lifeos.escaping import escape_markdown as escape

HEAD = "| Metric | {first} | {second} | Delta | Verdict |\n|--------|----------|----------|-------|---------|"
SURELY = 0.995
"""From here on a probability is written as `> 99 %`: more digits would be false precision."""


def render(
    comparison: VersionComparison,
    gate: PromotionGate | None = None,
    pictures: Sequence[tuple[str, str]] = (),
    missing: Sequence[str] = (),
) -> str:
    """The whole report. `pictures` are (title, path relative to the report), `missing` sentences on those that could not be shown."""
    notice = f"> **Demo pictures.** {DEMO_NOTICE}" if comparison.is_demo else ""
    parts = [render_head(comparison, gate), notice, f"**In short:** {escape(wording.verdict_sentence(comparison))}", _evidence(comparison)]
    parts += [_coverage(comparison), _rates(comparison), _guards(comparison), _slices("By shot type", "Shot type", comparison.by_shot)]
    parts += [_slices("By configuration", "Configuration", comparison.by_config), _extras(comparison), _gate(gate)]
    parts += [_pictures(pictures, missing), _notes(comparison)]
    return "\n\n".join(part for part in parts if part) + "\n"


def render_head(comparison: VersionComparison, gate: PromotionGate | None = None) -> str:
    """Title, table, Recommendation and Config Details, exactly as specified."""
    first, second = comparison.first, comparison.second
    names = {"first": escape(first.name), "second": escape(second.name)}
    rows = [_row(result, f"{result.title} (mean)") for result in comparison.scores if result.gate and result.gate.weight_key]
    levels = "-" if comparison.grade_levels is None else level_text(comparison.grade_levels)
    rows.append(f"| Overall Grade | {_or_dash(first.grade)} | {_or_dash(second.grade)} | {levels} | {comparison.grade_verdict} |")
    rows.append(f"| Best Config | {_or_dash(first.best_config)} | {_or_dash(second.best_config)} | - | - |")
    objections, warnings = (gate.objections, gate.warnings) if gate else ((), ())
    labels = [first.version, second.version] if first.version != second.version else [first.name, second.name]
    details = [f"- {escape(label)}: {escape(_training(side))}" for label, side in zip(labels, (first, second), strict=True)]
    return "\n".join(
        [
            f"# Version Comparison: {names['first']} vs {names['second']}",
            "",
            HEAD.format(**names),
            *rows,
            "",
            "## Recommendation",
            escape(wording.recommendation(comparison, objections, warnings)),
            "",
            "## Config Details",
            *details,
        ]
    )


def _training(side: Side) -> str:
    lines = list(dict.fromkeys(describe_run(run) for run in side.runs))
    return " / ".join(lines)


def _row(result: MetricResult, title: str) -> str:
    delta = "-" if result.delta is None else signed(result.delta)
    return f"| {title} | {_score(result.first)} | {_score(result.second)} | {delta} | {result.verdict} |"


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def signed(value: float) -> str:
    """Two decimals with a sign; what rounds to nothing is 0.00 without one."""
    text = f"{round(value, 4):+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _or_dash(text: str | None) -> str:
    return escape(text) if text else NO_VERDICT


def interval_text(estimate: Estimate | None) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return "not known"
    return f"{signed(estimate.low)} to {signed(estimate.high)}"


def chance_text(result: MetricResult) -> str:
    """The chance that the second is better, without false precision."""
    estimate = result.estimate
    if estimate is None or estimate.probability is None:
        return "not known"
    chance = 1 - estimate.probability if result.lower_is_better else estimate.probability
    if chance > SURELY:
        return "> 99 %"
    return "< 1 %" if chance < 1 - SURELY else percent(chance)


def _guards(comparison: VersionComparison) -> str:
    """What the guards in force stop; nothing where none is on."""
    if not comparison.guards:
        return ""
    names = escape(comparison.first.name), escape(comparison.second.name)
    lines = ["## Stopped by guards", "", f"| Guard | {names[0]} | {names[1]} | |", "|---|---:|---:|---|"]
    return "\n".join(
        [
            *lines,
            *(f"| {each.gate.heading} | {each.first} | {each.second} | {'MORE' if each.is_more else '-'} |" for each in comparison.guards),
        ]
    )


def _evidence(comparison: VersionComparison) -> str:
    lines = ["## How sure this is", "", escape(wording.pairing_sentence(comparison))]
    if comparison.has_evidence:
        lines += ["", _evidence_table(comparison), "", *_explanations(comparison)]
    lines += ["", wording.claim(comparison)]
    return "\n".join(lines)


def _evidence_table(comparison: VersionComparison) -> str:
    confidence = percent(comparison.policy["comparison"]["confidence"])
    second = escape(comparison.second.name)
    lines = [
        f"| Metric | Pairs | Difference | {confidence} interval | Chance that {second} is better | Verdict |",
        "|---|---:|---:|---|---:|---|",
    ]
    for result in comparison.scores:
        if result.estimate is None:
            lines.append(f"| {result.title} | 0 | - | not known | not known | {result.verdict} |")
            continue
        effect = "-" if result.estimate.effect != result.estimate.effect else signed(result.estimate.effect)
        cells = [str(result.estimate.pairs), effect, interval_text(result.estimate), chance_text(result), result.verdict]
        lines.append(f"| {result.title}{' (less is better)' if result.lower_is_better else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _explanations(comparison: VersionComparison) -> list[str]:
    section = comparison.policy["comparison"]
    lines = [
        f"- The interval holds the true difference in about {round(100 * section['confidence'])} of 100 comparisons. Prompts are counted "
        "as the sample, because pictures of one prompt are alike.",
        "- IMPROVED or REGRESSED: zero lies outside the interval. UNCHANGED: the whole interval is smaller than "
        f"{section['minimum_effect']:g}, the smallest difference that matters. INCONCLUSIVE: more pictures are needed.",
    ]
    for result in comparison.scores:
        if result.verdict == "INCONCLUSIVE":
            why = (
                f"{result.settle}, if the difference stays as large as it looks"
                if result.settle
                else (result.doubt or "no interval is known")
            )
            lines.append(f"- {result.title}: {escape(why if why.endswith(('?', '.')) else why + '.')}")
        estimate, delta = result.estimate, result.delta
        if estimate and not result.doubt and delta is not None and abs(delta - estimate.effect) > section["minimum_effect"]:
            lines.append(
                f"- {result.title}: the table at the top says {signed(delta)}, the pairs say {signed(estimate.effect)}. "
                "The top compares all pictures, also those without a partner; trust the pairs."
            )
    return lines


def _coverage(comparison: VersionComparison) -> str:
    """How many of the pictures stand behind each mean."""
    sides = (comparison.first, comparison.second)
    names = " | ".join(escape(side.name) for side in sides)
    lines = ["## Pictures with a score", "", f"| Score | {names} |", "|---|---:|---:|"]
    lines += [
        f"| {result.title} | {' | '.join(_scored(side, result.key) for side in sides)} |" for result in comparison.scores if result.gate
    ]
    lines += [
        "",
        *(f"{escape(side.name)}: {escape(side.numbers.shortfall)}." for side in sides if side.numbers.shortfall),
    ]
    return "\n".join(lines).rstrip()


def _scored(side: Side, key: str) -> str:
    mean = side.numbers.means.by_gate.get(key)
    return "-" if mean is None or not mean.made else f"{mean.scored} of {mean.made}"


def _rates(comparison: VersionComparison) -> str:
    results = [comparison.metrics[key] for key in ("approved", "has_face") if key in comparison.metrics]
    if not results:
        counts = [f"{escape(s.name)}: {s.faceless} of {s.images}" for s in (comparison.first, comparison.second) if s.faceless is not None]
        return "\n".join(["## Pass rates", "", f"Pictures without a face: {'; '.join(counts)}."]) if counts else ""
    names = f"{escape(comparison.first.name)} | {escape(comparison.second.name)}"
    lines = ["## Pass rates", "", f"| Of the pictures | {names} | Difference | Interval |", "|---|---:|---:|---:|---|"]
    for result in results:
        estimate = result.estimate
        known = estimate is not None and estimate.low is not None and estimate.high is not None
        span = f"{_points(estimate.low)} to {_points(estimate.high)}" if known and estimate else "no pair differs"  # type: ignore[arg-type]
        shares = [_share(side, result.key) for side in (comparison.first, comparison.second)]
        delta = "-" if result.delta is None else _points(result.delta)
        lines.append(f"| {result.title} | {shares[0]} | {shares[1]} | {delta} | {span} |")
    lines += [
        "",
        "Approved: the picture passes every gate of the policy, unless a person decided otherwise. In brackets: the interval of the share. "
        "Differences are in points.",
        *(f"{escape(run.run_id)}: {run.decided_line}." for run in (*comparison.first.runs, *comparison.second.runs) if run.decided_line),
    ]
    return "\n".join(lines)


def _share(side: Side, key: str) -> str:
    value, span = side.shares.get(key), side.spans.get(key)
    if value is None:
        return "-"
    return percent(value) + (f" ({100 * span[0]:.0f} to {100 * span[1]:.0f})" if span else "")


def _points(share: float) -> str:
    return f"{100 * max(-1.0, min(1.0, share)):+.0f}"


def _slices(title: str, column: str, slices: Sequence[Slice]) -> str:
    if not slices:
        return ""
    keys = list(slices[0].estimates)
    headings = " | ".join(f"{gate_of(key).heading} | Interval" for key in keys)
    lines = [f"## {title}", "", f"| {column} | Pairs | {headings} |", f"|---|---:|{'---:|---|' * len(keys)}"]
    for part in slices:
        cells = [cell for key in keys for cell in (_effect(part.estimates[key]), interval_text(part.estimates[key]))]
        lines.append(f"| {escape(part.name)} | {part.pairs} | {' | '.join(cells)} |")
    lines += [
        "",
        f"With {len(slices)} rows, some differ by chance. Look above for whether there is a difference, here for where it is.",
    ]
    return "\n".join(lines)


def _effect(estimate: Estimate) -> str:
    return "-" if estimate.effect != estimate.effect else signed(estimate.effect)


def _extras(comparison: VersionComparison) -> str:
    """Sameness and cost, where the rows or their batches carry them."""
    policy = comparison.policy
    lines = ["; ".join(dict.fromkeys(run.pose_line(policy) for run in side.runs)) for side in (comparison.first, comparison.second)]
    known = any(run.sameness is not None for side in (comparison.first, comparison.second) for run in side.runs)
    rows = [f"| Variety of the pictures | {' | '.join(map(escape, lines))} |"] if known else []
    scenes = ["; ".join(dict.fromkeys(run.scene_line for run in side.runs)) for side in (comparison.first, comparison.second)]
    rows += [f"| Clothes and places | {' | '.join(map(escape, scenes))} |"] if known else []
    for title, section, key, form in EXTRAS:
        values = [_extra(side, section, key) for side in (comparison.first, comparison.second)]
        if any(value is not None for value in values):
            rows.append(f"| {title} | {' | '.join('-' if value is None else form.format(value) for value in values)} |")
    if not rows:
        return ""
    names = f"{escape(comparison.first.name)} | {escape(comparison.second.name)}"
    return "\n".join(["## Sameness and cost", "", f"| | {names} |", "|---|---:|---:|", *rows])


EXTRAS = (
    (YAW_TITLE, "sameness", "yaw_spread_deg", "{:.1f}°"),
    (PAIRS_TITLE, "sameness", "same_pose_share", "{:.0%}"),
    (MIXTURE_TITLE, "sameness", "entropy_bits", "{:.2f} bits"),
    (DISTANCE_TITLE, "sameness", "landmark_distance", "{:.3f}"),
    (SCENE_TITLE, "sameness", "same_scene_share", "{:.0%}"),
    ("Near-duplicate pairs", "sameness", "near_duplicate_pairs", "{:.0f}"),
    ("Cost per approved picture", "cost", "usd_per_approved", "${:.3f}"),
)


def _extra(side: Side, section: str, key: str) -> float | None:
    values = []
    for run in side.runs:
        part: Any = run.extra.get(section)
        value = part.get(key) if isinstance(part, dict) else None
        if isinstance(value, list):
            value = len(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            values.append(float(value))
    return sum(values) / len(values) if values else None


def _gate(gate: PromotionGate | None) -> str:
    if gate is None:
        return ""
    lines = ["## Promotion", "", escape(gate.sentence), "", "| Check | Result | Why |", "|---|---|---|"]
    lines += [f"| {escape(check.title)} | {check.outcome} | {escape(check.why)} |" for check in gate.checks]
    return "\n".join(lines)


def _pictures(pictures: Sequence[tuple[str, str]], missing: Sequence[str]) -> str:
    if not pictures and not missing:
        return ""
    shown = [f"{escape(title)}:\n\n![{escape(title)}]({quote(path)})" for title, path in pictures]
    return "\n\n".join(["## Pictures", *shown, *(f"Not shown: {escape(line)}" for line in missing)])


def _notes(comparison: VersionComparison) -> str:
    if not comparison.notes:
        return ""
    return "\n".join(["## What to know about the data", "", *[f"- {escape(note)}" for note in comparison.notes]])
