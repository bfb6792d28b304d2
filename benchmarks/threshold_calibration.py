"""Whether limits that are calibrated with people's verdicts are right, on simulated people whose taste is known.

Nobody judged a picture here: verdicts are drawn from limits, with noise. Prints how often the 95 % interval of a limit holds the true one,
how wide it is, and whether the limits found agree with verdicts that they were not found with (held out, and 500 fresh ones) better than
the limits before. Besides the plain taste: people who slip, who reject for what no gate measures, two gates at once, few prompts.

    python benchmarks/threshold_calibration.py                 # 200 repetitions of each, minutes
    python benchmarks/threshold_calibration.py --repeats 20    # a first look

Exit codes: 0 every goal is met within what the repeats can tell · 1 one is not.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK

LOW, HIGH = 0.92, 0.98
WIDTH = 0.10
FRESH = 500
SEED_OF_FRESH = 1_000_000


@dataclass(frozen=True, slots=True)
class Taste:
    """A person, and how many verdicts. `is_goal`: whether the goals are stated for it."""

    name: str
    limits: Mapping[str, float]
    how: Mapping[str, Any] = field(default_factory=dict)
    cost_ratio: float = 1.0
    is_goal: bool = False


TASTES = (
    Taste("face 0.55, noise 0.05", {"face": 0.55}, is_goal=True),
    Taste("face 0.70, noise 0.05", {"face": 0.70}),
    Taste("face 0.55, 60 verdicts", {"face": 0.55}, {"verdicts": 60, "prompts": 20}),
    Taste("face 0.55, noise 0.10", {"face": 0.55}, {"noise": 0.10}),
    Taste("face 0.55, 10 prompts", {"face": 0.55}, {"prompts": 10}),
    Taste("face 0.55, 5 % slips", {"face": 0.55}, {"slips": 0.05}),
    Taste("face 0.55, 20 % for other reasons", {"face": 0.55}, {"lapse": 0.20}),
    Taste("face 0.55, texture 0.65", {"face": 0.55, "texture": 0.65}),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the repetitions of one taste: shares, medians and means. `kappa` and `fresh`: before, after; `fresh` is a share of pictures."""

    covered: float
    width: float
    error: float
    kappa: tuple[float, float]
    fresh: tuple[float, float]
    better: float
    """The share of repetitions in which the limits that are proposed agree with fresh verdicts at least as well as those before."""


def measure(taste: Taste, repeats: int) -> Figures:
    """Calibrate with the verdicts of so many such people."""
    import numpy as np

    from evals.taste.proposing import propose
    from evals.taste.verdict_table import approves, with_limits
    from lifeos.policy.loading import load_thresholds
    from tests.evals.taste.worlds import judge

    policy = load_thresholds()
    held, widths, errors, better = 0, [], [], 0
    kappas, fresh = [], []
    sharp = judge(taste.limits, seed=SEED_OF_FRESH, **{**taste.how, "verdicts": FRESH})
    for number in range(repeats):
        found = propose(judge(taste.limits, seed=number + 1, **taste.how), policy, cost_ratio=taste.cost_ratio, seed=number)
        for each in found.gates:
            if each.gate.key in taste.limits:
                truth, limit = taste.limits[each.gate.key], each.limit
                assert limit.value is not None and limit.low is not None and limit.high is not None
                held += limit.low <= truth <= limit.high
                widths.append(limit.high - limit.low)
                errors.append(abs(limit.value - truth))
        assert found.held_out is not None
        kappas.append((found.now.kappa.value or 0.0, found.held_out.proposed.kappa.value or 0.0))
        both = (policy, with_limits(policy, found.changes))
        agreed = tuple(sum(approves(each.picture, one) == each.approved for each in sharp) / FRESH for one in both)
        fresh.append(agreed)
        better += agreed[1] >= agreed[0]
    before, after = np.mean(kappas, axis=0)
    first, second = np.mean(fresh, axis=0)
    return Figures(
        held / len(widths),
        float(np.median(widths)),
        float(np.median(errors)),
        (float(before), float(after)),
        (float(first), float(second)),
        better / repeats,
    )


def find_missed(taste: Taste, found: Figures, repeats: int) -> list[str]:
    """The goals that are not met, by more than three standard errors where a share is one of so many repeats."""
    if not taste.is_goal:
        return []
    slack = 3 * math.sqrt(0.05 * 0.95 / repeats) if repeats < 200 else 0.0
    missed = []
    if not LOW - slack <= found.covered <= min(1.0, HIGH + slack):
        missed.append(f"{taste.name}: the interval holds the true limit in {found.covered:.1%}")
    if found.width > WIDTH:
        missed.append(f"{taste.name}: median width {found.width:.3f}")
    if found.kappa[1] <= found.kappa[0] or found.fresh[1] <= found.fresh[0]:
        missed.append(f"{taste.name}: the proposal agrees no better than before")
    return missed


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--repeats", type=cli.positive_int, default=200, metavar="N", help="people of each taste (default: 200)")
    parser.add_argument("--goals-only", action="store_true", help="only the tastes for which goals are stated")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    print("simulated people: nobody judged a picture here. 200 verdicts on 40 prompts unless said otherwise; before: the policy's limits")
    print(f"goals for the first: the interval holds the true limit in {LOW:.0%} to {HIGH:.0%}, median width at most {WIDTH:.2f}")
    print(f"{'taste':34} {'holds':>6} {'width':>6} {'error':>6}  {'kappa, held out':>15}  {'alike, fresh':>16}  {'no worse in':>11}")
    missed = []
    for taste in TASTES:
        if args.goals_only and not taste.is_goal:
            continue
        found = measure(taste, args.repeats)
        kappa, fresh = (f"{before:.2f} → {after:.2f}" for before, after in (found.kappa, found.fresh))
        row = f"{taste.name:34} {found.covered:6.1%} {found.width:6.3f} {found.error:6.3f}  {kappa:>15}  {fresh:>16}  {found.better:11.1%}"
        print(row, flush=True)
        missed += find_missed(taste, found, args.repeats)
    print("\n" + ("missed: " + "; ".join(missed) if missed else "every goal is met"))
    return EXIT_GATE if missed else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
