"""What a calibration with people's verdicts found, as text for people and as a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evals.taste.calibrating import Effect, LimitCalibration
from evals.taste.concordance import DIGITS, Concordance, Curve, Estimated
from evals.taste.holding_out import HeldOut
from evals.taste.limit_choice import WIDTH
from evals.taste.opinions import RANDOM
from evals.taste.proposing import GateProposal
from lifeos.counting import counted, verb
from lifeos.escaping import escape_line

SCHEMA = 1
MOST_POINTS = 200
"""Of a curve in the document: every n-th is written."""


def to_document(found: LimitCalibration, *, curves: bool = True) -> dict[str, Any]:
    """Everything that was found. Without `curves` it is short enough for a record, and names nobody."""
    proposal = found.proposal
    held = proposal.held_out
    people = found.people
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "protocol_id": found.batches[0].protocol.get("id"),
        "batches": [_batch(effect, found) for effect in found.effects],
        "verdicts": {
            "all": len(proposal.opinions),
            "approved": sum(each.approved for each in proposal.opinions),
            "in_rates": proposal.in_rates,
            "drawn": sum(each.choice == RANDOM for each in proposal.opinions),
            "blind": sum(each.blind for each in proposal.opinions),
            "prompts": proposal.prompts,
            "unmeasured": proposal.unmeasured,
            "people": people if curves else len(people),
        },
        "cost_ratio": found.cost_ratio,
        "gates": [_gate(each, curves) for each in proposal.gates],
        "all_gates": {
            "now": proposal.now.to_json() if proposal.in_rates else None,
            "held_out": None if held is None else _held_out(held),
            "roc": _curve(proposal.whole, curves),
        },
        "lapse": round(proposal.lapse, DIGITS),
        "changes": proposal.changes,
        "few": proposal.few,
        "kept": proposal.kept,
        "measured_otherwise": list(found.otherwise),
        "notes": list(found.notes),
    }
    if curves:
        document["between_people"] = [{"people": [each.first, each.second], **each.concordance.to_json()} for each in found.pairs]
    return document


def _batch(effect: Effect, found: LimitCalibration) -> dict[str, Any]:
    verdicts = sum(each.batch == effect.batch for each in found.proposal.opinions)
    counts = {
        "pictures": effect.pictures,
        "approved_now": effect.now,
        "approved_proposed": effect.proposed,
        "approved_by_each": dict(effect.each),
    }
    return {"name": effect.batch, "verdicts": verdicts, **counts}


def _gate(each: GateProposal, curves: bool) -> dict[str, Any]:
    return {
        "key": each.gate.key,
        "title": each.gate.title,
        "policy_key": each.gate.limit_key,
        "lower_is_better": each.gate.lower_is_better,
        "now": each.now,
        "limit": each.limit.to_json(),
        "noise": round(each.noise, DIGITS),
        "proposed": each.proposed,
        "held": each.held,
        "may_be_chance": each.may_be_chance,
        "more_verdicts": each.more,
        "alone_now": each.alone_now.to_json() if each.alone_now.verdicts else None,
        "alone_held_out": None if each.alone_proposed is None else each.alone_proposed.to_json(),
        "rejected_alone": {"verdicts": each.only[0], "approved_by_people": each.only[1]},
        "cost_without": each.without.to_json(),
        "adds_nothing": each.adds_nothing,
        "roc": _curve(each.curve, curves),
    }


def _curve(curve: Curve, points: bool) -> dict[str, Any]:
    step = max(1, len(curve.points) // MOST_POINTS)
    drawn = {"points": [[round(each, DIGITS) for each in point] for point in curve.points[::step]]} if points else {}
    return {"area": curve.area.to_json(), "approved": curve.approved, "rejected": curve.rejected, **drawn}


def _held_out(held: HeldOut) -> dict[str, Any]:
    costs = {"cost_now": held.cost_now, "cost_proposed": held.cost_proposed, "saved": held.saved}
    return {"folds": held.folds, **held.proposed.to_json(), **{name: each.to_json() for name, each in costs.items()}}


def render(found: LimitCalibration) -> str:
    """The answer for a person."""
    lines = [*_verdicts(found), "", *_limits(found), "", *_rates(found), "", *_effects(found.effects)]
    lines += [f"between {escape_line(pair.first)} and {escape_line(pair.second)}: {_agreement(pair.concordance)}" for pair in found.pairs]
    lines += [f"note: {note}" for note in found.notes]
    if found.otherwise:
        lines.append(f"note: these scores were measured otherwise than today ({'; '.join(found.otherwise)}): --write is refused")
    return "\n".join(lines)


def _verdicts(found: LimitCalibration) -> list[str]:
    proposal = found.proposal
    count, approved = len(proposal.opinions), sum(each.approved for each in proposal.opinions)
    names = ", ".join(f"{escape_line(name)} {number}" for name, number in found.people.items())
    prompts, batches = counted(proposal.prompts, "prompt"), counted(len(found.batches), "batch")
    lines = [f"{counted(count, 'verdict')} ({names}) on {prompts} of {batches}: {approved} approve, {count - approved} reject"]
    free = count - proposal.in_rates
    if free:
        lines.append(
            f"{free} of them on pictures that whoever judged chose: they place limits, and are left out of precision, recall and agreement"
        )
    wrong = f"{found.cost_ratio:g} wrongly rejected {verb(round(found.cost_ratio), 'one', 'ones')}"
    lines.append(f"a wrongly published picture counts as much as {wrong} (--cost-ratio)")
    return lines


def _limits(found: LimitCalibration) -> list[str]:
    proposal = found.proposal
    lines = [f"{'gate':18} {'now':>5}  {'people put it at':22} {'proposed':>8}  what to know"]
    for each in proposal.gates:
        proposed = proposal.changes.get(each.gate.limit_key, each.now)
        lines.append(f"{each.gate.title:18} {each.now:5.2f}  {_limit(each):22} {proposed:8.2f}  {_remark(each, proposal.kept)}".rstrip())
    if proposal.few:
        lines.append(f"too few to settle it: {proposal.few}")
    if proposal.kept:
        lines.append(f"the limits stay: {proposal.kept}")
    return lines


def _limit(each: GateProposal) -> str:
    value, low, high = each.limit.value, each.limit.low, each.limit.high
    if value is None:
        return "not known"
    if low == each.gate.span[0] and high is not None:
        return f"below {high:.2f}"
    if high == each.gate.span[1] and low is not None:
        return f"above {low:.2f}"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} ({low:.2f} to {high:.2f})"


def _remark(each: GateProposal, kept: str) -> str:
    parts = [f"held: {each.held}"] if each.held else []
    if each.proposed != each.now and not kept and each.limit.low is not None and each.may_be_chance:
        parts.append("may be chance")
    if each.adds_nothing:
        alone = f"of {counted(each.only[0], 'verdict')} on what it alone rejects {each.only[1]} approve"
        parts.append(f"adds nothing: {alone if each.only[0] else 'it alone rejects nothing that was judged'}")
    if each.more:
        parts.append(f"about {each.more} more verdicts make it known to {WIDTH / 2:.2f}")
    return "; ".join(parts)


def _rates(found: LimitCalibration) -> list[str]:
    proposal, held = found.proposal, found.proposal.held_out
    if not proposal.in_rates:
        return [
            "precision, recall and agreement are not known: no picture was drawn at random (review --sample), and no batch judged whole"
        ]
    title = "" if held is None else f"model's limits, held out ({held.folds} parts)"
    lines = [f"{'':24} {'limits in force':26} {title}".rstrip()]
    for name, pick in (("precision", "precision"), ("recall", "recall"), ("agreement (kappa)", "kappa")):
        both = [getattr(proposal.now, pick), None if held is None else getattr(held.proposed, pick)]
        show = _number if pick == "kappa" else _percent
        lines.append(f"{name:24} {show(both[0]):26} {'' if both[1] is None else show(both[1])}".rstrip())
    if held is not None:
        lines.append(
            f"{'cost of 100 pictures':24} {_number(held.cost_now, 1):26} {_number(held.cost_proposed, 1)}; saves {_number(held.saved, 1)}"
        )
    lines.append(f"{'ROC, all limits at once':24} {_area(proposal.whole)}")
    for each in proposal.gates:
        now, then = each.alone_now, each.alone_proposed
        lines.append(
            f"{each.gate.title + ' alone':24} {_pair(now):26} {'' if then is None else _pair(then):26} {_area(each.curve)}".rstrip()
        )
    return lines


def _pair(alone: Concordance) -> str:
    return f"{_share(alone.precision)} right, finds {_share(alone.recall)}"


def _share(each: Estimated) -> str:
    return "-" if each.value is None else f"{each.value:.0%}".replace("%", " %")


def _area(curve: Curve) -> str:
    if curve.area.value is None:
        return f"no ROC: {curve.approved} approved and {curve.rejected} rejected where only it decides"
    return f"ROC area {_number(curve.area)}"


def _percent(each: Estimated) -> str:
    if each.value is None:
        return "-"
    interval = "" if each.low is None or each.high is None else f" ({each.low * 100:.0f} to {each.high * 100:.0f})"
    return f"{each.value * 100:.0f} %{interval}"


def _number(each: Estimated, digits: int = 2) -> str:
    if each.value is None:
        return "-"
    interval = "" if each.low is None or each.high is None else f" ({each.low:.{digits}f} to {each.high:.{digits}f})"
    return f"{each.value:.{digits}f}{interval}"


def _agreement(pair: Concordance) -> str:
    alike = pair.both + pair.neither
    return f"{alike} of {counted(pair.verdicts, 'common picture')} alike, kappa {_number(pair.kappa)}"


def _effects(effects: Sequence[Effect]) -> list[str]:
    lines = []
    for effect in effects:
        each = ", ".join(f"{key} alone {count}" for key, count in effect.each.items()) if len(effect.each) > 1 else ""
        moved = "" if not effect.each else f", {effect.proposed} with those proposed{f' ({each})' if each else ''}"
        lines.append(
            f"{escape_line(effect.batch)}: the limits in force approve {effect.now} of {counted(effect.pictures, 'picture')}{moved}"
        )
    return lines
