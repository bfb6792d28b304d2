"""The curve as a document and as Markdown."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.tools.sweep.curves import QUICK, make_curve
from tools.sweep.checkpoint_curve import WITHHELD
from tools.sweep.curve_report import curve_document, extra_cost, heat_map, judge_curve, render_curve

LEVELS = {250: [0.4, 0.45], 500: [0.55, 0.6], 750: [0.5, 0.4]}


def test_the_document_holds_the_curve_the_heat_map_the_choice_and_the_advice() -> None:
    document = curve_document(judge_curve(make_curve(LEVELS, strengths=(0.6, 0.8)), QUICK))
    json.dumps(document, allow_nan=False)
    assert document["choice"]["chosen"] == {
        "config": "step500_str0.80", "checkpoint": "anna-step00000500.safetensors", "step": 500, "strength": 0.8,
    }  # fmt: skip
    cells = document["heat_map"]
    assert (cells["rows"], cells["columns"], cells["chosen"]) == ([250, 500, 750], [0.6, 0.8], [1, 1])
    assert cells["values"][1][1] == document["points"][3]["values"]["overall"]["mean"] == document["choice"]["score"]
    assert [each["step"] for each in document["advice"]] == [250, 500, 750]
    assert document["traits"][0] == "overall" and document["notice"] is None


def test_what_is_not_judged_has_no_value_in_the_heat_map() -> None:
    curve = make_curve(LEVELS, strengths=(0.6, 0.8))
    waiting = replace(curve, shortfalls=("", "", "", "", "", "only 2 of 8 pictures have a score"))
    values = heat_map(waiting, None)["values"]
    assert values[2] == [waiting.mean(4, "overall"), None]


def test_the_choice_comes_first_in_the_report_and_the_notice_first_and_last() -> None:
    text = render_curve(judge_curve(make_curve(LEVELS, strengths=(0.6, 0.8)), QUICK), 0.95)
    assert text.startswith("## Which checkpoint\n\n**Use anna")
    assert "| 500 | 0.80 | 0." in text
    withheld = render_curve(judge_curve(make_curve(LEVELS, strengths=(0.6, 0.8), references_trained=True), QUICK), 0.95)
    assert withheld.startswith(f"> **{WITHHELD}**") and withheld.endswith(f"> {WITHHELD}")


def test_the_cost_of_comparing_recipes() -> None:
    assert extra_cost(1.5).endswith("3 more trainings would cost about $4.50.")
