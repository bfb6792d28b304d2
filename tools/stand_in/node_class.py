"""What a node class is: its inputs and outputs, what it does, and its `/object_info` document.

Signatures are written as ComfyUI writes them. A choice is a list of values, in newer classes `COMBO` with `options`; a dynamic choice
(`COMFY_DYNAMICCOMBO_V3`) brings inputs of its own with each value, and rows that can be repeated (`COMFY_AUTOGROW_V3`) one for each name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.stand_in.dialects import Dialect
from tools.stand_in.node_values import Inputs, NodeResult, NodeRun

DYNAMIC_COMBO, AUTOGROW, MATCH_TYPE = "COMFY_DYNAMICCOMBO_V3", "COMFY_AUTOGROW_V3", "COMFY_MATCHTYPE_V3"
PASSING_SAVERS = ("SaveImage", "PreviewImage")
"""Classes that put their pictures out since 0.33 only."""

ListModels = Callable[[str], list[str]]
"""The file names of a model folder, now: new files are seen without a restart."""


@dataclass(frozen=True, slots=True)
class FileChoice:
    """An input whose values are the files of a model folder, behind some words that are no file (`None`, `Baked VAE`)."""

    folder: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input: a type name, a list of values, or a model folder; and its options (`min`, `max`, `default`, …)."""

    kind: str | list[Any] | FileChoice
    options: dict[str, Any] = field(default_factory=dict)
    is_combo: bool = False
    """Told as `COMBO` with `options` instead of as a list."""

    def told(self, list_models: ListModels) -> tuple[str | list[Any], dict[str, Any]]:
        """Type and options as `/object_info` and error messages tell them."""
        values = self.values(list_models)
        if values is None:
            assert isinstance(self.kind, str)
            return self.kind, dict(self.options)
        return ("COMBO", {**self.options, "options": values}) if self.is_combo else (values, dict(self.options))

    def values(self, list_models: ListModels) -> list[Any] | None:
        """What may be chosen; None where the input is no choice."""
        if isinstance(self.kind, FileChoice):
            return [*self.kind.words, *list_models(self.kind.folder)]
        return None if isinstance(self.kind, str) else list(self.kind)

    @property
    def type(self) -> str:
        return self.kind if isinstance(self.kind, str) else "COMBO"


Specs = dict[str, InputSpec]
Run = Callable[[NodeRun, Inputs], NodeResult]


@dataclass(frozen=True, slots=True)
class NodeClass:
    """`takes_anything`: inputs that stand in no signature reach the function too. `lazy`: the names of the inputs that are wanted next,
    once those given are known; the branch of a switch that is off is never run."""

    name: str
    required: Specs
    optional: Specs
    output: tuple[Any, ...]
    output_name: tuple[str, ...]
    run: Run
    output_node: bool = False
    takes_anything: bool = False
    lazy: Callable[[Inputs], tuple[str, ...]] | None = None
    module: str = "nodes"
    extra: dict[str, Any] = field(default_factory=dict)

    def outputs_in(self, dialect: Dialect) -> tuple[Any, ...]:
        """The types of its outputs, as this version has them."""
        return () if self.name in PASSING_SAVERS and not dialect.savers_pass_pictures else self.output

    def inputs_for(self, given: Mapping[str, Any]) -> tuple[Specs, Specs]:
        """Required and optional inputs, with those that the chosen values bring along."""
        required: Specs = {}
        optional: Specs = {}
        for specs, into in ((self.required, required), (self.optional, optional)):
            _expand(specs, "", given, into, required, optional)
        return required, optional


def read_spec(kind: Any) -> InputSpec:
    """An input as `/object_info` writes it: `[type or values, options]`."""
    parts = kind if isinstance(kind, list) else [kind]
    options = dict(parts[1]) if len(parts) > 1 else {}
    if parts[0] == "COMBO":
        return InputSpec(list(options.pop("options", [])), options, is_combo=True)
    return InputSpec(parts[0], options)


def read_specs(inputs: Mapping[str, Any]) -> Specs:
    return {name: read_spec(kind) for name, kind in inputs.items()}


def _expand(specs: Specs, prefix: str, given: Mapping[str, Any], into: Specs, required: Specs, optional: Specs) -> None:
    """A dynamic choice without a value that it has is left out, as on a real server: the node then misses it when it runs."""
    for short, spec in specs.items():
        name = f"{prefix}{short}"
        if spec.kind == DYNAMIC_COMBO:
            chosen = next((option for option in spec.options["options"] if option["key"] == given.get(name)), None)
            if chosen is None:
                continue
            for part, deeper in (("required", required), ("optional", optional)):
                _expand(read_specs(chosen["inputs"].get(part, {})), f"{name}.", given, deeper, required, optional)
            into[name] = spec
        elif spec.kind == AUTOGROW:
            row, names, least = _rows(spec.options["template"])
            for index, row_name in enumerate(names):
                (required if index < least else optional)[f"{name}.{row_name}"] = row
        else:
            into[name] = spec


def _rows(template: Mapping[str, Any]) -> tuple[InputSpec, list[str], int]:
    """What a row of an input that can be repeated is, the names of the rows, and how many there must be."""
    part, inputs = next((part, inputs) for part, inputs in template["input"].items() if inputs)
    names = template.get("names") or [f"{template['prefix']}{number}" for number in range(template["max"])]
    return read_spec(next(iter(inputs.values()))), names, template["min"] if part == "required" else 0


def types_match(received: Any, wanted: Any) -> bool:
    """Whether an output may be linked to an input, as a server decides it: any type, or one of several, is enough."""
    if received == wanted or "*" in (received, wanted) or MATCH_TYPE in (received, wanted):
        return True
    if isinstance(received, list) and wanted == "COMBO":
        return True
    if not isinstance(received, str) or not isinstance(wanted, str):
        return False
    sets = [{word.strip() for word in text.split(",")} for text in (received, wanted)]
    return any("*" in words for words in sets) or bool(sets[0] & sets[1])


def object_info(node: NodeClass, list_models: ListModels, dialect: Dialect) -> dict[str, Any]:
    """The document of `GET /object_info/{Class}`."""
    described = {"required": {name: [*spec.told(list_models)] for name, spec in node.required.items()}}
    if node.optional:
        described["optional"] = {name: [*spec.told(list_models)] for name, spec in node.optional.items()}
    outputs = list(node.outputs_in(dialect))
    return {
        "input": described,
        "input_order": {group: list(inputs) for group, inputs in described.items()},
        "output": outputs,
        "output_is_list": [False] * len(outputs),
        "output_name": list(node.output_name)[: len(outputs)],
        "name": node.name,
        "display_name": node.name,
        "description": "",
        "python_module": node.module,
        "category": "embedded",
        "output_node": node.output_node,
        **node.extra,
    }
