"""The scorecard for people: a sentence of judgement first, then the numbers, what fails and why, and how it was measured."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from evals.judging.records import explain_reason

if TYPE_CHECKING:
    from evals.scorecards.card import ConfigScore, Scorecard, ScoredPicture

SHOWN = 5
SHOWN_CONFIGS = 30
FEW_PICTURES = 20
"""Below this many pictures a mean can move by more than the differences that matter."""


def render_summary(card: Scorecard) -> str:
    """The judgement in two or three sentences, plain text."""
    return " ".join([_grade_sentence(card), _gate_sentence(card), _count_sentence(card)])


def render_report(card: Scorecard, warnings: Sequence[str] = ()) -> str:
    """The report as Markdown."""
    version = f" ({card.lora_version})" if card.lora_version else ""
    parts = [f"# Scorecard: {escape(card.run_id + version)}", escape(render_summary(card)), _promotion(card)]
    if len(card.pictures) < FEW_PICTURES:
        count = _count(len(card.pictures), "picture")
        parts.append(f"Based on {count} only: take the numbers as a hint.")
    if warnings:
        parts.append("**Before you trust this**\n\n" + "\n".join(f"- {escape(line)}" for line in warnings))
    parts += ["## Scores", _score_table(card)]
    if card.configs:
        parts += ["## Configurations", _config_table(card)]
    parts += ["## Best pictures", _picture_table(_best(card)), "## Worst pictures", _picture_table(_worst(card))]
    parts += ["## Why pictures are rejected", _reasons(card), "## How it was measured", _method(card)]
    return "\n\n".join(parts) + "\n"


def _grade_sentence(card: Scorecard) -> str:
    if card.means.overall is None:
        missing = "face" if card.means.face is None else "skin"
        return f"No grade: no picture has a {missing} score."
    return f"Grade {card.grade} ({card.means.overall:.2f})."


def _gate_sentence(card: Scorecard) -> str:
    words = {"face": "face similarity", "skin": "skin realism", "texture": "skin texture", "color": "skin colour"}
    low = [words[name] for name, passed in card.gates.items() if not passed]
    if not low:
        return "The means of face and skin are above their thresholds."
    return f"{_join(low).capitalize()} {'is' if len(low) == 1 else 'are'} below the threshold."


def _count_sentence(card: Scorecard) -> str:
    verb = "passes" if len(card.pictures) == 1 else "pass"
    text = f"{card.approved} of {_count(len(card.pictures), 'picture')} {verb} every gate"
    return f"{text}; {card.faceless} without a face." if card.faceless else f"{text}."


def _promotion(card: Scorecard) -> str:
    verdict = "**Promotion: recommended**" if card.promotion_recommended else "**Promotion: not recommended**"
    found = f"grade {card.grade}" if card.grade else "no grade"
    return f"{verdict} ({found}; {card.minimum_grade} or better is asked for)."


def _score_table(card: Scorecard) -> str:
    means, limits, gates = card.means, card.thresholds, card.gates
    rows = [
        ("Face similarity", means.face, "face"),
        ("Skin realism", means.skin, "skin"),
        ("Skin texture", means.texture, "texture"),
        ("Skin colour", means.color, "color"),
    ]
    lines = ["| Score | Mean | Threshold | |", "|---|---:|---:|---|"]
    lines += [f"| {name} | {_number(mean)} | {limits[key]:.2f} | {'pass' if gates[key] else 'FAIL'} |" for name, mean, key in rows]
    return "\n".join([*lines, f"| **Overall** | **{_number(means.overall)}** | | **{card.grade or 'no grade'}** |"])


def _config_table(card: Scorecard) -> str:
    best, worst = card.configs[0], card.configs[-1]
    lead = f"Best: `{code(best.config)}`. Worst: `{code(worst.config)}`."
    if best is worst:
        lead = f"One configuration: `{code(best.config)}`."
    if len(card.configs) > 2:
        lead += " The best of many looks good by luck: compare versions on all of them before deploying one."
    head = "| Configuration | Pictures | Approved | No face | Face | Skin | Overall | Grade |"
    lines = [lead, "", head, "|---|---:|---:|---:|---:|---:|---:|---|"]
    lines += [_config_row(config) for config in card.configs[:SHOWN_CONFIGS]]
    if len(card.configs) > SHOWN_CONFIGS:
        lines.append(f"\n{len(card.configs) - SHOWN_CONFIGS} more are in the scorecard's JSON.")
    unnamed = sum(picture.config is None for picture in card.pictures)
    if unnamed:
        verbs = ("tells no configuration by its name and is", "tell no configuration by their names and are")[unnamed != 1]
        lines.append(f"\n{_count(unnamed, 'picture')} {verbs} not in this table.")
    return "\n".join(lines)


def _config_row(config: ConfigScore) -> str:
    means = config.means
    counts = f"{config.images} | {config.approved} | {config.faceless}"
    scores = " | ".join(_number(value) for value in (means.face, means.skin, means.overall))
    return f"| `{code(config.config)}` | {counts} | {scores} | {config.grade or '–'} |"


def _best(card: Scorecard) -> list[ScoredPicture]:
    approved = [picture for picture in card.pictures if picture.verdict.approved]
    return sorted(approved, key=_rank, reverse=True)[:SHOWN]


def _worst(card: Scorecard) -> list[ScoredPicture]:
    return sorted((picture for picture in card.pictures if not picture.verdict.approved), key=_rank)[:SHOWN]


def _rank(picture: ScoredPicture) -> tuple[float, float]:
    """By face, then skin; a picture without a score is below every other."""
    face, skin = picture.assessment.face.score, picture.assessment.skin.score
    return (-1.0 if face is None else face), (-1.0 if skin is None else skin)


def _picture_table(pictures: Sequence[ScoredPicture]) -> str:
    if not pictures:
        return "None."
    lines = ["| Picture | Face | Skin | Remarks |", "|---|---:|---:|---|"]
    for picture in pictures:
        item = picture.assessment
        flags = [flag.replace("_", " ") for flag in (*item.face.flags, *item.skin.flags)]
        remarks = "; ".join([*picture.verdict.reasons, *flags]) or "–"
        lines.append(f"| `{code(picture.file)}` | {_number(item.face.score)} | {_number(item.skin.score)} | {escape(remarks)} |")
    return "\n".join(lines)


def _reasons(card: Scorecard) -> str:
    """Each gate that said no, with how often: numbers are taken out, so that like reasons are counted together."""
    reasons = (reason for item in card.pictures for reason in item.verdict.reasons)
    counts = Counter(re.sub(r" [0-9.]+ is below .*", " below the threshold", reason) for reason in reasons)
    if not counts:
        return "None is."
    lines = [f"- {_count(count, 'picture')}: {escape(reason)}" for reason, count in counts.most_common()]
    return "\n".join(lines)


def _method(card: Scorecard) -> str:
    protocol = card.protocol
    engine = f"{protocol.get('engine', '?')} ({protocol.get('model_pack', '?')}, {card.provider or 'provider unknown'})"
    params = [f"{key} {value}" for key, value in card.training_params.items() if not key.endswith(("sha256", "started", "finished"))]
    facts = [
        ("Pictures", f"`{code(card.generated_dir)}`" if card.generated_dir else ""),
        ("References", f"`{code(card.reference_dir)}`, {protocol.get('references', '?')} used" if card.reference_dir else ""),
        ("Face engine", escape(engine)),
        ("Protocol", f"`{code(str(protocol.get('id', '?')))}`; only scores of the same protocol are comparable"),
        ("Scored", card.timestamp),
        ("Dataset manifest", f"`{code(card.manifest.path)}`, SHA-256 `{card.manifest.sha256[:16]}…`" if card.manifest else "not given"),
        ("Dataset", f"`{code(card.manifest.dataset_id)}`" if card.manifest and card.manifest.dataset_id else ""),
        ("Training", escape(", ".join(params)) or "not given"),
        ("Notes", escape(card.notes)),
    ]
    unusable = Counter(item.assessment.reason for item in card.pictures if item.assessment.reason is not None)
    facts.append(("Unusable files", _join([f"{count} × {explain_reason(reason)}" for reason, count in unusable.items()])))
    return "\n".join(f"- {name}: {text}" for name, text in facts if text)


def escape(text: str) -> str:
    """Text that Markdown and HTML take as text: names, notes and prompts are data."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*\[\]|<>#~]|\b_|_\b)", r"\\\1", flat.replace("&", "&amp;"))


def code(text: str) -> str:
    """Text between backticks, in a table or out of one."""
    return " ".join(text.split()).replace("`", "'").replace("|", "¦")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _join(words: Iterable[str]) -> str:
    *most, last = [*words] or [""]
    return f"{', '.join(most)} and {last}" if most else last
