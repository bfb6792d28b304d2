"""A workflow file that anybody wrote is a workflow or one error of ours, wherever its parts have a wrong type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from lifeos.errors import InputError, LifeosError
from tests.examples import EXAMPLES
from tests.tools.backends.any_answers import JSON, mutated
from tools.workflows.workflow import Settings, Workflow

BUILT_IN = Workflow.built_in().graph
WANTED = Settings(positive="a", negative="b", seed=1, steps=2, cfg=3.0, width=64, height=64, lora="l", lora_strength=0.5, sampler="euler")


def with_meta(meta: Any) -> str:
    return json.dumps({name: node | {"_meta": meta} for name, node in BUILT_IN.items()})


@pytest.mark.parametrize("meta", [[], "x", 5, {"title": ["x"]}, {"title": 5}, None, {}])
def test_a_title_that_is_none_is_left_out(tmp_path: Path, meta: Any) -> None:
    path = tmp_path / "w.json"
    path.write_text(with_meta(meta), encoding="utf-8")
    assert Workflow.load(path).fill(Settings(seed=5)).lines()[0].startswith("seed: 5 → seed of node ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"1": {"class_type": "A", "inputs": {"seed": %s}}}' % ("9" * 400), "$.1.inputs.seed: 99999999999999999999… (400 characters)"),
        ('{"1": {"class_type": "A", "inputs": {"cfg": 1e308}}}', "$.1.inputs.cfg: 1e+308 is beyond 64 bits"),
        ("[" * 100_000, "nested deeper than 64 levels"),
        ('{"1": ', "not JSON: Expecting value (line 1, column 7)"),
    ],
    ids=["400 digits", "1e308", "deep", "cut short"],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "w.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Workflow.load(path)
    assert f"{path}: {why}" in str(caught.value)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(document=mutated(BUILT_IN) | JSON)
def test_any_workflow_is_one_or_an_error_of_ours(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "w.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    try:
        workflow = Workflow.load(path)
        workflow.current()
        workflow.place(WANTED)
        workflow.fill(WANTED).lines()
    except LifeosError:
        return
