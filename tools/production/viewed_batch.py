"""What the script of the batch page knows of a batch: its gates, and of each picture what its card, the filters and the large view show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.judging.gates import gate_of
from lifeos.pages.beside import relative_address
from lifeos.pages.columns import pack_rows
from lifeos.pages.terms import TERMS
from tools.production.overruling import titles_of
from tools.production.report_text import describe_decision, quote_path
from tools.production.results import describe_person

KEPT = (
    "index",
    "width",
    "height",
    "shot",
    "prompt",
    "seed",
    "config",
    "verdict",
    "gates_verdict",
    "borderline",
    "yaw",
    "prompt_id",
    "overall",
    "rejected_by",
    "skin_regions",
)


def viewed_document(document: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """`root`: where the page lies. `items`: the pictures, packed by column."""
    references = relative_address(Path(document["reference_dir"]), root)
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
        "references": references,
        "items": pack_rows(viewed_pictures(document)),
    }


def viewed_pictures(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each picture, all with the same fields. Its address is that of its link in the page."""
    return [_viewed(image, document) for image in document["images"]]


def people_of(image: Mapping[str, Any]) -> list[str]:
    """Who gave a verdict on the picture."""
    decided = [image["decision"]] if image["decision"] else []
    return sorted({one["by"] for one in (*decided, *image["verdicts"])})


def _viewed(image: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    gates, decision = document["gates"], image["decision"]
    like, alike = _related(image)
    nearest = image["best_reference"] or ""
    return {
        **{name: image[name] for name in KEPT},
        **{f"scores.{gate['name']}": image[gate["name"]] for gate in gates},
        "name": image["file"],
        "sha256": image["sha256"] or "",
        "source": "" if document["generates"] else image["source"],
        "face": image["face_box"],
        "reference_name": nearest,
        "reference_url": quote_path(nearest),
        "why": [*image["reasons"], *([f"repaired as {image['repaired_as']}"] if image["repaired_as"] else [])],
        "overruled": image["overruled"],
        "stuck": _is_stuck(image, gates),
        "people": people_of(image),
        "decided_by": describe_person(decision["by"]) if decision else "",
        "decided": describe_decision(decision) if decision else "",
        "guards": titles_of(image["guards"]),
        "flags": ", ".join(image["flags"]).replace("_", " "),
        "others": [{name: one[name] for name in ("verdict", "by", "reason")} for one in image["verdicts"]],
        "disputed": len({one["verdict"] for one in image["verdicts"]}) > 1,
        "like": like,
        "alike": alike,
    }


def _related(image: Mapping[str, Any]) -> tuple[str, str]:
    """Another picture that this one has to do with, and in words how."""
    kept = image["duplicate_of"] or image["nearly_same_as"] or ""
    if kept:
        return kept, image["alike"][: -len(kept)]
    return (image["repairs"], "repaired from ") if image["repairs"] else ("", "")


def _is_stuck(image: Mapping[str, Any], gates: list[Mapping[str, Any]]) -> bool:
    """Whether the gates reject it for something that no limit of a score moves: a missing score, a repeated picture."""
    if image["gates_verdict"] != "rejected":
        return False
    reasons = image["overruled"] or image["reasons"]
    scores = [(gate_of(gate["key"]), image[gate["name"]], gate["limit"]) for gate in gates]
    return len(reasons) > sum(score is not None and not gate.passes(score, limit) for gate, score, limit in scores)
