"""What really runs on a pod, and when to say that nothing does."""

from __future__ import annotations

import pytest

from tools.cost.watch import Sample, Watcher, classify


@pytest.mark.parametrize(
    ("sample", "activity"),
    [
        pytest.param(Sample(0, 0), "idle", id="nothing"),
        pytest.param(Sample(None, None), "idle", id="no card, no ComfyUI"),
        pytest.param(Sample(99, 3), "generation", id="a queue"),
        pytest.param(Sample(0, 1), "generation", id="a queue while models load"),
        pytest.param(Sample(99, 0, ("python sdxl_train_network.py --x",)), "training", id="trainer"),
        pytest.param(Sample(99, 2, ("python sdxl_train_network.py",)), "training", id="trainer and queue"),
        pytest.param(Sample(0, 0, ("/usr/bin/python evals/scorecard.py --generated x",)), "evaluation", id="evaluation on the CPU"),
        pytest.param(Sample(0, 0, ("rsync -a /workspace/out host:",)), "transfer", id="transfer"),
        pytest.param(Sample(80, 0), "evaluation", id="a GPU at work for somebody"),
        pytest.param(Sample(80, None), "generation", id="a GPU at work, ComfyUI not asked"),
        pytest.param(Sample(0, 0, ("python runpod_cost_tracker.py --watch --on-idle curl x",)), "idle", id="ourselves"),
    ],
)
def test_classify(sample: Sample, activity: str) -> None:
    assert classify(sample) == activity


BUSY, IDLE = Sample(90, 2), Sample(0, 0)


def _activities(samples: list[Sample], idle_seconds: float = 1e9) -> list[str | None]:
    watcher = Watcher(idle_seconds)
    return [watcher.look(sample, 15.0 * number).activity for number, sample in enumerate(samples)]


def test_a_change_counts_from_its_second_sample() -> None:
    assert _activities([BUSY, BUSY, IDLE, BUSY, IDLE, IDLE, IDLE]) == ["generation", None, None, None, None, "idle", None]


def test_advice_comes_once_per_idle_spell() -> None:
    watcher = Watcher(60)
    advice = [watcher.look(sample, 30.0 * number).advise for number, sample in enumerate([IDLE] * 5 + [BUSY] + [IDLE] * 4)]
    # idle from 0 s: advised at 60 s; busy at 150 s; idle again from 180 s: advised at 240 s
    assert [30 * number for number, advised in enumerate(advice) if advised] == [60, 240]


def test_no_advice_while_something_works() -> None:
    watcher = Watcher(0)
    for sample in (BUSY, Sample(0, 0, ("rclone copy a b",)), Sample(0, 0, ("python train_network.py",))):
        assert not watcher.look(sample, 1e6).advise
