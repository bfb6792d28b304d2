"""Running the steps in order: the first failure stops the cycle, an unfinished cycle continues, the cost session is always closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from lifeos import times
from lifeos.errors import EXIT_USAGE, InputError, LifeosError
from lifeos.escaping import escape_line
from lifeos.leftovers import sweep_once
from lifeos.shells import as_typed
from lifeos.signals import deaf_to_signals
from tools.cost.ledger import read_sessions
from tools.cost.meter import Meter, OpenSession
from tools.cycle import cycle_record as kept
from tools.cycle.committing import commit_commands
from tools.cycle.cycle_record import CycleRecord, StepRecord
from tools.cycle.process import Ended, run_command
from tools.cycle.step_checks import find_faults, find_first_faults
from tools.cycle.step_reason import find_reason
from tools.cycle.steps import STEPS, CycleSettings, CycleStep, commit_message, plan_cycle_commit, why_skipped

HEARTBEAT_SECONDS = 30.0
METER_STEPS = ("cost_start", "cost_stop")
LEFT_SHOWN = 20


@dataclass(frozen=True, slots=True)
class CycleLimits:
    """What the policy allows, in minutes and dollars; 0 is no limit."""

    guardrail_minutes: float
    agent_minutes: float
    agent_usd: Decimal


class Cycle:
    """One run of the table. `chosen` are the steps to run; `show` takes their output as bytes, `say` our own lines."""

    def __init__(
        self,
        settings: CycleSettings,
        limits: CycleLimits,
        meter: Meter,
        chosen: tuple[CycleStep, ...],
        show: BinaryIO,
        say: Callable[[str], None],
    ) -> None:
        self.settings, self.limits, self.meter, self.chosen, self.show, self.say = settings, limits, meter, chosen, show, say
        self._last_beat = 0.0

    def run(self, now: Callable[[], datetime], *, fresh: bool = False) -> tuple[CycleRecord, Path]:
        """Run what is left of an unfinished cycle with the same settings, else a new one. KeyboardInterrupt is raised on."""
        runs = self.settings.root / kept.RUNS
        folder, record = self._open(runs, now(), fresh)
        kept.write_record(folder, record)
        try:
            record.status = kept.DONE if self._run_steps(folder, record) else kept.FAILED
        except BaseException:
            record.status = kept.INTERRUPTED
            for step in record.steps:
                if step.status == kept.RUNNING:
                    step.status, step.reason = kept.INTERRUPTED, "interrupted"
            raise
        finally:
            with deaf_to_signals():
                self._stop_meter(record)
                record.ended = times.stamp(now())
                kept.write_record(folder, record)
        return record, folder

    def _open(self, runs: Path, moment: datetime, fresh: bool) -> tuple[Path, CycleRecord]:
        mark = kept.fingerprint(self.settings)
        for folder in runs.glob("*/"):  # nobody writes into the folder of a killed cycle any more
            sweep_once(folder)
        unfinished = kept.find_unfinished(runs)
        if unfinished is not None:
            self._close_dead_meter(unfinished[1])
        if unfinished is not None and not fresh and unfinished[1].fingerprint == mark and len(self.chosen) > 1:
            folder, record = unfinished
            self.say(f"Continuing cycle {record.cycle_id}, which ended at {_last_step(record)}.")
            record.status, record.ended = kept.RUNNING, ""
            return folder, record
        cycle_id = moment.strftime("%Y-%m-%d_%H%M%S")
        folder = runs / cycle_id
        number = 1
        while folder.exists():
            number += 1
            folder = runs / f"{cycle_id}_{number}"
        folder.mkdir(parents=True)
        return folder, CycleRecord(folder.name, mark, times.stamp(moment))

    def _run_steps(self, folder: Path, record: CycleRecord) -> bool:
        before = {step.name: step for step in record.steps}
        agent_ran = "agent" in before and _is_done(before["agent"])
        name, faults = find_first_faults(self.chosen, self.settings, [step.name for step in record.steps if _is_done(step)])
        if faults:
            entry = StepRecord(name, kept.FAILED)
            record.steps = [*(step for step in record.steps if _is_done(step)), entry]
            more = f" (and {len(faults) - 1} more; --dry-run lists everything)" if len(faults) > 1 else ""
            return self._end(entry, Ended(EXIT_USAGE, 0.0), f"{faults[0]}{more}; nothing was started")
        record.steps = []
        for step in self.chosen:
            old = before.get(step.name)
            if old is not None and _is_done(old) and not step.repeated:
                old.status = kept.DONE_BEFORE
                record.steps.append(old)
                continue
            no_meter = agent_ran and step.name in METER_STEPS
            reason = "the agent has run" if no_meter else why_skipped(step, self.settings)
            entry = StepRecord(step.name, kept.SKIPPED, reason)
            record.steps.append(entry)
            if reason:
                self.say(f"== {step.title}: skipped ({reason})")
            elif not self._run_step(step, entry, folder, record):
                return False
        return True

    def _run_step(self, step: CycleStep, entry: StepRecord, folder: Path, record: CycleRecord) -> bool:
        root = self.settings.root
        commands = step.commands(self.settings)
        if step.name == "commit":
            self._note_commit(entry)
            if not commands:
                entry.reason = "nothing has changed that belongs under version control"
                self.say(f"== {step.title}: skipped ({entry.reason})")
                return True
        if step.name == "cost_stop" and record.cost_session:  # ours, not the newest: another may have been opened meanwhile
            commands[0] += ["--session", record.cost_session]
        entry.command = as_typed(*commands)
        entry.log = str(folder.relative_to(root) / f"{step.name}.log")
        entry.status = kept.RUNNING
        if step.name == "cost_start":
            record.sessions_before = [session.session_id for session in self.meter.open_sessions()]
            record.cost_session, record.cost_usd = "", ""
        kept.write_record(folder, record)
        self.say(f"== {step.title}: {entry.command}")
        missing = [path for path in step.needs(self.settings) if path is not None and not (root / path).exists()]
        if missing:
            return self._end(entry, Ended(2, 0.0), f"{missing[0]}: no such file or directory")
        stdin = root / self.settings.agent_prompt if step.name == "agent" and self.settings.agent_prompt else None
        ended = Ended(0, 0.0)
        log = root / entry.log
        begun = log.stat().st_size if log.exists() else 0  # an unfinished cycle goes on in the same log
        for command in commands:
            try:
                ended = run_command(command, root, root / entry.log, show=self.show, stdin=stdin, watch=self._watch(step, record, log))
            except OSError as error:
                return self._end(entry, Ended(3, 0.0), f"{command[0]}: cannot be started: {error.strerror}")
            entry.seconds += ended.seconds
            if ended.code or ended.stopped:
                return self._end(entry, ended, ended.stopped or find_reason(root / entry.log, begun, ended.code))
        if ended.left_children:
            self.say(f"warning: {step.title} left processes behind; they were stopped")
        entry.status, entry.exit_code = kept.DONE, 0
        entry.artefacts += [str(path) for path in step.makes(self.settings) if path is not None and (root / path).exists()]
        if step.name == "cost_start":
            self._note_session(record)
        if step.name == "cost_stop":
            self._note_cost(record)
        kept.write_record(folder, record)
        return True

    def _end(self, entry: StepRecord, ended: Ended, reason: str) -> bool:
        entry.status, entry.exit_code, entry.reason = kept.FAILED, ended.code, reason
        self.say(f"FAILED: {entry.name}: {reason}")
        return False

    def _watch(self, step: CycleStep, record: CycleRecord, log: Path) -> Callable[[float], str]:
        """The limits of a step, and the meter's heartbeat while it runs: it moves on as long as its `log` grows."""
        minutes = {"guardrail": self.limits.guardrail_minutes, "agent": self.limits.agent_minutes}.get(step.limit, 0.0)
        self._last_beat = 0.0
        logged = -1

        def watch(seconds: float) -> str:
            nonlocal logged
            if minutes and seconds > minutes * 60:
                return f"stopped: it ran longer than {minutes:g} minutes"
            if record.cost_session and seconds - self._last_beat >= HEARTBEAT_SECONDS:
                self._last_beat = seconds
                before, logged = logged, log.stat().st_size if log.exists() else 0
                session = self._beat(record, logged != before)
                spent = self.meter.cost_so_far(session) if session is not None else Decimal(0)
                if step.limit == "agent" and self.limits.agent_usd and spent > self.limits.agent_usd:
                    return f"stopped: it cost ${spent}, over its budget of ${self.limits.agent_usd}"
            return ""

        return watch

    def _beat(self, record: CycleRecord, progress: bool) -> OpenSession | None:
        try:
            return self.meter.heartbeat(record.cost_session, progress=progress)
        except (LifeosError, OSError):
            return None  # stopped by hand, or no room to write: the step itself goes on

    def _note_session(self, record: CycleRecord) -> None:
        """Find our session: the one that was not open before. None if the meter was not started, or is noted already."""
        if record.cost_session or not any(step.name == "cost_start" and step.command for step in record.steps):
            return
        ours = [one.session_id for one in self.meter.open_sessions() if one.session_id not in record.sessions_before]
        record.cost_session = ours[-1] if ours else ""

    def _note_cost(self, record: CycleRecord) -> None:
        for session in read_sessions(self.meter.log_file):
            if session.session_id == record.cost_session:
                record.cost_usd = str(session.cost_usd)

    def _stop_meter(self, record: CycleRecord) -> None:
        """In every ending: our session, if it is still open, is closed now."""
        self._note_session(record)
        if not record.cost_session or record.cost_usd:
            return
        try:
            record.cost_usd = str(self.meter.stop(record.cost_session)["cost_usd"])
            self.say(f"The cost session was closed: {record.cost_session}, ${record.cost_usd}.")
        except InputError:
            self._note_cost(record)

    def _close_dead_meter(self, record: CycleRecord) -> None:
        """After kill -9: the session of a dead cycle ended at its last heartbeat."""
        self._note_session(record)
        if not record.cost_session or record.cost_usd:
            return
        if any(session.session_id == record.cost_session for session in self.meter.open_sessions()):
            row = self.meter.stop(record.cost_session, at_last_heartbeat=True)
            self.say(
                f"The last cycle did not close its cost session: {record.cost_session} was closed at its last heartbeat, {row['end']}."
            )
        else:
            self._note_cost(record)
        record.cost_session = ""

    def _note_commit(self, entry: StepRecord) -> None:
        """What is about to be committed, and the new files that nobody declared: a person decides about those."""
        plan = plan_cycle_commit(self.settings)
        entry.artefacts, entry.left = list(plan.files), list(plan.left)
        if plan.left:
            self.say(f"note: new, declared by no step, and therefore not committed: {name_left(plan.left)}")


def _is_done(step: StepRecord) -> bool:
    return step.status in (kept.DONE, kept.DONE_BEFORE)


def _last_step(record: CycleRecord) -> str:
    return record.steps[-1].name if record.steps else "its start"


def choose_steps(start: str | None, only: str | None) -> tuple[CycleStep, ...]:
    """The steps of `--from` and `--only`."""
    if only is not None:
        return tuple(step for step in STEPS if step.name == only)
    names = [step.name for step in STEPS]
    return STEPS[names.index(start) :] if start is not None else STEPS


def name_left(left: Sequence[str]) -> str:
    """New files that are not committed, on one line: a picture's name is text from outside."""
    more = f" and {len(left) - LEFT_SHOWN} more" if len(left) > LEFT_SHOWN else ""
    return ", ".join(escape_line(path) for path in left[:LEFT_SHOWN]) + more


def plan(settings: CycleSettings, chosen: tuple[CycleStep, ...]) -> list[dict[str, Any]]:
    """A dry run: each step's command, why it would be skipped, and what is missing (scripts, flags, inputs). Changes nothing.

    The commit step also tells which files it would take (`commits`) and which new ones it would leave (`left`).
    """
    planned: list[dict[str, Any]] = []
    for step in chosen:
        skipped = why_skipped(step, settings)
        row: dict[str, Any] = {"name": step.name, "commands": [], "skipped": skipped, "faults": []}
        if step.name == "commit" and not skipped:
            commit = plan_cycle_commit(settings, chosen)
            commands = commit_commands(settings.root, commit, commit_message(settings))
            row |= {"commits": list(commit.files), "left": list(commit.left)}
        else:
            commands = step.commands(settings) if step.name not in ("agent", "commit") or not skipped else []
        row["commands"] = [as_typed(one) for one in commands]
        row["faults"] = [] if skipped or step.name == "commit" else find_faults(step, settings)
        planned.append(row)
    return planned
