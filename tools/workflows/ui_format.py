"""Workflows in the editor's own format (`nodes`, `links`, `widgets_values`, subgraphs), put into API format as its export does.

Muted nodes are left out, bypassed ones are passed through by type, subgraphs are unfolded (`57:3` is node 3 in the subgraph at node 57),
and reroutes, primitives, notes and Get and Set nodes, which only the editor knows, are resolved. A node whose values cannot be named
for certain is refused: the signature of its class says what they are for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lifeos import foreign
from lifeos.errors import InputError
from tools.backends.backend import NodeDeclaration
from tools.workflows.graph import is_link
from tools.workflows.ui_document import UiDocument, UiNode, UiSlot, UiSubgraph
from tools.workflows.ui_widgets import Unconvertible, find_fault, is_widget, read_widgets

MUTED, BYPASSED = 2, 4
INPUT_BORDER, OUTPUT_BORDER = "-10", "-20"
"""The ids that stand for the border of a subgraph in its links."""

DEEPEST = 32
MOST_NODES = 20_000
NAMED = 5
"""Nodes that an error names."""

REROUTES = frozenset({"Reroute", "Reroute (rgthree)"})
SETTERS = frozenset({"SetNode", "easy setNode"})
GETTERS = frozenset({"GetNode", "easy getNode"})
DECORATIONS = frozenset(
    {
        *("Note", "MarkdownNote", "Label (rgthree)", "Bookmark (rgthree)", "Node Collector (rgthree)", "Mute / Bypass Repeater (rgthree)"),
        *("Fast Groups Bypasser (rgthree)", "Fast Groups Muter (rgthree)", "Fast Bypasser (rgthree)", "Fast Muter (rgthree)"),
        *("Fast Actions Button (rgthree)", "Mute / Bypass Relay (rgthree)", "Random Unmuter (rgthree)"),
    }
)
"""Nodes of the editor alone, which nothing in a picture comes from."""

BROADCASTERS = ("Anything Everywhere", "Prompts Everywhere", "Seed Everywhere")
"""Beginnings of classes that link to others by rules of their own, which stand nowhere among the links."""

IN_THE_FILE = re.compile(r"workflow[>/].*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Types of nodes that the file itself defines: groups of old editors, and subgraphs."""

LookUp = Callable[[str], NodeDeclaration | None]


@dataclass(frozen=True, slots=True)
class Link:
    """Where a link comes from and where it goes: node ids and slot numbers."""

    source: str
    output: int
    target: str
    input: int


@dataclass(frozen=True, slots=True)
class Value:
    """What an input gets instead of a link: the value of a primitive, or of a widget that a subgraph shows on its outside."""

    value: Any


@dataclass(eq=False, slots=True)
class Level:
    """The workflow, or one subgraph in the place of one of its instances. `shown`: values that the instance has for its inputs, by name;
    `proxied`: values that it has for widgets within, by node id and widget name."""

    path: tuple[str, ...]
    nodes: dict[str, UiNode]
    links: dict[str, Link]
    subgraph: UiSubgraph | None = None
    host: UiNode | None = None
    outer: Level | None = None
    within: dict[str, Level] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    proxied: dict[tuple[str, str], Any] = field(default_factory=dict)

    def id_of(self, node: UiNode) -> str:
        """The node's id in the API format: with the ids of the instances that it is in."""
        return ":".join((*self.path, str(node.id)))


def to_api_format(document: dict[str, Any], look_up: LookUp, name: str, fix: str) -> dict[str, Any]:
    """The graph that the editor would export. `look_up` gives the signature of a class, None where nobody knows it.

    Raises InputError that names the nodes which cannot be converted, with `fix`, how to export it.
    """
    ui = foreign.convert(document, UiDocument, name)
    return _Converter(ui, look_up, name, fix).convert()


class _Converter:
    def __init__(self, ui: UiDocument, look_up: LookUp, name: str, fix: str) -> None:
        self._look_up, self._name, self._fix = look_up, name, fix
        self._subgraphs = {each.id: each for each in (ui.definitions and ui.definitions.subgraphs) or ()}
        self._count = 0
        self._root = self._open(ui.nodes, ui.links or [], ())

    def convert(self) -> dict[str, Any]:
        graph: dict[str, Any] = {}
        faults: list[str] = []
        for level, node in self._walk(self._root):
            try:
                graph[level.id_of(node)] = self._convert_node(level, node)
            except Unconvertible as reason:
                faults.append(f"node {level.id_of(node)} ({node.type}): {reason}")
        if faults:
            more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
            raise InputError(self._name, f"a workflow in UI format that cannot be converted: {'; '.join(faults[:NAMED])}{more}", self._fix)
        for each in graph.values():
            each["inputs"] = {key: value for key, value in each["inputs"].items() if not _leads_nowhere(value, graph)}
        if not graph:
            raise InputError(self._name, "a workflow in UI format without a node that runs", self._fix)
        return graph

    def _open(self, nodes: list[UiNode], links: list[Any], path: tuple[str, ...]) -> Level:
        self._count += len(nodes)
        if len(path) > DEEPEST or self._count > MOST_NODES:
            raise InputError(self._name, f"more than {DEEPEST} subgraphs within one another, or {MOST_NODES} nodes", self._fix)
        level = Level(path, {str(node.id): node for node in nodes}, dict(map(self._read_link, links)))
        for node in nodes:
            subgraph = self._subgraphs.get(node.type)
            if subgraph is not None and node.mode not in (MUTED, BYPASSED):
                inner = self._open(subgraph.nodes, subgraph.links or [], (*path, str(node.id)))
                inner.subgraph, inner.host, inner.outer = subgraph, node, level
                level.within[str(node.id)] = inner
                self._read_shown_values(inner, node, subgraph)
        return level

    def _read_link(self, link: Any) -> tuple[str, Link]:
        if isinstance(link, list) and len(link) >= 5:
            number, source, output, target, input_ = link[:5]
        elif isinstance(link, dict):
            number, source, output, target, input_ = (link.get(key) for key in LINK_KEYS)
        else:
            raise InputError(self._name, f"a link is {str(link)[:60]}: five values are wanted", self._fix)
        if not (isinstance(output, int) and isinstance(input_, int)):
            raise InputError(self._name, f"link {number} has no slot numbers", self._fix)
        return str(number), Link(str(source), output, str(target), input_)

    def _walk(self, level: Level) -> list[tuple[Level, UiNode]]:
        """The nodes that run."""
        found: list[tuple[Level, UiNode]] = []
        for node_id, node in level.nodes.items():
            if node.mode in (MUTED, BYPASSED) or _is_of_editor(node):
                continue
            if node_id in level.within:
                found += self._walk(level.within[node_id])
            else:
                found.append((level, node))
        return found

    def _convert_node(self, level: Level, node: UiNode) -> dict[str, Any]:
        if node.type.startswith(BROADCASTERS):
            raise Unconvertible("it links to others by rules of its own")
        if IN_THE_FILE.fullmatch(node.type):
            raise Unconvertible("it is a group of an old editor, or a subgraph that the file does not hold")
        declared = self._look_up(node.type)
        inputs = self._widget_values(declared, node)
        proxied = {key: value for (node_id, key), value in level.proxied.items() if node_id == str(node.id) and key in inputs}
        inputs |= proxied
        for number, slot in enumerate(node.inputs or ()):
            found = _primitive(level, slot) or self._source(level, node, number, None, set())
            if isinstance(found, Value):
                inputs[slot.name] = found.value
            elif found is not None:
                inputs[slot.name] = found
        if declared is not None:
            self._check(declared, inputs)
        wrapped = {key: {"__value__": value} if _is_plain_list(value) else value for key, value in inputs.items()}
        return {"inputs": wrapped, "class_type": node.type, "_meta": {"title": node.title or node.type}}

    @staticmethod
    def _widget_values(declared: NodeDeclaration | None, node: UiNode) -> dict[str, Any]:
        named, values = node.widgets_values_named, node.widgets_values
        if isinstance(values, dict):
            named = values
        if declared is None:
            if named is None and values:
                raise Unconvertible("its class is unknown here, so nobody can say what its saved values are for")
            return {key: value for key, value in (named or {}).items() if key not in EDITOR_VALUES}
        if isinstance(named, dict):
            return {key: value for key, value in named.items() if key not in EDITOR_VALUES}
        return read_widgets(node.type, declared, values if isinstance(values, list) else [])

    @staticmethod
    def _check(declared: NodeDeclaration, inputs: Mapping[str, Any]) -> None:
        for key, each in declared.inputs.items():
            value = inputs.get(key)
            if is_widget(each) and key in inputs and not is_link(value) and (fault := find_fault(each, value)):
                raise Unconvertible(f"{key}: {fault}; was it saved with another version of the node?")

    def _source(self, level: Level, node: UiNode, number: int, type_: Any, seen: set[tuple[str, str, int]]) -> list[Any] | Value | None:
        """What feeds an input: `[node id, output]`, a value, or nothing."""
        slots = node.inputs or []
        if not 0 <= number < len(slots):
            return None
        self._step(level, node, "I", number, seen)
        link = level.links.get(str(slots[number].link))
        if link is None:
            return None
        return self._follow(level, link, type_ if type_ is not None else slots[number].type, seen)

    def _follow(self, level: Level, link: Link, type_: Any, seen: set[tuple[str, str, int]]) -> list[Any] | Value | None:
        if link.source == INPUT_BORDER and level.subgraph is not None and level.host is not None and level.outer is not None:
            slots = level.subgraph.inputs or []
            if not 0 <= link.output < len(slots):
                return None
            key = slots[link.output].name
            number = next((place for place, slot in enumerate(level.host.inputs or ()) if slot.name == key), -1)
            if number >= 0 and (level.host.inputs or [])[number].link is not None:
                return self._source(level.outer, level.host, number, type_, seen)
            return Value(level.shown[key]) if key in level.shown else None
        origin = level.nodes.get(link.source)
        return self._output(level, origin, link.output, type_, seen) if origin is not None else None

    def _output(self, level: Level, node: UiNode, number: int, type_: Any, seen: set[tuple[str, str, int]]) -> list[Any] | Value | None:
        """What comes out of an output: a node that runs, or what it only passes on."""
        self._step(level, node, "O", number, seen)
        if node.mode == MUTED or node.type in DECORATIONS:
            return None
        if node.mode == BYPASSED:
            return self._source(level, node, _bypass(node, number, type_), None, seen)
        if (inner := level.within.get(str(node.id))) is not None:
            link = next((each for each in inner.links.values() if each.target == OUTPUT_BORDER and each.input == number), None)
            return self._follow(inner, link, type_, seen) if link is not None else None
        if node.type in REROUTES or node.type in SETTERS:
            return self._source(level, node, 0, type_, seen)
        if node.type in GETTERS:
            where, setter = _find_setter(level, node)
            return self._source(where, setter, 0, type_, seen) if setter is not None else None
        if node.type == "PrimitiveNode":
            return None  # the editor writes its value into the node beside it, and no further
        return [level.id_of(node), number]

    def _step(self, level: Level, node: UiNode, side: str, number: int, seen: set[tuple[str, str, int]]) -> None:
        step = (side, level.id_of(node), number)
        if step in seen:
            raise InputError(self._name, f"the links through node {level.id_of(node)} ({node.type}) form a loop", self._fix)
        seen.add(step)

    def _read_shown_values(self, inner: Level, host: UiNode, subgraph: UiSubgraph) -> None:
        """Values of an instance: in the order of the inputs that are widgets within or, before 2026, of the widgets it lists as shown."""
        values = host.widgets_values if isinstance(host.widgets_values, list) else []
        listed = host.properties.get("proxyWidgets") if isinstance(host.properties, dict) else None
        if isinstance(listed, list):
            for entry, value in zip(listed, values, strict=False):
                if not (isinstance(entry, list) and len(entry) >= 2) or value is None:
                    continue
                if str(entry[0]) == "-1":
                    inner.shown[str(entry[1])] = value
                else:
                    inner.proxied[str(entry[0]), str(entry[1])] = value
        else:
            names = [slot.name for number, slot in enumerate(subgraph.inputs or ()) if self._widget_within(inner, number) is not None]
            inner.shown |= {key: value for key, value in zip(names, values, strict=False) if value is not None}
        for number, slot in enumerate(subgraph.inputs or ()):
            if slot.name not in inner.shown and (found := self._widget_within(inner, number)) is not None and found.value is not None:
                inner.shown[slot.name] = found.value

    def _widget_within(self, inner: Level, number: int) -> Value | None:
        """The first widget that an input of a subgraph leads to, with its own value, None where that cannot be told."""
        for link in inner.links.values():
            target = inner.nodes.get(link.target)
            if link.source != INPUT_BORDER or link.output != number or target is None:
                continue
            slot = next((each for each in target.inputs or () if inner.links.get(str(each.link)) is link), None)
            found = self._widget_of(inner, target, slot) if slot is not None else None
            if found is not None:
                return found
        return None

    def _widget_of(self, level: Level, node: UiNode, slot: UiSlot) -> Value | None:
        if (deeper := level.within.get(str(node.id))) is not None:
            names = [each.name for each in (deeper.subgraph and deeper.subgraph.inputs) or ()]
            found = self._widget_within(deeper, names.index(slot.name)) if slot.name in names else None
            return Value(deeper.shown.get(slot.name)) if found is not None else None
        declared = self._look_up(node.type)
        known = declared.inputs.get(slot.name) if declared is not None else None
        if not (is_widget(known) if known is not None else slot.widget is not None):
            return None
        try:
            own = self._widget_values(declared, node).get(slot.name)
        except Unconvertible:
            own = None  # told when the node itself is converted
        return Value(level.proxied.get((str(node.id), slot.name), own))


LINK_KEYS = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
EDITOR_VALUES = frozenset({"control_after_generate", "control_filter_list", "upload", "audioUI", "videopreview"})
"""Widgets of the editor that are no inputs of the node."""


def _is_of_editor(node: UiNode) -> bool:
    return node.type in DECORATIONS or node.type in REROUTES or node.type in SETTERS or node.type in GETTERS or node.type == "PrimitiveNode"


def _find_setter(level: Level, getter: UiNode) -> tuple[Level, UiNode | None]:
    """The Set node of the same name, in the same graph or one around it."""
    name = _first_value(getter)
    at: Level | None = level
    while at is not None:
        for node in at.nodes.values():
            if node.type in SETTERS and name is not None and _first_value(node) == name:
                return at, node
        at = at.outer
    return level, None


def _primitive(level: Level, slot: UiSlot) -> Value | None:
    """The value of a primitive that is linked to an input directly, None where there is none."""
    link = level.links.get(str(slot.link))
    origin = level.nodes.get(link.source) if link is not None else None
    if origin is None or origin.type != "PrimitiveNode" or origin.mode in (MUTED, BYPASSED) or slot.widget is None:
        return None
    value = _first_value(origin)
    return Value(value) if value is not None else None


def _first_value(node: UiNode) -> Any:
    return node.widgets_values[0] if isinstance(node.widgets_values, list) and node.widgets_values else None


def _bypass(node: UiNode, number: int, type_: Any) -> int:
    """The input that a bypassed node passes to an output: one of its type, the one in the same place first."""
    inputs, outputs = node.inputs or [], node.outputs or []
    if not 0 <= number < len(outputs):
        return -1
    given = outputs[number].type
    if type_ in ("*", ""):
        return number if number < len(inputs) else 0
    if number < len(inputs) and _fits(inputs[number].type, given) and _fits(inputs[number].type, type_):
        return number
    same = [place for place, slot in enumerate(inputs) if slot.type == type_]
    like = [place for place, slot in enumerate(inputs) if _fits(slot.type, given) and _fits(slot.type, type_)]
    return (same or like or [-1])[0]


def _fits(one: Any, other: Any) -> bool:
    if one in ("*", "", 0, None) or other in ("*", "", 0, None):
        return True
    return bool(set(str(one).lower().split(",")) & set(str(other).lower().split(",")))


def _is_plain_list(value: Any) -> bool:
    """A value that is a list would be taken for a link."""
    return isinstance(value, list) and not is_link(value)


def _leads_nowhere(value: Any, graph: Mapping[str, Any]) -> bool:
    return is_link(value) and value[0] not in graph
