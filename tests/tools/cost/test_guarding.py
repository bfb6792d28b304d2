"""The guard of rented pods over simulated hours: every idle pod is stopped within the policy's time and a minute, none that works is.

Each world runs once with a pod of every kind, several in one account; a scenario is one pod in one world. What a pod really does is its
plan in the stand-in, which the expectations are worked out from.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.tools.cost.pod_stand_in import BEATING, WORK, PlannedPod, PodStandIn
from tests.tools.cost.simulated_guard import END, IDLE, INTERVAL, LEASE, MINUTE, Account, World, quickly
from tools.cost.guard_rules import LONGEST_BLIND_SECONDS, GuardRules, PodMemory, judge_pod
from tools.cost.heartbeats import PodPulse, SessionPulse
from tools.cost.pod_sight import PodSight
from tools.cost.pods_api import RentedPod


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


PLANS_THAT_BEAT: dict[str, list[tuple[float, str]]] = {
    "hung training": [(0, "training"), (310, "hung training")],
    "hung at rest": [(0, "training"), (310, "hung at rest")],
    "hung batch": [(0, "generation"), (310, "hung batch")],
    "hung sweep": [(0, "evaluation"), (310, "hung sweep")],
    "silent for long": [(0, "training"), (310, "hung at rest"), (310 + LEASE - 2 * MINUTE, "training")],
    "works without GPU": [(0, "agent")],
    "clock of the pod off": [(0, "training")],
    "hung, version 3.0.0": [(0, "training"), (310, "hung training")],
}
"""Of these only a lease can stop any."""

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
    }
    if world.blind is None or world.lease:
        plans |= PLANS_THAT_BEAT
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


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with quickly():
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
        account.run_until(END if world.is_guarded else 2 * IDLE)
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


@pytest.mark.parametrize(("world_name", "pod_id"), [(name, pod.id) for name, world in WORLDS.items() for pod in _pods(world)])
def test_what_only_costs_is_stopped_in_time_and_nothing_else(world_name: str, pod_id: str) -> None:
    world, pod = WORLDS[world_name], _simulated(world_name)[pod_id]
    if not world.is_guarded:
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


def test_the_scenarios_are_those_of_the_promise() -> None:
    """A world in which the guard may stop nothing is one scenario, however many pods stand in it."""
    assert sum(len(_pods(world)) if world.is_guarded else 1 for world in WORLDS.values()) >= 300
    kinds = {pod.plan[-1][1] for pod in _pods(WORLDS["plain"])}
    assert kinds >= {"idle", "training", "generation", "transfer", "evaluation", "agent", "hung", "dark", "frozen", *BEATING}


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


def test_a_lease_that_a_pod_was_started_with_holds_when_its_heartbeats_are_no_longer_seen() -> None:
    leased = SessionPulse("1", "training", "2026-11-30T12:00:00Z", lease_seconds=5 * MINUTE)
    sights = [_beating("training", leased), *[PodSight() for _ in range(5)]]
    memory, stops = PodMemory(), []
    for sight in sights:
        verdict = judge_pod(memory, RentedPod("p", status="RUNNING", gpu={}), sight, MINUTE, GuardRules(IDLE))
        memory = verdict.memory
        stops.append(verdict.stop)
    assert stops == [None, None, None, None, None, "lease"]
