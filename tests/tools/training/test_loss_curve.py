"""The table of losses is read back, and a damaged line costs only itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.training.loss_curve import CSV_FILE, LossPoint, draw_loss_curve, read_loss_table, write_loss_table


def test_there_and_back(tmp_path: Path) -> None:
    points = [LossPoint(1, 0.5), LossPoint(2, 0.25), LossPoint(3, 0.75, 2)]
    write_loss_table(tmp_path, points)
    assert read_loss_table(tmp_path) == points


def test_damaged_lines_are_left_out(tmp_path: Path) -> None:
    lines = [
        "step,average_loss",
        "1,0.5",
        "2",
        "x,0.1",
        "3,y",
        "-4,0.1",
        f"{'9' * 400},0.1",
        f"{'9' * 5000},0.1",
        "1,2,x",
        "1,2,0",
        "",
        "5,0.125",
        "6,0.25,2,more",
    ]
    (tmp_path / CSV_FILE).write_text("\n".join(lines), encoding="utf-8")
    assert read_loss_table(tmp_path) == [LossPoint(1, 0.5), LossPoint(5, 0.125), LossPoint(6, 0.25, 2)]


def test_a_continued_run_is_drawn_in_parts(tmp_path: Path) -> None:
    points = [LossPoint(step, 1 / step, 1 if step < 5 else 2) for step in range(1, 9)]
    drawn = draw_loss_curve(tmp_path, points, [4, 8], "v3")
    assert drawn is not None and drawn.read_bytes().startswith(b"\x89PNG")
    whole = drawn.read_bytes()
    again = draw_loss_curve(tmp_path, [LossPoint(point.step, point.loss) for point in points], [4, 8], "v3")
    assert again is not None and again.read_bytes() != whole  # the break is visible


def test_losses_that_are_no_numbers_are_not_drawn(tmp_path: Path) -> None:
    (tmp_path / CSV_FILE).write_text("step,average_loss\n1,nan\n2,inf\n3,1e999", encoding="utf-8")
    assert draw_loss_curve(tmp_path, read_loss_table(tmp_path), [2], "v3") is None


def test_no_place_for_the_legend_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hundreds of checkpoints and thousands of steps that took seconds, and matplotlib warned of it."""
    from matplotlib.legend import Legend

    monkeypatch.setattr(Legend, "_find_best_position", None)
    assert draw_loss_curve(tmp_path, [LossPoint(1, 0.5), LossPoint(2, 0.25)], [2], "v3") is not None
