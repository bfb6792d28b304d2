"""Run the trainer and keep the record true: everything that explains the LoRA is on the disk before the first step."""

from __future__ import annotations

import contextlib
import math
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Any, Protocol

from lifeos import times
from lifeos.locks import Held, hold
from lifeos.process_group import ProcessGroup
from lifeos.signals import deaf_to_signals
from tools.trainers.endings import count_memory_kills, describe_returncode
from tools.trainers.trainer import Remark, SavedFile, StepReport, Stream, TrainerProcess
from tools.trainers.trainer_checkout import TrainerCheckout, trainer_environment
from tools.training.checkpoints import Checkpoints, Lookout, read_earlier
from tools.training.disk_room import describe_full, is_full
from tools.training.evidence import LOG_FILE, refuse_overwriting, set_aside, set_later_aside, write_evidence
from tools.training.line_splitter import LineSplitter
from tools.training.loss_curve import LossPoint, draw_curve_of, read_loss_table, write_loss_table
from tools.training.one_at_a_time import refuse_second
from tools.training.preparation import Preparation
from tools.training.process_identity import RUN_VARIABLE, start_time
from tools.training.saved_states import KEEP_LAST
from tools.training.stalling import Hearing, StallLimit
from tools.training.stocktaking import take_stock
from tools.training.stop_request import forget_stop_request, read_stop_request
from tools.training.tidying import remove_staged, tidy_states
from tools.training.training_record import LOCK_FILE, Price, TrainingRecord

STOP_SIGNALS = ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0))
"""As Ctrl-C does, which ends accelerate and the trainer in about 3 s; then harder. Seconds to wait for each."""

RECORD_SECONDS = 5.0
"""How old the record may be when the machine is taken away."""

REQUEST_SECONDS = 1.0
"""How often to look whether somebody asks the run to stop."""

LAST_OUTPUT_SECONDS = 5.0
"""How long to wait for output after the launcher has ended: something it left behind may hold the pipes open for ever."""

QUEUE_CHUNKS = 256


class TrainingWatcher(Protocol):
    """Who is told what happens."""

    def on_step(self, report: StepReport, record: TrainingRecord) -> None: ...
    def on_checkpoint(self, path: str, record: TrainingRecord) -> None: ...
    def note(self, message: str) -> None: ...


def run_training(
    preparation: Preparation,
    checkout: TrainerCheckout,
    price: Price,
    watcher: TrainingWatcher,
    *,
    overwrite: bool = False,
    finished_states: str = KEEP_LAST,
    beat: Callable[[bool], None] = lambda moved: None,
    stall: StallLimit | None = None,
) -> TrainingRecord:
    """Train. Returns the record, `finished` or `failed`; on KeyboardInterrupt stops the trainer, records that and raises it again.

    `finished_states`: which states are kept once the run has finished and its LoRA is proven sound (`all`, `last`, `none`). `beat` is
    called as often as the record is written: the heartbeat of the cost session, and whether the trainer has said or saved anything new.
    `stall`: when to warn that it has not, and whether to stop it then (None: never).

    Raises LockedError if a training is at work in the output folder, InputError if it would overwrite what it must not.
    """
    settings, stage = preparation.settings, preparation.stage
    assert stage is not None, "prepared on a machine without the dataset"
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    with hold(settings.output_dir / LOCK_FILE, str(settings.output_dir)) as held:
        before = refuse_second(settings.output_dir)
        refuse_overwriting(preparation, overwrite)
        forget_stop_request(settings.output_dir)
        earlier = None
        if preparation.resume:
            earlier = read_earlier(preparation.trainer, settings.output_dir, settings.output_name, preparation.identity.run_id)
            set_later_aside(preparation)
        else:
            set_aside(preparation, before)
        try:
            record = write_evidence(preparation, checkout, price, before if preparation.resume else None)
            _TrainerRun(preparation, record, watcher, held, beat, stall, earlier).train()
        except BaseException:
            remove_staged(settings.output_dir)
            forget_stop_request(settings.output_dir)
            raise
        draw_curve_of(settings.output_dir, settings.output_name, preparation.trainer)
        tidy_states(preparation.trainer, record, finished_states, watcher.note)
        remove_staged(settings.output_dir)  # last: as long as they are there, the cleaning up is taken up again (`finishing`)
    return record


class _TrainerRun:
    """One run of the trainer, from the start of its first process to the end of its last."""

    def __init__(
        self,
        preparation: Preparation,
        record: TrainingRecord,
        watcher: TrainingWatcher,
        held: Held,
        beat: Callable[[bool], None],
        stall: StallLimit | None,
        earlier: Mapping[str, str] | None,
    ) -> None:
        self._preparation, self._record, self._watcher, self._held, self._beat = preparation, record, watcher, held, beat
        self._output_dir = preparation.settings.output_dir
        settings = preparation.settings
        self._checkpoints = Checkpoints(preparation.trainer, settings.output_dir, settings.output_name, record.run_id, earlier)
        self._lookout = Lookout(self._checkpoints)
        self._stopped_because, self._said_nan, self._said_unwritten = "", False, False
        self._hearing = Hearing(self._output_dir, stall or StallLimit(), time.monotonic())
        self._points = [point for point in read_loss_table(self._output_dir) if point.step <= record.first_step]
        self._began = time.monotonic()
        self._memory_kills = count_memory_kills()
        self._next_record = self._next_request = 0.0
        self._group: ProcessGroup | None = None
        self._open(preparation.plan.processes[0])

    def _open(self, process: TrainerProcess) -> None:
        """Fresh ears for a process."""
        first, most = self._preparation.first_step, self._preparation.settings.max_train_steps
        self._output = self._preparation.trainer.open_output(process, first_step=first, max_steps=most)
        self._chunks: queue.Queue[tuple[Stream, bytes]] = queue.Queue(QUEUE_CHUNKS)
        self._splitters: dict[Stream, LineSplitter] = {"stdout": LineSplitter(), "stderr": LineSplitter()}

    def train(self) -> None:
        with open(self._output_dir / LOG_FILE, "ab", buffering=0) as log:
            try:
                fault = self._run_processes(log)
            except BaseException as error:
                with deaf_to_signals():
                    if self._group is not None:
                        self._group.stop(*STOP_SIGNALS)
                        self._drain(log)
                    by_person = isinstance(error, KeyboardInterrupt)
                    try:
                        self._end("interrupted" if by_person else "failed", "" if by_person else f"{type(error).__name__}: {error}")
                    except OSError as full:  # what ended the run is told, not what came of it
                        self._watcher.note(f"warning: {full.filename or self._output_dir} cannot be written: {full.strerror}")
                raise
            self._end("failed" if fault else "finished", fault)

    def _run_processes(self, log: IO[bytes]) -> str:
        """One process after the other, until one fails. Returns why the run is no success; empty if it is."""
        processes = self._preparation.plan.processes
        for number, process in enumerate(processes, 1):
            if len(processes) > 1:
                self._watcher.note(f"{number} of {len(processes)}: {process.name}")
            if fault := self._run_process(process, log):
                return fault
        return self._find_fault()

    def _run_process(self, process: TrainerProcess, log: IO[bytes]) -> str:
        record = self._record
        self._open(process)
        group = self._group = ProcessGroup(process.argv, process.cwd, {**trainer_environment(), RUN_VARIABLE: record.run_id})
        record.state, record.process, record.process_group, record.returncode = "running", process.name, group.id, None
        record.process_started = start_time(group.id)
        self._write(record.write)
        self._hearing.moved(time.monotonic())
        self._follow(group, log)
        record.returncode = group.process.wait()
        if group.is_alive():  # what the launcher left behind would keep the GPU
            group.stop(*STOP_SIGNALS)
        if self._stopped_because or not record.returncode:
            return self._stopped_because
        return self._why_it_failed(record.returncode)

    def _why_it_failed(self, returncode: int) -> str:
        """The trainer's own reason, the signal that ended it, or the full disk."""
        settings = self._preparation.settings
        killed = describe_returncode(returncode)
        cause = killed if returncode < 0 and killed else self._output.cause() or killed or f"return code {returncode}, without a message"
        if is_full(cause):
            return describe_full(settings.output_dir, settings.output_name, self._preparation.trainer, cause)
        kills = count_memory_kills()
        if "SIGKILL" in cause and kills is not None and self._memory_kills is not None and kills > self._memory_kills:
            return f"{cause}. The kernel says so: its out-of-memory killer struck {kills - self._memory_kills} time(s) here meanwhile"
        return cause

    def _follow(self, group: ProcessGroup, log: IO[bytes]) -> None:
        """Read both pipes until they end, or the launcher has ended and says no more."""
        pipes: tuple[tuple[Stream, IO[bytes] | None], ...] = (("stdout", group.process.stdout), ("stderr", group.process.stderr))
        for stream, pipe in pipes:
            threading.Thread(target=_pump, args=(stream, pipe, self._chunks), daemon=True).start()
        open_pipes, last_word = 2, math.inf
        while open_pipes and time.monotonic() < last_word:
            with contextlib.suppress(queue.Empty):
                source, data = self._chunks.get(timeout=0.2)
                open_pipes -= not data
                self._take(source, data, log)
            if group.process.poll() is not None:
                last_word = min(last_word, time.monotonic() + LAST_OUTPUT_SECONDS)
            self._keep_record()
            self._look_at_checkpoints(group, log)
            self._look_at_silence(group, log)
        for source, splitter in self._splitters.items():
            for line in splitter.flush():
                self._see(line, source)
        self._lookout.settle()  # what it found, the end finds too: no file is read by two at once

    def _look_at_checkpoints(self, group: ProcessGroup, log: IO[bytes]) -> None:
        """Stop a run whose saved weights are no numbers: every further step is paid for nothing."""
        if not self._stopped_because and (fault := self._lookout.poll(time.monotonic())):
            self._stop_because(self._diverged_because(fault, " and was stopped"), group, log)

    def _look_at_silence(self, group: ProcessGroup, log: IO[bytes]) -> None:
        """Say that the trainer has said nothing new for long, and stop it where that is asked for."""
        word = self._hearing.look(time.monotonic())
        self._record.is_stalled, self._record.last_progress = self._hearing.is_stalled, self._hearing.last_progress
        if not word or self._stopped_because:
            return
        self._next_record = 0.0
        if self._hearing.must_stop:
            self._stop_because(f"{word}, and it was stopped (--stop-stalled)", group, log)
        else:
            self._remark(word)

    def _stop_because(self, why: str, group: ProcessGroup, log: IO[bytes]) -> None:
        self._stopped_because = why
        group.stop(*STOP_SIGNALS)
        self._drain(log)

    def _diverged_because(self, fault: str, stopped: str = "") -> str:
        good, self._record.has_diverged = self._checkpoints.last_good(), True
        return f"the run has diverged{stopped}, its weights are no numbers ({fault}); " + (
            f"the last good checkpoint is {good}" if good else "there is no good checkpoint of it, so lower the learning rate"
        )

    def _drain(self, log: IO[bytes]) -> None:
        """What the trainer still said while it was stopped."""
        with contextlib.suppress(queue.Empty):
            while True:
                source, data = self._chunks.get(timeout=0.2)
                self._take(source, data, log)

    def _take(self, source: Stream, data: bytes, log: IO[bytes]) -> None:
        if not data:
            return
        self._write(lambda: log.write(data))
        for line in self._splitters[source].feed(data):
            self._see(line, source)

    def _see(self, line: str, source: Stream) -> None:
        self._hearing.hear(line, time.monotonic())
        told = self._output.read(line, source)
        if isinstance(told, SavedFile):
            self._watcher.on_checkpoint(told.path, self._record)
            self._checkpoints.expect(told.path)
            self._write(lambda: write_loss_table(self._output_dir, self._points))
            self._next_record = 0.0
        elif isinstance(told, Remark):
            self._remark(told.text)
        elif told is not None:
            self._step(told)

    def _step(self, report: StepReport) -> None:
        record, step = self._record, report.step
        if report.loss is not None:
            if self._points and self._points[-1].step == step:
                self._points.pop()
            self._points.append(LossPoint(step, report.loss, len(record.parts) + 1))
            record.loss = report.loss if math.isfinite(report.loss) else None
        if step > record.steps and math.isnan(report.loss or 0.0):
            self._note_nan_loss(step)
        record.steps = max(record.steps, step)
        record.account(time.monotonic() - self._began)
        self._watcher.on_step(report, record)

    def _note_nan_loss(self, step: int) -> None:
        if not self._said_nan:
            self._said_nan = True
            more = "a trainer's average stays NaN after one bad step, so the weights of each checkpoint are looked at"
            self._remark(f"the loss is NaN from step {step} on: {more}")

    def _remark(self, text: str) -> None:
        if self._record.remark(text):
            self._watcher.note(f"warning: {text}")

    def _write(self, write: Callable[[], object]) -> None:
        """Write log, record or table. That it cannot be written is told once and stops nothing: the training costs more than its log."""
        try:
            write()
        except OSError as error:
            if not self._said_unwritten:
                self._said_unwritten = True
                what = error.filename or self._output_dir / LOG_FILE
                self._watcher.note(f"warning: {what} cannot be written ({error.strerror}); the training goes on, its log has a gap")

    def _keep_record(self) -> None:
        now = time.monotonic()
        if now >= self._next_record:
            self._next_record = now + RECORD_SECONDS
            self._record.account(now - self._began)
            self._write(self._record.write)
            self._held.refresh()
            self._beat(self._hearing.take_progress())
        if now >= self._next_request:
            self._next_request = now + REQUEST_SECONDS
            if request := read_stop_request(self._output_dir, self._record.run_id):
                self._remark(f"stopped on request: {request.why}")
                raise KeyboardInterrupt

    def _find_fault(self) -> str:
        """Why the run is no success though every process ended with 0; empty if it is."""
        final = self._checkpoints.final
        self._checkpoints.correct_all()  # before its weights are read: a file that changes is read again
        if not self._checkpoints.is_ours(final):
            return f"return code 0, but {final.name} was not written: {self._output.cause() or 'it gave no message'}"
        if broken := self._checkpoints.find_no_numbers(final):
            return self._diverged_because(f"{final.name}: {broken}")
        fault = self._checkpoints.fault_of(final)
        return f"{final.name}: {fault}" if fault else ""

    def _end(self, state: Any, fault: str) -> None:
        self._lookout.close()
        record = self._record
        record.state, record.failure = state, fault or None
        record.ended = times.stamp()
        record.account(time.monotonic() - self._began)
        self._remark(take_stock(self._preparation.trainer, record, self._checkpoints))
        self._write_last_record()
        self._write(lambda: write_loss_table(self._output_dir, self._points))

    def _write_last_record(self) -> None:
        try:
            self._record.write()
        except OSError:
            remove_staged(self._output_dir)  # on a full disk they make the room that the record needs
            self._record.write()


def _pump(source: Stream, pipe: Any, chunks: queue.Queue[tuple[Stream, bytes]]) -> None:
    with contextlib.suppress(OSError, ValueError), pipe:
        while data := pipe.read(1 << 16):
            chunks.put((source, data))
    chunks.put((source, b""))
