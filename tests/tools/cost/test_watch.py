"""What really runs on a pod, and when to say that nothing does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings

from lifeos import web
from tests.capabilities import POSIX
from tests.examples import EXAMPLES
from tests.fuzzing import foreign_bytes
from tools.backends.address import Address
from tools.cost.comfy_queue import look_at_queue
from tools.cost.meter import Meter
from tools.cost.processes import Running
from tools.cost.watch import Sample, Watcher, WatchSettings, classify, take_sample, watch


def _running(*commands: str) -> tuple[Running, ...]:
    """Processes of their own, of these command lines."""
    return tuple(Running(100 + number, 1, tuple(command.split(" "))) for number, command in enumerate(commands))


@pytest.mark.parametrize(
    ("sample", "activity"),
    [
        pytest.param(Sample(0, 0), "idle", id="nothing"),
        pytest.param(Sample(None, None), "idle", id="no card, no ComfyUI"),
        pytest.param(Sample(99, 3), "generation", id="a queue"),
        pytest.param(Sample(0, 1), "generation", id="a queue while models load"),
        pytest.param(Sample(99, 0, _running("python sdxl_train_network.py --x")), "training", id="trainer"),
        pytest.param(Sample(99, 2, _running("python sdxl_train_network.py")), "training", id="trainer and queue"),
        pytest.param(Sample(0, 0, _running("/usr/bin/python evals/scorecard.py --generated x")), "evaluation", id="evaluation on the CPU"),
        pytest.param(Sample(0, 0, _running("rsync -a /workspace/out host:")), "transfer", id="transfer"),
        pytest.param(Sample(80, 0), "evaluation", id="a GPU at work for somebody"),
        pytest.param(Sample(80, None), "generation", id="a GPU at work, ComfyUI not asked"),
        pytest.param(Sample(0, 0, _running("python runpod_cost_tracker.py --watch --on-idle curl x")), "idle", id="ourselves"),
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
    for sample in (BUSY, Sample(0, 0, _running("rclone copy a b")), Sample(0, 0, _running("python train_network.py"))):
        assert not watcher.look(sample, 1e6).advise


class _Comfy(BaseHTTPRequestHandler):
    body: ClassVar[bytes] = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def comfy() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Comfy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("body", "queued"),
    [
        (b'{"exec_info": {"queue_remaining": 3}}', 3),
        (b'{"exec_info": {"queue_remaining": 1e400}}', None),
        (b'{"exec_info": {"queue_remaining": Infinity}}', None),
        (b'{"exec_info": []}', None),
        (b"[" * 100_000, None),
        (b"", None),
    ],
    ids=["a length", "1e400", "infinity", "a list", "deep", "nothing"],
)
def test_the_queue_s_length_is_a_number_or_not_known(comfy: str, monkeypatch: pytest.MonkeyPatch, body: bytes, queued: int | None) -> None:
    monkeypatch.setattr(_Comfy, "body", body)
    assert take_sample(Address(comfy, None)).queued == queued


@settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(foreign_bytes({"exec_info": {"queue_remaining": 3}}))
def test_whatever_a_server_says_watching_goes_on(comfy: str, body: bytes) -> None:
    _Comfy.body = body
    queued, made = look_at_queue(Address(comfy, None), web.get)
    assert (made is None or isinstance(made, str)) and (queued is None or isinstance(queued, int))


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_a_signal_while_a_session_is_opened_leaves_none_open(tmp_path: Path) -> None:
    """The session was written, and its id not yet known to the watch."""
    meter = Meter(tmp_path / "log.jsonl", tmp_path / "state.json")

    def open_then_stop(activity: str) -> str:
        opened = meter.start(activity, "RTX 4090", Decimal("0.60")).session.session_id
        os.kill(os.getpid(), signal.SIGINT)
        return opened

    code = watch(meter, open_then_stop, lambda: BUSY, WatchSettings(0.01, 15, None, 3), lambda text: None, sleep=lambda seconds: None)
    assert (code, meter.open_sessions()) == (130, [])


def test_a_meter_that_cannot_write_just_now_does_not_end_the_watch(tmp_path: Path) -> None:
    """The disk is full when the activity changes: it is said once, the session stays ours, and is closed when there is room."""
    meter = Meter(tmp_path / "log.jsonl", tmp_path / "state.json")
    said: list[str] = []
    stop = meter.stop
    refusals = iter([True, True])

    def stop_unless_full(session_id: str) -> dict[str, Any]:
        if next(refusals, False):
            raise OSError(28, "No space left on device", "log.jsonl")
        return stop(session_id)

    meter.stop = stop_unless_full  # type: ignore[method-assign, assignment]
    samples = iter([BUSY, BUSY, IDLE, IDLE, IDLE, IDLE])

    def opened(activity: str) -> str:
        return meter.start(activity, "RTX 4090", Decimal("0.60")).session.session_id

    rows: list[dict[str, Any]] = []
    settings = WatchSettings(0.01, 15, None, 6)
    code = watch(meter, opened, lambda: next(samples), settings, said.append, sleep=lambda seconds: None, ended=rows.append)
    assert (code, meter.open_sessions()) == (0, [])
    assert [row["activity"] for row in rows] == ["generation", "idle"]
    assert [line for line in said if "warning" in line] == ["warning: [Errno 28] No space left on device: 'log.jsonl'; watching goes on"]
