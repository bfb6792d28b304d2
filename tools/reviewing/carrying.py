"""Carrying a review out: pictures move, reports and history follow, in a thread beside the server, as soon as nobody works on the batch."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.load_thresholds import load_thresholds
from evals.scorecards.card_inputs import Manifest, read_manifest
from lifeos import foreign, locks
from lifeos.errors import InputError, LifeosError, LockedError
from tools.production.batch_home import history_to_record, relocated
from tools.production.batch_state import BatchState
from tools.production.decisions import DECISIONS_FILE
from tools.production.filing import BatchFolder
from tools.production.finish import Ending, finish_batch
from tools.production.journal import JOURNAL_FILE, read_state
from tools.production.plan import PLAN_FILE, Plan, read_plan
from tools.production.planning import settings_of
from tools.production.rejudging import finish_moves, plan_in_force, policy_in_force
from tools.production.runner import BatchEnd
from tools.production.settling import settle_decisions
from tools.production.stopping import Note
from tools.reviewing.reviewed_batch import gone

REPORT_FILE = "batch_report.json"
QUIET_SECONDS = 0.6
"""Pictures move when nothing was decided for so long: people decide in runs."""
REPORT_SECONDS = 10.0
"""Reports and the row in the history follow after so long without a decision, and when the review ends."""
RETRY_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class FormerReport:
    """What is kept of the report that is written anew: what the batch's own command knew, and this one does not."""

    settings: dict[str, Any] | None = None
    references_left_out: tuple[str, ...] = ()
    scorecard: dict[str, Any] | None = None


def check_there(folder: BatchFolder) -> None:
    """Raises InputError where the directory was moved away meanwhile: even a lock would begin a new one in its place."""
    if not (folder.root / PLAN_FILE).exists():
        raise gone(folder.root)


def move_decided(folder: BatchFolder, note: Note) -> None:
    """Move the pictures as was decided. Raises LockedError while another program works on the batch."""
    check_there(folder)
    with locks.hold(folder.lock, str(folder.root)):
        state = read_state(folder.root / JOURNAL_FILE, lambda text: None)
        finish_moves(folder, state)
        settle_decisions(folder, state, note, on_warning=lambda text: None)


def carry_out(folder: BatchFolder, root: Path, note: Note) -> None:
    """Move what was decided, write the reports, and replace the batch's row in the history, where it has one.

    Raises LockedError while another program works on the batch.
    """
    check_there(folder)
    with locks.hold(folder.lock, str(folder.root)):
        saved = read_plan(folder.root)
        if saved is None:
            raise gone(folder.root)
        state = read_state(folder.root / JOURNAL_FILE, lambda text: None)
        plan = plan_in_force(saved, state)
        finish_moves(folder, state)
        former = _read_former(folder.root / REPORT_FILE)
        ending = Ending(
            policy_in_force(load_thresholds(root), plan, state),
            former.settings if former.settings is not None else settings_of(plan),
            find_history(folder.root, plan, state, note),
            _manifest_of(former.scorecard or {}),
            references_left_out=former.references_left_out,
        )
        finish_batch(plan, folder, BatchEnd(state.ending, state), ending, note)


def find_history(root: Path, plan: Plan, state: BatchState, note: Note) -> Path | None:
    """The evaluation history that holds this batch's row; None where there is none to replace (a sweep's round, an unfinished batch), and
    where the row is that of the batch from which `root` was copied."""
    if state.history is None:
        return None
    path = Path(plan.command.get("history_file") or relocated(state.history, plan.directory, root))
    allowed = history_to_record(root, path, asked=False)
    if allowed is None or allowed.is_file():
        return allowed
    note(f"warning: {path}: the history with the row of this batch is not here; its row keeps the verdicts that it has")
    return None


def _read_former(path: Path) -> FormerReport:
    try:
        return foreign.read_file(path, FormerReport, surrogates="keep")
    except InputError:  # not written yet, or damaged: it is written anew
        return FormerReport()


def _manifest_of(scorecard: Mapping[str, Any]) -> Manifest | None:
    path, digest = scorecard.get("dataset_manifest_path"), scorecard.get("dataset_manifest_hash")
    if not isinstance(path, str):
        return None
    with contextlib.suppress(LifeosError, OSError):
        manifest = read_manifest(Path(path))
        return manifest if manifest.sha256 == digest else None
    return None


class Carrier:
    """The thread that carries out. `status` is one line for the page while something waits, else empty."""

    def __init__(self, folder: BatchFolder, root: Path, note: Note) -> None:
        self._folder, self._root, self._note = folder, root, note
        self._woken, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="carry out", daemon=True)
        self._said = ""
        self._reported = True
        self.status = ""
        self.is_busy = False

    def start(self) -> None:
        """Begin with what an earlier review left: it may have been killed, or the batch at work."""
        if _is_newer(self._folder.root / DECISIONS_FILE, self._folder.root / REPORT_FILE):
            self.wake()
        self._thread.start()

    def wake(self) -> None:
        """Something was decided."""
        self._reported = False
        self._woken.set()

    def end(self) -> None:
        """Let the thread end, and carry out what is left."""
        self._ended.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()
        if not self._reported:
            self._report()

    def _work(self) -> None:
        while not self._ended.is_set():
            if not self._woken.wait(None if self._reported else REPORT_SECONDS):
                self._report()
                continue
            while self._woken.is_set() and not self._ended.is_set():
                self._woken.clear()
                self._ended.wait(QUIET_SECONDS)
            if not self._ended.is_set() and not self._try(lambda: move_decided(self._folder, self._note)):
                self._ended.wait(RETRY_SECONDS)
                self._woken.set()

    def _report(self) -> None:
        self._reported = True  # what is decided from here on wants another report
        if not self._try(lambda: carry_out(self._folder, self._root, self._note)):
            self._reported = False

    def _try(self, step: Callable[[], None]) -> bool:
        self.is_busy = True
        try:
            step()
        except LockedError:
            self._wait(
                "the batch, or another review of it, is at work: what you decide is written down, and its pictures move when that ends"
            )
            return False
        except (LifeosError, OSError) as error:
            self._wait(f"pictures and reports could not follow yet, the decisions are safe: {error}")
            return False
        finally:
            self.is_busy = False
        self.status = ""
        return True

    def _wait(self, status: str) -> None:
        self.status = status
        if status != self._said:
            self._said = status
            self._note(status)


def _is_newer(first: Path, second: Path) -> bool:
    try:
        return not second.exists() or first.stat().st_mtime_ns > second.stat().st_mtime_ns
    except OSError:
        return False
