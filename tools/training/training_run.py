"""Run the trainer and keep the record true: everything that explains the LoRA is on the disk before the first step."""

from __future__ import annotations

import contextlib
import math
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol

from lifeos import files
from lifeos.errors import InputError, LockedError
from lifeos.locks import Held, hold
from lifeos.process_group import ProcessGroup
from tools.dataset.manifest import write_manifest
from tools.trainers.lora_header import read_lora_header
from tools.trainers.sd_scripts_command import TOML_HEADER, TRAINER_SCRIPT
from tools.trainers.sd_scripts_install import Trainer, read_commit, read_environment, trainer_environment
from tools.trainers.sd_scripts_output import FailureWatch, LineSplitter, StepReport, read_saved, read_step
from tools.training.loss_curve import CSV_FILE, PNG_FILE, LossPoint, read_loss_table, write_loss_table
from tools.training.preparation import Preparation, existing_outputs
from tools.training.staging import make_stage, remove_stage
from tools.training.training_record import RECORD_FILE, Price, TrainingRecord, is_running, list_loras, read_record, utc

LOG_FILE, COMMAND_FILE, ENVIRONMENT_FILE = "training_log.txt", "training_command.json", "training_environment.json"
STOP_SIGNALS = ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0))
"""As Ctrl-C does, which ends accelerate and the trainer in about 3 s; then harder. Seconds to wait for each."""

PREVIOUS_RUNS = "previous_runs"
RECORD_SECONDS = 5.0
"""How old the record may be when the machine is taken away."""

LAST_OUTPUT_SECONDS = 5.0
"""How long to wait for output after the launcher has ended: something it left behind may hold the pipes open for ever."""

QUEUE_CHUNKS = 256


class Watcher(Protocol):
    """Who is told what happens. `step` counts from the run's very beginning."""

    def on_step(self, report: StepReport, step: int, record: TrainingRecord) -> None: ...
    def on_checkpoint(self, path: str, record: TrainingRecord) -> None: ...
    def note(self, message: str) -> None: ...


def run_training(
    preparation: Preparation,
    trainer: Trainer,
    price: Price,
    watcher: Watcher,
    *,
    overwrite: bool = False,
    beat: Callable[[], None] = lambda: None,
) -> TrainingRecord:
    """Train. Returns the record, `finished` or `failed`; on KeyboardInterrupt stops the trainer, records that and raises it again.

    `beat` is called as often as the record is written: the cost meter's sign of life.

    Raises LockedError if a training is at work in the output folder, InputError if it would overwrite what it must not.
    """
    settings, plan = preparation.settings, preparation.plan
    assert plan is not None, "prepared on a machine without the dataset"
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    with hold(settings.output_dir / ".training.lock", str(settings.output_dir)) as held:
        before = read_record(settings.output_dir)
        if before and is_running(before):
            fix = f"wait for it to end, or stop it: kill -INT -- -{before['process_group']}"
            raise LockedError(
                settings.output_dir,
                f"the trainer of run {before['run_id']} is still running, although the command that started it has ended",
                fix,
            )
        _refuse_overwriting(preparation, overwrite)
        if before and not preparation.resume:
            _archive(settings.output_dir, before["run_id"])
        record = _write_evidence(preparation, trainer, price)
        run = _Run(preparation, trainer, record, watcher, held, beat)
        try:
            run.train()
        finally:
            with contextlib.suppress(OSError, InputError):
                remove_stage(plan.stage)
    return record


def _refuse_overwriting(preparation: Preparation, overwrite: bool) -> None:
    settings = preparation.settings
    existing = existing_outputs(settings)
    if existing and not preparation.resume and not overwrite:
        fix = "choose another --output-name or --output-dir, continue with --resume, or give --overwrite"
        raise InputError(existing[-1], f"{len(existing)} LoRA file(s) of this name are there already", fix)
    toml = settings.dataset_config
    if toml.exists() and not toml.read_bytes().startswith(TOML_HEADER.encode()):
        raise InputError(toml, "was not written by this program, and would be overwritten", "give --dataset-config another name")


def _archive(output_dir: Path, run_id: str) -> None:
    """Move the evidence of an earlier run aside: its LoRAs may still be there and are explained by it."""
    target = output_dir / PREVIOUS_RUNS / "".join(char if char.isalnum() or char == "-" else "_" for char in run_id)
    target.mkdir(parents=True, exist_ok=True)
    names = (LOG_FILE, COMMAND_FILE, ENVIRONMENT_FILE, CSV_FILE, PNG_FILE, "dataset_config.toml", "dataset_manifest.json", RECORD_FILE)
    for name in names:  # the record last: as long as it is there, the move is taken up again
        if (output_dir / name).exists():
            (output_dir / name).replace(target / name)


def _write_evidence(preparation: Preparation, trainer: Trainer, price: Price) -> TrainingRecord:
    """Stage the pictures and write manifest, TOML, command, environment and record, in that order."""
    settings, plan, built = preparation.settings, preparation.plan, preparation.built
    assert plan is not None and built is not None
    make_stage(plan)
    if not settings.skip_manifest:
        write_manifest(settings.manifest_out, built.document)
    files.write_text(settings.dataset_config, preparation.dataset_toml)
    commit = read_commit(trainer.folder)
    command = {"argv": preparation.command, "cwd": str(trainer.folder), "script": TRAINER_SCRIPT, "trainer_commit": commit}
    files.write_json(settings.output_dir / COMMAND_FILE, command)
    files.write_json(settings.output_dir / ENVIRONMENT_FILE, read_environment(trainer))
    resume = preparation.resume
    record = TrainingRecord(
        run_id=preparation.run_id,
        state="prepared",
        started=utc(datetime.now(UTC)),
        output_name=settings.output_name,
        output_dir=str(settings.output_dir),
        dataset_id=None if settings.skip_manifest else preparation.dataset_id,
        dataset_manifest=None if settings.skip_manifest else str(settings.manifest_out),
        dataset_manifest_hash=preparation.manifest_hash,
        max_train_steps=settings.max_train_steps,
        rate_per_hr=price.rate_per_hr,
        gpu=price.gpu,
        argv=preparation.command,
        trainer_commit=commit,
        resumed_from=str(resume.state_dir) if resume else None,
        first_step=resume.step if resume else 0,
        steps=resume.step if resume else 0,
    )
    record.write()
    return record


class _Run:
    """One run of the trainer, from its start to its end."""

    def __init__(
        self, preparation: Preparation, trainer: Trainer, record: TrainingRecord, watcher: Watcher, held: Held, beat: Callable[[], None]
    ) -> None:
        self._beat = beat
        self._preparation, self._trainer, self._record, self._watcher, self._held = preparation, trainer, record, watcher, held
        self._output_dir = preparation.settings.output_dir
        self._chunks: queue.Queue[tuple[int, bytes]] = queue.Queue(QUEUE_CHUNKS)
        self._splitters = {1: LineSplitter(), 2: LineSplitter()}
        self._failure = FailureWatch()
        self._points = [point for point in read_loss_table(self._output_dir) if point.step <= record.first_step]
        self._began = time.monotonic()
        self._next_record = 0.0

    def train(self) -> None:
        record = self._record
        with open(self._output_dir / LOG_FILE, "ab") as log:
            group = ProcessGroup(self._preparation.command, self._trainer.folder, trainer_environment())
            try:
                record.state, record.process_group = "running", group.id
                record.write()
                self._follow(group, log)
                record.returncode = group.process.wait()
            except BaseException as error:
                with _deaf_to_signals():
                    group.stop(*STOP_SIGNALS)
                    self._drain(log)
                    by_person = isinstance(error, KeyboardInterrupt)
                    self._end("interrupted" if by_person else "failed", "" if by_person else f"{type(error).__name__}: {error}")
                raise
            if group.is_alive():  # what the launcher left behind would keep the GPU
                group.stop(*STOP_SIGNALS)
            fault = self._find_fault()
            self._end("failed" if fault else "finished", fault)

    def _follow(self, group: ProcessGroup, log: IO[bytes]) -> None:
        """Read both pipes until they end, or the launcher has ended and says no more."""
        for number, pipe in ((1, group.process.stdout), (2, group.process.stderr)):
            threading.Thread(target=_pump, args=(number, pipe, self._chunks), daemon=True).start()
        open_pipes, last_word = 2, math.inf
        while open_pipes and time.monotonic() < last_word:
            try:
                number, data = self._chunks.get(timeout=0.2)
            except queue.Empty:
                number, data = 0, b""
            if number and not data:
                open_pipes -= 1
            self._take(number, data, log)
            if group.process.poll() is not None:
                last_word = min(last_word, time.monotonic() + LAST_OUTPUT_SECONDS)
            self._keep_record()
        for number, splitter in self._splitters.items():
            for line in splitter.flush():
                self._see(number, line)

    def _drain(self, log: IO[bytes]) -> None:
        """What the trainer still said while it was stopped."""
        with contextlib.suppress(queue.Empty):
            while True:
                number, data = self._chunks.get(timeout=0.2)
                self._take(number, data, log)

    def _take(self, number: int, data: bytes, log: IO[bytes]) -> None:
        if not data:
            return
        log.write(data)
        log.flush()
        for line in self._splitters[number].feed(data):
            self._see(number, line)

    def _see(self, number: int, line: str) -> None:
        self._failure.see(line)
        report = read_step(line) if number == 2 else None
        if report:
            self._step(report)
        elif (saved := read_saved(line)) is not None:
            self._watcher.on_checkpoint(saved, self._record)
            write_loss_table(self._output_dir, self._points)
            self._next_record = 0.0

    def _step(self, report: StepReport) -> None:
        record = self._record
        step = record.max_train_steps - report.total + report.step  # a resumed run counts only what is left
        if report.loss is not None and report.step:
            if self._points and self._points[-1].step == step:
                self._points.pop()
            self._points.append(LossPoint(step, report.loss))
            record.loss = report.loss if math.isfinite(report.loss) else None
        if step > record.steps and math.isnan(report.loss or 0.0):
            self._watcher.note(f"warning: the loss is NaN at step {step}: the run has diverged, what it saves from here on is noise")
        record.steps = max(record.steps, step)
        record.account(time.monotonic() - self._began)
        self._watcher.on_step(report, step, record)

    def _keep_record(self) -> None:
        now = time.monotonic()
        if now >= self._next_record:
            self._next_record = now + RECORD_SECONDS
            self._record.account(now - self._began)
            self._record.write()
            self._held.refresh()
            self._beat()

    def _find_fault(self) -> str:
        """Why the run is no success; empty if it is."""
        record, settings = self._record, self._preparation.settings
        final = settings.output_dir / f"{settings.output_name}.safetensors"
        if record.returncode:
            return self._failure.cause() or f"return code {record.returncode}, without a message"
        if not is_lora_of(final, record.run_id):
            return f"return code 0, but {final.name} was not written: {self._failure.cause() or 'it gave no message'}"
        return ""

    def _end(self, state: Any, fault: str) -> None:
        record = self._record
        record.state, record.failure = state, fault or None
        record.ended = utc(datetime.now(UTC))
        record.account(time.monotonic() - self._began)
        record.lora_files = list_loras(self._output_dir, record.output_name, lambda path: is_lora_of(path, record.run_id))
        record.write()
        write_loss_table(self._output_dir, self._points)


def is_lora_of(path: Path, run_id: str) -> bool:
    """Whether a file is a whole LoRA that this run wrote, by what it says of itself."""
    try:
        header = read_lora_header(path)
    except (InputError, OSError):
        return False
    return header.is_whole and run_id in header.metadata.get("ss_training_comment", "")


def _pump(number: int, pipe: Any, chunks: queue.Queue[tuple[int, bytes]]) -> None:
    with contextlib.suppress(OSError, ValueError), pipe:
        while data := pipe.read(1 << 16):
            chunks.put((number, data))
    chunks.put((number, b""))


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP (a closed terminal) stop a run as Ctrl-C does. For the main thread of a script."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    with _handling(stop, ("SIGTERM", "SIGHUP", "SIGBREAK")):
        yield


@contextlib.contextmanager
def _deaf_to_signals() -> Iterator[None]:
    """While the group is being stopped, an impatient second Ctrl-C must not leave half of it alive."""
    with _handling(signal.SIG_IGN, ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")):
        yield


@contextlib.contextmanager
def _handling(handler: Callable[[int, Any], None] | signal.Handlers, names: tuple[str, ...]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    # one that is ignored (nohup) stays ignored
    before = {number: signal.signal(number, handler) for number in numbers if signal.getsignal(number) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
