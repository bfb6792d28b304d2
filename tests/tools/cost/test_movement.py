"""Whether what runs on a pod moves on: that a process is there, and beats, does not say so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tools.cost.meter import Instant, Meter, parse_rate
from tools.cost.movement import Movement, ToldProgress
from tools.cost.processes import Running, list_processes
from tools.cost.watch import Sample, WatchSettings, watch

LOOK = 15.0
UNKNOWN, JUPYTER = ("python", "scripts/train.py"), ("python", "/usr/bin/jupyter-lab", "--port", "8888")
TRAINER, CURL = ("python", "sdxl_train_network.py"), ("curl", "-O", "x")
SCORES, BATCH, RETRAIN = ("python", "evals/scorecard.py"), ("python", "tools/production_pipeline.py"), ("python", "tools/retrain_lora.py")


def _row(*samples: Sample, told: tuple[int, ...] = ()) -> list[bool]:
    movement = Movement()
    return [
        movement.look(one.processes, one.queued, one.made, number * LOOK, told=number in told, is_gpu_busy=one.is_gpu_busy)
        for number, one in enumerate(samples)
    ]


def _counts(argv: tuple[str, ...], *counts: tuple[int | None, int | None]) -> list[Sample]:
    return [Sample(100, None, (Running(7, 1, argv, read, written),)) for read, written in counts]


@pytest.mark.parametrize(
    ("samples", "moved"),
    [
        pytest.param(_counts(TRAINER, (0, 5), (9, 6), (90, 6), (900, 6)), [True, True, False, False], id="a trainer that hangs and reads"),
        pytest.param(_counts(TRAINER, (0, 5), (None, None), (0, 5)), [True, True, True], id="what the system does not count"),
        pytest.param(_counts(SCORES, (5, 0), (6, 0), (6, 9)), [True, True, False], id="an evaluation reads pictures"),
        pytest.param(_counts(CURL, (0, 0), (0, 1_200), (0, 20_000)), [True, False, True], id="curl that only prints 0 B/s"),
        pytest.param(_counts(CURL, (0, 0), (0, 20_000), (20_000, 20_000)), [True, True, True], id="an upload reads"),
        pytest.param(_counts(RETRAIN, (0, 0), (0, 0)), [True, True], id="a training of ours that prepares"),
        pytest.param([Sample(100, None)] * 3, [False] * 3, id="a busy GPU tells nothing"),
        pytest.param(_counts(UNKNOWN, (0, 1), (0, 2), (0, 2)), [True, True, False], id="a busy GPU, and a script that writes"),
        pytest.param(_counts(JUPYTER, (0, 1), (0, 2), (0, 3)), [False] * 3, id="Jupyter writes all the time"),
        pytest.param([replace(one, gpu_percent=0.0) for one in _counts(UNKNOWN, (0, 1), (0, 2))], [False] * 2, id="a script at rest"),
        pytest.param(
            [Sample(9, 2, made=""), Sample(9, 2, made=""), Sample(9, 1, made="a"), Sample(9, 3, made="a"), Sample(9, 1)],
            [True, False, True, False, True],
            id="prompts that end, and a history that cannot be read",
        ),
    ],
)
def test_what_moves_on(samples: list[Sample], moved: list[bool]) -> None:
    assert _row(*samples) == moved


def test_another_process_has_begun() -> None:
    one, other = _counts(TRAINER, (0, 5))[0], Sample(0, 0, (Running(8, 1, TRAINER, 0, 5),))
    assert _row(one, one, other, other) == [True, False, True, False]


def test_a_batch_is_taken_at_its_word_once_it_has_given_it() -> None:
    """One whose heartbeats go to another meter than the watch's cannot be told from one that works."""
    batch = Sample(0, 0, (Running(7, 1, BATCH, 0, 0),))
    assert _row(batch, batch, batch) == [True, True, True]
    assert _row(batch, batch, batch, batch, batch, told=(1, 3)) == [True, True, False, True, False]


def test_a_trainer_of_ours_is_measured_itself() -> None:
    def both(written: int) -> Sample:
        return Sample(100, 0, (Running(6, 1, RETRAIN, 0, written * 7), Running(7, 6, TRAINER, 0, written)))

    assert _row(both(1), both(2), both(2)) == [True, True, False]


class Clock:
    """Each reading is a quarter of a minute later."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> Instant:
        return Instant(datetime(2026, 11, 30, 12, tzinfo=UTC) + timedelta(seconds=self.seconds), "boot", self.seconds)


def _watched(tmp_path: Path, samples: list[Sample], meanwhile: Callable[[Meter, int], None] = lambda meter, look: None) -> list[bool]:
    """What a watch tells of each look, while its session stays open."""
    clock = Clock()
    meter = Meter(tmp_path / "log.jsonl", tmp_path / "state.json", clock, lambda text: None)
    told: list[bool] = []

    def sample() -> Sample:
        clock.seconds += LOOK
        meanwhile(meter, len(told))
        return samples[len(told)]

    def opened(activity: str) -> str:
        return meter.start(activity, "RTX 4090", parse_rate("0.6")).session.session_id

    def looked(activity: str, moved: bool) -> None:
        for one in meter.open_sessions():
            assert one.last_heartbeat >= one.last_progress
        told.append(moved)

    settings = WatchSettings(LOOK, 15, None, len(samples))
    watch(meter, opened, sample, settings, lambda text: None, lambda seconds: None, lambda: clock.seconds, looked=looked)
    return told


def test_the_watch_does_not_take_its_own_word_for_that_of_a_batch(tmp_path: Path) -> None:
    """Its session is the only one open, so the batch's heartbeats are in it too: at the third look, and no more."""
    batch = Sample(100, 0, (Running(7, 1, BATCH, 0, 0),))

    def beats(meter: Meter, look: int) -> None:
        if look:
            meter.heartbeat_all(progress=look == 2)

    assert _watched(tmp_path, [batch] * 6, beats) == [True, True, True, False, False, False]


def test_the_word_of_another_pod_is_none_of_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pods with one state file on their volume: the batch of the other moves on, what runs here hangs."""

    def other_beats(meter: Meter, look: int) -> None:
        monkeypatch.setenv("RUNPOD_POD_ID", "other")
        if look == 0:
            meter.start("production", "RTX 4090", parse_rate("0.6"), keep_open=True)
        meter.heartbeat_all(progress=True)
        monkeypatch.setenv("RUNPOD_POD_ID", "this")

    assert _watched(tmp_path, _counts(TRAINER, (0, 1), (0, 2), (0, 2), (0, 2)), other_beats) == [True, True, False, False]


def test_a_batch_that_beats_elsewhere_counts_as_long_as_it_is_there(tmp_path: Path) -> None:
    """The watch's own session, which begins with the batch, is no word of the batch."""
    assert _watched(tmp_path, [Sample(100, 0, (Running(7, 1, BATCH, 0, 0),))] * 5) == [True] * 5


def test_a_session_keeps_the_moment_at_which_its_work_last_moved_on(tmp_path: Path) -> None:
    moments: list[tuple[str, str]] = []

    def note(meter: Meter, look: int) -> None:
        moments.extend((one.last_progress[14:19], one.last_heartbeat[14:19]) for one in meter.open_sessions())

    _watched(tmp_path, _counts(TRAINER, (0, 1), (0, 2), (0, 2), (0, 2)), note)
    assert moments == [("00:15", "00:15"), ("00:30", "00:30"), ("00:30", "00:45")]


def test_a_session_of_an_older_version_says_nothing(tmp_path: Path) -> None:
    meter = Meter(tmp_path / "log.jsonl", tmp_path / "state.json")
    session = meter.start("training", "RTX 4090", parse_rate("0.6")).session
    sessions = [replace(session, last_progress="")]
    told = ToldProgress(lambda: sessions)
    assert [told.has_come("other") for _ in range(2)] == [False, False]
    sessions[0] = session
    assert [told.has_come("other") for _ in range(2)] == [True, False]


def test_a_real_trainer_is_seen_to_write(tmp_path: Path) -> None:
    script = tmp_path / "sdxl_train_network.py"
    script.write_text("import sys\nfor line in sys.stdin: print(line, end='', flush=True)")
    with subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdin is not None and trainer.stdout is not None
        written: list[int | None] = []
        for _ in range(2):
            trainer.stdin.write("step\n")
            trainer.stdin.flush()
            trainer.stdout.readline()
            written.append(next(one.written for one in list_processes() if one.pid == trainer.pid))
        trainer.stdin.close()
    if sys.platform == "darwin":  # it keeps no count
        assert written == [None, None]
    else:
        assert written[0] is not None and written[1] is not None and written[1] - written[0] >= len("step\n")
