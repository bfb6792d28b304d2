"""Signatures of node classes in the shape of ComfyUI's `/object_info`, read into our own records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tools.backends.backend import NodeDeclaration, NodeInput

DEEPEST_PARTS = 8
"""Choices within choices of a declaration."""

Odd = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class DeclaredInputs:
    required: dict[str, Any] | None = None
    optional: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class DeclaredNode:
    input: DeclaredInputs | None = None
    output: list[Any] | None = None
    output_name: list[Any] | str | None = None
    output_matchtypes: list[Any] | Odd = None
    output_node: bool | Odd = None


def read_declaration(declared: DeclaredNode) -> NodeDeclaration:
    """Inputs are `[type, options]`; a choice is `[[…], {}]`, in newer servers also `["COMBO", {"options": […]}]`."""
    outputs = declared.output or []
    names = declared.output_name if isinstance(declared.output_name, list) else []
    templates = declared.output_matchtypes if isinstance(declared.output_matchtypes, list) else []
    return NodeDeclaration(
        _read_inputs(declared.input or DeclaredInputs()),
        tuple(map(_type_name, outputs)),
        tuple(map(str, names)),
        tuple(tuple(map(str, kind)) if isinstance(kind, list) else None for kind in outputs),
        tuple(str(template or "") for template in templates),
        declared.output_node is True,
    )


def _read_inputs(inputs: DeclaredInputs, depth: int = 0) -> dict[str, NodeInput]:
    found = {name: _read_input(kind, required=True, depth=depth) for name, kind in (inputs.required or {}).items()}
    return found | {name: _read_input(kind, required=False, depth=depth) for name, kind in (inputs.optional or {}).items()}


def _read_input(kind: Any, *, required: bool, depth: int = 0) -> NodeInput:
    parts = kind if isinstance(kind, list) else [kind]
    type_ = parts[0] if parts else ""
    extra = parts[1] if len(parts) > 1 and isinstance(parts[1], dict) else {}
    options = extra.get("options") if type_ == "COMBO" else type_
    template = extra.get("template")
    return NodeInput(
        _type_name(type_),
        tuple(map(str, options)) if isinstance(options, list) else None,
        required,
        default=extra.get("default"),
        low=_read_bound(extra.get("min")),
        high=_read_bound(extra.get("max")),
        is_seed=bool(extra.get("control_after_generate")),
        is_multiline=extra.get("multiline") is True,
        is_socket=extra.get("forceInput") is True,
        template=str(template.get("template_id") or "") if isinstance(template, dict) else "",
        parts=_read_parts(type_, extra, depth) if depth < DEEPEST_PARTS else {},
    )


def _read_bound(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _read_parts(type_: Any, extra: dict[str, Any], depth: int) -> dict[str, dict[str, NodeInput]]:
    """The further inputs of a choice that brings its own (`format.bit_depth`), and of one that grows (`values.a`)."""
    found: dict[str, Any] = {}
    if type_ == "COMFY_DYNAMICCOMBO_V3" and isinstance(extra.get("options"), list):
        found = {str(each.get("key")): each.get("inputs") for each in extra["options"] if isinstance(each, dict)}
    elif type_ == "COMFY_AUTOGROW_V3" and isinstance(extra.get("template"), dict):
        found = {"": extra["template"].get("input")}
    return {
        choice: _read_inputs(DeclaredInputs(_object(inputs.get("required")), _object(inputs.get("optional"))), depth + 1)
        for choice, inputs in found.items()
        if isinstance(inputs, dict)
    }


def _object(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _type_name(kind: Any) -> str:
    return "COMBO" if isinstance(kind, list) else str(kind)
