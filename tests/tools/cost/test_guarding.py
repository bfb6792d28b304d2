"""The guard of rented pods over simulated hours: every idle pod is stopped within the policy's time and a minute, none that works is.

Each world runs once with a pod of every kind, several in one account; a scenario is one pod in one world. What a pod really does is its
plan in the stand-in, which the expectations are worked out from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pytest

from tests.tools.cost.pod_stand_in import BEATING, BEGIN, COMFY, HEARTBEATS, KEY, WORK, PlannedPod, PodStandIn, problem
from tools.cost.guard_command import SLOWEST_SECONDS
from tools.cost.guard_log import GuardLog, read_stops
from tools.cost.guard_rules import LONGEST_BLIND_SECONDS, GuardRules, PodMemory, judge_pod
from tools.cost.guarding import Guard, keep_guard
from tools.cost.heartbeats import PodPulse, SessionPulse
from tools.cost.pod_sight import PodSight, Sights
from tools.cost.pods_api import PodsApi, PodsApiError, RentedPod
from tools.cost.session import Instant

MINUTE = 60.0
IDLE = 6 * MINUTE
LEASE = 20 * MINUTE
END = 36 * MINUTE
INTERVAL = SLOWEST_SECONDS


class GuardEnds(Exception):
    """The simulated time is over, or the guard is killed."""


@dataclass
class World:
    """What else happens. `fault` as of the stand-in; `downtime`: the guard is killed then, and a new one starts at its end."""

    fault: Callable[[float], int | str | None] = lambda at: None
    blind: tuple[float, float] | None = None
    """When the guard sees nothing: it is killed, or RunPod does not answer."""
    is_killed: bool = False
    lease: float = 0.0
    locked: bool = False
    name: str = "lora-pod"
    wall_offset: Callable[[float], float] = lambda at: 0.0
    date_offset: Callable[[float], float] = lambda at: 0.0
    boots: list[str] = field(default_factory=lambda: ["boot", "boot"])


def _spell(fault: int | str, begin: float, end: float, **changes: Any) -> World:
    return World(lambda at: fault if begin <= at < end else None, (begin, end), **changes)


def _killed(begin: float, end: float, **changes: Any) -> World:
    return World(blind=(begin, end), is_killed=True, **changes)


A_DAY = 86_400.0
WORLDS = {
    "plain": World(),
    "lease": World(lease=LEASE),
    "locked": World(locked=True),
    "locked, lease over": World(locked=True, lease=LEASE),
    "somebody else's": World(name="production"),
    "API 401 for 3 min": _spell(401, 8 * MINUTE, 11 * MINUTE),
    "API 429 for 4 min": _spell(429, 8 * MINUTE, 12 * MINUTE),
    "API 500 for 4 min": _spell(500, 8 * MINUTE, 12 * MINUTE, lease=LEASE),
    "API 500 for 9 min": _spell(500, 8 * MINUTE, 17 * MINUTE),
    "no network for 4 min": _spell("down", 8 * MINUTE, 12 * MINUTE),
    "no network for 9 min": _spell("down", 8 * MINUTE, 17 * MINUTE, lease=LEASE),
    "guard killed for 2 min": _killed(5 * MINUTE, 7 * MINUTE),
    "guard killed for 9 min": _killed(5 * MINUTE, 14 * MINUTE, lease=LEASE),
    "clock a day ahead": World(wall_offset=lambda at: A_DAY if at > 10 * MINUTE else 0.0, lease=LEASE),
    "clock a day back": World(wall_offset=lambda at: -A_DAY if at > 10 * MINUTE else 0.0),
    "RunPod's clock a day ahead": World(date_offset=lambda at: A_DAY if at > 10 * MINUTE else 0.0, lease=LEASE),
    "machine restarted, its clock a day ahead": _killed(
        5 * MINUTE, 7 * MINUTE, lease=LEASE, boots=["one", "two"], wall_offset=lambda at: A_DAY if at > 6 * MINUTE else 0.0
    ),
}


_FURTHER: dict[str, Any] = {
    "hung, version 3.0.0": {"tells_progress": False},
    "clock of the pod off": {"clock_offset": lambda at: -A_DAY if at > 10 * MINUTE else 0.0},
}
_HUNG = frozenset({"hung", "dark", "frozen", *BEATING})


def _pods(world: World) -> list[PlannedPod]:
    """A pod of every kind; the busy ones that fall idle do so at odd moments."""
    plans: dict[str, list[tuple[float, str]]] = {
        "idle": [(0, "idle")],
        "training": [(0, "training")],
        "generation": [(0, "generation")],
        "transfer": [(0, "transfer")],
        "evaluation": [(0, "evaluation")],
        "hung": [(0, "training"), (310, "hung")],
        "dark": [(0, "dark")],
        "frozen": [(0, "training"), (250, "frozen")],
        "trained": [(0, "training"), (507, "idle")],
        "generated": [(0, "generation"), (733, "idle")],
        "transferred": [(0, "idle"), (301, "transfer"), (911, "idle")],
        "worked unseen": [(0, "training"), (200, "idle"), (520, "training"), (800, "idle")],
        "by turns": [(at * 200.0, ("idle", "training")[at % 2]) for at in range(20)],
        "hung training": [(0, "training"), (310, "hung training")],
        "hung at rest": [(0, "training"), (310, "hung at rest")],
        "hung batch": [(0, "generation"), (310, "hung batch")],
        "hung sweep": [(0, "evaluation"), (310, "hung sweep")],
        "silent for long": [(0, "training"), (310, "hung at rest"), (310 + LEASE - 2 * MINUTE, "training")],
        "works without GPU": [(0, "agent")],
        "clock of the pod off": [(0, "training")],
        "hung, version 3.0.0": [(0, "training"), (310, "hung training")],
    }
    shared = {"name": world.name, "locked": world.locked}
    return [
        PlannedPod(
            f"{kind.replace(',', '').replace('.', '').replace(' ', '-')}-{'watch' if has_watch else 'bare'}",
            list(plan),
            has_watch=has_watch,
            **shared,
            **_FURTHER.get(kind, {}),
        )  # type: ignore[arg-type]
        for kind, plan in plans.items()
        for has_watch in ((True, False) if kind in ("training", "generation", "transfer", "trained", "transferred", "idle") else (True,))
    ]


@dataclass
class Account:
    """A simulated account and guard, with the files of the guard in a folder."""

    stand_in: PodStandIn
    world: World
    folder: Path
    said: list[str] = field(default_factory=list)
    rules: GuardRules | None = None
    number: int = 0

    def clock(self) -> Instant:
        at = self.stand_in.now
        wall = BEGIN + timedelta(seconds=at + self.world.wall_offset(at))
        return Instant(wall.replace(microsecond=0), self.world.boots[min(self.number, 1)], 5000 + at)

    def guard(self, **options: Any) -> Guard:
        rules = self.rules or GuardRules(IDLE, self.world.lease, name_prefix="lora-")
        sights = Sights(COMFY, HEARTBEATS, [], "http://proxy/{pod}/{port}", self.stand_in.get)
        api = PodsApi("http://api", KEY, self.stand_in.ask)
        log, state = GuardLog(self.folder / "guard_log.jsonl"), self.folder / "state.json"
        return Guard(api, sights.look, rules, log, state, self.said.append, clock=self.clock, **options)

    def run_until(self, end: float, **options: Any) -> None:
        """A guard that is killed at `end`, at whatever it waits for."""

        def sleep(seconds: float) -> None:
            self.stand_in.now += seconds
            if self.stand_in.now >= end:
                raise GuardEnds

        try:
            keep_guard(self.guard(**options), INTERVAL, None, self.said.append, sleep)
        except GuardEnds:
            self.number += 1


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Thousands of looks within seconds: one pod after the other, and without waiting for the disk."""
    with mock.patch("os.fsync"), mock.patch("tools.cost.guarding.LOOKS_AT_ONCE", 1):
        yield


@cache
def _simulated(name: str) -> dict[str, PlannedPod]:
    world = WORLDS[name]
    stand_in = PodStandIn(_pods(world), world.fault)
    stand_in.date_offset = world.date_offset
    with TemporaryDirectory() as folder:
        account = Account(stand_in, world, Path(folder))
        if world.is_killed and world.blind:
            account.run_until(world.blind[0])
            stand_in.now = world.blind[1]
        account.run_until(END)
    return stand_in.pods


def _idle_spells(pod: PlannedPod) -> list[tuple[float, float]]:
    ends = [since for since, _ in pod.plan[1:]] + [END]
    return [(since, end) for (since, what), end in zip(pod.plan, ends, strict=True) if what == "idle"]


def _latest_stop(pod: PlannedPod, world: World) -> float | None:
    """When it must be stopped at the latest by its idleness; None if it never need be."""
    for since, end in _idle_spells(pod):
        begin, blind = since, world.blind
        if blind and blind[0] <= since < blind[1]:
            begin = blind[1]  # it is first seen idle then
        if blind and begin < blind[1] and blind[0] < end and blind[1] - blind[0] > LONGEST_BLIND_SECONDS and begin + IDLE > blind[0]:
            begin = max(begin, blind[1])  # what nobody saw for so long may have worked
        due = begin + IDLE
        if blind and blind[0] <= due < blind[1]:
            due = blind[1]
        if due + MINUTE <= end:
            return due + MINUTE
    return None


PODS = [pod.id for pod in _pods(WORLDS["plain"])]


@pytest.mark.parametrize("pod_id", PODS)
@pytest.mark.parametrize("world_name", WORLDS)
def test_what_only_costs_is_stopped_in_time_and_nothing_else(world_name: str, pod_id: str) -> None:
    world, pod = WORLDS[world_name], _simulated(world_name)[pod_id]
    if world.locked or world.name != "lora-pod":
        assert (pod.status, pod.stop_asked) == ("RUNNING", 0)
        return
    latest = _latest_stop(pod, world)
    is_hung = pod.plan[-1][1] in _HUNG and pod.tells_progress  # of version 3.0.0 each heartbeat counts
    if latest is not None:
        assert pod.stopped_at is not None and pod.stopped_at <= latest
    elif is_hung and world.lease:  # only the lease stops it, counted from the last sign of work that could be seen
        last_sign = max(0.0, pod.plan[-1][0] - MINUTE)
        late = (world.blind[1] - world.blind[0] if world.blind else 0.0) + MINUTE
        assert pod.stopped_at is not None and last_sign + LEASE <= pod.stopped_at <= pod.plan[-1][0] + LEASE + late
    elif pod_id in ("training-bare", "transfer-bare") and world.lease:  # nobody can tell these from a pod that hangs
        assert pod.stopped_at is not None and pod.stopped_at >= LEASE
    else:
        assert pod.stopped_at is None
    is_quiet = world.lease and not pod.has_watch and (pod.stopped_at or 0.0) >= LEASE
    if pod.stopped_at is not None and pod.does(pod.stopped_at) == "idle" and not is_quiet:
        assert pod.stopped_at >= pod.since(pod.stopped_at) + IDLE - INTERVAL
    if pod.stopped_at is not None and pod.does(pod.stopped_at) in WORK:
        assert world.lease and not pod.has_watch


def test_there_are_a_hundred_scenarios_and_more() -> None:
    assert len(WORLDS) * len(PODS) >= 100


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


def _beating(activity: str, *sessions: SessionPulse, looks: int = 0) -> PodSight:
    """GPU and CPU rest; this is what the pod tells."""
    return PodSight(0, 0, str(looks), pulse=PodPulse("p", looks, activity, list(sessions)))


def _states(sights: list[PodSight]) -> list[str]:
    """A look each minute at a pod that RunPod says is quiet."""
    memory, states = PodMemory(), []
    for sight in sights:
        verdict = judge_pod(memory, RentedPod("p", status="RUNNING", gpu={}), sight, MINUTE, GuardRules(IDLE))
        memory = verdict.memory
        states.append(verdict.state)
    return states


def test_work_that_beats_is_work_whatever_the_watch_takes_it_for() -> None:
    agent = [SessionPulse("2", "agent", f"2026-11-30T12:0{minute}:00Z") for minute in range(4)]
    assert _states([_beating("idle", agent[minute], looks=minute) for minute in range(4)]) == ["working"] * 4
    forgotten = SessionPulse("2", "training", "2026-11-30T12:00:00Z")
    assert _states([_beating("idle", forgotten, looks=minute) for minute in range(4)]) == ["working", "idle", "idle", "idle"]


def test_a_forgotten_session_beside_an_idle_one_that_beats_is_no_work() -> None:
    """As a shared state file tells it: the watch's own session says idle, and beats."""
    forgotten = SessionPulse("1", "training", "2026-11-30T10:00:00Z")
    idle = [SessionPulse("2", "idle", f"2026-11-30T12:0{minute}:00Z") for minute in range(4)]
    assert _states([_beating("", forgotten, idle[minute], looks=minute) for minute in range(4)]) == ["working", "idle", "idle", "idle"]


@pytest.mark.parametrize(
    ("pulses", "quiet"),
    [
        pytest.param([("12:00", "12:00"), ("12:01", "12:00"), ("12:02", "12:00")], [0, 60, 120], id="it beats, and nothing is new"),
        pytest.param([("12:00", "12:00"), ("12:01", "12:00"), ("12:02", "12:02")], [0, 60, 0], id="something new"),
        pytest.param([("12:00", ""), ("12:01", ""), ("12:02", "")], [0, 0, 0], id="version 3.0.0: each heartbeat counts"),
        pytest.param([("12:00", "12:00"), ("11:01", "10:58"), ("11:02", "10:58")], [0, 0, 60], id="a clock that is set back"),
    ],
)
def test_what_a_lease_is_held_against(pulses: list[tuple[str, str]], quiet: list[int]) -> None:
    """As a shared state file tells it, while another session of the pod ends: that is nothing new."""
    memory, seen = PodMemory(), []
    for number, (heartbeat, progress) in enumerate(pulses):
        sessions = [SessionPulse("2", "agent", heartbeat, 0.0, progress)]
        sessions += [SessionPulse("1", "setup", "11:00", 0.0, "11:00")] if number == 0 else []
        sight = PodSight(0, 0, str(number), pulse=PodPulse("p", sessions=sessions))
        verdict = judge_pod(memory, RentedPod("p", status="RUNNING", gpu={}), sight, MINUTE if number else 0.0, GuardRules(IDLE, LEASE))
        memory = verdict.memory
        seen.append(memory.quiet_seconds)
        assert verdict.state == "working"
    assert seen == quiet


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


def test_a_lease_that_a_pod_was_started_with_holds_when_its_heartbeats_are_no_longer_seen() -> None:
    leased = SessionPulse("1", "training", "2026-11-30T12:00:00Z", lease_seconds=5 * MINUTE)
    sights = [_beating("training", leased), *[PodSight() for _ in range(5)]]
    memory, stops = PodMemory(), []
    for sight in sights:
        verdict = judge_pod(memory, RentedPod("p", status="RUNNING", gpu={}), sight, MINUTE, GuardRules(IDLE))
        memory = verdict.memory
        stops.append(verdict.stop)
    assert stops == [None, None, None, None, None, "lease"]
