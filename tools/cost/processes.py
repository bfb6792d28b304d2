"""What runs on this machine, known by what it is: its program, the script of an interpreter, and who started it.

Words of a command line tell nothing: `tail -f sdxl_train.log` and `vim train_network.py` train nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tools.trainers.trainer import TRAINERS

TRAINING, EVALUATION, TRANSFER = "training", "evaluation", "transfer"
INTERPRETER = re.compile(r"(python|pypy)[\d.]*w?")
WITH_VALUE = frozenset("WXQ")
"""Options of Python that take a value: in the same word, or in the next."""

TRAINERS_OF_OURS = ("retrain_lora",)
TELLERS = frozenset({"production_pipeline", "parameter_sweep"})
"""They say in the meter's sessions when their work moves on, as trainings of ours do."""
EVALUATIONS = TELLERS | {"scorecard", "face_similarity_eval", "skin_realism_eval", "calibrate_engine", "publish"}
COPIERS = frozenset({"rsync", "scp", "sftp", "sftp-server", "wget", "curl", "rclone", "aria2c", "gdown", "s5cmd"})
SUBCOMMANDS = frozenset(
    {("aws", "s3"), ("runpodctl", "send"), ("runpodctl", "receive")}
    | {(program, what) for program in ("hf", "huggingface-cli") for what in ("download", "upload", "upload-large-folder")}
)
STANDING = frozenset({"mount", "nfsmount", "serve", "rcd"})
"""What rclone does for ever, whether or not anything is copied."""

UPLOADS = frozenset({"prepare_servers"})
CHATTERERS = ("jupyter", "ipykernel", "tensorboard")
"""How scripts begin that write now and then, whether or not anything works."""
TRACKER = "runpod_cost_tracker"


@dataclass(frozen=True, slots=True)
class Running:
    """A process, its parent's id, and its command line word by word; of scripts and what works also how many bytes they have read and
    written so far, terminals and pipes among them. None where the system does not say."""

    pid: int
    parent: int
    argv: tuple[str, ...]
    read: int | None = None
    written: int | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that is work. `tells`: it is a program of ours that says itself when its work moves on."""

    pid: int
    kind: str
    tells: bool
    read: int | None
    written: int | None


@dataclass(frozen=True, slots=True)
class Program:
    """What a command line starts: the file name without folder and ending, whether a script of an interpreter, and its arguments."""

    name: str
    file: str
    is_script: bool
    arguments: tuple[str, ...]

    @property
    def subcommand(self) -> str:
        return next((word for word in self.arguments if not word.startswith("-")), "")


def list_processes() -> tuple[Running, ...]:
    """Every process whose command line may be read; scripts and those that work with what they have read and written."""
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "ppid", "cmdline"]):
        argv = process.info["cmdline"]
        if argv:
            program = read_program(argv)
            read, written = _count_bytes(process) if program.is_script or _kind_of(program) else (None, None)
            found.append(Running(process.info["pid"], process.info["ppid"] or 0, tuple(argv), read, written))
    return tuple(found)


def _count_bytes(process: Any) -> tuple[int | None, int | None]:
    """What a process of psutil's has read and written; None where the system keeps no count, or does not tell it."""
    import psutil

    try:
        counted = process.io_counters()
    except (psutil.Error, AttributeError, OSError):
        return None, None
    return getattr(counted, "read_chars", counted.read_bytes), getattr(counted, "write_chars", counted.write_bytes)


def find_activity(processes: Sequence[Running], own: int | None = None) -> frozenset[str]:
    """Which of training, evaluation and transfer run. What the tracker itself has started (`--on-idle`) is none of them."""
    return frozenset(one.kind for one in find_workers(processes, own))


def find_workers(processes: Sequence[Running], own: int | None = None) -> list[Worker]:
    """The processes that are work: see `find_activity`."""
    found = _without_trackers(processes, own)
    return [Worker(one.pid, kind, _tells(program), one.read, one.written) for one, program in found if (kind := _kind_of(program))]


def find_unknown_scripts(processes: Sequence[Running], own: int | None = None) -> dict[int, int | None]:
    """What scripts that are no known work have written, by process: one of them may be whatever keeps the GPU busy."""
    found = _without_trackers(processes, own)
    return {
        one.pid: one.written
        for one, program in found
        if program.is_script and not program.name.startswith(CHATTERERS) and not _kind_of(program)
    }


def _without_trackers(processes: Sequence[Running], own: int | None) -> list[tuple[Running, Program]]:
    """The processes that no tracker has started, and what they run."""
    programs = {one.pid: read_program(one.argv) for one in processes}
    parents = {one.pid: one.parent for one in processes}
    trackers = {pid for pid, program in programs.items() if program.is_script and program.name == TRACKER}
    trackers.add(os.getpid() if own is None else own)
    return [(one, programs[one.pid]) for one in processes if not _is_below(one.pid, trackers, parents)]


def read_program(argv: Sequence[str]) -> Program:
    """`python -u /x/sdxl_train.py --a` is the script sdxl_train; `/usr/bin/tail -f sdxl_train.log` is tail."""
    file = _file_name(argv[0]) if argv else ""
    if INTERPRETER.fullmatch(_stem(file)):
        place = _find_script(argv)
        if place < len(argv):
            script = argv[place]
            if argv[place - 1].startswith("-") and argv[place - 1].endswith("m"):
                script = f"{script.rpartition('.')[2]}.py"  # a module
            return Program(_stem(_file_name(script)), _file_name(script), True, tuple(argv[place + 1 :]))
    return Program(_stem(file), file, False, tuple(argv[1:]))


def _find_script(argv: Sequence[str]) -> int:
    """The place of the script or module of a Python command line; behind its end where it has none (`-c`, or nothing)."""
    place = 1
    while place < len(argv):
        word = argv[place]
        if not word.startswith("-") or word == "-":
            return place
        if word.startswith("--"):
            place += 1
        elif "c" in word[1:]:
            return len(argv)
        elif word.endswith("m"):
            return place + 1
        else:
            place += 2 if word[-1] in WITH_VALUE else 1
    return place


def _tells(program: Program) -> bool:
    return program.is_script and (program.name in TELLERS or program.name.startswith(TRAINERS_OF_OURS))


def _kind_of(program: Program) -> str:
    if program.is_script:
        marks = [mark for row in TRAINERS for mark in row.process_marks]
        started = f"{program.name} {program.subcommand}"
        if any(started.startswith(mark) if " " in mark else mark in program.file for mark in marks) or program.name.startswith(
            TRAINERS_OF_OURS
        ):
            return TRAINING
        if program.name in EVALUATIONS:
            return EVALUATION
        if program.name in UPLOADS:
            return TRANSFER
    if program.name in COPIERS and program.subcommand not in STANDING and "--daemon" not in program.arguments:
        return TRANSFER
    return TRANSFER if (program.name, program.subcommand) in SUBCOMMANDS else ""


def _is_below(pid: int, above: Iterable[int], parents: dict[int, int]) -> bool:
    """Whether a process is one of `above`, or was started by one, however many lie between."""
    seen: set[int] = set()
    while pid and pid not in seen:
        if pid in above:
            return True
        seen.add(pid)
        pid = parents.get(pid, 0)
    return False


def _file_name(path: str) -> str:
    return re.split(r"[\\/]", path)[-1]


def _stem(file: str) -> str:
    return re.sub(r"\.(exe|py|pyw)$", "", file, flags=re.IGNORECASE)
