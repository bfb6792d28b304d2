"""Node classes of others that only carry values: seeds, numbers, texts, switches and pipes. They draw nothing."""

from __future__ import annotations

import re
from collections.abc import Callable

from tools.stand_in.custom_classes import custom_class
from tools.stand_in.node_class import NodeClass, Run
from tools.stand_in.node_values import Inputs, NodeResult, NodeRun
from tools.stand_in.text_functions import as_text, pass_on
from tools.workflows.custom_signatures import CUSTOM_CLASSES

PIPE_PARTS = ("model", "clip", "vae", "positive", "negative")


def _choose(key_of: Callable[[Inputs], str]) -> Run:
    """Hands on the input that `key_of` names."""
    return lambda run, inputs: NodeResult((inputs.get(key_of(inputs)), ""))


def _first(run: NodeRun, inputs: Inputs) -> NodeResult:
    return NodeResult((next((inputs[key] for key in sorted(inputs) if inputs[key] is not None), None),))


def _impact_switch(run: NodeRun, inputs: Inputs) -> NodeResult:
    key = f"input{inputs['select']}"
    return NodeResult((inputs.get(key), key, inputs["select"]))


def _join(separator: str, keys: re.Pattern[str]) -> Run:
    """The texts whose inputs match `keys`, joined by the text of the input `separator`; empty ones are left out."""

    def join(run: NodeRun, inputs: Inputs) -> NodeResult:
        texts = [as_text(inputs[key]) for key in sorted(inputs) if keys.search(key) and inputs[key]]
        return NodeResult((str(inputs.get(separator, "")).join(texts), ""))

    return join


def _pipe(run: NodeRun, inputs: Inputs) -> NodeResult:
    return NodeResult(({key: inputs[key] for key in PIPE_PARTS},))


def _changed_pipe(run: NodeRun, inputs: Inputs) -> NodeResult:
    return NodeResult((inputs["basic_pipe"] | {key: inputs[key] for key in PIPE_PARTS if inputs.get(key) is not None},))


def _parts(run: NodeRun, inputs: Inputs) -> NodeResult:
    return NodeResult(tuple(inputs["basic_pipe"][key] for key in PIPE_PARTS))


def _pipe_and_parts(run: NodeRun, inputs: Inputs) -> NodeResult:
    return NodeResult((inputs["basic_pipe"], *(inputs["basic_pipe"][key] for key in PIPE_PARTS)))


def _shown(run: NodeRun, inputs: Inputs) -> NodeResult:
    return NodeResult((inputs["text"],), ui={"text": [as_text(inputs["text"])]})


def _numbered(stem: str) -> Run:
    return _choose(lambda inputs: f"{stem}{inputs['Input']}")


FUNCTIONS: dict[str, Run] = {
    "Any Switch (rgthree)": _first,
    "Seed (rgthree)": pass_on("seed"),
    "CR Seed": lambda run, inputs: NodeResult((inputs["seed"], "")),
    "CR Text": lambda run, inputs: NodeResult((inputs["text"], "")),
    "CR Prompt Text": lambda run, inputs: NodeResult((inputs["prompt"], "")),
    "CR Text Concatenate": _join("separator", re.compile(r"^text\d$")),
    "CR Model Input Switch": _numbered("model"),
    "CR Conditioning Input Switch": _numbered("conditioning"),
    "CR Latent Input Switch": _numbered("latent"),
    "CR Text Input Switch": _numbered("text"),
    "ImpactSwitch": _impact_switch,
    "ImpactConditionalBranch": _choose(lambda inputs: "tt_value" if inputs["cond"] else "ff_value"),
    "ImpactInt": pass_on("value"),
    "ImpactFloat": pass_on("value"),
    "ToBasicPipe": _pipe,
    "EditBasicPipe": _changed_pipe,
    "FromBasicPipe": _parts,
    "FromBasicPipe_v2": _pipe_and_parts,
    "easy positive": pass_on("positive"),
    "easy negative": pass_on("negative"),
    "easy seed": pass_on("seed"),
    "easy int": pass_on("value"),
    "easy float": pass_on("value"),
    "easy string": pass_on("value"),
    "easy ifElse": _choose(lambda inputs: "on_true" if inputs["boolean"] else "on_false"),
    "ShowText|pysssss": _shown,
    "Text Multiline": pass_on("text"),
    "Text Concatenate": _join("delimiter", re.compile(r"^text_[a-d]$")),
    "JoinStrings": _join("delimiter", re.compile(r"^string\d$")),
    "INTConstant": pass_on("value"),
    "FloatConstant": pass_on("value"),
    "StringConstant": pass_on("string"),
    "StringConstantMultiline": pass_on("string"),
}

GROWING = frozenset({"Any Switch (rgthree)", "ImpactSwitch", "ShowText|pysssss"})
"""Classes whose graphs hold inputs that stand in no signature."""


def _class(name: str, run: Run) -> NodeClass:
    wanted = len(CUSTOM_CLASSES[name]["output"])

    def fitting(node_run: NodeRun, inputs: Inputs) -> NodeResult:
        result = run(node_run, inputs)
        return NodeResult(result.outputs[:wanted], ui=result.ui)

    return custom_class(name, fitting, output_node=name == "ShowText|pysssss", takes_anything=name in GROWING)


def value_classes() -> list[NodeClass]:
    return [_class(name, run) for name, run in FUNCTIONS.items()]
