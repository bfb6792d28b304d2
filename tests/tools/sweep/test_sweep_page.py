"""The page of a sweep: what it says without a script, and what its script gets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.tools.sweep.swept_page import curve_page, settings_page, write_swept
from tools.sweep.checkpoint_curve import WITHHELD
from tools.sweep.sweep_page import page_document


def told(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="told">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_sentence_comes_first_and_nothing_is_lost_without_a_script(tmp_path: Path) -> None:
    text = write_swept(tmp_path, curve_page()).read_text(encoding="utf-8")
    assert text.index("Use anna-step00000500.safetensors at strength 0.80") < text.index("Demo pictures.") < text.index('class="tiles"')
    assert "anna &lt;run&gt;" in text and "<run>" not in text
    assert "2 of 3 pictures so far" in text  # the checkpoint that is not finished says so in the table
    assert text.count('<li class="pic') == 17
    assert text.count("data:image/webp;base64,") == 17
    assert 'href="rung_1/approved/step500_str0.80_1.png"' in text
    assert "&lt;b&gt;in&lt;/b&gt; a cafe" in text


def test_the_script_gets_the_curve_the_cells_and_the_picture_of_the_chosen_one_beside(tmp_path: Path) -> None:
    data = told(write_swept(tmp_path, curve_page()).read_text(encoding="utf-8"))
    assert data["chosen"] == "step500_str0.80"
    assert [each["key"] for each in data["curve"]["traits"]] == ["overall", "identity", "skin", "copying"]  # variety takes four pictures
    assert data["heat"]["configs"][1] == [["step500_str0.60"], ["step500_str0.80"]]
    scene = [item["config"] for item in data["pictures"] if item["prompt"] == 1]
    assert scene[:2] == ["step500_str0.80", "step250_str0.60"]  # the chosen one leads each scene
    unfinished = data["curve"]["points"][5]
    assert (unfinished["unjudged"], unfinished["values"]["identity"]["low"]) == ("2 of 3 pictures so far", None)
    for item in data["pictures"]:
        beside = item["beside"] and data["pictures"][item["beside"] - 1]
        assert (beside is None) == (item["config"] == "step500_str0.80")
        assert beside is None or (beside["config"], beside["prompt"]) == ("step500_str0.80", item["prompt"])


def test_a_cell_of_several_configurations_is_a_group_of_its_own() -> None:
    document = page_document(settings_page()[0])
    assert document["heat"]["rows"] == {"title": "Checkpoint", "names": ["step1000", "step2000"]}
    assert document["heat"]["cells"][1][1]["mark"] == "chosen"
    last = document["groups"][-1]
    assert last["key"] == "1,1"
    assert last["title"] == "Checkpoint step2000, LoRA strength 0.80: 2 configurations"
    assert sorted(last["configs"]) == ["step2000_str0.80_cfg4", "step2000_str0.80_cfg6"]
    assert document["groups"][0]["title"] == f"{document['chosen']} (chosen)"
    assert document["curve"] is None and len(document["tables"]) == 1


def test_trained_references_are_told_first_and_last(tmp_path: Path) -> None:
    text = write_swept(tmp_path, curve_page(references_trained=True)).read_text(encoding="utf-8")
    places = [found.start() for found in re.finditer(re.escape(f"</strong> {WITHHELD}"), text)]
    assert len(places) == 2
    assert places[0] < text.index('class="tiles"') and places[1] > text.index('id="grid"')


def test_a_picture_that_is_gone_leaves_its_place(tmp_path: Path) -> None:
    page, shots = curve_page()
    write_swept(tmp_path, (page, shots))
    (tmp_path / shots[0].file).unlink()
    for small in (tmp_path / "rung_1/.work/thumbnails").iterdir():
        small.unlink()
    from tools.sweep.sweep_page import write_sweep_page

    write_sweep_page(tmp_path / "again.html", page, command="x", when="2026-11-30T04:00:00Z")
    assert (tmp_path / "again.html").read_text(encoding="utf-8").count("cannot be shown") == 1
