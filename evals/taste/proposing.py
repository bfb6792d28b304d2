"""What people's verdicts say of each gate and its limit, and which limits to propose.

What is reported of the proposed limits are held-out verdicts (`holding_out`). Where they cost no less than the limits in force, or where
neither a limit nor the cost differs by more than chance, nothing is proposed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.judging.gates import Gate
from evals.taste.concordance import FEWEST_PROMPTS, Concordance, Curve, Estimated, compare
from evals.taste.holding_out import HeldOut, try_out
from evals.taste.limit_choice import choose_limits, count_missing, limit_of
from evals.taste.opinions import Opinion
from evals.taste.rated_verdicts import Rated, count_alone, curve_of, whole_curve
from evals.taste.taste_model import Table, fit, resample
from evals.taste.verdict_table import gates_of_taste, open_limit, sign_of, tabulate_opinions, with_limits, without_guarded
from lifeos.counting import counted, verb

RESAMPLES = 200
FEWEST, FEWEST_OF_A_KIND = 20, 5
"""Verdicts, and approvals and rejections among them, below which no interval is given and no limit is tried on others."""


@dataclass(frozen=True, slots=True)
class GateProposal:
    """What people's verdicts say of one gate's limit.

    `limit` is where they would put it by the model, with its 95 % interval, at the cost ratio asked for; `proposed` is `now` where nothing
    speaks for a change. `more`: about how many verdicts are missing until the limit is known, None where that cannot be said.
    """

    gate: Gate
    now: float
    limit: Estimated
    noise: float
    proposed: float
    curve: Curve
    """Over the pictures that every other gate passes at its present limit."""
    alone_now: Concordance
    """The gate by itself against people."""
    alone_proposed: Concordance | None
    """Held out."""
    only: tuple[int, int]
    """Judged pictures that this gate alone rejects at its present limit, and how many of them people approved."""
    without: Estimated
    """What leaving the gate out adds to the cost of 100 pictures, held out."""
    more: int | None = None
    held: str = ""
    """Why the proposal is not the model's limit."""

    @property
    def adds_nothing(self) -> bool:
        return self.without.value is not None and self.without.value <= 0

    @property
    def may_be_chance(self) -> bool:
        """Whether the verdicts allow the present limit too."""
        return self.limit.low is None or self.limit.high is None or self.limit.low <= self.now <= self.limit.high


@dataclass(frozen=True, slots=True)
class Proposal:
    """The whole answer. `few` says what is missing of verdicts, `kept` why the limits stay although the model would move them."""

    gates: tuple[GateProposal, ...]
    now: Concordance
    held_out: HeldOut | None
    whole: Curve
    """All limits moved together by the same amount."""
    opinions: tuple[Opinion, ...]
    in_rates: int
    """Verdicts that say how often: on pictures that were drawn, or on whole batches."""
    prompts: int
    unmeasured: int
    guarded: int
    lapse: float
    slip: float
    few: str = ""
    kept: str = ""

    @property
    def changes(self) -> dict[str, float]:
        """The limits that move, by policy key."""
        return {} if self.kept else {each.gate.limit_key: each.proposed for each in self.gates if each.proposed != each.now}


def propose(given: Sequence[Opinion], policy: Mapping[str, Any], *, cost_ratio: float, seed: int = 0) -> Proposal:
    """What people's verdicts say of the limits in force. There is at least one verdict on a picture that all gates measured."""
    opinions = without_guarded(given, policy)
    gates = gates_of_taste(policy)
    table, rows = tabulate_opinions(opinions, gates, policy)
    few = why_too_few(table)
    tastes = fit(table)
    spread = None if few else fit(table, resample(table, RESAMPLES, seed), start=tastes).best_limits(cost_ratio).std(axis=0, ddof=1)
    chosen, held = choose_limits(table, tastes.best_limits(cost_ratio)[0], gates, policy)
    rated = Rated.of([each for each in opinions if each.weight is not None])
    trial = None if few else try_out(opinions, table, rows, tastes, gates, policy, cost_ratio=cost_ratio, seed=seed)
    found = []
    for place, gate in enumerate(gates):
        limit = limit_of(
            gate, place, float(tastes.best_limits(cost_ratio)[0, place]), None if spread is None else float(spread[place]), table
        )
        now = sign_of(gate) * float(table.limits[place])
        off = with_limits(policy, open_limit(gate))
        found.append(
            GateProposal(
                gate=gate,
                now=now,
                limit=limit,
                noise=float(tastes.noise[0, place]),
                proposed=sign_of(gate) * float(chosen[place]),
                curve=curve_of(gate, rated, rated.judge(off), seed),
                alone_now=compare(rated.passes(gate, now), rated.approved, rated.asked, seed=seed),
                alone_proposed=None if trial is None else trial.alone[place],
                only=count_alone(opinions, off, policy),
                without=Estimated(None) if trial is None else trial.without[place],
                more=count_missing(gate, limit, table.rows),
                held=held[place],
            )
        )
    held_out = None if trial is None else trial.held_out
    return Proposal(
        gates=tuple(found),
        now=compare(rated.judge(policy), rated.approved, rated.asked, seed=seed),
        held_out=held_out,
        whole=whole_curve(rated, gates, policy, seed),
        opinions=tuple(opinions),
        in_rates=len(rated.opinions),
        prompts=len({each.picture.prompt for each in opinions}),
        unmeasured=len(opinions) - table.rows,
        guarded=len(given) - len(opinions),
        lapse=float(tastes.lapse[0]),
        slip=float(tastes.slip[0]),
        few=few,
        kept=_why_kept(held_out, found),
    )


def why_too_few(table: Table) -> str:
    """Why no interval can be given, with how many verdicts are missing; empty where one can."""
    approved = int(table.approved.sum())
    kinds = {"approval": approved, "rejection": table.rows - approved}
    wanted = [(max(0, FEWEST_OF_A_KIND - count), kind) for kind, count in kinds.items()]
    least = max(FEWEST - table.rows, sum(count for count, _ in wanted))
    parts = [counted(count, f"more {kind}") for count, kind in wanted if count]
    if least > 0:
        among = f", with {' and '.join(parts)} among them" if parts else ""
        return f"{counted(table.rows, 'verdict')} that a limit can explain: at least {least} more {verb(least, 'is', 'are')} wanted{among}"
    if table.prompt_count < FEWEST_PROMPTS:
        return f"verdicts on {counted(table.prompt_count, 'prompt')}: intervals need {FEWEST_PROMPTS}, with about as many verdicts on each"
    return ""


def _why_kept(held_out: HeldOut | None, gates: Sequence[GateProposal]) -> str:
    saved = None if held_out is None else held_out.saved
    if saved is None or saved.value is None:
        return ""
    if saved.value <= 0:
        return "on held-out verdicts the limits in force cost no more than the model's"
    if (saved.low is None or saved.low <= 0) and all(each.may_be_chance for each in gates if each.proposed != each.now):
        return "the verdicts allow the limits in force as well"
    return ""
