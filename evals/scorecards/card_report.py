"""The scorecard for people: a sentence of judgement first, then the numbers, what fails and why, and how it was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from evals.judging.gates import GATES, Gate
from evals.judging.likeness_range import describe_likeness
from evals.judging.picture_verdict import describe_group
from evals.judging.records import explain_reason
from evals.judging.variety import variety_rows
from lifeos.counting import counted
from lifeos.escaping import escape_markdown as escape
from lifeos.escaping import escape_markdown_code as code

if TYPE_CHECKING:
    from evals.scorecards.card import ConfigScore, Scorecard, ScoredPicture

SHOWN = 5
SHOWN_CONFIGS = 30
SHOWN_PAIRS = 20
NOT_COUNTED = "not counted among them"
FEW_PICTURES = 20
"""Below this many pictures a mean can move by more than the differences that matter."""


def render_summary(card: Scorecard) -> str:
    """The judgement in two or three sentences, plain text."""
    return " ".join([_grade_sentence(card), _gate_sentence(card), _count_sentence(card), _variety_sentence(card)])


def render_report(card: Scorecard, warnings: Sequence[str] = ()) -> str:
    """The report as Markdown."""
    version = f" ({card.lora_version})" if card.lora_version else ""
    parts = [f"# Scorecard: {escape(card.run_id + version)}", escape(render_summary(card)), _promotion(card)]
    if len(card.pictures) < FEW_PICTURES:
        count = counted(len(card.pictures), "picture")
        parts.append(f"Based on {count} only: take the numbers as a hint.")
    if warnings:
        parts.append("**Before you trust this**\n\n" + "\n".join(f"- {escape(line)}" for line in warnings))
    parts += ["## Scores", _score_table(card)]
    if card.configs:
        parts += ["## Configurations", _config_table(card)]
    parts += ["## Variety", _variety(card)]
    parts += ["## Best pictures", _picture_table(card, _best(card)), "## Worst pictures", _picture_table(card, _worst(card))]
    parts += ["## Why pictures are rejected", _reasons(card), "## How it was measured", _method(card)]
    return "\n\n".join(parts) + "\n"


def _grade_sentence(card: Scorecard) -> str:
    if card.means.overall is None:
        return f"No grade: {card.shortfall}."
    return f"Grade {card.grade} ({card.means.overall:.2f})."


def _gate_sentence(card: Scorecard) -> str:
    low = [gate.title for gate in _gates(card) if not card.passed[gate.key]]
    if not low:
        return "The mean of every gate reaches its limit."
    return f"{_join(low).capitalize()} {'does' if len(low) == 1 else 'do'} not reach the limit."


def _gates(card: Scorecard) -> list[Gate]:
    return [gate for gate in GATES if gate.key in card.thresholds]


def _count_sentence(card: Scorecard) -> str:
    verb = "passes" if len(card.pictures) == 1 else "pass"
    text = f"{card.approved} of {counted(len(card.pictures), 'picture')} {verb} every gate"
    told = [f"{card.faceless} without a face"] if card.faceless else []
    if card.duplicates:
        told.append(f"{card.duplicates} {'is' if card.duplicates == 1 else 'are'} the same file as another and {NOT_COUNTED}")
    return f"{'; '.join([text, *told])}."


def _variety_sentence(card: Scorecard) -> str:
    lines = [card.sameness.line, *([card.sameness.scene_line] if card.sameness.scenes else [])]
    return " ".join(f"{line[0].upper()}{line[1:]}." for line in lines)


def _variety(card: Scorecard) -> str:
    """The figures behind that sentence, of all pictures with a face."""
    found = card.sameness
    parts = [escape(found.judgement)]
    if rows := variety_rows(asdict(found)):
        parts.append("\n".join(["| Of all pictures | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows)]))
    if found.duplicates:
        files = [picture.file for picture in card.pictures]
        pairs = [f"`{code(files[pair.first])}` and `{code(files[pair.second])}`" for pair in found.duplicates[:SHOWN_PAIRS]]
        more = f"; and {found.near_duplicate_pairs - SHOWN_PAIRS} more" if found.near_duplicate_pairs > SHOWN_PAIRS else ""
        parts.append(f"Nearly the same: {'; '.join(pairs)}{more}.")
    return "\n\n".join(parts)


def _promotion(card: Scorecard) -> str:
    verdict = "**Promotion: recommended**" if card.promotion_recommended else "**Promotion: not recommended**"
    found = f"grade {card.grade}" if card.grade else "no grade"
    wanted = f"{found}; {card.minimum_grade} or better is asked for"
    against = [card.shortfall] if card.grade and card.shortfall else []
    against += [f"{line}, and the policy promotes no such run" for line in card.too_much_alike]
    return f"{verdict} ({'; '.join([wanted, *map(escape, against)])})."


def _score_table(card: Scorecard) -> str:
    lines = ["| Score | Mean | Scored | Limit | |", "|---|---:|---:|---:|---|"]
    for gate in _gates(card):
        mean, outcome = card.means.by_gate[gate.key], "pass" if card.passed[gate.key] else "FAIL"
        limit = f"{'at most ' if gate.lower_is_better else ''}{card.thresholds[gate.key]:.2f}"
        if gate.is_guard:
            outcome = f"{count_stopped(card, gate)} stopped"
        lines.append(f"| {gate.heading} | {_number(mean.value)} | {mean.scored} of {mean.made} | {limit} | {outcome} |")
    table = "\n".join([*lines, f"| **Overall** | **{_number(card.means.overall)}** | | | **{card.grade or 'no grade'}** |"])
    between = likeness_line(card)
    return f"{table}\n\n{escape(between)}." if between else table


def count_stopped(card: Scorecard, gate: Gate) -> int:
    """The pictures that a guard stops."""
    scores = [score for picture in card.pictures if (score := picture.readings[gate.key].score) is not None]
    return sum(not gate.passes(score, card.thresholds[gate.key]) for score in scores)


def likeness_line(card: Scorecard) -> str:
    """`Face similarity 0.71: strangers 0.02, your references among themselves 0.78`; empty where that is not known."""
    between = describe_likeness(card.means.value("face"), card.likeness)
    return f"Face similarity {between}" if between else ""


def _config_table(card: Scorecard) -> str:
    lead = _config_lead(card)
    shown = [gate for gate in _gates(card) if gate.weight_key]
    headings = " | ".join(gate.heading for gate in shown)
    head = f"| Configuration | Pictures | Approved | No face | {headings} | Overall | Grade |"
    lines = [lead, "", head, "|---|---:|---:|---:|" + "---:|" * len(shown) + "---:|---|"]
    lines += [_config_row(config, shown) for config in card.configs[:SHOWN_CONFIGS]]
    if len(card.configs) > SHOWN_CONFIGS:
        lines.append(f"\n{len(card.configs) - SHOWN_CONFIGS} more are in the scorecard's JSON.")
    unnamed = sum(picture.config is None for picture in card.pictures)
    if unnamed:
        verbs = ("has no configuration in its name and is", "have no configuration in their names and are")[unnamed != 1]
        lines.append(f"\n{counted(unnamed, 'picture')} {verbs} not in this table.")
    return "\n".join(lines)


def _config_lead(card: Scorecard) -> str:
    ranked = card.ranked
    if not ranked:
        return "No configuration has an overall score, so none is best."
    lead = f"Best: `{code(ranked[0].config)}`. Worst: `{code(ranked[-1].config)}`."
    if len(ranked) == 1:
        lead = f"One configuration: `{code(ranked[0].config)}`."
        if len(card.configs) > 1:
            lead = f"Only `{code(ranked[0].config)}` has an overall score."
    if len(ranked) > 2:
        lead += " Among many configurations the best one looks good partly by chance: compare it before you deploy it."
    return lead


def _config_row(config: ConfigScore, shown: Sequence[Gate]) -> str:
    means = config.means
    counts = f"{config.images} | {config.approved} | {config.faceless}"
    scores = " | ".join(_number(value) for value in (*(means.value(gate.key) for gate in shown), means.overall))
    return f"| `{code(config.config)}` | {counts} | {scores} | {config.grade or '–'} |"


def _best(card: Scorecard) -> list[ScoredPicture]:
    approved = [picture for picture in card.pictures if picture.verdict.approved]
    return sorted(approved, key=_rank, reverse=True)[:SHOWN]


def _worst(card: Scorecard) -> list[ScoredPicture]:
    return sorted((picture for picture in card.pictures if not picture.verdict.approved), key=_rank)[:SHOWN]


def _rank(picture: ScoredPicture) -> tuple[float, tuple[float, ...]]:
    """By the overall score, then by each gate in turn; a picture without a score is below every other."""
    scores = tuple(-1.0 if reading.score is None else reading.score for reading in picture.readings.values())
    return (-1.0 if picture.overall is None else picture.overall), scores


def _picture_table(card: Scorecard, pictures: Sequence[ScoredPicture]) -> str:
    if not pictures:
        return "None."
    shown = [gate for gate in _gates(card) if gate.weight_key]
    lines = [f"| Picture | {' | '.join(gate.heading for gate in shown)} | Remarks |", "|---|" + "---:|" * len(shown) + "---|"]
    for picture in pictures:
        item = picture.assessment
        flags = [flag.replace("_", " ") for flag in dict.fromkeys((*item.face.flags, *item.skin.flags))]
        remarks = "; ".join([*picture.verdict.public_reasons, *flags]) or "–"
        scores = " | ".join(_number(picture.readings[gate.key].score) for gate in shown)
        lines.append(f"| `{code(picture.file)}` | {scores} | {escape(remarks)} |")
    return "\n".join(lines)


def _reasons(card: Scorecard) -> str:
    """How often each gate rejected a picture, whatever the numbers were."""
    counts = Counter(ground.group for item in card.pictures for ground in item.verdict.grounds)
    if not counts:
        return "None is."
    lines = [f"- {counted(count, 'picture')}: {escape(describe_group(group, card.thresholds))}" for group, count in counts.most_common()]
    return "\n".join(lines)


def _method(card: Scorecard) -> str:
    protocol = card.protocol
    engine = f"{protocol.get('engine', '?')} ({protocol.get('model_pack', '?')}, {card.provider or 'provider unknown'})"
    params = [f"{key} {value}" for key, value in card.training_params.items() if not key.endswith(("sha256", "started", "finished"))]
    facts = [
        ("Pictures", f"`{code(card.generated_dir)}`" if card.generated_dir else ""),
        (
            "References",
            f"`{code(card.reference_dir)}`, {protocol.get('references', '?')} used" if card.reference_dir else "",
        ),
        ("Face engine", escape(engine)),
        ("Protocol", f"`{code(str(protocol.get('id', '?')))}`; only scores of the same protocol are comparable"),
        ("Scored", card.timestamp),
        (
            "Dataset manifest",
            f"`{code(card.manifest.path)}`, SHA-256 `{card.manifest.sha256[:16]}…`" if card.manifest else "not given",
        ),
        ("Dataset", f"`{code(card.manifest.dataset_id)}`" if card.manifest and card.manifest.dataset_id else ""),
        ("Training", escape(", ".join(params)) or "not given"),
        ("Notes", escape(card.notes)),
    ]
    unusable = Counter(item.assessment.reason for item in card.pictures if item.assessment.reason is not None)
    facts.append(("Unusable files", _join([f"{count} × {explain_reason(reason)}" for reason, count in unusable.items()])))
    return "\n".join(f"- {name}: {text}" for name, text in facts if text)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _join(words: Iterable[str]) -> str:
    *most, last = [*words] or [""]
    return f"{', '.join(most)} and {last}" if most else last
