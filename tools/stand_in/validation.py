"""Whether a graph can run, in the words and shapes of ComfyUI: what `POST /prompt` answers with 400, or beside a 200."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tools.stand_in.dialects import Dialect
from tools.stand_in.node_class import FileChoice, InputSpec, ListModels, types_match
from tools.stand_in.node_classes import NODE_CLASSES

LONG_LIST = 20
"""Longer lists of allowed values are not sent back."""

Fault = dict[str, Any]
Graph = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Validation:
    """`error` is None for a prompt that runs; its failed outputs are then in `node_errors` and not in `outputs`."""

    error: Fault | None
    outputs: list[str]
    node_errors: dict[str, Any]


def _fault(kind: str, message: str, details: str = "", **extra: Any) -> Fault:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def validate(graph: Graph, list_models: ListModels, dialect: Dialect) -> Validation:
    """Check a graph and coerce its values in place, as ComfyUI does: 1.9 becomes 1 where a whole number is wanted.

    Raises TypeError for what is no API graph at all (a UI-format workflow), which a real server answers with a bare 500.
    """
    outputs: list[str] = []
    for node_id, node in graph.items():
        known = NODE_CLASSES.get(node["class_type"]) if "class_type" in node else None
        if known is None:
            return Validation(_missing_class(node_id, node, dialect), [], {})
        if known.output_node:
            outputs.append(node_id)
    if not outputs:
        return Validation(_fault("prompt_no_outputs", "Prompt has no outputs"), [], {})
    checker = _Checker(graph, list_models, dialect)
    good: list[str] = []
    node_errors: dict[str, Any] = {}
    reasons: list[str] = []
    for output in outputs:
        if checker.check_output(output):
            good.append(output)
            continue
        reasons += [f"{fault['message']}: {fault['details']}" for fault in checker.faults[output]]
        for node_id, faults in checker.faults.items():
            if faults:
                entry = {"errors": faults, "dependent_outputs": [], "class_type": graph[node_id]["class_type"]}
                node_errors.setdefault(node_id, entry)["dependent_outputs"].append(output)
    if good:
        return Validation(None, good, node_errors)
    error = _fault("prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(reasons))
    return Validation(error, [], node_errors)


def _missing_class(node_id: str, node: dict[str, Any], dialect: Dialect) -> Fault:
    """The error of a node without a class, or of a class that is not there."""
    where, class_type = f"Node ID '#{node_id}'", node.get("class_type")
    if not dialect.explains_refusals:
        message = f"Cannot execute because node {class_type} does not exist."
        if "class_type" not in node:
            message = "Cannot execute because a node is missing the class_type property."
        return _fault("invalid_prompt", message, where)
    title = node.get("_meta", {}).get("title", class_type)
    message = f"Node '{title}' not found. The custom node may not be installed."
    if "class_type" not in node:
        shown = title or f"ID #{node_id}"
        message = f"Node '{shown}' has no class_type. The workflow may be corrupted or a custom node is missing."
    return _fault("missing_node_type", message, where, node_id=node_id, class_type=class_type, node_title=title)


CHECK_ERRORS = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What a graph of the wrong shape raises on the way: reported as a fault, on the output or below the link that led there."""


class _Checker:
    """Checks nodes from the outputs upwards; each node once. `faults` are by node, those of checked nodes only."""

    def __init__(self, graph: Graph, list_models: ListModels, dialect: Dialect) -> None:
        self.graph = graph
        self.list_models = list_models
        self.dialect = dialect
        self.faults: dict[str, list[Fault]] = {}
        self._valid: dict[str, bool] = {}
        self._open: list[str] = []

    def check_output(self, node_id: str) -> bool:
        """Whether an output and everything above it can run."""
        try:
            return self._check(node_id)
        except CHECK_ERRORS as error:
            more = {"exception_type": type(error).__name__, "traceback": []}
            self._settle(node_id, [_fault("exception_during_validation", "Exception when validating node", str(error), **more)], False)
            return False

    def _check(self, node_id: str) -> bool:
        """A node below a bad one is invalid without faults of its own, and so was a node in a loop before 0.33."""
        if node_id in self._valid:
            return self._valid[node_id]
        if node_id in self._open:
            self._tell_loop(node_id)
            return False
        self._open.append(node_id)
        node = self.graph[node_id]
        inputs = node["inputs"]
        faults: list[Fault] = []
        valid = True
        required, optional = NODE_CLASSES[node["class_type"]].inputs_for(inputs)
        for name, spec in {**required, **optional}.items():
            if name not in inputs:
                if name in required:
                    faults.append(_fault("required_input_missing", "Required input is missing", name.rpartition(".")[2], input_name=name))
                continue
            if isinstance(inputs[name], list):
                fault, above_valid = self._check_link(name, spec, inputs[name])
                valid = valid and above_valid
            else:
                fault = self._check_value(name, spec, inputs)
            if fault is not None:
                faults.append(fault)
        return self._settle(node_id, faults, valid)

    def _tell_loop(self, node_id: str) -> None:
        if not self.dialect.explains_refusals:
            return
        way = [*self._open[self._open.index(node_id) :], node_id]
        details = " -> ".join(f"{step} ({self.graph[step]['class_type']})" for step in way)
        for step in dict.fromkeys(way):
            more = {"node_id": step, "cycle_nodes": list(dict.fromkeys(way))}
            self.faults[step] = [_fault("dependency_cycle", "Dependency cycle detected", details, **more)]

    def _settle(self, node_id: str, faults: list[Fault], valid: bool) -> bool:
        if node_id in self._open:
            self._open.remove(node_id)
        self.faults[node_id] = self.faults.get(node_id, []) + faults
        self._valid[node_id] = valid and not self.faults[node_id]
        return self._valid[node_id]

    def _check_link(self, name: str, spec: InputSpec, link: list[Any]) -> tuple[Fault | None, bool]:
        wanted, options = spec.told(self.list_models)
        about = {"input_name": name, "input_config": [wanted, options]}
        if len(link) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            return _fault("bad_linked_input", message, name, **about, received_value=link), True
        above, slot = link
        received = NODE_CLASSES[self.graph[above]["class_type"]].outputs_in(self.dialect)[slot]
        if not types_match(received, wanted):
            details = f"{name}, received_type({received}) mismatch input_type({wanted})"
            message = "Return type mismatch between linked nodes"
            return _fault("return_type_mismatch", message, details, **about, received_type=received, linked_node=link), True
        try:
            return None, self._check(above)
        except CHECK_ERRORS as error:
            more = dict(about, exception_message=str(error), exception_type=type(error).__name__, traceback=[], linked_node=link)
            message = "Exception when validating inner node"
            self._settle(above, [_fault("exception_during_inner_validation", message, str(error), **more)], False)
            return None, False

    def _check_value(self, name: str, spec: InputSpec, inputs: dict[str, Any]) -> Fault | None:
        wanted, options = spec.told(self.list_models)
        value = inputs[name]
        about = {"input_name": name, "input_config": [wanted, options], "received_value": value}
        try:
            value = inputs[name] = _coerce(value, wanted)
        except (TypeError, ValueError, OverflowError) as error:
            message = f"Failed to convert an input value to a {wanted} value"
            return _fault("invalid_input_type", message, f"{name}, {value}, {error}", **about, exception_message=str(error))
        about["received_value"] = value
        low, high = options.get("min"), options.get("max")
        if low is not None and value < low:
            return _fault("value_smaller_than_min", f"Value {value} smaller than min of {low}", name, **about)
        if high is not None and value > high:
            return _fault("value_bigger_than_max", f"Value {value} bigger than max of {high}", name, **about)
        choices = spec.values(self.list_models)
        if choices is None or value in choices:
            return None
        if isinstance(spec.kind, FileChoice) and spec.kind.folder == "input":
            message = "Custom validation failed for node"
            return _fault("custom_validation_failed", message, f"{name} - Invalid image file: {value}", input_name=name)
        shown = str(choices)
        if len(choices) > LONG_LIST:
            shown, about["input_config"] = f"(list of length {len(choices)})", None
        return _fault("value_not_in_list", "Value not in list", f"{name}: {value!r} not in {shown}", **about)


def _coerce(value: Any, wanted: str | list[Any]) -> Any:
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    if wanted == "INT":
        return int(value)
    if wanted == "FLOAT":
        return float(value)
    if wanted == "STRING":
        return str(value)
    if wanted == "BOOLEAN":
        return bool(value)
    return value
