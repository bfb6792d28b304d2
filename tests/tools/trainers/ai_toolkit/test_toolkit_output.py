"""ai-toolkit's output is read as its own bar draws it (lines drawn by its `ToolkitProgressBar`, with tqdm)."""

from __future__ import annotations

import pytest

from tools.trainers.ai_toolkit.toolkit_output import WITHOUT_MEMORY, ToolkitOutput
from tools.trainers.trainer import Remark, SavedFile, StepReport

DRAWN = (
    "v3:  50%|█████     | 10/20 [00:00<?, ?it/s]",
    "v3:  50%|█████     | 10/20 [00:00<?, ?it/s, lr: 1.0e-04 loss: 9.091e-02]",
    "v3:  55%|█████▌    | 11/20 [00:00<00:01,  6.59it/s, lr: 1.0e-04 loss: 9.091e-02]",
    "v3:  55%|█████▌    | 11/20 [00:00<00:01,  6.59it/s, lr: 1.0e-04 loss: 8.333e-02]",
    "v3:  55%|█████▌    | 11/20 [00:10<00:01,  6.59it/s, lr: 1.0e-04 loss: 8.333e-02]",
    "v3:  65%|██████▌   | 13/20 [00:00<00:01,  6.63it/s, lr: 1.0e-04 loss: 7.143e-02]",
    "v3:  70%|███████   | 14/20 [00:00<00:00, 11.43it/s, lr: 1.0e-04 loss: 7.143e-02]",
)


def test_a_loss_is_of_the_step_that_it_was_counted_for() -> None:
    output = ToolkitOutput(20, goes_on=False)
    told = [output.read(line, "stderr") for line in DRAWN]
    assert told[0] is None
    assert told[1] == StepReport(11, None, 0.09091)
    assert [(each.step, each.loss) for each in told if isinstance(each, StepReport)] == [
        (11, 0.09091),
        (11, 0.09091),
        (12, 0.08333),
        (12, 0.08333),
        (14, 0.07143),
        (14, 0.07143),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Caching latents to disk: 100%|██████████| 20/20 [00:00<00:00, 12.50it/s]",
        "v3:  50%|█████     | 10/40 [00:00<00:10, 2.00it/s, lr: 1.0e-04 loss: 9.091e-02]",
        f"v3:  50%|█████     | {'9' * 5000}/20 [00:00<00:10, 2.00it/s, lr: 1.0e-04 loss: 9.091e-02]",
    ],
)
def test_other_bars_are_no_steps(line: str) -> None:
    assert ToolkitOutput(20, goes_on=False).read(line, "stderr") is None


def test_what_is_said_in_passing() -> None:
    output = ToolkitOutput(20, goes_on=True)
    assert output.read(DRAWN[1], "stderr") == Remark(WITHOUT_MEMORY)  # nothing was loaded before the first step
    assert output.read(DRAWN[2], "stderr") == StepReport(11, 1 / 6.59, 0.09091)
    loaded = ToolkitOutput(20, goes_on=True)
    assert loaded.read("Loading optimizer state from /out/optimizer.pt", "stdout") is None
    assert isinstance(loaded.read(DRAWN[1], "stderr"), StepReport)
    assert output.read("Saved checkpoint to /a/out/./v3_000000005.safetensors", "stdout") == SavedFile("/a/out/./v3_000000005.safetensors")
    remark = output.read("loss is nan", "stdout")
    assert isinstance(remark, Remark) and "goes on" in remark.text


def test_why_it_ended() -> None:
    output = ToolkitOutput(20, goes_on=False)
    for line in ("Traceback (most recent call last):", "  File run.py", "torch.OutOfMemoryError: CUDA out of memory."):
        output.read(line, "stderr")
    assert output.cause() == "torch.OutOfMemoryError: CUDA out of memory."
    output.read("Job stopped", "stdout")
    assert "ends with return code 0" in output.cause()
