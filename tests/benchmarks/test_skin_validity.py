"""skin_validity: its goals and shares on known numbers, and a small run through the real code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.goals import Figure, exit_code, render_figures, share
from benchmarks.skin_copies import changed_copies
from benchmarks.skin_figures import Judged, agreement_row, skin_rows, verdict_of
from benchmarks.skin_validity import main
from evals.faces.face_engine import Face
from evals.skin.realism import SkinScore
from lifeos import cli
from tests.evals.portraits import portrait


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (Figure("g", "n", 0.15, 3, 20, 0.15), "shown"),
        (Figure("g", "n", 0.20, 4, 20, 0.15), "missed"),
        (Figure("g", "n", 0.00, 0, 14, 0.15), "not shown"),
        (Figure("g", "n", 1.00, 14, 14, 0.15), "not shown"),
        (Figure("g", "n", 0.95, 19, 20, 0.95, at_least=True), "shown"),
        (Figure("g", "n", 0.90, 18, 20, 0.95, at_least=True), "missed"),
        (Figure("g", "n", None, None, 0, 0.95), "not shown"),
        (Figure("g", "n", 0.90, 18, 20), ""),
    ],
)
def test_a_goal_is_shown_missed_or_not_shown(row: Figure, status: str) -> None:
    assert row.status == status


def score(texture: float, doubt: float = 0.05) -> SkinScore:
    return SkinScore(texture, None, texture, 1.0, scale=64, texture_offset=texture, texture_range=(texture - doubt, texture + doubt))


@pytest.mark.parametrize(("texture", "verdict"), [(0.7, "pass"), (0.62, "borderline"), (0.58, "borderline"), (0.5, "rejected")])
def test_what_is_borderline_is_no_clear_verdict(texture: float, verdict: str) -> None:
    assert verdict_of(score(texture)) == verdict


def judged(untouched: float, lightness: float = 40.0, unit: float = 80.0, **changes: float) -> Judged:
    scores = {"untouched": untouched, **{name.replace("_", " "): value for name, value in changes.items()}}
    return Judged("p", unit, {name: score(value) for name, value in scores.items()}, lightness)


def test_changed_copies_count_where_the_untouched_picture_does_not_fail() -> None:
    items = [judged(0.9, defocus=0.2), judged(0.62, defocus=0.9), judged(0.2, defocus=0.1), judged(0.9, unit=30.0, defocus=0.1)]
    rows = {row.name: row for row in skin_rows("photos", items)}
    assert (rows["slight defocus: rejected"].hits, rows["slight defocus: rejected"].pictures) == (1, 2)
    kept = rows["untouched: pass or borderline"]
    assert (kept.hits, kept.pictures) == (2, 3)


def test_a_flip_goes_from_one_clear_verdict_to_the_other() -> None:
    items = [judged(0.9, JPEG_60=0.2), judged(0.9, JPEG_60=0.62), judged(0.62, JPEG_60=0.2), judged(0.2, JPEG_60=0.9)]
    row = next(row for row in skin_rows("photos", items) if row.name == "JPEG 60: flips")
    assert (row.hits, row.pictures) == (2, 4)


def test_lightness_is_correlated_and_halved() -> None:
    items = [judged(texture, lightness) for texture, lightness in zip((0.2, 0.5, 0.9, 0.9, 0.5, 0.9), range(6), strict=True)]
    rows = {row.name: row for row in skin_rows("photos", items)}
    ratio = next(row for name, row in rows.items() if name.startswith("below the limit: darker half 67%, lighter half 33%"))
    assert ratio.value == pytest.approx(2.0)


def test_engines_agree_by_the_pictures_that_both_see() -> None:
    row = agreement_row({"a": {"1": "pass", "2": "pass", "3": "pass"}, "b": {"1": "pass", "2": "rejected"}})
    assert row is not None and (row.hits, row.pictures, row.value) == (1, 2, 0.5)
    assert agreement_row({"a": {"1": "pass"}}) is None


def test_the_table_shows_figure_count_and_goal() -> None:
    figures = [
        Figure("photos", "filter: pass", 0.05, 1, 20, 0.10),
        Figure("photos", "AUC", 0.9, None, 20, 0.95, at_least=True, on="20 good and 30 bad"),
        Figure("photos", "few", 0.0, 0, 4, 0.10),
        Figure("photos", "report", 0.5, None, 4),
        share("photos", "rejected", 1, 29, 0.03),
    ]
    lines = render_figures(figures).splitlines()
    assert lines[1].split() == ["filter:", "pass", "5%", "1", "of", "20", "≤", "10%", "shown", "on", "20", "pictures"]
    assert lines[2].split() == ["AUC", "0.900", "≥", "0.95", "missed", "on", "20", "good", "and", "30", "bad"]
    assert lines[3].endswith("not shown: 4 pictures, 15 wanted")
    assert lines[4].split() == ["report", "0.500", "4", "pictures"]
    assert lines[5].split()[:5] == ["rejected", "3.4%", "1", "of", "29"] and lines[5].endswith("missed on 29 pictures")  # no "3 %" over 3 %
    assert lines[-1] == "1 goals shown, 2 missed, 1 not shown (too few pictures)"
    assert (exit_code(figures), exit_code([figures[0], *figures[2:4]])) == (1, 0)


def test_every_copy_differs_from_the_picture_and_keeps_its_shape() -> None:
    rgb = np.asarray(portrait())
    points = np.array([[200.0, 102.0], [247.0, 103.0], [220.0, 125.0], [199.0, 143.0], [240.0, 144.0]])
    copies = dict(changed_copies(rgb, Face((178.0, 63.0, 268.0, 176.0), points, 1.0)))
    assert np.array_equal(copies.pop("untouched"), rgb)
    for name, copy in copies.items():
        assert copy.shape[:2] != rgb.shape[:2] or (copy.shape == rgb.shape and not np.array_equal(copy, rgb)), name
    assert {"80 px", "plastic 80 px"} <= set(copies) and "128 px" not in copies  # the face is 90 pixels wide
    below = copies["painted grain"][300:] == copies["bilateral 1.0"][300:]
    assert below.all()  # on the face alone


def test_a_small_run_through_the_real_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, shift in enumerate((0, 15, -15), 1):
        crop = portrait().crop((110 + shift, 10, 340 + shift, 240))
        crop.resize((460, 460), Image.Resampling.BICUBIC).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert cli.run(lambda: main(["--references", str(tmp_path), "--json"])) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["untouched: pass"]["hits"] == 3
    assert rows["bilateral: AUC against untouched"]["value"] == 1.0
    assert rows["domain transform: Spearman with strength"]["value"] > 0.9
    assert rows["bilateral, white grain 6: pass"]["hits"] == 0
    assert {row["status"] for row in rows.values()} == {"", "not shown"}
    assert [name for name, row in rows.items() if not row["pictures"]] == []  # each names a change that is made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--photos", "{root}/none"], "error: {root}/none: no such directory", id="no folder"),
        pytest.param(["--photos", "{root}"], "error: {root}: no pictures in it", id="empty"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(lambda: main([item.format(root=tmp_path) for item in arguments])) == 2
    assert message.format(root=tmp_path) in capsys.readouterr().err
