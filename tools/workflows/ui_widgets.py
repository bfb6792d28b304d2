"""The values that a workflow in the editor's own format keeps for a node's widgets, by the names of the inputs that they are for.

The editor saves them as a bare list, in the order in which it makes the widgets of a class: the inputs that can be typed, required ones
first. Behind a seed stands what happens to it after each prompt, behind a choice that brings its own inputs stand these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tools.backends.backend import NodeDeclaration, NodeInput
from tools.workflows.node_types import SEED_KEYS, VALUE_TYPES

DRAWN = frozenset(
    {"IMAGECOMPARE", "COLOR", "COLORS", "BOUNDING_BOX", "BOUNDING_BOXES", "CURVE", "COMPOSITOR", "LOAD_3D", "WEBCAM", "AUDIO_RECORD"}
)
"""Types that the editor has a widget of its own for."""

CHOICE_WITH_INPUTS = "COMFY_DYNAMICCOMBO_V3"
GROWING_CHOICE = "CustomCombo"
"""A choice that a user typed: the editor saves its place and every option behind what is chosen."""

AFTER_GENERATE = ("fixed", "increment", "decrement", "randomize", "increment-wrap")
NO_SETTING = ("image", "video", "audio", "file", "", None)
"""Values of buttons that the editor adds at the end, such as the one to upload a picture."""


class Unconvertible(Exception):
    """Why a node cannot be put into API format."""


def read_widgets(class_type: str, declared: NodeDeclaration, values: list[Any]) -> dict[str, Any]:
    """The saved values by input name. Raises Unconvertible where there are more of them than the class has widgets.

    Where there are fewer, the node was saved by an older version: the last widgets have the defaults, as the editor gives them.
    """
    left = _without_sockets(declared, values)
    found = dict(_take(declared.inputs, left, ""))
    if not found:
        return {}  # what a node only shows
    if class_type == GROWING_CHOICE:
        found |= zip(("index", *(f"option{number}" for number in range(1, len(left)))), left, strict=False)
        left = []
    if any(value not in NO_SETTING for value in left if not isinstance(value, list | dict)):
        raise Unconvertible(
            f"{len(values)} values are saved, {len(left)} {'is' if len(left) == 1 else 'are'} more than are known ({', '.join(found)})"
        )
    return found


def _without_sockets(declared: NodeDeclaration, values: list[Any]) -> list[Any]:
    """Older editors saved a value for an input that takes links only, too: told by the number of values, as the editor tells it."""
    flags: list[bool] = []
    for each in declared.inputs.values():
        if is_widget(each) or each.is_socket:
            flags += [each.is_socket, False] if each.is_seed else [each.is_socket]
    if len(flags) != len(values):
        return list(values)
    return [value for value, is_socket in zip(values, flags, strict=True) if not is_socket]


def _take(inputs: Mapping[str, NodeInput], left: list[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, declared in inputs.items():
        if not is_widget(declared):
            continue
        value = left.pop(0) if left else _default(declared)
        if declared.type == "IMAGECOMPARE":
            value = ["", ""]  # the two pictures that it shows: none yet, and required all the same
        if left and _has_control(name, declared) and left[0] in AFTER_GENERATE:
            left.pop(0)
            if declared.type == "COMBO" and left and left[0] == "":
                left.pop(0)  # a filter of the list that the control draws from
        if value is not None:
            yield prefix + name, value
        if declared.type == CHOICE_WITH_INPUTS:
            yield from _take(declared.parts.get(str(value), {}), left, f"{prefix}{name}.")


def is_widget(declared: NodeInput) -> bool:
    """Whether the editor shows an input as a widget, which it saves a value of."""
    return not declared.is_socket and (declared.type in VALUE_TYPES or declared.type in DRAWN or declared.type == CHOICE_WITH_INPUTS)


def _has_control(name: str, declared: NodeInput) -> bool:
    return declared.is_seed or (declared.type == "INT" and name.rpartition(".")[2] in SEED_KEYS)


def _default(declared: NodeInput) -> Any:
    if declared.default is not None:
        return declared.default
    return next(iter(declared.choices or declared.parts), None)


def find_fault(declared: NodeInput, value: Any) -> str | None:
    """Why a saved value cannot be that input's: values that belong to another version of the node have moved."""
    if value is None:
        return "nothing is saved"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        "INT": is_number and float(value).is_integer(),
        "FLOAT": is_number,
        "STRING": isinstance(value, str),
        "BOOLEAN": isinstance(value, bool),
        "COMBO": isinstance(value, str | int | float),
    }
    return None if fits.get(declared.type, True) else f"{value!r} is no {declared.type}"
