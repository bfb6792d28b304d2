"""The report of a batch as one HTML file: the pictures to look at. Needs no network, works from a folder.

Above `MOST_IN_ONE_FILE` pictures the small copies lie beside it, in `thumbs/`, and load as one scrolls.

It is rendered piece by piece, so that the thumbnails of thousands of pictures are never in memory together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evals.judging.gates import gate_of
from evals.judging.variety import variety_rows
from lifeos.pages.beside import MOST_IN_ONE_FILE, put_beside, relative_address
from lifeos.pages.page_templates import jpeg_address, json_in_page, page_environment
from lifeos.pages.terms import TERMS
from tools.production.filing import BatchFolder
from tools.production.overruling import titles_of
from tools.production.report_document import time_and_money
from tools.production.report_text import describe_decision, format_score, likeness_line, quote_path, weighted_gates
from tools.production.thumbnails import read_thumbnail

TEMPLATE = "batch_report.html.j2"
THUMBS = "thumbs"


def render_html(document: Mapping[str, Any], folder: BatchFolder) -> Iterator[str]:
    """The pieces of the file, in order."""
    environment = page_environment()
    environment.filters["score"] = format_score
    environment.filters["decided"] = describe_decision
    environment.filters["share_of"] = share_of_span
    environment.filters["percent"] = lambda value: f"{value:.0%}"

    is_one_file = len(document["images"]) <= MOST_IN_ONE_FILE

    def thumbnail(image: Mapping[str, Any]) -> str:
        small = read_thumbnail(folder.thumbnails / f"{image['file']}.jpg", folder.root / (image["path"] or ""))
        if not small:
            return ""
        return jpeg_address(small) if is_one_file else put_beside(small, folder.root, f"{THUMBS}/{image['file']}.jpg")

    def link(image: Mapping[str, Any]) -> str:
        return quote_path(image["path"])

    references = relative_address(Path(document["reference_dir"]), folder.root)

    places = {image["file"]: place for place, image in enumerate(document["images"], 1)}
    template = environment.get_template(TEMPLATE)
    yield from template.generate(
        document=document,
        likeness=likeness_line(document),
        thumbnail=thumbnail,
        link=link,
        places=places,
        variety=variety_rows(document["sameness"]),
        time_and_money=time_and_money(document),
        weighted=weighted_gates(document),
        reviewers=sorted({name for image in document["images"] for name in _people(image)}),
        alike=any(image["duplicate_of"] or image["nearly_same_as"] for image in document["images"]),
        viewed=json_in_page(viewed_document(document, references)),
    )


def viewed_document(document: Mapping[str, Any], references: str | None) -> dict[str, Any]:
    """What the large view and its keys need of the report. `references`: the address of their folder, None where there is no way to it."""
    return {
        **{name: document[name] for name in ("run_id", "batch_id")},
        "protocol_id": document["protocol"].get("id", ""),
        "gates": [
            {
                **{name: gate[name] for name in ("key", "name", "title", "limit")},
                "lower": gate["lower_is_better"],
                "low": gate_of(gate["key"]).span[0],
                "high": gate_of(gate["key"]).span[1],
            }
            for gate in document["gates"]
        ],
        "terms": {gate["key"]: TERMS.get(gate["key"], "") for gate in document["gates"]},
        "items": [_viewed(image, document["gates"], references) for image in document["images"]],
    }


KEPT = (
    "index",
    "width",
    "height",
    "shot",
    "prompt",
    "seed",
    "config",
    "source",
    "verdict",
    "gates_verdict",
    "borderline",
    "yaw",
    "prompt_id",
)


def share_of_span(value: float, key: str) -> int:
    """Where a score lies between the lowest and the highest that its gate can give, in percent."""
    low, high = gate_of(key).span
    return round(100 * max(0.0, min(1.0, (value - low) / (high - low))))


def _viewed(image: Mapping[str, Any], gates: list[Mapping[str, Any]], references: str | None) -> dict[str, Any]:
    nearest = image["best_reference"] or ""
    return {
        **{name: image[name] for name in KEPT},
        "name": image["file"],
        "sha256": image["sha256"] or "",
        "url": quote_path(image["path"]),
        "face": image["face_box"],
        "reference": f"{references}/{quote_path(nearest)}" if nearest and references is not None else "",
        "reference_name": nearest,
        "scores": {gate["name"]: image[gate["name"]] for gate in gates},
        "reasons": image["overruled"] or image["reasons"],
        "stuck": _is_stuck(image, gates),
        "people": _people(image),
        "guards": titles_of(image["guards"]),
        "others": [{name: one[name] for name in ("verdict", "by", "reason")} for one in image["verdicts"]],
        "disputed": len({one["verdict"] for one in image["verdicts"]}) > 1,
        "like": image["duplicate_of"] or image["nearly_same_as"] or "",
    }


def _people(image: Mapping[str, Any]) -> list[str]:
    """Who gave a verdict on the picture."""
    decided = [image["decision"]] if image["decision"] else []
    return sorted({one["by"] for one in (*decided, *image["verdicts"])})


def _is_stuck(image: Mapping[str, Any], gates: list[Mapping[str, Any]]) -> bool:
    """Whether the gates reject it for something that no limit of a score moves: a missing score, a repeated picture."""
    if image["gates_verdict"] != "rejected":
        return False
    reasons = image["overruled"] or image["reasons"]
    scores = [(gate_of(gate["key"]), image[gate["name"]], gate["limit"]) for gate in gates]
    return len(reasons) > sum(score is not None and not gate.passes(score, limit) for gate, score, limit in scores)
