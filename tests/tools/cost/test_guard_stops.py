"""What the guard writes of a stop, and what it does where RunPod, its disk or its own end is in the way."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from lifeos import files
from tests.tools.cost.pod_stand_in import KEY, PlannedPod, PodStandIn, problem
from tests.tools.cost.simulated_guard import END, IDLE, INTERVAL, LEASE, MINUTE, Account, GuardEnds, World, quickly
from tools.cost.guard_log import read_stops
from tools.cost.guard_rules import GuardRules
from tools.cost.pods_api import PodsApiError


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with quickly():
        yield


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(PodStandIn([PlannedPod("idle1", [(0, "idle")])]), World(), tmp_path)


def _records(account: Account) -> list[dict[str, Any]]:
    path = account.folder / "guard_log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_stop_is_written_before_it_is_asked_for_and_settled_after(account: Account) -> None:
    written: list[list[str]] = []
    account.stand_in.before_stop = lambda: written.append([one["event"] for one in _records(account)])
    account.run_until(END)
    assert written == [["asked"]]
    asked, settled = _records(account)
    assert (asked["pod_id"], asked["reason"], asked["usd_per_hr"], asked["volume_usd_per_hr"]) == ("idle1", "idle", 0.6, 0.027397)
    assert (settled["event"], settled["outcome"], settled["stop_id"]) == ("settled", "stopped", asked["stop_id"])
    [stop] = read_stops(account.folder / "guard_log.jsonl", account.folder / "state.json")
    # stopped after 6 min, seen standing until 36 min: half an hour at $0.60 less 100 GB x $0.20 / 730 h for the volume
    stood = (END - (account.stand_in.pods["idle1"].stopped_at or 0)) / 3600
    assert float(stop.saved_usd or 0) == pytest.approx(stood * (0.6 - 100 * 0.2 / 730), abs=0.01)


@pytest.mark.parametrize("moment", ["before_stop", "after_stop"])
def test_a_guard_killed_while_it_stops_a_pod_settles_it_later(account: Account, moment: str) -> None:
    def die() -> None:
        setattr(account.stand_in, moment, lambda: None)
        raise GuardEnds

    setattr(account.stand_in, moment, die)
    account.run_until(END)
    assert [one["event"] for one in _records(account)] == ["asked"]
    account.run_until(END + 5 * MINUTE)
    assert [(one["event"], one.get("outcome")) for one in _records(account)] == [("asked", None), ("settled", "stopped")]
    assert account.stand_in.pods["idle1"].status == "EXITED"


def test_a_pod_that_runs_again_ends_its_saving_and_is_guarded_anew(account: Account) -> None:
    account.run_until(10 * MINUTE)
    pod = account.stand_in.pods["idle1"]
    first = pod.stopped_at or 0.0
    pod.status, pod.changes = "RUNNING", {"startedAt": "2026-11-30T12:10:00Z"}
    account.run_until(30 * MINUTE)
    events = [one["event"] for one in _records(account)]
    assert events == ["asked", "settled", "ended", "asked", "settled"]
    assert _records(account)[2]["stood_seconds"] == pytest.approx(600 - first, abs=2 * INTERVAL)
    assert pod.stopped_at is not None and 16 * MINUTE <= pod.stopped_at <= 17 * MINUTE


def test_dry_run_says_it_once_and_writes_nothing(account: Account) -> None:
    account.run_until(END, dry_run=True)
    assert [text for text in account.said if text.startswith("would stop")] == [
        "would stop lora-pod (idle1): idle for 6 min; it costs $0.60 per hour"
    ]
    assert list(account.folder.iterdir()) == [] and account.stand_in.pods["idle1"].stop_asked == 0


def test_a_pod_that_works_again_at_the_last_moment_is_left(account: Account) -> None:
    """The list says idle; between it and the stop a training begins."""
    pod = account.stand_in.pods["idle1"]
    ask = account.stand_in.ask

    def busy_at_the_second_look(url: str, *args: Any, **options: Any) -> Any:
        if url.endswith("/pods/idle1"):
            pod.plan = [(0, "training")]
        return ask(url, *args, **options)

    account.stand_in.ask = busy_at_the_second_look  # type: ignore[method-assign]
    account.run_until(END)
    assert (pod.status, pod.stop_asked) == ("RUNNING", 0)


@pytest.mark.parametrize(("status", "asked"), [(409, 6), (403, 6)])
def test_a_stop_that_is_refused_is_recorded_and_tried_again_minutes_later(account: Account, status: int, asked: int) -> None:
    """From the 6th to the 36th minute, every 5 minutes."""
    ask = account.stand_in.ask

    def refuse(url: str, *args: Any, body: bytes | None = None, **options: Any) -> Any:
        if body is not None:
            account.stand_in.pods["idle1"].stop_asked += 1
            raise problem("RunPod", status, f"no, {KEY}")
        return ask(url, *args, body=body, **options)

    account.stand_in.ask = refuse  # type: ignore[method-assign]
    account.run_until(END)
    assert account.stand_in.pods["idle1"].stop_asked == asked
    assert {one.get("outcome") for one in _records(account)} == {None, "refused"}
    assert KEY not in (account.folder / "guard_log.jsonl").read_text() + "".join(account.said)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_never_taken_ends_the_guard(account: Account, status: int) -> None:
    account.stand_in.fault = lambda at: status
    with pytest.raises(PodsApiError) as raised:
        account.run_until(END)
    assert raised.value.exit_code == 3 and "RUNPOD_API_KEY" in str(raised.value)


def test_a_key_that_is_refused_later_ends_the_guard_after_ten_minutes(account: Account) -> None:
    account.stand_in.fault = lambda at: 401 if at > 60 else None
    with pytest.raises(PodsApiError):
        account.run_until(END)
    assert 10 * MINUTE < account.stand_in.now < 14 * MINUTE


def test_a_pod_that_cannot_be_read_is_named_and_the_others_are_guarded(account: Account) -> None:
    account.stand_in.pods["odd"] = PlannedPod("odd", [(0, "idle")], changes={"runtime": {"gpus": [{"util": "much"}]}})
    account.stand_in.pods["../x"] = PlannedPod("../x", [(0, "idle")])
    account.run_until(END)
    odd = [text for text in account.said if text.startswith("warning")]
    assert len(odd) == 2 and "pod odd: $.runtime.gpus[0].util" in odd[0] and "no id of a pod" in odd[1]
    assert (account.stand_in.pods["idle1"].status, account.stand_in.pods["odd"].stop_asked) == ("EXITED", 0)


def test_a_pod_whose_container_fails_is_stopped_by_its_lease_alone(account: Account) -> None:
    account.rules = GuardRules(IDLE, LEASE, pods=frozenset({"idle1"}))
    pod = account.stand_in.pods["idle1"]
    pod.changes = {"status": "ERROR", "runtime": None}
    account.run_until(LEASE - INTERVAL)
    assert "lora-pod (idle1): in error, ERROR" in account.said and pod.stop_asked == 0
    account.run_until(LEASE + MINUTE)
    assert (pod.stop_asked, _records(account)[0]["reason"]) == (1, "lease")


def test_nothing_is_stopped_that_cannot_be_written_down(account: Account) -> None:
    (account.folder / "guard_log.jsonl").mkdir()
    account.run_until(10 * MINUTE)
    assert account.stand_in.pods["idle1"].stop_asked == 0
    assert any("not stopped" in text and "cannot be written" in text for text in account.said)


@contextlib.contextmanager
def _no_room(account: Account, begin: float, end: float, names: str) -> Iterator[None]:
    """The disk is full from one second to another, for the files of these names."""
    append, write = files.append_record, files.write_json

    def full(path: Path) -> None:
        if path.name in names and begin <= account.stand_in.now < end:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def appending(path: Path, *args: Any, **options: Any) -> None:
        full(path)
        append(path, *args, **options)

    def writing(path: Path, *args: Any, **options: Any) -> None:
        full(path)
        write(path, *args, **options)

    with mock.patch("lifeos.files.append_record", appending), mock.patch("lifeos.files.write_json", writing):
        yield


def test_a_full_disk_stops_nothing_unwritten_and_the_pod_is_stopped_when_there_is_room(account: Account) -> None:
    with _no_room(account, 0, 10 * MINUTE, "guard_log.jsonl"):
        account.run_until(12 * MINUTE)
    stopped = account.stand_in.pods["idle1"].stopped_at
    assert stopped is not None and 10 * MINUTE <= stopped <= 11 * MINUTE
    assert [one["event"] for one in _records(account)] == ["asked", "settled"]


def test_what_became_of_a_stop_is_written_when_there_is_room_again(account: Account) -> None:
    """The disk fills up between the stop and its settling; later between the pod's start and the end of its saving."""
    pod, gone = account.stand_in.pods["idle1"], f"{account.folder / 'guard_log.jsonl'} cannot be written"
    account.stand_in.before_stop = lambda: setattr(account.stand_in, "before_stop", lambda: None)
    with _no_room(account, 6 * MINUTE + INTERVAL, 9 * MINUTE, "guard_log.jsonl"):
        account.stand_in.after_stop = lambda: setattr(account.stand_in, "now", 7 * MINUTE)
        account.run_until(12 * MINUTE)
    assert [(one["event"], one.get("outcome")) for one in _records(account)] == [("asked", None), ("settled", "stopped")]
    assert any(gone in text for text in account.said)
    pod.status, pod.changes = "RUNNING", {"startedAt": "2026-11-30T12:12:00Z"}
    with _no_room(account, 12 * MINUTE, 15 * MINUTE, "guard_log.jsonl"):
        account.run_until(16 * MINUTE)
    assert [one["event"] for one in _records(account)] == ["asked", "settled", "ended"]


def test_a_stop_whose_state_was_never_written_is_settled_from_the_log(account: Account) -> None:
    """No room for the state file, and the guard is killed right after the stop."""

    def die() -> None:
        raise GuardEnds

    account.stand_in.after_stop = die
    with _no_room(account, 0, END, ".guard_state.json state.json"):
        account.run_until(END)
    account.stand_in.after_stop = lambda: None
    assert not (account.folder / "state.json").exists() and [one["event"] for one in _records(account)] == ["asked"]
    account.run_until(account.stand_in.now + 5 * MINUTE)
    assert [(one["event"], one.get("outcome")) for one in _records(account)] == [("asked", None), ("settled", "stopped")]
    assert account.stand_in.pods["idle1"].stop_asked == 1


def test_why_a_training_that_hangs_is_stopped_is_said(account: Account) -> None:
    account.stand_in.pods = {"hung1": PlannedPod("hung1", [(0, "training"), (310, "hung at rest")], has_watch=True)}
    account.rules = GuardRules(IDLE, LEASE, name_prefix="lora-")
    account.run_until(END)
    asked = _records(account)[0]
    assert (asked["reason"], asked["why"]) == (
        "lease",
        "the training beats, but has said nothing new for 20 min; its lease of 20 min is over",
    )
    assert "lora-pod (hung1): its lease ends in 4 min; only something new renews it: a step, a picture, a file" in account.said


def test_a_training_that_hangs_without_a_lease_is_left_and_named(account: Account) -> None:
    account.stand_in.pods = {"hung1": PlannedPod("hung1", [(0, "training"), (60, "hung training")], has_watch=True)}
    account.run_until(2 * 60 * MINUTE)
    assert account.stand_in.pods["hung1"].stop_asked == 0
    named = [text for text in account.said if "nothing new" in text]
    assert named == [
        "lora-pod (hung1): warning: a heartbeat: training, but nothing new for 1 h; without a lease it is left so (--lease 4h)"
    ]
