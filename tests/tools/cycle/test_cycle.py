"""A cycle's promises, on small steps of the test's own: it stops at the first failure, goes on, and always stops the meter."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifeos import process_group
from lifeos.escaping import escape_line
from tests.capabilities import POSIX
from tests.checkouts import git
from tests.examples import EXAMPLES
from tests.fuzzing import foreign_bytes
from tests.tools.cycle.cycle_bench import ALL, GUARDRAILS, METER, CycleBench, full_bench
from tools.cost.meter import OpenSession
from tools.cycle import cycle_record as kept
from tools.cycle.cycle import CycleLimits
from tools.cycle.cycle_record import fingerprint
from tools.cycle.steps import CycleSettings


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CycleBench:
    """Its steps need not end with this process, which is large: each would be forked from it. Programs of their own keep to it."""
    monkeypatch.setattr(process_group, "LIBC", None)
    git(tmp_path, "init", "--quiet")
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "eval_history.jsonl").write_text('{"run_id": "v2"}\n{"run_id": "v3"}\n')
    (tmp_path / "briefings").mkdir()
    (tmp_path / "briefings" / "2026-01-01.md").write_text("x")
    return full_bench(tmp_path)


def test_every_step_in_order_with_its_log_and_record(bench: CycleBench) -> None:
    record = bench.run(*ALL)
    assert bench.ran == list(ALL)
    assert record.status == kept.DONE
    folder = bench.root / kept.RUNS / record.cycle_id
    assert json.loads((folder / "cycle_report.json").read_text())["steps"][2]["status"] == "done"
    assert {path.stem for path in folder.glob("*.log")} == set(ALL)
    assert (len(bench.rows), record.cost_session) == (1, bench.rows[0]["session_id"])


@pytest.mark.skipif(not POSIX, reason="elsewhere it is left for an hour: whether its process lives cannot be asked")
def test_what_a_killed_cycle_left_half_written_is_removed_by_the_next(bench: CycleBench) -> None:
    """It has a folder of its own, perhaps without a record, into which no later cycle writes."""
    folder = bench.root / kept.RUNS / "2026-01-01_000000"
    folder.mkdir(parents=True)
    ask = "from lifeos.leftovers import temporary_name; print(temporary_name('cycle_report.json'))"
    done = subprocess.run([sys.executable, "-c", ask], cwd=Path(__file__).resolve().parents[3], capture_output=True, text=True, check=True)
    for name in (done.stdout.strip(), "mine.tmp"):
        (folder / name).write_text("{")
    bench.run("preflight")
    assert [path.name for path in folder.iterdir()] == ["mine.tmp"]


def test_a_session_that_somebody_else_opened_meanwhile_is_not_the_cycle_s_to_stop(bench: CycleBench) -> None:
    bench.programs["agent"] = bench.tracker + "m.start('lora_v3_training', 'RTX 4090', Decimal('0.60'), keep_open=True)"
    record = bench.run(*ALL)
    assert record.status == kept.DONE
    assert [session.activity for session in bench.meter.open_sessions()] == ["lora_v3_training"]
    assert [row["session_id"] for row in bench.rows] == [record.cost_session]


@pytest.mark.parametrize("broken", ALL)
def test_a_failure_in_any_step_stops_there_stops_the_meter_and_goes_on_later(bench: CycleBench, broken: str) -> None:
    healthy = bench.programs[broken]
    bench.programs[broken] = "print('some output'); sys.exit('error: the disk: it is full (free some room)')"
    record = bench.run(*ALL)
    assert record.status == kept.FAILED
    assert bench.ran == list(ALL[: ALL.index(broken) + 1])
    failed = record.step(broken)
    assert failed is not None
    assert (failed.status, failed.reason, failed.exit_code) == (kept.FAILED, "error: the disk: it is full (free some room)", 1)
    assert shlex.split(failed.command)[0] == sys.executable
    assert bench.meter.open_sessions() == []

    bench.programs[broken] = healthy
    record = bench.run(*ALL)
    assert record.status == kept.DONE
    assert bench.ran == [name for name in ALL if _runs_again(name, broken)]
    assert bench.meter.open_sessions() == []
    assert sum(row["activity"] == "agent" for row in bench.rows) == (2 if broken == "agent" else 1)


def _runs_again(name: str, broken: str) -> bool:
    """Guardrails and the commit always, the meter only with the agent, the others from the broken step on."""
    if name in METER:
        return ALL.index(broken) <= ALL.index("agent")
    return name in (*GUARDRAILS, "commit") or ALL.index(name) >= ALL.index(broken)


def test_other_settings_are_another_cycle(bench: CycleBench) -> None:
    bench.programs["scorecard"] = "sys.exit(1)"
    first = bench.run(*ALL)
    other = full_bench(bench.root, notes="another")
    assert other.run(*ALL).fingerprint != first.fingerprint
    assert bench.ran.count("agent") == 2


def test_fresh_begins_again(bench: CycleBench) -> None:
    bench.programs["scorecard"] = "sys.exit(1)"
    bench.run(*ALL)
    bench.run(*ALL, fresh=True)
    assert bench.ran.count("agent") == 2


def test_an_agent_over_its_time_is_stopped_and_the_meter_too(bench: CycleBench) -> None:
    bench.programs["agent"] = "import time; time.sleep(600)"
    record = bench.run(*ALL, limits=CycleLimits(0, 0.5 / 60, Decimal(0)))
    agent = record.step("agent")
    assert agent is not None and agent.reason == "stopped: it ran longer than 0.00833333 minutes"
    assert bench.meter.open_sessions() == [] and len(bench.rows) == 1


def test_an_agent_over_its_budget_is_stopped(bench: CycleBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.cycle.cycle.HEARTBEAT_SECONDS", 0.0)
    bench.programs["cost_start"] = bench.tracker + "m.start('agent', 'RTX 4090', Decimal('36000'))"  # 10 dollars a second
    bench.programs["agent"] = "import time; time.sleep(600)"
    record = bench.run(*ALL, limits=CycleLimits(0, 0, Decimal(5)))
    agent = record.step("agent")
    assert agent is not None and "over its budget of $5" in agent.reason


def test_a_step_that_says_nothing_more_beats_and_does_not_move_on(bench: CycleBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.cycle.cycle.HEARTBEAT_SECONDS", 0.0)
    told: list[bool] = []
    beat = bench.meter.heartbeat

    def heartbeat(session: str, *, progress: bool) -> OpenSession:
        told.append(progress)
        return beat(session, progress=progress)

    monkeypatch.setattr(bench.meter, "heartbeat", heartbeat)
    bench.programs["agent"] = "import time; print(1, flush=True); time.sleep(0.7)"
    bench.run(*ALL)
    assert told[0] and told.count(False) >= 2  # each step that begins has moved on, and its last 0.7 seconds have not


def test_skipped_steps_say_why(bench: CycleBench) -> None:
    bare = CycleBench(bench.root)
    record = bare.run("scorecard", "comparison", "production")
    assert [(step.status, step.reason) for step in record.steps] == [
        ("skipped", "no --generated-dir and --reference-dir"),
        ("skipped", "no new scorecard, and no --compare-with-run-id"),
        ("skipped", "no --run-production"),
    ]
    assert bare.ran == []


CYCLE = (
    "import sys; sys.path.insert(0, {project!r}); from pathlib import Path\n"
    "from tests.tools.cycle.cycle_bench import ALL, full_bench\n"
    "from lifeos import cli; cli.end_as_interrupted()\n"
    "bench = full_bench(Path({root!r}))\n"
    "bench.programs[{slow!r}] += '\\nprint(\"here\", flush=True); import time; time.sleep(600)'\n"
    "bench.shown = sys.stdout.buffer\n"
    "bench.run(*ALL)\n"
)


def _start_and_signal(bench: CycleBench, slow: str, number: int) -> None:
    program = CYCLE.format(project=str(Path(__file__).resolve().parents[3]), root=str(bench.root), slow=slow)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as cycle:
        assert cycle.stdout is not None
        for line in cycle.stdout:
            if line.strip() == b"here":
                break
        cycle.send_signal(number)
        cycle.communicate(timeout=120)


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
@pytest.mark.parametrize("slow", ALL)
@pytest.mark.parametrize("number", [9, 15, 2], ids=["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_signal_in_any_step_leaves_the_meter_right_and_the_same_command_goes_on(bench: CycleBench, slow: str, number: int) -> None:
    _start_and_signal(bench, slow, number)
    if number != 9:
        assert bench.meter.open_sessions() == []
    before = bench.ran
    record = bench.run(*ALL)
    assert record.status == kept.DONE
    agent_had_run = "agent" in before and slow != "agent"
    assert bench.ran.count("agent") == (0 if agent_had_run else 1)
    assert bench.meter.open_sessions() == []
    ids = [row["session_id"] for row in bench.rows]
    assert len(ids) == len(set(ids))
    assert len(ids) == sum(name == "cost_start" for name in before) + (0 if agent_had_run else 1)
    if number == 9 and slow == "cost_start":  # the cycle itself had noted whose session it is, before it was opened
        assert bench.rows[0]["end_is"] == "last_heartbeat"


def test_a_meter_that_did_not_start_is_not_mistaken_for_a_session_of_somebody_else(bench: CycleBench) -> None:
    other = bench.meter.start("somebody", "RTX 4090", Decimal("0.60")).session
    bench.programs["cost_start"] = ""
    bench.run("cost_start", "agent")
    assert [session.session_id for session in bench.meter.open_sessions()] == [other.session_id]
    assert bench.rows == []


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_an_impatient_second_stop_does_not_leave_the_meter_running(bench: CycleBench) -> None:
    """The second Ctrl-C comes while the session is being closed."""
    program = CYCLE.format(project=str(Path(__file__).resolve().parents[3]), root=str(bench.root), slow="agent").replace(
        "bench.shown =",
        "real = bench.meter.stop\n"
        "def stop(*args, **named):\n"
        "    print('closing', flush=True); import time; time.sleep(1); return real(*args, **named)\n"
        "bench.meter.stop = stop\nbench.shown =",
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as cycle:
        assert cycle.stdout is not None
        for line in cycle.stdout:
            if line.strip() in (b"here", b"closing"):
                cycle.send_signal(2)
        cycle.wait(timeout=120)
    assert bench.meter.open_sessions() == []
    assert [row["activity"] for row in bench.rows] == ["agent"]


GOOD_RECORD = kept.as_document(
    kept.CycleRecord("c", "f", "2026-02-11T15:00:00Z", steps=[kept.StepRecord("agent", kept.DONE, artefacts=["a"], seconds=1.5)])
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(foreign_bytes(GOOD_RECORD))
def test_whatever_stands_in_a_record(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        (Path(folder) / "2026-02-11_150000").mkdir()
        (Path(folder) / "2026-02-11_150000" / kept.RECORD_NAME).write_bytes(data)
        found = kept.find_unfinished(Path(folder))
        if found is not None:
            kept.write_record(found[0], found[1])
            assert kept.render(found[1], {"agent": "Agent"}).isprintable() is False  # several lines, of whatever stands in it


@settings(max_examples=EXAMPLES, deadline=None)
@given(status=st.text(max_size=12) | st.sampled_from(sorted(kept.MARKS)), name=st.text(max_size=12) | st.just("agent"))
def test_a_step_whose_status_or_name_is_not_ours(status: str, name: str) -> None:
    """A foreign status is refused with the file's name; a foreign name is shown as it is."""
    step = {"name": name, "status": status}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()) as said:
        path = Path(folder) / "one" / kept.RECORD_NAME
        path.parent.mkdir()
        path.write_text(json.dumps(GOOD_RECORD | {"steps": [step]}))
        found = kept.find_unfinished(Path(folder))
        if status in kept.MARKS:
            assert found is not None
            assert escape_line("Agent" if name == "agent" else name).strip() in kept.render(found[1], {"agent": "Agent"})
        else:
            assert found is None
            assert str(path) in said.getvalue() and "is none of" in said.getvalue()


def test_a_record_that_cannot_be_read_is_named_and_not_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one").mkdir()
    path = tmp_path / "one" / kept.RECORD_NAME
    path.write_text(json.dumps(GOOD_RECORD | {"steps": 7}))
    assert kept.find_unfinished(tmp_path) is None
    assert capsys.readouterr().err == f"warning: not continued: {path}: $.steps: a list is wanted, not a whole number\n"


def test_a_cycle_of_version_3_0_goes_on_and_other_servers_are_another_cycle() -> None:
    """The value is what version 3.0 wrote for these settings."""
    assert fingerprint(CycleSettings(Path("x"))) == "6ebac482095b95a7"
    assert fingerprint(CycleSettings(Path("x"), production_servers=Path("y"))) != "6ebac482095b95a7"
