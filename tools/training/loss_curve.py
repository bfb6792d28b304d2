"""The loss of a run as a table and a picture."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lifeos import files
from tools.trainers.trainer import Trainer

CSV_FILE, PNG_FILE = "loss.csv", "loss_curve.png"
MOST_STEPS = 10**9


@dataclass(frozen=True, slots=True)
class LossPoint:
    """The trainer's moving average after a step. `part`: of a run that was continued, counted from 1; in each the average begins anew."""

    step: int
    loss: float
    part: int = 1


def write_loss_table(output_dir: Path, points: Sequence[LossPoint]) -> None:
    lines = [f"{point.step},{point.loss:.6g},{point.part}" for point in points]
    files.write_text(output_dir / CSV_FILE, "\n".join(["step,average_loss,part", *lines]) + "\n")


def read_loss_table(output_dir: Path) -> list[LossPoint]:
    """What `write_loss_table` wrote; nothing if there is no table. A damaged line is skipped."""
    points: list[LossPoint] = []
    if (output_dir / CSV_FILE).is_file():
        for line in files.read_text(output_dir / CSV_FILE).splitlines()[1:]:
            with contextlib.suppress(ValueError):
                step, loss, part = [*line.split(","), "1"][:3]  # version 3.0.0 wrote no part
                if 0 <= int(step) <= MOST_STEPS and 1 <= int(part) <= MOST_STEPS:
                    points.append(LossPoint(int(step), float(loss), int(part)))
    return points


def draw_loss_curve(output_dir: Path, points: Sequence[LossPoint], checkpoints: Sequence[int], title: str) -> Path | None:
    """Draw the curve with a line at each checkpoint; None if there is nothing to draw. Raises ModuleNotFoundError without matplotlib."""
    from matplotlib.figure import Figure  # not pyplot: it keeps figures alive and wants a display on some systems

    finite = [point for point in points if math.isfinite(point.loss)]
    if not finite:
        return None
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for index, step in enumerate(checkpoints):
        axes.axvline(step, color="0.8", linewidth=1, label="checkpoint" if index == 0 else None)
    parts = sorted({point.part for point in finite})
    for index, part in enumerate(parts):
        own = [point for point in finite if point.part == part]
        if index:
            text = "continued: the average begins anew" if index == 1 else None
            axes.axvline(own[0].step, color="tab:orange", linewidth=1, linestyle="--", label=text)
        axes.plot([point.step for point in own], [point.loss for point in own], color="tab:blue", label=None if index else "average loss")
    axes.set(xlabel="step", ylabel="average loss (moving, as the trainer prints it)", title=title.replace("$", r"\$"))
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.legend(loc="upper right")  # "best" looks at every point: slow, and it warns
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    files.write_bytes(output_dir / PNG_FILE, stream.getvalue())
    return output_dir / PNG_FILE


def draw_curve_of(output_dir: Path, output_name: str, trainer: Trainer) -> None:
    """Draw the loss curve of a run from its table; nothing if there is no loss yet, and a warning if it cannot be drawn."""
    names = (trainer.read_checkpoint_name(path.name, output_name) for path in output_dir.iterdir())
    steps = sorted(name.step for name in names if name and name.step is not None)
    try:
        draw_loss_curve(output_dir, read_loss_table(output_dir), steps, output_name)
    except ModuleNotFoundError:
        files.warn("no loss curve is drawn: matplotlib is not installed (run: python -m lifeos setup)")
    except OSError as error:
        files.warn(f"no loss curve is drawn: {error.filename or output_dir}: {error.strerror}")
