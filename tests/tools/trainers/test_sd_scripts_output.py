"""The trainer's output is read as it really looks."""

from __future__ import annotations

import math

import pytest

from tools.trainers.sd_scripts_output import FailureWatch, LineSplitter, StepReport, read_saved, read_step


@pytest.mark.parametrize(
    ("line", "report"),
    [
        ("steps:  25%|██▌       | 1/4 [00:44<02:13, 44.56s/it, avr_loss=1.14]", StepReport(1, 4, 44.56, 1.14)),
        ("steps:   0%|          | 0/2500 [00:00<?, ?it/s]", StepReport(0, 2500, None, None)),
        ("steps:  50%|█████     | 1250/2500 [20:00<1:20:00, 2.00it/s, avr_loss=0.0812]", StepReport(1250, 2500, 0.5, 0.0812)),
        ("steps: 100%|██████████| 4/4 [02:58<00:00, 44.52s/it, avr_loss=9.1e-05, key_norm=0.1]", StepReport(4, 4, 44.52, 9.1e-05)),
        ("caching latents: 100%|██████████| 6/6 [00:00<00:00, 99.00it/s]", None),
        ("  0%|          | 0/6 [00:00<?, ?it/s]", None),
        ("INFO     steps: many", None),
    ],
)
def test_step_lines(line: str, report: StepReport | None) -> None:
    assert read_step(line) == report


def test_a_loss_that_is_no_number() -> None:
    report = read_step("steps:  25%|██▌       | 1/4 [00:44<02:13, 44.56s/it, avr_loss=nan]")
    assert report is not None
    assert report.loss is not None
    assert math.isnan(report.loss)


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_lines_whatever_the_chunks(size: int) -> None:
    data = "one\rtwo ██\r\nthree 学習\n\nfour".encode()
    splitter = LineSplitter()
    lines = [line for start in range(0, len(data), size) for line in splitter.feed(data[start : start + size])]
    assert lines == ["one", "two ██", "three 学習"]
    assert list(splitter.flush()) == ["four"]


def test_bytes_that_are_no_text() -> None:
    assert list(LineSplitter().feed(b"\xff\xfe\n")) == ["\ufffd\ufffd"]


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    splitter = LineSplitter()
    assert sum(len(line) for _ in range(100) for line in splitter.feed(b"x" * 10_000)) > 900_000


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


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (FAILURE, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
        ("usage: x\nx.py: error: unrecognized arguments: --bad\n", "x.py: error: unrecognized arguments: --bad"),
        ("ERROR No data found.\nbye", "ERROR No data found."),
        ("hello", "hello"),
        ("", ""),
    ],
)
def test_the_cause_is_not_the_launcher_s(text: str, cause: str) -> None:
    watch = FailureWatch()
    for line in text.splitlines():
        watch.see(line)
    assert watch.cause() == cause
