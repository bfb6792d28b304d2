"""Is the right checkpoint named, and is a training stopped too early? Simulated trainings of known shape, looked at after every
checkpoint.

Each training is followed until the advice is no longer to go on, as `--stop-training` does; then the named checkpoint and strength are
held against the truth of the whole training. Beside it stand the usual rules: stop when the highest mean is older than the patience; take
the highest mean at one strength; take the last checkpoint. Noise: as `benchmarks/verdict_calibration.py` takes it, and as measured on
demo pictures.

    python benchmarks/checkpoint_choice.py                       # 200 trainings of 10 checkpoints, a quarter of each shape
    python benchmarks/checkpoint_choice.py --checkpoints 20 --noise calibration

Exit codes: 0 every goal is met · 1 one is missed · 2 bad usage.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.goals import Figure, exit_code, render_figures, share
from benchmarks.simulated_trainings import NOISES, SHAPES, STRENGTHS, Noise, Training, simulate_training
from evals.load_thresholds import load_thresholds
from lifeos import cli
from tools.sweep.checkpoint_advice import GO_ON, OVERTRAINED, advise
from tools.sweep.checkpoint_choice import choose_checkpoint
from tools.sweep.checkpoint_curve import OVERALL, contrast

RESAMPLES = 1000
SEED = 20261130
NAMED_GOAL, EARLY_GOAL, ERROR_GOAL, SURE = 0.90, 0.05, 0.05, 0.90


@dataclass(frozen=True, slots=True)
class Followed:
    """How one training went. Losses: how far the truth of what was named lies below the best of the whole training.

    `left_out`: whether at any look the pair that is truly the best so far was not among those within the noise.
    """

    shape: str
    stopped: int
    kind: str
    early: bool
    loss: float
    within_noise: bool
    near: bool
    said_near: float
    left_out: bool
    usual_stopped: int
    usual_early: bool
    usual_loss: float
    one_strength_loss: float
    last_loss: float


def follow(training: Training, policy: Mapping[str, Any]) -> Followed:
    """Look after every checkpoint, until the advice is to stop."""
    curve, truth = training.curve, training.truth
    steps = curve.steps
    best = float(truth.max())
    least = policy["checkpoints"]["min_delta"]
    left_out, kind, stopped = False, GO_ON, len(steps)
    for look, step in enumerate(steps, 1):
        seen = curve.up_to(step)
        choice = choose_checkpoint(seen, policy)
        left_out = left_out or seen.cells[int(truth[:look].argmax())] not in choice.within_noise
        advice = advise(seen, policy, choice)
        if advice.kind != GO_ON and look < len(steps):
            kind, stopped = advice.kind, look
            break
    assert choice.chosen is not None and choice.shares is not None
    named = curve.cells.index(choice.chosen)
    loss = best - float(truth.flat[named])
    so_far = float(truth[:stopped].max()) - float(truth.flat[named])
    noise = contrast(curve, [named], [int(truth.argmax())], OVERALL, policy["comparison"]["confidence"])
    reach = 0.0 if noise is None or noise.half_width is None else noise.half_width
    usual = usual_stop(training, policy["checkpoints"]["patience"])
    middle = truth.shape[1] // 2  # strength 0.80
    means = curve.scores[:, :, 0].mean(axis=0).reshape(truth.shape)
    return Followed(
        shape=training.shape,
        stopped=stopped,
        kind=kind,
        early=best - float(truth[:stopped].max()) > least,
        loss=loss,
        within_noise=loss <= reach,
        near=so_far <= policy["comparison"]["minimum_effect"],
        said_near=choice.shares.near,
        left_out=left_out,
        usual_stopped=usual,
        usual_early=best - float(truth[:usual].max()) > least,
        usual_loss=best - float(truth[:usual].flat[int(means[:usual].argmax())]),
        one_strength_loss=best - float(truth[int(means[:, middle].argmax()), middle]),
        last_loss=best - float(truth[-1, middle]),
    )


def usual_stop(training: Training, patience: int) -> int:
    """The usual rule: stop when the highest mean so far is `patience` checkpoints old. Returns how many were trained."""
    highest = training.curve.scores[:, :, 0].mean(axis=0).reshape(training.truth.shape).max(axis=1)
    for look in range(patience + 1, len(highest)):
        if int(highest[:look].argmax()) < look - patience:
            return look
    return len(highest)


def follow_all(
    noise: Noise, policy: Mapping[str, Any], *, trainings: int, checkpoints: int, prompts: int, seeds: int, planned: bool = False
) -> list[Followed]:
    """As many trainings of each shape."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    found = []
    for number in range(trainings):
        shape = SHAPES[number % len(SHAPES)]
        training = simulate_training(shape, noise, rng, checkpoints=checkpoints, prompts=prompts, seeds=seeds, planned=planned)
        found.append(follow(training, policy))
    return found


def figures_of(group: str, all_of: Sequence[Followed], checkpoints: int) -> list[Figure]:
    """The goals, and what the usual rules do on the same trainings."""
    count, on = len(all_of), f"{len(all_of)} trainings"

    def of(name: str, hits: int, goal: float | None = None, *, at_least: bool = False, among: int = count) -> Figure:
        return share(group, name, hits, among, goal, at_least=at_least, on=on if among == count else f"{among} trainings")

    def mean(name: str, values: Sequence[float]) -> Figure:
        return Figure(group, name, sum(values) / len(values), None, len(values), on=f"{len(values)} trainings")

    by_shape = {shape: [each for each in all_of if each.shape == shape] for shape in SHAPES}
    healthy = [each for each in all_of if each.shape != OVERTRAINED]
    fallen = by_shape[OVERTRAINED]
    sure = [each for each in all_of if each.said_near >= SURE]
    return [
        of("named: within the noise of the best", sum(each.within_noise for each in all_of), NAMED_GOAL, at_least=True),
        of("stopped before the best", sum(each.early for each in all_of), EARLY_GOAL),
        *(of(f"… of shape {shape}", sum(each.early for each in those), among=len(those)) for shape, those in by_shape.items()),
        of("the best so far left out at any look", sum(each.left_out for each in all_of), ERROR_GOAL),
        of("healthy ones called overtrained", sum(each.kind == OVERTRAINED for each in healthy), ERROR_GOAL, among=len(healthy)),
        of("overtrained ones called so", sum(each.kind == OVERTRAINED for each in fallen), among=len(fallen)),
        mean("checkpoints saved by stopping", [checkpoints - each.stopped for each in all_of]),
        mean("… of those overtrained or flat", [checkpoints - each.stopped for each in all_of if each.shape in (OVERTRAINED, "flat")]),
        mean("loss of what is named", [each.loss for each in all_of]),
        of("named: within 0.02 of the best so far", sum(each.near for each in all_of)),
        mean("… as the sentences say", [each.said_near for each in all_of]),
        of("… where they say 90 % or more", sum(each.near for each in sure), SURE, at_least=True, among=len(sure)),
        of("usual patience: stopped before the best", sum(each.usual_early for each in all_of)),
        mean("usual patience: checkpoints saved", [checkpoints - each.usual_stopped for each in all_of]),
        mean("usual patience: loss of the highest mean", [each.usual_loss for each in all_of]),
        mean("one strength (0.80): loss of the highest mean", [each.one_strength_loss for each in all_of]),
        mean("last checkpoint at 0.80: loss", [each.last_loss for each in all_of]),
    ]  # fmt: skip


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--trainings", type=cli.positive_int, default=200, metavar="N", help="simulated trainings of each noise")
    parser.add_argument("--checkpoints", type=cli.positive_int, default=10, metavar="N", help="checkpoints of a training, each looked at")
    parser.add_argument("--prompts", type=cli.positive_int, default=8, metavar="N", help="prompts that each checkpoint is shown by")
    parser.add_argument("--seeds", type=cli.positive_int, default=2, metavar="N", help="seeds of each prompt")
    parser.add_argument(
        "--noise", choices=[noise.name for noise in NOISES], metavar="NAME", help="one noise only: calibration, demo pictures"
    )
    parser.add_argument("--planned", action="store_true", help="the number of checkpoints is known from the start")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    policy = load_thresholds()
    policy = {**policy, "comparison": {**policy["comparison"], "resamples": RESAMPLES}}
    size = {name: getattr(args, name) for name in ("trainings", "checkpoints", "prompts", "seeds", "planned")}
    figures = []
    for noise in NOISES:
        if args.noise in (None, noise.name):
            group = f"noise of {noise.name}, {args.prompts} prompts x {args.seeds} seeds x {len(STRENGTHS)} strengths"
            figures += figures_of(group, follow_all(noise, policy, **size), args.checkpoints)
    cli.say(render_figures(figures), as_json=args.json)
    if args.json:
        cli.print_json([figure.to_json() for figure in figures])
    return exit_code(figures)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
