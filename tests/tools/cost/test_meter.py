"""The meter: no row is lost, no id given twice, whatever dies or lies (clock, state, log)."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings

from lifeos.errors import InputError
from tests.capabilities import POSIX
from tests.examples import EXAMPLES
from tests.fuzzing import foreign_bytes, only_our_errors
from tools.cost.ledger import read_ledger, read_sessions
from tools.cost.meter import LOG_FILE, STATE_FILE, Instant, Meter, OpenSession, beat, make_row, parse_rate, read_clock

RATE = Decimal("0.60")


class Clock:
    """A clock that the test sets: `wall` and `uptime` move together unless told otherwise."""

    def __init__(self, start: str, boot: str = "boot-1") -> None:
        self.wall, self.boot, self.uptime = datetime.fromisoformat(start).replace(tzinfo=UTC), boot, 1000.0

    def __call__(self) -> Instant:
        return Instant(self.wall, self.boot, self.uptime)

    def pass_time(self, **span: float) -> None:
        self.wall += timedelta(**span)
        self.uptime += timedelta(**span).total_seconds()


@pytest.fixture
def clock() -> Clock:
    return Clock("2026-02-11T15:00:00")


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def meter(tmp_path: Path, clock: Clock, warnings: list[str]) -> Meter:
    return Meter(tmp_path / "cost_log.jsonl", tmp_path / "state.json", clock, warnings.append)


def _rows(meter: Meter) -> list[dict]:
    return [json.loads(line) for line in meter.log_file.read_text().splitlines()] if meter.log_file.exists() else []


def test_the_row_of_the_specification(meter: Meter, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNPOD_POD_ID", raising=False)
    meter.start("lora_v3_training", "RTX 4090", RATE)
    clock.pass_time(minutes=75)
    meter.stop()
    assert meter.log_file.read_text() == (
        '{"session_id": "2026-02-11_001", "start": "2026-02-11T15:00:00Z", "end": "2026-02-11T16:15:00Z", "duration_min": 75, '
        '"activity": "lora_v3_training", "cost_usd": 0.75, "gpu": "RTX 4090", "rate_per_hr": 0.6}\n'
    )


@pytest.mark.parametrize(
    ("span", "minutes", "usd"),
    [
        pytest.param({"seconds": 0}, 0, 0.0, id="nothing"),
        pytest.param({"seconds": 100}, 1.67, 0.0167, id="100 s: 100 x .60 / 3600 = .016667"),
        pytest.param({"hours": 10}, 600, 6.0, id="over midnight"),
        pytest.param({"days": 400}, 576000, 5760.0, id="over a year's end"),
    ],
)
def test_what_a_span_costs(meter: Meter, clock: Clock, span: dict, minutes: float, usd: float) -> None:
    meter.start("idle", "RTX 4090", RATE)
    clock.pass_time(**span)
    row = meter.stop()
    assert (row["duration_min"], row["cost_usd"]) == (minutes, usd)


def test_a_start_while_one_is_open_closes_that_at_its_last_heartbeat(meter: Meter, clock: Clock, warnings: list[str]) -> None:
    meter.start("training", "RTX 4090", RATE)
    clock.pass_time(minutes=30)
    meter.heartbeat()
    clock.pass_time(hours=8)  # the pod was gone all night
    started = meter.start("generation", "RTX 4090", RATE)
    assert started.session.session_id == "2026-02-11_002"
    (row,) = _rows(meter)
    assert (row["session_id"], row["duration_min"], row["end_is"]) == ("2026-02-11_001", 30, "next_start")
    assert warnings == [
        "session 2026-02-11_001 (training, since 2026-02-11T15:00:00Z) was never stopped: its cost is unknown, up to $5.10, counted up to "
        "its last heartbeat, $0.30. When you know its end, say so: --action stop --session 2026-02-11_001 --at TIME "
        f"--log-file {meter.log_file} (UTC, as in 2026-02-11T15:30:00Z)"
    ]


def test_a_session_without_a_heartbeat_is_priced_to_the_next_start(meter: Meter, clock: Clock) -> None:
    """Nobody knows when it ended: it cost 8 x $0.60 at most. Saying so afterwards replaces the row, in the append-only log."""
    meter.start("training", "RTX 4090", RATE)
    clock.pass_time(hours=8)
    meter.start("generation", "RTX 4090", RATE)
    (row,) = _rows(meter)
    assert (row["end"], row["cost_usd"], row["cost_up_to_usd"]) == ("2026-02-11T23:00:00Z", 4.8, 4.8)
    ledger = read_ledger(meter.log_file)
    assert [session.session_id for session in ledger.unsettled] == ["2026-02-11_001"]

    clock.pass_time(hours=1)
    meter.stop("2026-02-11_001", at=datetime(2026, 2, 11, 17, tzinfo=UTC))
    assert [row["cost_usd"] for row in _rows(meter)] == [4.8, 1.2]
    ledger = read_ledger(meter.log_file)
    assert (ledger.total().usd, ledger.faults, ledger.unsettled) == (Decimal("1.2"), [], [])
    assert [session.session_id for session in meter.open_sessions()] == ["2026-02-11_002"]
    with pytest.raises(InputError, match="only a session that was never stopped can be corrected"):
        meter.stop("2026-02-11_001")


def test_two_pods_on_one_volume_stop_their_own_sessions(meter: Meter, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """One log, one state file: a start on one pod does not end what lives on the other, nor does a stop."""
    monkeypatch.setenv("RUNPOD_POD_ID", "pod-a")
    first = meter.start("training", "RTX 4090", RATE).session
    clock.pass_time(minutes=5)
    monkeypatch.setenv("RUNPOD_POD_ID", "pod-b")
    second = meter.start("generation", "RTX 4090", RATE).session
    meter.heartbeat_all()
    assert [one.last_heartbeat for one in meter.open_sessions()] == ["2026-02-11T15:00:00Z", "2026-02-11T15:05:00Z"]
    clock.pass_time(minutes=55)
    assert meter.stop()["session_id"] == second.session_id
    with pytest.raises(InputError, match="none of this pod is open"):
        meter.stop()
    monkeypatch.setenv("RUNPOD_POD_ID", "pod-a")
    assert meter.stop()["session_id"] == first.session_id
    assert [row["duration_min"] for row in _rows(meter)] == [55, 60]


def test_a_session_that_another_pod_gave_up_is_put_right_by_its_own_stop(
    meter: Meter, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was silent for an hour, so the start on the other pod took it for forgotten."""
    monkeypatch.setenv("RUNPOD_POD_ID", "pod-a")
    meter.start("training", "RTX 4090", RATE)
    clock.pass_time(hours=1)
    monkeypatch.setenv("RUNPOD_POD_ID", "pod-b")
    meter.start("generation", "RTX 4090", RATE)
    clock.pass_time(hours=1)
    monkeypatch.setenv("RUNPOD_POD_ID", "pod-a")
    assert meter.stop()["cost_usd"] == 1.2
    assert {session.session_id: session.cost_usd for session in read_sessions(meter.log_file)} == {"2026-02-11_001": 1.2}


def test_an_id_that_was_given_twice_loses_no_row(tmp_path: Path, clock: Clock, warnings: list[str]) -> None:
    """Two state files of a version that gave ids by the state file alone."""
    log = tmp_path / "log"
    for name, hour in (("one", 13), ("two", 14)):
        old = {
            "session_id": "2026-02-11_001",
            "start": f"2026-02-11T{hour}:00:00Z",
            "activity": name,
            "gpu": "RTX 4090",
            "rate_per_hr": "0.60",
        }
        (tmp_path / name).write_text(json.dumps({"open": [old]}))
    for name in ("one", "two"):
        Meter(log, tmp_path / name, clock, warnings.append).stop()
    assert [(row["session_id"], row["activity"]) for row in map(json.loads, log.read_text().splitlines())] == [
        ("2026-02-11_001", "one"),
        ("2026-02-11_002", "two"),
    ]
    assert warnings == ["the id 2026-02-11_001 was given twice: this session is logged as 2026-02-11_002"]


def test_a_lost_file_of_numbers_gives_no_id_of_the_log_again(meter: Meter, clock: Clock) -> None:
    for _ in range(3):
        meter.start("a", "RTX 4090", RATE)
        meter.stop()
    numbers = meter.log_file.with_name(f".{meter.log_file.name}.ids")
    for broken in ("", "{", '{"last": {"2026-02-11": "x"}}', '{"last": {"2026-02-11": 1}}'):
        numbers.write_text(broken)
        assert meter.start("a", "RTX 4090", RATE).session.session_id > "2026-02-11_003"
        meter.stop()


@pytest.mark.parametrize("beat_all", [False, True], ids=["one session", "every session"])
@pytest.mark.parametrize("boot", ["boot-1", "boot-2"], ids=["seen on the same boot", "seen after a reboot"])
def test_a_dead_pod_is_closed_at_its_last_heartbeat(meter: Meter, clock: Clock, beat_all: bool, boot: str) -> None:
    """Both clocks are recorded with a heartbeat: whichever counts later, the session ended there."""
    meter.start("training", "RTX 4090", RATE)
    clock.pass_time(minutes=30)
    if beat_all:
        meter.heartbeat_all()
    else:
        assert meter.heartbeat().last_heartbeat == "2026-02-11T15:30:00Z"
    clock.pass_time(hours=8)
    clock.boot = boot
    row = meter.stop(at_last_heartbeat=True)
    assert (row["end"], row["duration_min"], row["cost_usd"]) == ("2026-02-11T15:30:00Z", 30, 0.3)
    assert row["end_is"] == "last_heartbeat" and "clock_moved" not in row


def test_a_session_that_an_older_version_opened_can_be_closed(meter: Meter, clock: Clock) -> None:
    """It knows nothing of heartbeats, hosts and boots: it ends where it began, or now."""
    old = {"session_id": "2026-02-11_001", "start": "2026-02-11T15:00:00Z", "activity": "a", "gpu": "RTX 4090", "rate_per_hr": "0.60"}
    meter.state_file.write_text(json.dumps({"open": [old, {**old, "session_id": "2026-02-11_002"}]}))
    clock.pass_time(hours=1)
    assert meter.stop("2026-02-11_001", at_last_heartbeat=True)["duration_min"] == 0
    assert meter.stop("2026-02-11_002")["duration_min"] == 60


def test_what_an_open_session_has_cost_so_far(meter: Meter, clock: Clock) -> None:
    session = meter.start("training", "RTX 4090", RATE).session
    clock.pass_time(minutes=90)
    assert meter.cost_so_far(session) == Decimal("0.9000")


@pytest.mark.parametrize(("hour", "minutes"), [(15, 0), (16, 60)], ids=["at its start", "now"])
def test_a_stated_end_may_be_the_start_or_now(meter: Meter, clock: Clock, hour: int, minutes: int) -> None:
    meter.start("training", "RTX 4090", RATE)
    clock.pass_time(hours=1)
    assert meter.stop(at=datetime(2026, 2, 11, hour, tzinfo=UTC))["duration_min"] == minutes


def test_the_clock_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = read_clock(), read_clock()
    assert first.boot == second.boot and first.uptime <= second.uptime
    assert (first.wall.microsecond, first.wall.tzinfo) == (0, UTC)

    def missing(path: Path, encoding: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", missing)  # not Linux
    assert read_clock().boot == ""


def test_a_start_beside_an_open_one_keeps_both(meter: Meter, clock: Clock, warnings: list[str]) -> None:
    first = meter.start("training", "RTX 4090", RATE).session
    meter.start("generation", "RTX 3090", Decimal("0.40"), keep_open=True)
    assert [session.activity for session in meter.open_sessions()] == ["training", "generation"]
    clock.pass_time(hours=1)
    meter.stop(first.session_id)
    meter.stop()
    assert [(row["activity"], row["cost_usd"]) for row in _rows(meter)] == [("training", 0.6), ("generation", 0.4)]
    assert "kept open" in warnings[0]


def test_a_pod_that_died_is_closed_when_it_really_ended(meter: Meter, clock: Clock) -> None:
    meter.start("training", "RTX 4090", RATE)
    clock.pass_time(days=1)
    row = meter.stop(at=datetime(2026, 2, 11, 17, tzinfo=UTC))
    assert (row["duration_min"], row["cost_usd"], row["end_is"]) == (120, 1.2, "stated")


def test_work_on_the_pod_is_a_heartbeat_for_every_open_session(tmp_path: Path) -> None:
    meter = Meter(tmp_path / LOG_FILE, tmp_path / STATE_FILE, warn=lambda text: None)
    beat(tmp_path, True)  # no session, no state: nothing is made
    assert not meter.state_file.exists()
    for activity in ("training", "generation"):
        meter.start(activity, "RTX 4090", RATE, keep_open=True)
    state = json.loads(meter.state_file.read_text())
    for session in state["open"]:
        session["last_heartbeat"] = session["last_progress"] = "2026-01-01T00:00:00Z"
    meter.state_file.write_text(json.dumps(state))
    beat(tmp_path, False)  # it lives, and does nothing new
    assert all(one.last_heartbeat > "2026-01-01T00:00:00Z" == one.last_progress for one in meter.open_sessions())
    beat(tmp_path, True)
    assert len(meter.open_sessions()) == 2 and min(one.last_progress for one in meter.open_sessions()) > "2026-01-01T00:00:00Z"
    meter.state_file.write_text("broken")
    beat(tmp_path, True)  # work goes on, the file stays for its owner to look at
    assert meter.state_file.read_text() == "broken"


def test_an_end_before_the_start_is_refused_and_the_session_stays_open(meter: Meter, clock: Clock) -> None:
    meter.start("training", "RTX 4090", RATE)
    clock.pass_time(hours=1)
    with pytest.raises(InputError, match="is not between"):
        meter.stop(at=datetime(2026, 2, 11, 14, tzinfo=UTC))
    assert len(meter.open_sessions()) == 1 and _rows(meter) == []


def test_a_clock_set_back_does_not_lose_the_hour(meter: Meter, clock: Clock) -> None:
    meter.start("training", "RTX 4090", RATE)
    clock.pass_time(hours=1)
    clock.wall -= timedelta(hours=3)
    row = meter.stop()
    assert (row["duration_min"], row["cost_usd"], row["clock_moved"]) == (60, 0.6, True)
    assert (row["start"], row["end"]) == ("2026-02-11T15:00:00Z", "2026-02-11T16:00:00Z")
    assert (read_ledger(meter.log_file).total().sessions, read_ledger(meter.log_file).faults) == (1, [])


def test_a_clock_set_back_on_another_boot_costs_nothing_rather_than_less(meter: Meter, clock: Clock) -> None:
    meter.start("training", "RTX 4090", RATE)
    clock.wall -= timedelta(hours=3)
    clock.boot = "boot-2"
    row = meter.stop()
    assert (row["duration_min"], row["cost_usd"], row["clock_moved"]) == (0, 0.0, True)


def test_a_day_ends_and_numbers_begin_again(meter: Meter, clock: Clock) -> None:
    clock.wall = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    assert meter.start("a", "RTX 4090", RATE).session.session_id == "2026-12-31_001"
    clock.pass_time(minutes=2)
    assert meter.start("b", "RTX 4090", RATE).session.session_id == "2027-01-01_001"


def test_ids_go_on_after_sessions_that_are_open(meter: Meter, clock: Clock) -> None:
    for _ in range(10):
        meter.start("a", "RTX 4090", RATE, keep_open=True)
    assert meter.start("a", "RTX 4090", RATE, keep_open=True).session.session_id == "2026-02-11_011"
    clock.pass_time(days=1)  # those of the day before do not count
    assert meter.start("a", "RTX 4090", RATE, keep_open=True).session.session_id == "2026-02-12_001"


@pytest.mark.parametrize(("drift", "moved"), [(60, False), (61, True), (-60, False), (-61, True)])
def test_a_wall_clock_that_is_a_minute_off_is_believed(meter: Meter, clock: Clock, drift: int, moved: bool) -> None:
    """It may drift, or be set by a time server; a change of more than a minute is somebody's hand."""
    meter.start("training", "RTX 4090", RATE)
    clock.pass_time(hours=1)
    clock.wall += timedelta(seconds=drift)
    row = meter.stop()
    assert row.get("clock_moved", False) is moved
    assert row["duration_min"] == (60 if moved else 60 + drift // 60)


def test_ids_go_on_after_a_log_edited_by_hand(meter: Meter) -> None:
    meter.log_file.write_text('{"session_id":"2026-02-11_041","note":"by hand"}\n{"session_id": "2026-02-11_007", "torn')
    assert meter.start("a", "RTX 4090", RATE).session.session_id == "2026-02-11_042"


def test_killed_between_log_and_state_the_log_wins(meter: Meter, clock: Clock) -> None:
    meter.start("training", "RTX 4090", RATE)
    before = meter.state_file.read_bytes()
    meter.stop()
    meter.state_file.write_bytes(before)  # as if killed after the row, before the state
    assert meter.open_sessions() == []
    meter.start("generation", "RTX 4090", RATE)
    assert len(_rows(meter)) == 1


GOOD_STATE = {
    "schema": 1,
    "open": [
        {
            "session_id": "2026-02-11_001",
            "start": "2026-02-11T15:00:00Z",
            "activity": "training",
            "gpu": "RTX 4090",
            "rate_per_hr": "0.60",
            "boot": "boot-1",
            "uptime": 1000.5,
            "last_heartbeat": "2026-02-11T15:30:00Z",
            "heartbeat_uptime": 2800.5,
        }
    ],
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param({"activity": 1}, "$.open[0].activity: text is wanted, not a whole number", id="number for text"),
        pytest.param({"rate_per_hr": "much"}, "$.open[0]: the rate is not usable: 'much' is no amount of money", id="no rate"),
        pytest.param({"rate_per_hr": "1e400000"}, "$.open[0]: the rate is not usable: 1e400000 is no rate", id="a rate beyond measure"),
        pytest.param({"start": "today"}, "time data 'today' does not match format", id="no time"),
        pytest.param(
            {"start": "2026-2-1T0:0:0Z"}, "2026-2-1T0:0:0Z is no UTC time such as 2026-01-31T12:00:00Z", id="a time of another form"
        ),
        pytest.param({"uptime": 10**400}, "$.open[0].uptime: 10000000000000000000… (401 characters) is beyond 64 bits", id="401 digits"),
        pytest.param({"uptime": float("inf")}, "$.open[0].uptime: Infinity is not a number that can be used", id="infinity"),
        pytest.param({"uptime": 1e18}, "an uptime below 0 or above thirty years", id="an uptime of ages"),
    ],
)
def test_a_broken_state_is_named_and_left(meter: Meter, change: dict, why: str) -> None:
    text = json.dumps({"open": [GOOD_STATE["open"][0] | change]})  # type: ignore[index]
    meter.state_file.write_text(text)
    with pytest.raises(InputError) as caught:
        meter.open_sessions()
    assert why in str(caught.value)
    assert str(caught.value).endswith("(remove the file: closed sessions are in the log, only the open ones are forgotten)")
    assert meter.state_file.read_text() == text


@settings(max_examples=EXAMPLES, deadline=None)
@given(foreign_bytes(GOOD_STATE))
def test_whatever_the_state_holds_what_is_stopped_passes_the_ledger(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        meter = Meter(Path(folder) / "log", Path(folder) / "state", Clock("2026-02-11T16:00:00"), lambda text: None)
        meter.state_file.write_bytes(data)

        def close_all() -> None:
            for session in meter.open_sessions():
                meter.cost_so_far(session)
                meter.stop(session.session_id)
            meter.start("generation", "RTX 4090", RATE)
            meter.stop()

        only_our_errors(close_all)
        ledger = read_ledger(meter.log_file)
        assert ledger.skipped == 0, ledger.faults


def test_names_that_are_not_text_are_written_as_what_they_are(meter: Meter) -> None:
    meter.start("a\udcff\x1b[2J", "RTX 4090", RATE)
    assert meter.stop()["activity"] == "a\\xff\\x1b[2J"


def test_stop_without_start(meter: Meter) -> None:
    with pytest.raises(InputError) as caught:
        meter.stop()
    assert str(caught.value) == "cost session: none is open (open one with --action start)"


def test_an_unknown_session_gets_the_nearest(meter: Meter) -> None:
    meter.start("training", "RTX 4090", RATE)
    with pytest.raises(InputError, match=r"did you mean 2026-02-11_001\?"):
        meter.stop("2026-02-11_002")


def test_a_full_disk_while_stopping_leaves_the_session_open(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    meter.start("training", "RTX 4090", RATE)

    def full(path: Path, record: dict) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("tools.cost.meter.files.append_record", full)
    with pytest.raises(OSError):
        meter.stop()
    assert len(meter.open_sessions()) == 1


def test_a_rate_stays_with_its_session(meter: Meter, clock: Clock) -> None:
    for rate in ("0.60", "0.74"):
        meter.start("training", "RTX 4090", Decimal(rate))
        clock.pass_time(hours=1)
        meter.stop()
    assert [row["cost_usd"] for row in _rows(meter)] == [0.6, 0.74]


@pytest.mark.parametrize(("value", "rate"), [("0", "0"), (0.6, "0.6"), ("0.74", "0.74"), (1, "1")])
def test_what_is_a_rate(value: object, rate: str) -> None:
    assert parse_rate(value) == Decimal(rate)


@pytest.mark.parametrize("text", ["-1", "-0.01", "nan", "inf", "much", "", "1000001", "1e30", "9" * 5000])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(InputError):
        parse_rate(text)


def test_rates_are_decimals_not_floats() -> None:
    session = OpenSession("2026-02-11_001", "2026-02-11T15:00:00Z", "a", "g", "0.1")
    row = make_row(session, Instant(datetime(2026, 2, 11, 18, tzinfo=UTC), "", 0.0))
    assert row["cost_usd"] == 0.3  # as floats, 3 x 0.1 is 0.30000000000000004


def test_fifty_processes_at_once_lose_no_row_and_give_no_id_twice(tmp_path: Path, project_root: Path) -> None:
    log, state = tmp_path / "log.jsonl", tmp_path / "state.json"
    program = (
        "import sys; from decimal import Decimal; from pathlib import Path; from tools.cost.meter import Meter\n"
        "meter = Meter(Path(sys.argv[1]), Path(sys.argv[2]), warn=lambda text: None)\n"
        "session = meter.start('load', 'RTX 4090', Decimal('0.60'), keep_open=True).session\n"
        "meter.heartbeat(session.session_id)\n"
        "meter.stop(session.session_id)\n"
    )
    command = [sys.executable, "-c", program, str(log), str(state)]
    children = [subprocess.Popen(command, cwd=project_root, stderr=subprocess.PIPE) for _ in range(50)]
    errors = [child.communicate()[1] for child in children]
    assert errors == [b""] * 50
    numbers = sorted(int(json.loads(line)["session_id"][11:]) for line in log.read_text().splitlines())
    assert len(numbers) == len(set(numbers)) == 50
    assert json.loads(state.read_text())["open"] == []


@pytest.mark.parametrize("shared", [False, True], ids=["each a state file", "two state files"])
def test_sixteen_pods_with_one_log(tmp_path: Path, project_root: Path, shared: bool) -> None:
    """Pairs of start and stop at once: sixteen rows, sixteen ids, each with its own activity, and no error."""
    program = (
        "import sys; from decimal import Decimal; from pathlib import Path; from tools.cost.meter import Meter\n"
        "meter = Meter(Path(sys.argv[1]), Path(sys.argv[2]), warn=lambda text: None)\n"
        "session = meter.start(sys.argv[3], 'RTX 4090', Decimal('0.60'), keep_open=True).session\n"
        "assert meter.stop(session.session_id if sys.argv[4] == 'True' else None)['activity'] == sys.argv[3]\n"
    )
    children = []
    for number in range(16):
        state = tmp_path / f"state-{number % 2 if shared else number}.json"
        command = [sys.executable, "-c", program, str(tmp_path / "log"), str(state), f"activity-{number}", str(shared)]
        children.append(subprocess.Popen(command, cwd=project_root, stderr=subprocess.PIPE))
    assert [child.communicate()[1] for child in children] == [b""] * 16
    rows = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert len({row["session_id"] for row in rows}) == len({row["activity"] for row in rows}) == len(rows) == 16


@pytest.mark.skipif(not POSIX, reason="elsewhere it is left for an hour: whether its process lives cannot be asked")
def test_a_stop_that_finds_nothing_to_do_removes_what_the_killed_one_left(tmp_path: Path) -> None:
    """Killed after it had written its row, while it wrote the state."""
    ask = "from lifeos.leftovers import temporary_name; print(temporary_name('state.json'))"
    done = subprocess.run([sys.executable, "-c", ask], cwd=Path(__file__).resolve().parents[3], capture_output=True, text=True, check=True)
    (tmp_path / done.stdout.strip()).write_text("{")
    with pytest.raises(InputError):
        Meter(tmp_path / "log.jsonl", tmp_path / "state.json").stop()
    assert list(tmp_path.glob(".*.tmp")) == []
