"""Ask a training to stop, as Ctrl-C at its command would: through a file in its output folder that names the run.

The command that trains reads it, also from another machine on the same volume. Where that command is gone and its trainer is still at work
here, the trainer itself is interrupted, and only if the process is the one of the record.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from lifeos import files, foreign
from lifeos.errors import LifeosError
from lifeos.locks import is_held
from lifeos.process_group import is_group_alive
from tools.training.training_record import FINISHED, LOCK_FILE, UNENDED, is_running, read_record

STOP_FILE = "stop_request.json"
OBEYED_SECONDS = 120.0
"""How long a command may take to stop its trainer and to write down the end."""
GRACE_SECONDS = 15.0
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Which run is to stop, and why."""

    run_id: str
    why: str


def read_stop_request(output_dir: Path, run_id: str) -> StopRequest | None:
    """The request to stop that run; None if there is none, or it is of another run or cannot be read."""
    path = output_dir / STOP_FILE
    if not path.exists():
        return None
    try:
        request = foreign.read_file(path, StopRequest)
    except (LifeosError, OSError):
        return None
    return request if request.run_id == run_id else None


def forget_stop_request(output_dir: Path) -> None:
    """Remove a request: it is obeyed, or of a time before the run began or went on."""
    (output_dir / STOP_FILE).unlink(missing_ok=True)


def stop_training(output_dir: Path, run_id: str, why: str, sleep: Callable[[float], None] = time.sleep) -> str:
    """Stop the run of a folder's record, if it goes on and is that one. Returns what came of it, in a few words; empty if it stopped."""
    record = read_record(output_dir)
    if record is None or record.run_id != run_id:
        return f"the record in {output_dir} is not of run {run_id}"
    if record.state not in UNENDED or not (is_running(record) or is_held(output_dir / LOCK_FILE)):
        return "it goes on no longer"
    files.write_json(output_dir / STOP_FILE, asdict(StopRequest(run_id, why)))
    until = time.monotonic() + OBEYED_SECONDS
    while time.monotonic() < until:
        now = read_record(output_dir)
        if now is None or now.run_id != run_id or now.state not in UNENDED:
            forget_stop_request(output_dir)
            return "it had finished by then" if now is not None and now.run_id == run_id and now.state == FINISHED else ""
        if not is_held(output_dir / LOCK_FILE):  # nobody reads the request
            return _interrupt(output_dir, run_id)
        sleep(POLL_SECONDS)
    forget_stop_request(output_dir)
    return f"its command did not stop it within {OBEYED_SECONDS:.0f} s"


def _interrupt(output_dir: Path, run_id: str) -> str:
    """Interrupt a trainer whose command is gone: its group, if it is surely the recorded one."""
    record = read_record(output_dir)
    if record is None or record.run_id != run_id or not is_running(record) or record.process_group is None:
        forget_stop_request(output_dir)
        return ""
    if sys.platform == "win32":
        failed = f"its command is gone; end the trainer by hand: taskkill /T /PID {record.process_group}"
    else:
        failed = _signal(record.process_group)
    if not failed:
        forget_stop_request(output_dir)
    return failed


if sys.platform != "win32":

    def _signal(group: int) -> str:
        """As Ctrl-C does, then harder."""
        for number in (signal.SIGINT, signal.SIGTERM):
            os.killpg(group, number)
            until = time.monotonic() + GRACE_SECONDS
            while time.monotonic() < until:
                if not is_group_alive(group):
                    return ""
                time.sleep(POLL_SECONDS)
        return f"its trainer (process group {group}) does not end"
