"""What a workflow in the editor's own format holds, as far as a graph is made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class UiSlot:
    """An input or output of a node. `link` is a link's id; `widget` is there where the input is a widget that takes a link as well."""

    name: str = ""
    type: Any = "*"
    link: int | str | None = None
    widget: Any = None


@dataclass(frozen=True, slots=True)
class UiNode:
    """A node as it is saved. `type` is its class, or the id of the subgraph that it is an instance of."""

    id: int | str
    type: str
    mode: int | None = 0
    inputs: list[UiSlot] | None = None
    outputs: list[UiSlot] | None = None
    widgets_values: Any = None
    widgets_values_named: dict[str, Any] | None = None
    title: str | None = None
    properties: Any = None


@dataclass(frozen=True, slots=True)
class UiSubgraph:
    id: str
    nodes: list[UiNode] = field(default_factory=list)
    links: list[Any] | None = None
    inputs: list[UiSlot] | None = None
    outputs: list[UiSlot] | None = None


@dataclass(frozen=True, slots=True)
class UiDefinitions:
    subgraphs: list[UiSubgraph] | None = None


@dataclass(frozen=True, slots=True)
class UiDocument:
    nodes: list[UiNode]
    links: list[Any] | None = None
    definitions: UiDefinitions | None = None
