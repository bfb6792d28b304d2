"""Pages of small sweeps, over checkpoints and over settings, with pictures that are there."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.tools.sweep.curves import QUICK, cell, shots_of
from tools.sweep.analysis import Shot, choose
from tools.sweep.checkpoint_curve import CurveCell, read_curve
from tools.sweep.curve_report import judge_curve
from tools.sweep.design import make_grid
from tools.sweep.sweep_page import PAGE_FILE, SweepPage, page_of_curve, page_of_selection, write_sweep_page

PROMPTS = ("in a park", "<b>in</b> a cafe", "at the sea")
WHEN = "2026-11-30T04:00:00Z"


def lay_down(folder: Path, shots: list[Shot]) -> None:
    """A picture for each shot, where it says that it lies."""
    for number, shot in enumerate(shots):
        path = folder / shot.file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 60), (40 * (number % 6), 90, 160)).save(path)


def placed(shots: list[Shot]) -> list[Shot]:
    from dataclasses import replace

    return [replace(shot, file=f"rung_1/approved/{shot.file}") for shot in shots]


def curve_page(*, references_trained: bool = False) -> tuple[SweepPage, list[Shot]]:
    """Three checkpoints at two strengths; the last one is not finished."""
    cells: list[CurveCell] = [cell(step, strength) for step in (250, 500, 750) for strength in (0.6, 0.8)]
    shots: list[Shot] = []
    for place, each in enumerate(cells):
        level = (0.4, 0.45, 0.6, 0.7, 0.65, 0.6)[place]
        of = {"skin": lambda n: 0.7, "yaw": lambda n: 12.0 * n, "copying": lambda n: 0.1}
        shots += placed(shots_of(each.config, lambda n, at=level: at + 0.01 * (n % 2), prompts=2 if place == 5 else 3, **of))  # type: ignore[misc]
    curve = read_curve(shots, cells, QUICK, wanted=3, references_trained=references_trained)
    verdict = judge_curve(curve, QUICK)
    said = {"run_id": "anna <run>", "judgement": verdict.choice.sentence, "prompts": PROMPTS}
    return page_of_curve(verdict, shots, notice="demo only", facts=["18 pictures"], **said), shots


def settings_page() -> tuple[SweepPage, list[Shot]]:
    """Two LoRAs, two strengths, two CFG: the heat map is of the first two, each cell of two configurations."""
    configs = make_grid(["v-step1000.safetensors", "v-step2000.safetensors"], [0.6, 0.8], [4.0, 6.0], [None])
    shots: list[Shot] = []
    for place, each in enumerate(configs):
        shots += placed(shots_of(each.name, lambda n, at=place: 0.4 + 0.04 * at + 0.01 * (n % 2), prompts=3, skin=lambda n: 0.7))  # type: ignore[misc]
    selection = choose(shots, configs, QUICK, None)
    return page_of_selection(selection, configs, shots, QUICK, run_id="sw", judgement="Use it.", prompts=PROMPTS), shots


def write_swept(folder: Path, made: tuple[SweepPage, list[Shot]]) -> Path:
    page, shots = made
    lay_down(folder, shots)
    path = folder / PAGE_FILE
    write_sweep_page(path, page, command="tools/parameter_sweep.py", when=WHEN)
    return path
