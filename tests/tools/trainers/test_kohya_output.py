"""The trainer's output is read as it really looks."""

from __future__ import annotations

import math

import pytest

from tools.trainers.kohya_output import FailureWatch, KohyaOutput, StepCounter, read_counter, read_saved
from tools.trainers.trainer import Remark, SavedFile, StepReport


@pytest.mark.parametrize(
    ("line", "counter"),
    [
        ("steps:  25%|██▌       | 1/4 [00:44<02:13, 44.56s/it, avr_loss=1.14]", StepCounter(1, 4, 44.56, 1.14)),
        ("steps:   0%|          | 0/2500 [00:00<?, ?it/s]", StepCounter(0, 2500, None, None)),
        ("steps:  50%|█████     | 1250/2500 [20:00<1:20:00, 2.00it/s, avr_loss=0.0812]", StepCounter(1250, 2500, 0.5, 0.0812)),
        ("steps: 100%|██████████| 4/4 [02:58<00:00, 44.52s/it, avr_loss=9.1e-05, key_norm=0.1]", StepCounter(4, 4, 44.52, 9.1e-05)),
        ("caching latents: 100%|██████████| 6/6 [00:00<00:00, 99.00it/s]", None),
        ("  0%|          | 0/6 [00:00<?, ?it/s]", None),
        ("INFO     steps: many", None),
        (f"steps:  25%|██▌       | {'9' * 5000}/4 [00:44<02:13, 44.56s/it]", None),
        (f"steps:  25%|██▌       | 1/4 [00:44<02:13, {'9' * 5000}s/it]", None),
        ("steps:  25%|██▌       | 1/4 [00:44<02:13, 1.2.3s/it]", None),
    ],
)
def test_step_lines(line: str, counter: StepCounter | None) -> None:
    assert read_counter(line) == counter


def test_a_loss_that_is_no_number() -> None:
    report = read_counter("steps:  25%|██▌       | 1/4 [00:44<02:13, 44.56s/it, avr_loss=nan]")
    assert report is not None
    assert report.loss is not None
    assert math.isnan(report.loss)


def test_saved_checkpoints() -> None:
    assert read_saved("saving checkpoint: /out/a b-step00000500.safetensors") == "/out/a b-step00000500.safetensors"
    assert read_saved("removing old checkpoint: /out/a.safetensors") is None


FAILURE = """
steps:   0%|          | 0/4 [00:00<?, ?it/s]Traceback (most recent call last):
  File "sdxl_train_network.py", line 9, in <module>
    train()
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB
steps:   0%|          | 0/4 [00:00<?, ?it/s]Traceback (most recent call last):
  File "accelerate", line 8, in <module>
    sys.exit(main())
subprocess.CalledProcessError: Command '['python', 'sdxl_train_network.py']' returned non-zero exit status 1.
"""


BUCKETS = "mean ar error (without repeats): 0.18237704918032788"
COMMAND = "subprocess.CalledProcessError: Command '['python', 'sdxl_train_network.py', '--output_name', 'error']'"
KILLED = COMMAND + " died with <Signals.SIG{1}: {0}>."
FAILED = COMMAND + " returned non-zero exit status {0}."


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (FAILURE, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
        ("usage: x\nx.py: error: unrecognized arguments: --bad\n", "x.py: error: unrecognized arguments: --bad"),
        ("ERROR No data found.\nbye", "ERROR No data found."),
        ("hello", "it gave no reason; its last words: hello"),
        ("", ""),
        # a run whose trainer was killed: nothing but what every run prints, and the launcher
        (
            f"{BUCKETS}\nrunning training\n{KILLED.format(9, 'KILL')}",
            "killed by SIGKILL: usually",
        ),
        (f"{BUCKETS}\n{FAILED.format(137)}", "killed by SIGKILL: usually the machine"),
        (f"{BUCKETS}\n{FAILED.format(1)}", "it gave no reason; its last words: mean ar error"),
        (f"{KILLED.format(7, 'BUS')}", "killed by SIGBUS: usually /dev/shm is too small"),
        (
            f"{FAILURE}{KILLED.format(6, 'ABRT')}",
            "killed by SIGABRT: a compiled package gave up: the lines before it in the log say why. It had",
        ),
    ],
)
def test_the_cause_is_not_the_launcher_s(text: str, cause: str) -> None:
    watch = FailureWatch()
    for line in text.splitlines():
        watch.see(line, "stderr")
    assert watch.cause().startswith(cause) and bool(watch.cause()) == bool(cause)


def test_what_comes_by_the_other_pipe_is_not_taken_for_the_cause() -> None:
    """Both are read as they come: a line printed long ago may arrive in the middle of a traceback."""
    watch = FailureWatch()
    watch.see("Traceback (most recent call last):", "stderr")
    watch.see('  File "train.py", line 7, in save', "stderr")
    watch.see("saving checkpoint: /out/v3-step00000015.safetensors", "stdout")
    watch.see("OSError: [Errno 28] No space left on device", "stderr")
    watch.see("  2 of 20", "stdout")
    assert watch.cause() == "OSError: [Errno 28] No space left on device"


def test_steps_are_counted_from_the_run_s_start() -> None:
    """A run of 20 that goes on at 15: the trainer's counter goes to 5."""
    output = KohyaOutput(20)
    assert output.read("steps:  40%|████      | 2/5 [00:02<00:03, 1.00s/it, avr_loss=0.5]", "stderr") == StepReport(17, 1.0, 0.5)
    assert output.read("steps:  40%|████      | 2/5 [00:02<00:03, 1.00s/it, avr_loss=0.5]", "stdout") is None
    assert output.read("saving checkpoint: /out/v3-step00000020.safetensors", "stdout") == SavedFile("/out/v3-step00000020.safetensors")
    assert output.read("hello", "stdout") is None
    assert output.cause() == "it gave no reason; its last words: hello"


def test_remarks() -> None:
    told = KohyaOutput(20).read("2026-11-29 17:40:10,233 INFO Could not load random states", "stdout")
    assert isinstance(told, Remark) and "could not load the random states" in told.text
