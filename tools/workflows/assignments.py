"""`--set NODE.INPUT=VALUE`: a value that is written into one input of a graph, of the type that the input takes."""

from __future__ import annotations

import json
from typing import Any

from lifeos.errors import InputError, did_you_mean
from tools.workflows.graph import is_link, label
from tools.workflows.node_types import VALUE_TYPES
from tools.workflows.targets import Change, Target
from tools.workflows.typed_graph import TypedGraph

FLAG = "--set"
FORM = "write it as NODE.INPUT=VALUE, such as 5.steps=30"


def read_assignment(text: str, typed: TypedGraph) -> Change:
    """A change from a command line. Raises InputError for a node or input that is not there, or a value of another type."""
    place, equals, value = text.partition("=")
    node, dot, key = place.strip().partition(".")
    if not equals or not dot or not node or not key:
        raise InputError(f"{FLAG} {text}", "is no assignment", FORM)
    if node not in typed.graph:
        raise InputError(f"{FLAG} {text}", f"the workflow has no node {node}", did_you_mean(node, typed.graph))
    target = _find_target(node, key, text, typed)
    return Change("set", target, _read_value(target, value, text, typed), _was(target, typed))


def _find_target(node: str, key: str, text: str, typed: TypedGraph) -> Target:
    inputs = typed.inputs(node)
    if key in inputs or typed.declared_input(node, key) is not None:
        return Target(node, key)
    row, dot, part = key.rpartition(".")
    if dot and isinstance(inputs.get(row), dict) and part in inputs[row]:
        return Target(node, row, part)
    declaration = typed.declaration(node)
    known = dict.fromkeys([*inputs, *(declaration.inputs if declaration is not None else ())])
    raise InputError(f"{FLAG} {text}", f"{label(typed.graph, node)} has no input {key}", did_you_mean(key, known))


def _was(target: Target, typed: TypedGraph) -> str:
    value = typed.inputs(target.node).get(target.key)
    if value is None:
        return "was not given"
    if is_link(value):
        return f"no longer from {label(typed.graph, value[0])}"
    return f"was {value[target.part] if target.part else value}"


def _read_value(target: Target, value: str, text: str, typed: TypedGraph) -> Any:
    declared = typed.declared_input(target.node, target.key)
    own = typed.inputs(target.node).get(target.key)
    kind = _type_in_row(own[target.part]) if target.part and isinstance(own, dict) else typed.input_type(target.node, target.key)
    where = f"{target.key} of {label(typed.graph, target.node)}"
    if declared is not None and declared.type == "COMFY_DYNAMICCOMBO_V3":
        kind = "COMBO"
    kinds = [each for each in kind.split(",") if each in VALUE_TYPES]
    if isinstance(own, dict) and not target.part:
        return _row_from_json(value, own, where, text)
    if not kinds:
        takes = kind or "a link"
        raise InputError(f"{FLAG} {text}", f"{where} takes {takes}, which comes from another node", "set an input that holds a value")
    for each in kinds:
        found = _as(each, value)
        if found is not None:
            _check_bounds(found, declared, where, text, is_live=typed.signatures.is_live)
            return found
    names = {"INT": "a whole number", "FLOAT": "a number", "BOOLEAN": "true or false"}
    raise InputError(f"{FLAG} {text}", f"{where} takes {' or '.join(names.get(each, 'text') for each in kinds)}")


def _as(kind: str, value: str) -> Any:
    """The value of a text as one of a type; None where it is none."""
    try:
        if kind == "INT":
            return int(value)
        if kind == "FLOAT":
            number = float(value)
            return number if number - number == 0 else None
    except ValueError:
        return None
    if kind == "BOOLEAN":
        return {"true": True, "false": False}.get(value.strip().lower())
    return value


def _check_bounds(value: Any, declared: Any, where: str, text: str, *, is_live: bool) -> None:
    if declared is None or isinstance(value, bool):
        return
    if isinstance(value, int | float):
        low, high = declared.low, declared.high
        if (low is not None and value < low) or (high is not None and value > high):
            bounds = " ".join(([f"from {low:g}"] if low is not None else []) + ([f"to {high:g}"] if high is not None else []))
            raise InputError(f"{FLAG} {text}", f"{where} takes a number {bounds}")
    elif is_live and declared.choices and value not in declared.choices:
        raise InputError(f"{FLAG} {text}", f"{where} does not take {value!r}", did_you_mean(value, declared.choices))
    elif declared.type == "COMFY_DYNAMICCOMBO_V3" and declared.parts and value not in declared.parts:
        raise InputError(f"{FLAG} {text}", f"{where} does not take {value!r}", did_you_mean(value, declared.parts))


def _type_in_row(value: Any) -> str:
    return "BOOLEAN" if isinstance(value, bool) else "FLOAT" if isinstance(value, int | float) else "STRING"


def _row_from_json(value: str, own: dict[str, Any], where: str, text: str) -> Any:
    try:
        row = json.loads(value)
    except ValueError:
        row = None
    if not isinstance(row, dict) or any(type(row.get(key)) is not type(old) for key, old in own.items() if isinstance(old, str | bool)):
        first = f"set one of them, as in {FLAG} NODE.INPUT.{next(iter(own))}=VALUE"
        raise InputError(f"{FLAG} {text}", f"{where} holds several values ({', '.join(own)})", first)
    return row
