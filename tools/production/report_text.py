"""The report of a batch in plain forms: Markdown to read, CSV for a spreadsheet. Prompts and names are data in both."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from evals.judging.likeness_range import describe_likeness
from evals.judging.variety import variety_rows
from lifeos.escaping import escape_csv, escape_markdown
from lifeos.escaping import escape_markdown_code as code
from tools.production.decisions import MOVE
from tools.production.overruling import titles_of
from tools.production.prompts import shorten
from tools.production.repair_report import repair_rows
from tools.production.report_document import time_and_money
from tools.production.results import DELETED, describe_person
from tools.production.server_costs import cost_notes, server_tables

SHOWN_REJECTIONS = 200
"""Rows of the table of rejections in Markdown; the rest is in scores.csv, and the report says so."""

CSV_FIRST = ("index", "file", "verdict", "reasons")
CSV_DECISION = ("gates_verdict", "decided_by", "decided", "decision_reason")
CSV_DUPLICATES = ("duplicate_of", "nearly_same_as", "alike")
CSV_VERDICTS = ("reviewers",)
CSV_REPAIRS = ("repairs", "repaired_as")
"""At the end, so that columns stay where they were."""

CSV_LAST = (
    "cosine", "best_reference", "faces", "flags", "shot", "yaw", "width", "height", "config", "prompt_id", "variation", "seed", "prompt",
    "source", "seconds", "place", "sha256",
)  # fmt: skip


def format_score(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def render_csv(document: Mapping[str, Any]) -> str:
    """One line per picture. A text that a spreadsheet would run as a formula gets an apostrophe in front."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = csv_columns(document)
    writer.writerow(columns)
    for image in document["images"]:
        cells = {**image, **_decision_cells(image)}
        writer.writerow([_cell(cells[name]) for name in columns])
    return out.getvalue()


def csv_columns(document: Mapping[str, Any]) -> list[str]:
    """The columns of scores.csv: the gates with a weight, the overall score, the other gates, then what else is known."""
    weighted = [gate["name"] for gate in document["gates"] if gate["weight"]]
    others = [gate["name"] for gate in document["gates"] if not gate["weight"]]
    return [*CSV_FIRST, *weighted, "overall", *others, *CSV_LAST, *CSV_DECISION, *CSV_DUPLICATES, *CSV_VERDICTS, *CSV_REPAIRS]


def _decision_cells(image: Mapping[str, Any]) -> dict[str, Any]:
    decision = image["decision"] or {}
    said = [f"{one['by']} {one['verdict']}{' (opinion)' if one.get('opinion') else ''}" for one in image["verdicts"]]
    told = {"decided_by": decision.get("by"), "decided": decision.get("when"), "decision_reason": decision.get("reason")}
    return {**told, "reviewers": said}


def weighted_gates(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The gates that make up the overall score, for narrow tables."""
    return [gate for gate in document["gates"] if gate["weight"]]


def _cell(value: object) -> object:
    return escape_csv("; ".join(map(str, value)) if isinstance(value, list) else value)


def render_markdown(document: Mapping[str, Any]) -> str:
    title = f"# Batch {escape_markdown(document['run_id'])}"
    parts = [title, escape_markdown(document["judgement"])]
    if document["engine_notice"]:
        parts.append(f"> **Demo pictures.** {escape_markdown(document['engine_notice'])}")
    if document["warnings"]:
        parts.append("**Before you trust this**\n\n" + "\n".join(f"- {escape_markdown(line)}" for line in document["warnings"]))
    parts += [_counts(document), _means(document), _best_and_worst(document), _servers(document), _settings(document), _sameness(document)]
    parts += [_per_prompt(document), _per_shot(document), _per_config(document), _borderline(document), _rejections(document)]
    parts += [
        _repairs(document),
        _duplicates(document),
        _decisions(document),
        _deleted(document),
        _failures(document),
        _left_out(document),
        _unpublished(document),
    ]
    parts += [_scores(document), _protocol(document)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def _counts(document: Mapping[str, Any]) -> str:
    counts, card = document["counts"], document["scorecard"]
    rows: list[tuple[str, object]] = [
        ("Generated" if document["generates"] else "Judged", counts["generated"] - counts["repaired"]),
        ("Approved", counts["approved"]),
        ("Rejected", counts["rejected"]),
    ]
    if counts["repaired"]:
        rows.insert(1, ("Repaired, each a picture of its own beside its original", counts["repaired"]))
    publishing = document.get("publishing")
    if publishing is not None:
        copies = publishing["counts"]
        rows.append(("Published, labelled and verified", f"{copies['published'] + copies['kept']} of {copies['approved']}"))
        rows.append(("Content credentials", escape_markdown(publishing["content_credentials"])))
    if counts["deleted"]:
        rows.append(("Deleted or taken away", counts["deleted"]))
    if counts["borderline"]:
        rows.append(("Borderline skin, look at these first", counts["borderline"]))
    if counts["decided"]:
        changed = f"{counts['approved_by_hand']} of them approved and {counts['rejected_by_hand']} rejected against the gates"
        rows.append(("Decided by hand", f"{counts['decided']} ({changed})"))
    if counts["failed"]:
        rows.append(("Could not be made" if document["generates"] else "Could not be read", counts["failed"]))
    if counts.get("left_out"):
        rows.append(("Left out of the folder", counts["left_out"]))
    if counts["without_face"]:
        rows.append(("Without a face", counts["without_face"]))
    if card is not None:
        scores = card["eval_scores"]
        rows.append(("Grade", f"{scores['overall_grade'] or 'none'} ({format_score(scores['overall_score'])}, all pictures)"))
    rows += [("Ending", document["ending_text"]), ("Time and cost", escape_markdown(time_and_money(document)))]
    return "## Totals\n\n" + _table(("", ""), rows)


def _servers(document: Mapping[str, Any]) -> str:
    """What each kind of server, and each server, made and cost."""
    tables = [_table(heads, [[escape_markdown(cell) for cell in row] for row in rows]) for heads, rows in server_tables(document) if rows]
    return "\n\n".join(["## Servers", *tables, *(escape_markdown(note) for note in cost_notes(document))]) if tables else ""


def _means(document: Mapping[str, Any]) -> str:
    approved, every = document["means"]["approved"], document["means"]["all"]
    rows = [(gate["heading"], *(_mean_cell(means, gate["mean"]) for means in (approved, every))) for gate in document["gates"]]
    rows.append(("Overall", format_score(approved["overall"]), format_score(every["overall"])))
    table = "## Mean scores\n\n" + _table(("", "approved set", "all pictures"), rows)
    between = likeness_line(document)
    return f"{table}\n\n{between}" if between else table


def likeness_line(document: Mapping[str, Any]) -> str:
    """What the mean face score of all pictures stands between; empty where that is not known."""
    between = describe_likeness(document["means"]["all"].get("face_similarity"), document["likeness"])
    return f"Face similarity of all pictures {between}." if between else ""


def _mean_cell(means: Mapping[str, Any], name: str) -> str:
    """A mean, and of how many pictures it is one where some have no score."""
    scored = means["scored"][name]
    return format_score(means[name]) + (f" ({scored} of {means['pictures']} scored)" if scored < means["pictures"] else "")


def _best_and_worst(document: Mapping[str, Any]) -> str:
    images, shown = {image["file"]: image for image in document["images"]}, weighted_gates(document)
    rows = [
        (label, f"`{code(name)}`", *(format_score(images[name][gate["name"]]) for gate in shown), images[name]["verdict"])
        for label, names in (("best", document["best"]), ("worst", document["worst"]))
        for name in names
    ]
    return "## Best and worst\n\n" + _table(("", "picture", *(gate["name"] for gate in shown), "verdict"), rows) if rows else ""


def _borderline(document: Mapping[str, Any]) -> str:
    """The pictures whose skin could be judged either way: a person should look at them before the others."""
    marked = [image for image in document["images"] if image["borderline"] and image["verdict"] != DELETED]
    if not marked:
        return ""
    shown = weighted_gates(document)
    rows = [
        (f"`{code(image['file'])}`", *(format_score(image[gate["name"]]) for gate in shown), image["verdict"])
        for image in marked[:SHOWN_REJECTIONS]
    ]
    more = f"\n\n{len(marked) - len(rows)} more stand in `scores.csv`, with the flag `borderline`." if len(marked) > len(rows) else ""
    text = "The verdict on the skin of these pictures could as well be the other one. Look at them first."
    return f"## Borderline\n\n{text}\n\n" + _table(("picture", *(gate["name"] for gate in shown), "verdict"), rows) + more


def _settings(document: Mapping[str, Any]) -> str:
    if not document["generates"]:
        return f"## Pictures\n\nExisting pictures from {escape_markdown(document['source_dir'])}; nothing was generated."
    labels = {"lora": "LoRA", "lora_strength": "LoRA strength", "cfg": "CFG", "negative": "negative prompt"}
    rows = [
        (labels.get(name, name.replace("_", " ")), escape_markdown(shorten(str(value), 200)))
        for name, value in document["settings"].items()
        if value is not None
    ]
    rows.append(("workflow SHA-256", ", ".join(digest[:16] for digest in document["workflow"]["sha256"])))
    return "## Settings\n\n" + _table(("", ""), rows)


def _sameness(document: Mapping[str, Any]) -> str:
    found = document["sameness"]
    lines = [f"## Variety of the approved set\n\n{escape_markdown(found['judgement'])}"]
    if rows := variety_rows(found):
        lines.append(_table(("", ""), rows))
    return "\n\n".join(lines)


def _count_heads(document: Mapping[str, Any]) -> tuple[str, ...]:
    return ("made", "approved", *(gate["name"] for gate in weighted_gates(document)))


def _count_cells(document: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[object, ...]:
    rate = f"{row['approved']} ({row['approval_rate']:.0%})"
    return row["generated"], rate, *(format_score(row[f"{gate['mean']}_mean"]) for gate in weighted_gates(document))


def _per_prompt(document: Mapping[str, Any]) -> str:
    if not document["generates"] and all(row["prompt_id"] is None for row in document["per_prompt"]):
        return ""
    rows = []
    for row in document["per_prompt"]:
        text = escape_markdown(shorten(row["prompt"], 90)) or "–"
        rows.append((row["prompt_id"] or "–", text, *_count_cells(document, row)))
    return "## By prompt\n\n" + _table(("#", "prompt", *_count_heads(document)), rows) if rows else ""


def _per_shot(document: Mapping[str, Any]) -> str:
    rows = [(row["shot"], *_count_cells(document, row)) for row in document["per_shot"]]
    return "## By shot type\n\n" + _table(("shot", *_count_heads(document)), rows) if rows else ""


def _per_config(document: Mapping[str, Any]) -> str:
    rows = [(escape_markdown(row["config"] or "–"), *_count_cells(document, row)) for row in document["per_config"]]
    return "## By configuration\n\n" + _table(("configuration", *_count_heads(document)), rows) if len(rows) > 1 else ""


def _rejections(document: Mapping[str, Any]) -> str:
    rejected = [image for image in document["images"] if image["verdict"] == "rejected"]
    if not rejected:
        return ""
    found = [(group, entry) for group in document["reasons_by_gate"] for entry in group["reasons"]]
    reasons = _table(
        ("rejected by", "pictures", "reason", "pictures"),
        [
            (*((escape_markdown(group["title"]), group["pictures"]) if entry is group["reasons"][0] else ("", "")),
             escape_markdown(entry["reason"]), entry["pictures"])
            for group, entry in found
        ],
    )  # fmt: skip
    rows = [(f"`{code(image['file'])}`", escape_markdown("; ".join(image["reasons"]))) for image in rejected[:SHOWN_REJECTIONS]]
    more = f"\n\n{len(rejected) - SHOWN_REJECTIONS} more are in scores.csv." if len(rejected) > SHOWN_REJECTIONS else ""
    return f"## Why pictures were rejected\n\n{reasons}\n\n{_table(('picture', 'why'), rows)}{more}"


def link_to(image: Mapping[str, Any]) -> str:
    """A picture's name as a link to its file; the name alone where the file is gone."""
    name = f"`{code(image['file'])}`"
    return f"[{name}]({quote_path(image['path'])})" if image["path"] else name


def quote_path(path: str | None) -> str:
    """A path in the batch directory as the address of a link."""
    return quote((path or "").encode("utf-8", "surrogateescape"))  # the bytes of the name, whatever they are


def _repairs(document: Mapping[str, Any]) -> str:
    if not document["repair"]:
        return ""
    images = {image["file"]: image for image in document["images"]}
    pairs = [image for image in document["images"] if image["repairs"] is not None]
    rows = [(link_to(images[each["repairs"]]), link_to(each), each["verdict"]) for each in pairs[:SHOWN_REJECTIONS]]
    failed = [(f"`{code(each['file'])}`", escape_markdown(each["reason"]), "no picture") for each in document["repair"]["failures"]]
    more = f"\n\n{len(pairs) - SHOWN_REJECTIONS} more are in scores.csv." if len(pairs) > SHOWN_REJECTIONS else ""
    table = "\n\n" + _table(("rejected", "repaired as", "verdict"), [*rows, *failed]) + more if rows or failed else ""
    return f"## Repaired\n\n{_table(('', ''), repair_rows(document))}{table}"


def _duplicates(document: Mapping[str, Any]) -> str:
    images = {image["file"]: image for image in document["images"]}
    alike = [image for image in document["images"] if image["alike"] is not None]
    if not alike:
        return ""
    rows = []
    for image in alike[:SHOWN_REJECTIONS]:
        kept = image["duplicate_of"] or image["nearly_same_as"]
        how = escape_markdown(image["alike"].removesuffix(kept).strip())
        rows.append((link_to(image), image["verdict"], how, link_to(images[kept]) if kept in images else f"`{code(kept)}`"))
    more = f"\n\n{len(alike) - SHOWN_REJECTIONS} more are in scores.csv." if len(alike) > SHOWN_REJECTIONS else ""
    text = "Of pictures that are the same file the one with the lowest number is approved. Pictures that are nearly the same are marked; "
    text += "`production.reject_near_duplicates` rejects them. What a person decides wins."
    return f"## Duplicates\n\n{text}\n\n{_table(('picture', 'verdict', 'is', 'kept'), rows)}{more}"


def _decisions(document: Mapping[str, Any]) -> str:
    decided = [image for image in document["images"] if image["verdicts"] and image["verdict"] != "deleted"]
    if not decided:
        return ""
    rows = [
        (
            f"`{code(image['file'])}`",
            image["verdict"],
            image["gates_verdict"],
            "<br>".join(escape_markdown(describe_verdict(image, one)) for one in reversed(image["verdicts"])),
        )
        for image in decided
    ]
    text = "A decision wins over the gates. Where several people decided about a picture, the newest verdict counts."
    return f"## Decided by hand\n\n{text}\n\n" + _table(("picture", "verdict", "the gates'", "by"), rows)


def describe_verdict(image: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """What one reviewer says of a picture: the decision in force, or another beside it."""
    text = describe_decision(one)
    if one == image["decision"]:
        missing = one["verdict"] == "approved" and image["guards"] and not one["reason"]
        return f"{text}; the reason why {titles_of(image['guards'])} is overruled is missing" if missing else text
    return f"{one['verdict']} as an opinion: {text}" if one.get("opinion") else f"{one['verdict']} before: {text}"


def describe_decision(decision: Mapping[str, Any]) -> str:
    """`the owner, by moving it, 2026-11-29: blurred hand`."""
    how = ", by moving it" if decision["from"] == MOVE else f", in {decision['from']}" if decision["from"] else ""
    when = f", {decision['when'][:10]}" if decision["when"] else ""
    return f"{describe_person(decision['by'])}{how}{when}" + (f": {decision['reason']}" if decision["reason"] else "")


def _deleted(document: Mapping[str, Any]) -> str:
    rows = [(f"`{code(name)}`",) for name in document["deleted"]]
    text = "They were filed, and are in neither folder now. Their scores still count in the means of all pictures."
    return f"## Deleted or taken away\n\n{text}\n\n" + _table(("picture",), rows) if rows else ""


def _failures(document: Mapping[str, Any]) -> str:
    rows = [(failure["index"], escape_markdown(failure["reason"])) for failure in document["failures"]]
    return "## What could not be made\n\n" + _table(("number", "why"), rows) if rows else ""


def _left_out(document: Mapping[str, Any]) -> str:
    """What the folder of `--images` holds beside the pictures that were judged."""
    left_out = document.get("left_out", ())
    if not left_out:
        return ""
    rows = [(f"`{code(item['file'])}`", escape_markdown(item["why"])) for item in left_out[:SHOWN_REJECTIONS]]
    more = f"\n\n{len(left_out) - SHOWN_REJECTIONS} more are in batch_report.json." if len(left_out) > SHOWN_REJECTIONS else ""
    return f"## What was left out\n\n{_table(('file', 'why'), rows)}{more}"


def _unpublished(document: Mapping[str, Any]) -> str:
    """The approved pictures of which there is no copy, and why."""
    refused = (document.get("publishing") or {}).get("refused", [])
    if not refused:
        return ""
    lines = [f"- `{code(row['picture'])}`: {escape_markdown(row['why'])}" for row in refused]
    return "## Approved, and not published\n\n" + "\n".join(lines)


def _scores(document: Mapping[str, Any]) -> str:
    return "## Every picture\n\nAll scores are in `scores.csv`; `batch_report.html` shows the pictures." if document["images"] else ""


def _protocol(document: Mapping[str, Any]) -> str:
    rows: list[tuple[str, object]] = [
        ("Judged by", escape_markdown(document["engine"])),
        ("References", escape_markdown(document["reference_dir"])),
        *((f"{gate['heading']} {'at most' if gate['lower_is_better'] else 'from'}", gate["limit"]) for gate in document["gates"]),
        ("Protocol", f"`{code(document['protocol'].get('id', ''))}`"),
        ("LoRA version", escape_markdown(document["lora_version"])),
        ("Batch", f"{document['batch_id']}, {document['started']} to {document['ended']}, {document['runs']} run(s)"),
    ]
    return "## How it was judged\n\nScores of different protocols cannot be compared.\n\n" + _table(("", ""), rows)
