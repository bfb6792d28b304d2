"""The cost report: numbers from the ledger, the batches and the trainings, as text, CSV and a picture."""

from __future__ import annotations

import csv
import io
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from lifeos import files
from lifeos.counting import counted, verb
from lifeos.escaping import escape_csv, escape_line
from tools.cost.guard_log import STOPPED, GuardStop, stop_document
from tools.cost.ledger import ClosedSession, CostKind, CostSum, Ledger
from tools.cost.picture_costs import BatchCost, KindCost, TrainingCost, add_kinds
from tools.cost.spending import BudgetUse
from tools.training.training_record import FINISHED

IDLE = "idle"
SHOWN_DAYS = 14
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class MonthBudget:
    """This month's spending (sessions that started in it, UTC) against the policy's budget."""

    month: str
    spent: Decimal
    projected: Decimal
    limit: Decimal

    @property
    def is_exceeded(self) -> bool:
        return bool(self.limit) and self.spent >= self.limit

    @property
    def is_at_risk(self) -> bool:
        return bool(self.limit) and self.projected > self.limit


def month_budget(spent: float, today: date, limit: object) -> MonthBudget:
    """Spending of the month of `today`, open sessions and running work included, and what the month comes to at this pace."""
    days = monthrange(today.year, today.month)[1]
    usd = Decimal(str(round(spent, 6)))
    return MonthBudget(f"{today:%Y-%m}", usd, usd * days / today.day, Decimal(str(limit)))


def budget_warning(budget: MonthBudget) -> str:
    """One line when the month's budget is exceeded or will be, else an empty string."""
    if budget.is_exceeded:
        return f"the budget of {dollars(budget.limit)} for {budget.month} is spent: {dollars(budget.spent)}"
    if budget.is_at_risk:
        return f"at this pace {budget.month} comes to {dollars(budget.projected)}; the budget is {dollars(budget.limit)}"
    return ""


def display_name(activity: str, names: Mapping[str, str]) -> str:
    """The policy's name for an activity: of the whole tag, else of the first word of it that has one, else the tag itself.

    `lora_v3_training` has the word `training`, which the policy calls "LoRA training".
    """
    if activity in names:
        return names[activity]
    words = activity.lower().replace("-", "_").split("_")
    return next((names[word] for word in reversed(words) if word in names), activity.replace("_", " "))


@dataclass(frozen=True, slots=True)
class CostSummary:
    """Everything a report shows."""

    ledger: Ledger
    activities: dict[str, CostSum]
    idle_share: Decimal
    budget: MonthBudget
    batches: list[BatchCost]
    trainings: list[TrainingCost]
    open_sessions: list[str]
    stops: list[GuardStop]
    """What the guard stopped, or tried to."""
    uses: list[BudgetUse] = field(default_factory=list)
    """The budgets for the day and the month that are set."""

    @property
    def kinds(self) -> list[KindCost]:
        """What each kind of server made and cost, as far as the reports of batches tell."""
        return add_kinds(self.batches)

    @property
    def pictures(self) -> tuple[int, int, Decimal]:
        """Generated and approved pictures of all batches, and what those cost that say so."""
        usd = sum((batch.usd for batch in self.batches if batch.usd is not None), Decimal(0))
        return sum(batch.generated for batch in self.batches), sum(batch.approved for batch in self.batches), usd

    @property
    def stopped(self) -> list[GuardStop]:
        return [stop for stop in self.stops if stop.outcome == STOPPED]

    @property
    def saved(self) -> Decimal:
        return sum((stop.saved_usd or Decimal(0) for stop in self.stops), Decimal(0))


def summarise(
    ledger: Ledger,
    names: Mapping[str, str],
    budget: MonthBudget,
    batches: list[BatchCost],
    trainings: list[TrainingCost],
    open_sessions: list[str],
    stops: list[GuardStop] | None = None,
    uses: list[BudgetUse] | None = None,
) -> CostSummary:
    """Group the ledger by display name and work out the idle share (of the hours)."""
    activities: dict[str, CostSum] = {name: CostSum() for name in names.values()}  # the policy's order
    for activity, part in ledger.by("activity").items():
        activities.setdefault(display_name(activity, names), CostSum()).add(part)
    activities = {name: part for name, part in activities.items() if part.sessions}
    idle_name = display_name(IDLE, names)
    hours, idle = ledger.total().hours, activities.get(idle_name, CostSum()).hours
    share = idle / hours if hours else Decimal(0)
    return CostSummary(ledger, activities, share, budget, batches, trainings, open_sessions, stops or [], uses or [])


def render_block(summary: CostSummary) -> str:
    """The specification's block."""
    total = summary.ledger.total()
    lines = [
        "=== RunPod Cost Report ===",
        f"Total sessions: {total.sessions}",
        f"Total hours: {plain_hours(total.hours)}",
        f"Total cost: {dollars(total.usd)}",
        "By activity:",
        *_group_lines(summary.activities),
    ]
    return "\n".join(lines)


def render_text(summary: CostSummary) -> str:
    """The specification's block, then what it leaves open: where, for which pictures, how far to the budget, what was odd."""
    lines = [render_block(summary)]
    if summary.ledger.total().sessions:
        lines += ["By GPU:", *_group_lines(summary.ledger.by("gpu"))]
        days = sorted(summary.ledger.by("day").items())
        lines.append("By day (UTC):" if len(days) <= SHOWN_DAYS else f"By day (UTC), the last {SHOWN_DAYS}; all of them: --csv or --json")
        lines += _group_lines(dict(days[-SHOWN_DAYS:]))
        versions = {name: part for name, part in summary.ledger.by("lora_version").items() if name}
        if versions:
            lines += ["By LoRA version:", *_group_lines(versions)]
        lines.append(f"Idle: {summary.idle_share:.0%} of the hours")
    lines += _guard_lines(summary)
    lines += _picture_lines(summary)
    budget = summary.budget
    lines.append(f"This month ({budget.month}): {dollars(budget.spent)} so far, {dollars(budget.projected)} at this pace")
    if budget.limit:
        lines[-1] += f", budget {dollars(budget.limit)}"
    lines += budget_lines(summary)
    warning = budget_warning(budget)
    lines += [f"Warning: {warning}"] if warning else []
    lines += [f"Unknown: {escape_line(describe_unsettled(session))}" for session in summary.ledger.unsettled]
    if summary.ledger.unsettled:
        lines.append("  When you know its end, say so: --action stop --session ID --at TIME (UTC, as in 2026-01-31T12:00:00Z)")
    lines += [f"Still open: {escape_line(text)}" for text in summary.open_sessions]
    if summary.ledger.overlaps:
        overlap = verb(summary.ledger.overlaps, "overlaps", "overlap")
        text = f"{counted(summary.ledger.overlaps, 'session')} {overlap} the one before (two pods, or a clock that was set)"
        lines.append(f"Note: {text}")
    lines += [f"Odd: {escape_line(fault)}" for fault in summary.ledger.faults]
    if summary.ledger.skipped:
        left = verb(summary.ledger.skipped, "it is left as it is", "they are left as they are")
        lines.append(f"{counted(summary.ledger.skipped, 'row')} of the log could not be counted; {left}")
    return "\n".join(lines)


def budget_lines(summary: CostSummary) -> list[str]:
    """How much of the day's and the month's budget is spent, for people."""
    return [
        f"Budget {use.word} ({use.period}, UTC): {dollars(use.spent)} of {dollars(use.limit)} spent, {dollars(use.left)} left"
        for use in summary.uses
    ]


def kind_line(kind: KindCost) -> str:
    """What a kind of server made and cost, for people."""
    told = f"{counted(kind.pictures, 'picture')}, {kind.approved} approved"
    if kind.usd is None:
        return f"{escape_line(kind.kind)}: {told}, cost not known"
    return f"{escape_line(kind.kind)}: {told}, {dollars(kind.usd)}, {dollars_each(kind.usd, kind.approved)} per approved picture"


def describe_unsettled(session: ClosedSession) -> str:
    """A session that was never stopped: what it cost at most, and what of it is counted."""
    most, counted = (Decimal(str(amount)) for amount in (session.cost_up_to_usd, session.cost_usd))
    what = f"{session.session_id} ({session.activity}, since {session.start}) was never stopped: up to {dollars(most)}"
    return f"{what}, all of it counted above" if counted >= most else f"{what}, of which {dollars(counted)} are counted above"


def _group_lines(groups: Mapping[str, CostSum]) -> list[str]:
    return [
        f"  {escape_line(name)}: {part.sessions} sessions, {plain_hours(part.hours)} hrs, {dollars(part.usd)}"
        for name, part in groups.items()
    ]


def _guard_lines(summary: CostSummary) -> list[str]:
    if not summary.stops:
        return []
    lines = []
    if summary.stopped:
        by_lease = sum(stop.reason == "lease" for stop in summary.stopped)
        why = f" ({by_lease} because the lease was over)" if by_lease else ""
        lines.append(f"Stopped by the guard: {counted(len(summary.stopped), 'pod')}{why}, saved {dollars(summary.saved)}")
        if any(stop.saved_usd is None or stop.volume_usd_per_hr is None for stop in summary.stopped):
            lines.append("  some prices or sizes of volumes were not told: counted as 0")
    unsettled = len(summary.stops) - len(summary.stopped)
    if unsettled:
        lines.append(f"The guard asked for {counted(unsettled, 'more stop')} that did not come about; they are in its log")
    return lines


def _picture_lines(summary: CostSummary) -> list[str]:
    lines = []
    if summary.batches:
        generated, approved, usd = summary.pictures
        lines.append(f"Pictures: {generated} generated, {approved} approved in {counted(len(summary.batches), 'batch')}, {dollars(usd)}")
        lines.append(f"  per generated picture: {dollars_each(usd, generated)}; per approved picture: {dollars_each(usd, approved)}")
        lines.append(f"  per approved picture with everything else above: {dollars_each(summary.ledger.total().usd, approved)}")
        lines += [f"  {kind_line(kind)}" for kind in summary.kinds]
    for training in summary.trainings:
        cost = "cost unknown" if training.usd is None else dollars(training.usd)
        state = f", {escape_line(training.state)}" if training.state not in ("", FINISHED) else ""
        run = f"Training {escape_line(training.name)} ({escape_line(training.day)})"
        lines.append(f"{run}: {counted(training.steps, 'step')}, {cost}{state}")
    return lines


def as_document(summary: CostSummary) -> dict[str, Any]:
    """The report for programs. Amounts are text, exact to a hundredth of a cent."""
    return {
        "schema": 1,
        "total": _sum_document(summary.ledger.total()),
        "by_activity": {name: _sum_document(part) for name, part in summary.activities.items()},
        "by_tag": {name: _sum_document(part) for name, part in summary.ledger.by("activity").items()},
        "by_gpu": {name: _sum_document(part) for name, part in summary.ledger.by("gpu").items()},
        "by_day": {name: _sum_document(part) for name, part in sorted(summary.ledger.by("day").items())},
        "by_lora_version": {name: _sum_document(part) for name, part in summary.ledger.by("lora_version").items()},
        "idle_share": round(float(summary.idle_share), 4),
        "month": {
            "month": summary.budget.month,
            "spent_usd": _amount(summary.budget.spent),
            "projected_usd": _amount(summary.budget.projected),
            "budget_usd": _amount(summary.budget.limit),
            "warning": budget_warning(summary.budget) or None,
        },
        "budgets": [
            {
                "period": use.period,
                "spent_usd": _amount(use.spent),
                "limit_usd": _amount(use.limit),
                "left_usd": _amount(use.left),
            }
            for use in summary.uses
        ],
        "pictures": _pictures_document(summary),
        "trainings": [
            {
                "name": one.name,
                "day": one.day,
                "steps": one.steps,
                "state": one.state or None,
                "usd": None if one.usd is None else _amount(one.usd),
            }
            for one in summary.trainings
        ],
        "guard": {
            "stopped": len(summary.stopped),
            "saved_usd": _amount(summary.saved),
            "stops": [dict(stop_document(stop)) for stop in summary.stops],
        },
        "unknown": [
            {"session_id": one.session_id, "activity": one.activity, "start": one.start, **_bounds(one)} for one in summary.ledger.unsettled
        ],
        "open_sessions": summary.open_sessions,
        "odd": summary.ledger.faults,
        "rows_not_counted": summary.ledger.skipped,
        "overlaps": summary.ledger.overlaps,
    }


def _pictures_document(summary: CostSummary) -> dict[str, Any]:
    generated, approved, usd = summary.pictures
    return {
        "batches": len(summary.batches),
        "generated": generated,
        "approved": approved,
        "usd": _amount(usd),
        "usd_per_generated": _amount(usd / generated) if generated else None,
        "usd_per_approved": _amount(usd / approved) if approved else None,
        "usd_per_approved_all_costs": _amount(summary.ledger.total().usd / approved) if approved else None,
        "by_kind": [
            {
                "kind": kind.kind,
                "pictures": kind.pictures,
                "approved": kind.approved,
                "usd": None if kind.usd is None else _amount(kind.usd),
                "usd_per_approved": None if kind.each is None else _amount(kind.each),
            }
            for kind in summary.kinds
        ],
    }


def _bounds(session: ClosedSession) -> dict[str, str]:
    return {"counted_usd": _amount(Decimal(str(session.cost_usd))), "up_to_usd": _amount(Decimal(str(session.cost_up_to_usd)))}


def render_csv(ledger: Ledger) -> str:
    """One line for each day, activity, GPU, rate and LoRA version."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["day", "activity", "gpu", "rate_per_hr", "lora_version", "sessions", "hours", "cost_usd"])
    for kind, part in sorted(ledger.sums.items(), key=lambda item: item[0].day):
        hours = part.hours.quantize(Decimal("0.0001"))
        cells = [kind.day, kind.activity, kind.gpu, kind.rate, kind.lora_version, part.sessions, hours, _amount(part.usd)]
        writer.writerow([escape_csv(cell) for cell in cells])
    return out.getvalue()


def draw(summary: CostSummary, names: Mapping[str, str], path: Path) -> None:
    """Cost by day, stacked by activity, and the share of each activity: one PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    idle_name = display_name(IDLE, names)
    days = sorted({kind.day for kind in summary.ledger.sums})
    figure, (by_day, by_activity) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(2, 1), layout="constrained")
    below = [0.0] * len(days)
    for name in summary.activities:
        heights = [float(_day_cost(summary.ledger, day, name, names)) for day in days]
        by_day.bar(range(len(days)), heights, bottom=below, label=name, color=None if name != idle_name else "lightgray")
        below = [low + high for low, high in zip(below, heights, strict=True)]
    step = 1 + len(days) // 9
    by_day.set_xticks(range(0, len(days), step), [day[5:] for day in days[::step]])
    by_day.set_ylabel("US dollars")
    by_day.set_title(f"GPU cost by day, {dollars(summary.ledger.total().usd)} in all")
    if summary.activities:
        by_day.legend(frameon=False)
    titles = list(summary.activities)[::-1]
    by_activity.barh(titles, [float(summary.activities[name].usd) for name in titles], color="tab:gray")
    for row, name in enumerate(titles):
        by_activity.text(float(summary.activities[name].usd), row, f" {dollars(summary.activities[name].usd)}", va="center")
    by_activity.margins(x=0.25)
    by_activity.set_title("by activity")
    for axes in (by_day, by_activity):
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    files.write_bytes(path, buffer.getvalue())


def _day_cost(ledger: Ledger, day: str, name: str, names: Mapping[str, str]) -> Decimal:
    def wanted(kind: CostKind) -> bool:
        return kind.day == day and display_name(kind.activity, names) == name

    return ledger.total(wanted).usd


def dollars(amount: Decimal) -> str:
    """Dollars and cents, halves up: `$11.10`."""
    return f"${amount.quantize(CENT, ROUND_HALF_UP):,}"


def dollars_each(usd: Decimal, count: int) -> str:
    """What one of `count` costs, to a hundredth of a cent."""
    return f"${(usd / count).quantize(Decimal('0.0001'))}" if count else "none yet"


def plain_hours(hours: Decimal) -> str:
    """Hours without trailing zeros: 18.5, 2.25, 14.75, 2."""
    return f"{hours.quantize(CENT, ROUND_HALF_UP):f}".rstrip("0").rstrip(".") or "0"


def _amount(usd: Decimal) -> str:
    return f"{usd.quantize(Decimal('0.0001')):f}"


def _sum_document(part: CostSum) -> dict[str, Any]:
    return {"sessions": part.sessions, "hours": round(float(part.hours), 4), "usd": _amount(part.usd)}
