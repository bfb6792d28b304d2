"""The report of a batch as data: `batch_report.json`, from which the other forms are rendered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from evals.judging.borderline import is_borderline, mark_borderline
from evals.judging.gates import Gate, gates_in_force, limits_of, picture_overall
from evals.judging.picture_verdict import DUPLICATE, UNMEASURED, describe_group
from evals.judging.variety import ALIKE, SAME, SHOT_TYPES, Sameness, measure_sameness
from evals.skin.realism import BORDERLINE
from lifeos.counting import counted, dollars, verb
from tools.production.batch_state import ENDINGS, BatchState
from tools.production.budget import format_seconds
from tools.production.decisions import MOVE
from tools.production.plan import Plan, judging_policy, sha256_of
from tools.production.repair_report import repair_document, repair_sentences
from tools.production.results import (
    BY_HAND,
    DELETED,
    INCOMPLETE,
    BatchResults,
    PictureResult,
    count_missing,
    ending_of,
    mean_document,
    tabulate,
)
from tools.production.server_costs import servers_document
from tools.production.server_work import Session
from tools.production.skin_marks import skin_ellipses

SCHEMA = 1
SHOT_ORDER = {name: place for place, (name, _) in enumerate(SHOT_TYPES)}


def build_document(
    plan: Plan,
    results: BatchResults,
    state: BatchState,
    policy: Mapping[str, Any],
    *,
    why: str,
    scorecard: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that is known of a batch, with numbers that add up. `scorecard` is the history row, None without a score."""
    pictures, own = results.pictures, results.own
    approved = [picture for picture in pictures if picture.approved]
    seconds = _seconds(state, pictures)
    cost = _cost(state.sessions, len(own), len(approved))
    sameness = _sameness(approved, policy)
    counts = count_pictures(plan, results) | {"missing": count_missing(plan, state), "borderline": _count_borderline(pictures, policy)}
    why = ending_of(why, plan, state)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "run_id": plan.run_id,
        "batch_id": plan.batch_id,
        "lora_version": plan.lora_version,
        "created": plan.created,
        "started": state.sessions[0].started if state.sessions else plan.created,
        "ended": state.sessions[-1].last if state.sessions else plan.created,
        "runs": len(state.sessions),
        "ending": why,
        "ending_text": (why == "max_cost" and state.ended_because) or ENDINGS[why],
        "generates": plan.generates,
        "source_dir": plan.source_dir,
        "engine": plan.engine,
        "engine_notice": plan.engine_notice,
        "counts": counts,
        "target_approved": plan.target_approved,
        "reasons": _reasons(pictures, policy),
        "reasons_by_gate": _reasons_by_gate(pictures, policy),
        "gates": [_gate(gate, policy) for gate in gates_in_force(policy)],
        "seconds": seconds,
        "cost": cost,
        "servers": servers_document(plan, results, state),
        "repair": repair_document(plan, results, state, cost),
        "settings": dict(settings),
        "workflow": {"name": plan.workflow_name, "sha256": [sha256_of(graph) for graph in plan.workflows]} if plan.generates else None,
        "models": list(plan.models),
        "reference_dir": plan.reference_dir,
        "policy": judging_policy(policy),
        "rejudged": state.rejudged,
        "protocol": plan.protocol,
        "likeness": {name: plan.likeness[name] for name in ("strangers", "references")} if plan.likeness else None,
        "warnings": plan.likeness.get("warnings", []),
        "means": {"approved": mean_document(approved, policy), "all": mean_document(own, policy)},
        "scorecard": dict(scorecard) if scorecard is not None else None,
        "sameness": sameness,
        "best": [], "worst": [],
        "per_prompt": _per_prompt(plan, own, policy),
        "per_shot": _per_shot(own, policy),
        "per_config": [{"config": name, **row} for name, row in tabulate(own, lambda picture: picture.config, policy).items()],
        "deleted": [picture.file for picture in pictures if picture.verdict == DELETED],
        "failures": [{"index": index, "reason": reason} for index, reason in results.failures],
        "images": [_image(picture, policy) for picture in pictures],
    }  # fmt: skip
    scored = [row for row in document["images"] if row["overall"] is not None and row["verdict"] != DELETED]
    ranked = sorted(
        scored, key=lambda row: (row["verdict"] != "approved", -row["overall"], row["index"])
    )  # none above one that may be shown
    document["best"], document["worst"] = [row["file"] for row in ranked[:3]], [row["file"] for row in reversed(ranked[-3:])]
    document["judgement"] = judgement_of(document)
    return document


def _count_borderline(pictures: list[PictureResult], policy: Mapping[str, Any]) -> int:
    """The pictures that a person should look at first."""
    return sum(is_borderline(picture.assessment.skin, policy) for picture in pictures if picture.verdict != DELETED)


def count_pictures(plan: Plan, results: BatchResults) -> dict[str, int]:
    """How many pictures there are of each kind. Generated is the sum of approved, rejected and deleted, repaired pictures among them."""
    pictures = results.pictures
    verdicts = Counter(picture.verdict for picture in pictures)
    decided = [picture for picture in pictures if picture.decision is not None and picture.verdict != DELETED]
    return {
        "planned": plan.planned,
        "generated": len(pictures),
        "repaired": len(pictures) - len(results.own),
        "approved": verdicts["approved"],
        "rejected": verdicts["rejected"],
        "deleted": verdicts["deleted"],
        "duplicates": sum(picture.copy is not None for picture in pictures),
        "nearly_same": sum(picture.like is not None for picture in pictures),
        "failed": len(results.failures),
        "without_face": sum(picture.assessment.face.reason == "no_face" for picture in pictures),
        "decided": len(decided),
        "moved_by_hand": sum(picture.decision is not None and picture.decision.origin == MOVE for picture in decided),
        "approved_by_hand": sum(picture.is_overruled and picture.approved for picture in decided),
        "rejected_by_hand": sum(picture.is_overruled and not picture.approved for picture in decided),
        "disputed": sum(picture.is_disputed for picture in decided),
        "without_reason": sum(picture.lacks_reason for picture in decided),
    }


def _seconds(state: BatchState, pictures: list[PictureResult]) -> dict[str, Any]:
    wall = sum(session.seconds for session in state.sessions)
    paid = sum(session.seconds * session.servers for session in state.sessions)
    known = [picture.seconds for picture in pictures if picture.seconds is not None]
    generating = sum(known)
    return {
        "wall": round(wall, 1),
        "generating": round(generating, 1) if known else None,
        "idle": round(max(0.0, paid - generating), 1) if known else None,
        "per_picture": round(generating / len(known), 2) if known else None,
    }


def _cost(sessions: list[Session], generated: int, approved: int) -> dict[str, Any]:
    usd = sum(session.usd for session in sessions)
    return {
        "rate_per_hr": sessions[-1].rate_per_hr if sessions else 0.0,
        "servers": max((session.servers for session in sessions), default=0),
        "usd": round(usd, 4),
        "charged_usd": round(sum(session.charged for session in sessions), 4),
        "usd_per_generated": round(usd / generated, 4) if generated else None,
        "usd_per_approved": round(usd / approved, 4) if approved else None,
    }


def _sameness(approved: list[PictureResult], policy: Mapping[str, Any]) -> dict[str, Any]:
    measured: Sameness = measure_sameness(
        [picture.assessment.geometry for picture in approved],
        [picture.assessment.dhash for picture in approved],
        [picture.assessment.scene for picture in approved],
        same_pose_yaw_spread_deg=policy["production"]["same_pose_yaw_spread_deg"],
    )
    document = asdict(measured)
    document["duplicates"] = [
        {"first": approved[pair.first].file, "second": approved[pair.second].file, "bits": pair.bits} for pair in measured.duplicates
    ]
    return document


def _per_prompt(plan: Plan, pictures: list[PictureResult], policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    table = tabulate(pictures, lambda picture: picture.prompt_id, policy)
    known = sorted((key for key in table if key is not None), key=int)
    texts = dict(enumerate(plan.prompts, 1))
    return [{"prompt_id": key, "prompt": texts.get(key, ""), **table[key]} for key in [*known, *([None] if None in table else [])]]


def _per_shot(pictures: list[PictureResult], policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    table = tabulate(pictures, lambda picture: picture.shot, policy)
    return [{"shot": name, **table[name]} for name in sorted(table, key=lambda name: SHOT_ORDER.get(name, len(SHOT_ORDER)))]


def _reasons(pictures: list[PictureResult], policy: Mapping[str, Any]) -> dict[str, int]:
    """How many pictures each gate rejected and why, most first, whatever the numbers were."""
    counts = Counter(group for picture in pictures for _, group in picture.objections)
    return {_describe(group, policy): count for group, count in counts.most_common()}


def _describe(group: tuple[str, str, str], policy: Mapping[str, Any]) -> str:
    return group[1] if group[0] in ("", BY_HAND) and group[1] != UNMEASURED else describe_group(group, limits_of(policy))


def _reasons_by_gate(pictures: list[PictureResult], policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same by what rejected the pictures, most pictures first: a gate, what it looks at, or the picture as a whole (empty key)."""
    titles = {gate.key: gate.title for gate in gates_in_force(policy)} | {
        "": "picture as a whole",
        BY_HAND: "a person",
        DUPLICATE: "duplicate",
    }
    rejected: dict[str, Counter[str]] = {}
    totals: Counter[str] = Counter()
    for picture in pictures:
        groups = [group for _, group in picture.objections]
        totals.update({group[0] for group in groups})
        for group in groups:
            rejected.setdefault(group[0], Counter())[_describe(group, policy)] += 1
    return [
        {
            "gate": key,
            "title": titles.get(key, key),
            "pictures": count,
            "reasons": [{"reason": reason, "pictures": number} for reason, number in rejected[key].most_common()],
        }
        for key, count in totals.most_common()
    ]


def _gate(gate: Gate, policy: Mapping[str, Any]) -> dict[str, Any]:
    """A gate as the reports show it. `name` is that of its score in `images`, `mean` that of its mean in `means`."""
    return {
        "key": gate.key,
        "name": gate.picture_name,
        "mean": gate.mean_name.removesuffix("_mean"),
        "title": gate.title,
        "heading": gate.heading,
        "limit": gate.limit(policy),
        "lower_is_better": gate.lower_is_better,
        "weight": gate.weight(policy),
    }


def _image(picture: PictureResult, policy: Mapping[str, Any]) -> dict[str, Any]:
    seen, geometry = picture.assessment, picture.assessment.geometry
    skin = mark_borderline(seen.skin, policy)
    return {
        "index": picture.index,
        "file": picture.file,
        "place": picture.place,
        "path": picture.path,
        "verdict": picture.verdict,
        "gates_verdict": "approved" if picture.gates_approve else "rejected",
        "decision": picture.decision.to_json() if picture.decision is not None else None,
        "verdicts": [decision.to_json() for decision in picture.verdicts],
        "guards": list(picture.guards_against),
        "reasons": [text for text, _ in picture.objections],
        "rejected_by": list(dict.fromkeys(group[0] for _, group in picture.objections)),
        "overruled": list(picture.reasons) if picture.is_overruled else [],
        "duplicate_of": picture.copy.file if picture.copy is not None else None,
        "nearly_same_as": picture.like.file if picture.like is not None else None,
        "repairs": picture.repairs,
        "repaired_as": picture.repaired_as,
        "alike": found.text if (found := picture.copy or picture.like) is not None else None,
        **{gate.picture_name: gate.reading(seen).score for gate in gates_in_force(policy)},
        "overall": picture_overall(seen, policy),
        "cosine": seen.face.cosine,
        "faces": seen.face.faces,
        "best_reference": seen.face.best_reference,
        "flags": [*seen.face.flags, *(flag for flag in skin.flags if flag not in seen.face.flags)],
        "borderline": BORDERLINE in skin.flags,
        "shot": picture.shot,
        "yaw": geometry.yaw if geometry else None,
        "face_box": picture.face_box,
        "skin_regions": skin_ellipses(picture),
        "width": seen.width,
        "height": seen.height,
        "sha256": seen.sha256,
        "config": picture.config,
        "prompt_id": picture.prompt_id,
        "variation": picture.variation,
        "seed": picture.seed,
        "prompt": picture.prompt,
        "source": picture.source,
        "seconds": picture.seconds,
    }


def judgement_of(document: Mapping[str, Any]) -> str:
    """The plain sentence at the top of every report."""
    counts, card = document["counts"], document["scorecard"]
    if not counts["generated"]:
        return f"There is no picture yet: {document['ending_text']}."
    graded = card["eval_scores"]["overall_grade"] if card and counts["approved"] else None
    made = counts["generated"] - counts["repaired"]
    first = f"{counts['approved']} of {_pictures(made)} may be published"
    parts = [f"{first}.", *repair_sentences(document), *(_grade_sentences(document, graded) if graded else []), *_main_reason(document)]
    parts += _decided(counts)
    target = document["target_approved"]
    if target is not None and counts["approved"] < target:
        parts.append(f"{target - counts['approved']} fewer than the {target} that you asked for: {document['ending_text']}.")
    elif target is None and document["ending"] != "complete":
        made = f"{counts['planned'] - counts['missing']} of {counts['planned']} planned pictures were made"
        told = f"{made}; the same command tries the others again" if document["ending"] == INCOMPLETE else document["ending_text"]
        parts.append(f"The batch is not complete: {told}.")
    if counts["nearly_same"]:
        parts.append(
            f"{counts['nearly_same']} of the approved pictures {verb(counts['nearly_same'], 'is', 'are')} nearly the same as another."
        )
    if {document["sameness"]["verdict"], document["sameness"]["scene_verdict"]} & {SAME, ALIKE}:
        parts.append(document["sameness"]["judgement"])
    if counts["failed"] and document["ending"] != INCOMPLETE:
        parts.append(f"{_pictures(counts['failed'])} could not be {'made' if document['generates'] else 'read'}.")
    return " ".join(parts)


def _grade_sentences(document: Mapping[str, Any], grade: str) -> list[str]:
    """The grade, and a word on one pose where the approved pictures alone do not tell it."""
    posed = document["scorecard"]["sameness"]
    said = f"All pictures together have grade {grade}"
    if posed["verdict"] == SAME and document["sameness"]["verdict"] != SAME:
        return [f"{said}, and they show {posed['line']}."]
    return [f"{said}."]


def _decided(counts: Mapping[str, int]) -> list[str]:
    """What a person did to the verdicts, so that nobody takes them for the gates'."""
    told = [f"{counts[f'{word}_by_hand']} {word}" for word in ("approved", "rejected") if counts[f"{word}_by_hand"]]
    parts = [f"Decided by hand against the gates: {', '.join(told)}."] if told else []
    if counts["disputed"]:
        parts.append(f"Reviewers disagree about {_pictures(counts['disputed'])}; the newest verdict counts.")
    if counts["without_reason"]:
        parts.append(f"{_pictures(counts['without_reason'])} approved against a guard of publishing: the reason is missing.")
    if counts["deleted"]:
        parts.append(f"{_pictures(counts['deleted'])} {'was' if counts['deleted'] == 1 else 'were'} deleted or taken away.")
    return parts


def _main_reason(document: Mapping[str, Any]) -> list[str]:
    reasons = document["reasons"]
    if not reasons:
        return []
    reason, count = next(iter(reasons.items()))
    return [f"Most frequent reason for rejection: {reason} ({_pictures(count)})."]


def _pictures(count: int) -> str:
    return counted(count, "picture")


def time_and_money(document: Mapping[str, Any]) -> str:
    """One line: how long it took, and what a picture cost."""
    seconds, cost = document["seconds"], document["cost"]
    line = f"{format_seconds(seconds['wall'])}"
    if seconds["per_picture"] is not None:
        line += f", {seconds['per_picture']:.1f} s a picture on the server"
    if cost["rate_per_hr"] or cost["usd"]:
        line += f"; {dollars(cost['usd'])}"
        if cost["charged_usd"]:
            hourly = cost["usd"] - cost["charged_usd"]
            line += (
                f" ({dollars(hourly)} by the hour, {dollars(cost['charged_usd'])} by the picture)"
                if cost["rate_per_hr"]
                else " by the picture"
            )
        else:
            line += f" at ${cost['rate_per_hr']:.2f}/h" if cost["rate_per_hr"] else ""
            line += f" × {cost['servers']} servers" if cost["rate_per_hr"] and cost["servers"] > 1 else ""
        if cost["usd_per_approved"] is not None:
            line += f", ${cost['usd_per_approved']:.4f} per approved picture"
    else:
        line += "; no rented GPU was used" if not document["engine_notice"] else "; no GPU was used"
    return line
