"""How often the verdicts of a comparison are wrong, on simulated batches whose truth is known.

Prompts differ in difficulty (sd .08, with a long tail of hard ones), a new version changes some prompts more than others (sd .03,
skewed), pictures vary (sd .06), and each training run is off by its own seed (sd .08: two runs differ by .09 on average, as published).
Prints how often IMPROVED or REGRESSED is said when nothing changed, how often the interval holds the truth, the same for the winner of a
sweep of 27 equal configurations, and how many pictures each true effect needs, next to comparing two means.

    python benchmarks/verdict_calibration.py                  # minutes
    python benchmarks/verdict_calibration.py --repeats 200    # a first look

Exit codes: 0 every goal is met within what the repeats can tell · 1 one is not.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.comparison import inference, selection, verdicts
from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DIFFICULTY, INTERACTION, PICTURE, TRAINING = 0.08, 0.03, 0.06, 0.08
CONFIDENCE, MINIMUM_EFFECT = 0.95, 0.02
RESAMPLES = 1999
FALSE_GOAL, COVERAGE_LOW, COVERAGE_HIGH = 0.05, 0.93, 0.97
POWER = 0.8
SHAPES = ("normal", "skewed", "few hard prompts")


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of the simulated comparisons. `width` is the mean width of the interval."""

    false: float
    covered: float
    width: float


def draw(shape: str, size: Any, rng: np.random.Generator) -> Floats:
    """Numbers of mean 0 and variance 1: normal, with a long tail down, or mostly alike with few far off."""
    import numpy as np

    if shape == "normal":
        return np.asarray(rng.standard_normal(size), dtype=np.float64)
    if shape == "skewed":
        return np.asarray(1.0 - rng.exponential(size=size), dtype=np.float64)
    return np.asarray(np.where(rng.random(size) < 0.2, -2.0, 0.5), dtype=np.float64)


def simulate_pair(prompts: int, seeds: int, effect: float, shape: str, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Scores (prompts x seeds) of an old and a new file; prompt and seed give both the same scene."""
    difficulty = DIFFICULTY * draw("skewed", (prompts, 1), rng)
    scene = PICTURE * rng.standard_normal((prompts, seeds)) * 0.7
    change = INTERACTION * draw(shape, (prompts, 1), rng)
    old, new = (PICTURE * rng.standard_normal((prompts, seeds)) * 0.7 for _ in range(2))
    base = 0.6 + difficulty + scene
    return base + old, base + effect + change + new


def paired(old: Floats, new: Floats, seed: int) -> inference.Estimate:
    prompts, seeds = old.shape
    data = inference.sum_by_prompt((new - old).ravel(), [number for number in range(prompts) for _ in range(seeds)])
    return inference.estimate_means(data, confidence=CONFIDENCE, resamples=RESAMPLES, seed=seed)[0]


def two_means(old: Floats, new: Floats, _: int) -> inference.Estimate:
    """What is commonly done: every picture counts as independent."""
    return inference.estimate_unpaired(old.ravel(), new.ravel(), confidence=CONFIDENCE)


def measure(estimate: Callable[[Floats, Floats, int], inference.Estimate], prompts: int, shape: str, repeats: int) -> Rates:
    """Rates for two files where nothing changed."""
    import numpy as np

    rng = np.random.default_rng(prompts * 7 + len(shape))
    false = covered = 0
    width = 0.0
    for number in range(repeats):
        old, new = simulate_pair(prompts, 4, 0.0, shape, rng)
        found = estimate(old, new, number)
        false += verdicts.judge_estimate(found, MINIMUM_EFFECT) in (verdicts.IMPROVED, verdicts.REGRESSED)
        assert found.low is not None and found.high is not None
        covered += found.low <= 0.0 <= found.high
        width += found.high - found.low
    return Rates(false / repeats, covered / repeats, width / repeats)


def measure_versions(runs: int, prompts: int, shape: str, repeats: int, *, naive: bool) -> Rates:
    """Rates for a claim about versions, each of several training runs; naive: as if the first run were the version."""
    import numpy as np

    rng = np.random.default_rng(runs * 101 + prompts)
    false = covered = 0
    width = 0.0
    for number in range(repeats):
        difficulty = DIFFICULTY * draw("skewed", (1, prompts), rng)
        change = INTERACTION * draw(shape, (1, prompts), rng)
        tables = []
        for version in (0.0, 1.0):
            training = TRAINING * rng.standard_normal((runs, 1))
            noise = math.hypot(PICTURE / 2, INTERACTION / 2) * rng.standard_normal((runs, prompts))
            tables.append(0.6 + difficulty + version * change + training + noise)
        if naive:
            found = paired(tables[0][:1].T, tables[1][:1].T, number)
        else:
            found = inference.estimate_versions(tables[0], tables[1], np.full(prompts, 4.0), confidence=CONFIDENCE)
        false += verdicts.judge_estimate(found, MINIMUM_EFFECT) in (verdicts.IMPROVED, verdicts.REGRESSED)
        assert found.low is not None and found.high is not None
        covered += found.low <= 0.0 <= found.high
        width += found.high - found.low
    return Rates(false / repeats, covered / repeats, width / repeats)


@dataclass(frozen=True, slots=True)
class SweepRates:
    """Shares of simulated sweeps where nothing differs (false) or one is better (covered: the bound on the loss holds)."""

    called_best: float
    beats_baseline: float
    naive: float
    bound_holds: float
    optimism: float
    fair_bias: float


def measure_sweep(configs: int, prompts: int, shape: str, repeats: int, *, spread: float = 0.0) -> SweepRates:
    """A sweep of `configs`; with `spread` 0 all are equal, and every claim that one beats another is false."""
    import numpy as np

    rng = np.random.default_rng(configs + prompts + len(shape))
    names = [f"c{number}" for number in range(configs)]
    labels = [number for number in range(prompts) for _ in range(2)]
    called = beats = naive = holds = 0
    optimism = fair_bias = 0.0
    for number in range(repeats):
        truth = spread * rng.standard_normal(configs)
        scale = np.where(np.arange(configs) < configs // 4, 2.0, 0.8)  # some configurations are erratic
        change = INTERACTION * draw(shape, (prompts, configs), rng) * scale
        scores = 0.6 + truth + np.repeat(change, 2, axis=0) + PICTURE * rng.standard_normal((2 * prompts, configs))
        scores += np.repeat(DIFFICULTY * draw("skewed", (prompts, 1), rng), 2, axis=0)
        trials = selection.Trials.of_scores(names, scores, labels)
        found = selection.select(trials, confidence=CONFIDENCE, minimum_effect=MINIMUM_EFFECT, baseline="c0")
        assert found.chosen is not None
        chosen = names.index(found.chosen.name)
        called += not found.rivals
        beats += found.baseline_verdict in (verdicts.IMPROVED, verdicts.REGRESSED)
        holds += found.regret is not None and truth.max() - truth[chosen] <= found.regret + 1e-12
        runner_up = int(np.argsort(scores.mean(axis=0))[0])
        simple = two_means(scores[:, [runner_up]], scores[:, [chosen]], number)
        naive += simple.low is not None and simple.low > 0
        level = 0.6 + truth[chosen]
        optimism += float(scores[:, chosen].mean()) - level - float((scores.mean(axis=1) - 0.6 - truth.mean()).mean())
        assert found.fair_score is not None
        fair_bias += found.fair_score - level - float((scores.mean(axis=1) - 0.6 - truth.mean()).mean())
    return SweepRates(*(value / repeats for value in (called, beats, naive, holds, optimism, fair_bias)))


def pictures_needed(estimate: Callable[[Floats, Floats, int], inference.Estimate], effect: float, repeats: int) -> int | None:
    """Pictures of each version (4 seeds a prompt) with which a true effect is called IMPROVED in 80 % of comparisons."""
    import numpy as np

    for prompts in (4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 260, 320, 400):
        rng = np.random.default_rng(prompts)
        found = 0
        for number in range(repeats):
            old, new = simulate_pair(prompts, 4, effect, "skewed", rng)
            found += verdicts.judge_estimate(estimate(old, new, number), 0.0) == verdicts.IMPROVED
        if found / repeats >= POWER:
            return 4 * prompts
    return None


def print_files(repeats: int) -> list[str]:
    print("\nTwo files, nothing changed (goal: false at most 5 %, interval right 93 - 97 %)")
    print(f"{'prompts x 4':>11} {'differences':18} {'paired by prompt':^31} {'two means, pictures':^22}")
    print(f"{'':30} {'false':>8} {'right':>8} {'width':>8}       {'false':>8} {'right':>8}")
    missed = []
    for prompts in (3, 5, 8, 10, 20, 50):
        for shape in SHAPES:
            good, plain = measure(paired, prompts, shape, repeats), measure(two_means, prompts, shape, max(50, repeats // 4))
            row = f"{prompts:11} {shape:18} {good.false:8.1%} {good.covered:8.1%} {good.width:8.3f}"
            print(f"{row}       {plain.false:8.1%} {plain.covered:8.1%}")
            missed += judge(f"{prompts} prompts, {shape}", good, repeats)
    return missed


def print_versions(repeats: int) -> list[str]:
    print("\nTwo versions of several training runs, nothing changed but the training seed (10 prompts x 4)")
    print(f"{'runs of each':>12} {'false':>8} {'right':>8} {'width':>8}")
    single = measure_versions(1, 10, "skewed", repeats, naive=True)
    print(
        f"{'1 (as files)':>12} {single.false:8.1%} {single.covered:8.1%} {single.width:8.3f}   (one run each: a claim about two files only)"
    )
    missed = []
    for runs in (2, 3, 5):
        rates = measure_versions(runs, 10, "skewed", repeats, naive=False)
        print(f"{runs:12} {rates.false:8.1%} {rates.covered:8.1%} {rates.width:8.3f}")
        missed += judge(f"{runs} runs", rates, repeats)
    return missed


def print_sweeps(repeats: int) -> list[str]:
    print(
        "\nWinner of a sweep of 27, 2 seeds a prompt. All equal: how often a winner is called (goal: at most 5 %), by two means likewise,"
    )
    print("and how far its mean and its fair score are off. All different: how often the bound on its loss holds (goal: 95 % and more)")
    print(f"{'prompts':>7} {'differences':18} {'the best':>9} {'beats old':>9} {'two means':>9} {'bound':>7} {'its mean':>9} {'fair':>7}")
    missed = []
    for prompts in (10, 20):
        for shape in SHAPES:
            equal = measure_sweep(27, prompts, shape, repeats)
            spread = measure_sweep(27, prompts, shape, max(20, repeats // 4), spread=0.02)
            row = f"{prompts:7} {shape:18} {equal.called_best:9.1%} {equal.beats_baseline:9.1%} {equal.naive:9.1%}"
            print(f"{row} {spread.bound_holds:7.1%} {equal.optimism:+9.3f} {equal.fair_bias:+7.3f}")
            for what, share in (("the best", equal.called_best), ("beats the old", equal.beats_baseline)):
                if share > FALSE_GOAL + slack(FALSE_GOAL, repeats):
                    missed.append(f"sweep, {prompts} prompts, {shape}: {what} {share:.1%}")
    return missed


def print_needs(repeats: int) -> None:
    print("\nPictures of each version until a true effect is found in 80 % of comparisons (4 seeds a prompt)")
    print(f"{'effect':>7} {'paired':>8} {'two means':>10}")
    for effect in (0.01, 0.02, 0.03, 0.05, 0.10):
        found = [pictures_needed(way, effect, repeats) for way in (paired, two_means)]
        print(f"{effect:7.2f} {found[0] or '> 1600':>8} {found[1] or '> 1600':>10}")


def slack(share: float, repeats: int) -> float:
    """Three standard errors of a share: what the repeats cannot tell."""
    return 3 * math.sqrt(share * (1 - share) / repeats)


def judge(name: str, rates: Rates, repeats: int) -> list[str]:
    missed = []
    if rates.false > FALSE_GOAL + slack(FALSE_GOAL, repeats):
        missed.append(f"{name}: false verdicts {rates.false:.1%}")
    if rates.covered < COVERAGE_LOW - slack(0.05, repeats):
        missed.append(f"{name}: the interval is right {rates.covered:.1%}")
    return missed


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--repeats", type=cli.positive_int, default=2000, metavar="N", help="simulated comparisons for each line")
    parser.add_argument("--sweep-repeats", type=cli.positive_int, default=1000, metavar="N", help="simulated sweeps for each line")
    parser.add_argument(
        "--need-repeats", type=cli.positive_int, default=300, metavar="N", help="simulated comparisons for each number of pictures"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    missed = print_files(args.repeats) + print_versions(args.repeats) + print_sweeps(args.sweep_repeats)
    print_needs(args.need_repeats)
    print("\n" + ("missed: " + "; ".join(missed) if missed else "every goal is met"))
    return EXIT_GATE if missed else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
