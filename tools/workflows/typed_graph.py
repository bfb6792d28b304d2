"""A graph with the types of its links: what decides an output, and where a value that arrives at an input really stands.

Types come from the signatures. What no signature tells (`*`, templates, classes that nobody knows, inputs that grow) takes the type
of what is linked there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tools.backends.backend import NodeDeclaration, NodeInput
from tools.workflows.graph import Graph, class_of, is_link
from tools.workflows.node_types import (
    ANY_TYPES,
    FALSE_WORD,
    FIRST_IS_TRUE,
    FIRST_LINKED,
    PIPE,
    SELECTORS,
    TRUE_WORD,
    VALUE_TYPES,
    alias,
    role_of,
)
from tools.workflows.signatures import Signatures

NUMBERED = re.compile(r"^(.*?)_?(\d+)$")
LETTERED = re.compile(r"^(.+)_([ab])$")


@dataclass(frozen=True, slots=True)
class Spot:
    """An output on the way up. `role`: what is sought there, by which one of several is told (`positive`, `seed` …)."""

    node: str
    output: int
    role: str = ""


@dataclass(frozen=True, slots=True)
class Feed:
    """The inputs that decide an output. `is_exact`: one of them is passed on as it is."""

    keys: tuple[str, ...] = ()
    is_exact: bool = False
    is_contradictory: bool = False
    """The names of inputs and the order of outputs say different things."""


class TypedGraph:
    """Questions to a graph about types. Nothing is changed."""

    def __init__(self, graph: Graph, signatures: Signatures) -> None:
        self.graph, self.signatures = graph, signatures
        self._users: dict[str, list[tuple[int, str, str]]] = {}
        self._ways_on: dict[str, tuple[str, ...] | None] = {}
        for node_id, node in graph.items():
            for key, value in node["inputs"].items():
                if is_link(value):
                    self._users.setdefault(value[0], []).append((value[1], node_id, key))

    def inputs(self, node: str) -> dict[str, Any]:
        found: dict[str, Any] = self.graph[node]["inputs"]
        return found

    def declaration(self, node: str) -> NodeDeclaration | None:
        return self.signatures.of(class_of(self.graph, node))

    def users(self, node: str, output: int | None = None) -> list[tuple[str, str]]:
        """The inputs (node, key) that an output goes to; of all outputs where none is named."""
        return [(user, key) for at, user, key in self._users.get(node, ()) if output is None or at == output]

    def used_outputs(self, node: str) -> list[int]:
        return sorted({at for at, _, _ in self._users.get(node, ())})

    def spot(self, node: str, key: str, role: str = "") -> Spot | None:
        """What is linked to an input."""
        value = self.inputs(node).get(key)
        return Spot(value[0], value[1], role) if is_link(value) else None

    # Types

    def declared_input(self, node: str, key: str) -> NodeInput | None:
        """The signature of an input, through choices that bring their own (`format.bit_depth`) and inputs that grow (`values.a`)."""
        declaration = self.declaration(node)
        if declaration is None:
            return None
        found, inputs, path = declaration.inputs.get(key), declaration.inputs, ""
        if found is not None:
            return found
        for part in key.split("."):
            path = f"{path}.{part}" if path else part
            if found is not None and "" in found.parts:
                return next(iter(found.parts[""].values()), None)
            if found is not None:
                inputs = found.parts.get(str(self.inputs(node).get(path.rpartition(".")[0])), {})
            found = inputs.get(part)
            if found is None:
                return None
        return found

    def input_type(self, node: str, key: str) -> str:
        """The type that an input takes; empty where nothing tells."""
        declared = self.declared_input(node, key)
        if declared is not None and declared.type not in ANY_TYPES:
            return declared.type
        value = self.inputs(node).get(key)
        if is_link(value):
            return self.output_type(value[0], value[1])
        return _type_of_value(value)

    def output_type(self, node: str, output: int) -> str:
        """The type of an output; empty where nothing tells."""
        seen: set[str] = set()
        while node not in seen:
            seen.add(node)
            declaration = self.declaration(node)
            if declaration is None or output >= len(declaration.outputs):
                return self._type_by_users(node, output)
            if declaration.outputs[output] not in ANY_TYPES:
                return declaration.outputs[output]
            values = [value for key, value in self.inputs(node).items() if self._shares_type(node, key, output)]
            linked = next((value for value in values if is_link(value)), None)
            if linked is None:
                return next((_type_of_value(value) for value in values), "") or self._type_by_users(node, output)
            node, output = linked[0], linked[1]
        return ""

    def _shares_type(self, node: str, key: str, output: int) -> bool:
        """Whether an input of any type is what an output of any type becomes."""
        declaration, declared = self.declaration(node), self.declared_input(node, key)
        if declaration is None or (declared is not None and declared.type not in ANY_TYPES):
            return False
        templates = declaration.output_templates
        template = templates[output] if output < len(templates) else ""
        if declared is None:
            return is_link(self.inputs(node)[key])
        return not template or declared.template == template

    def _type_by_users(self, node: str, output: int) -> str:
        for user, key in self.users(node, output):
            declared = self.declared_input(user, key)
            if declared is not None and declared.type not in ANY_TYPES:
                return declared.type
        return ""

    def output_name(self, node: str, output: int) -> str:
        """The name of an output where it has one of its own; empty where it is called by its type."""
        declaration = self.declaration(node)
        if declaration is None or output >= len(declaration.output_names):
            return ""
        name = declaration.output_names[output]
        is_type = name.upper() == declaration.outputs[output].upper() or name in ("COMBO", "*", "") or name.startswith("[")
        return "" if is_type and name.upper() not in ("SEED", "CFG") else name

    def takes(self, node: str, key: str, want: str) -> bool:
        """Whether an input, as it stands in the graph, brings a thing of a type."""
        value, declared = self.inputs(node).get(key), self.declared_input(node, key)
        if value is None:
            return False
        if declared is not None and declared.type not in ANY_TYPES:
            return want in declared.type.split(",")
        if is_link(value):
            return want in self.output_type(value[0], value[1]).split(",")
        known = declared is not None or self.declaration(node) is None  # a literal that no signature knows is a display's memory
        return known and want in VALUE_TYPES and is_value_of(value, want)

    # What decides an output

    def feed(self, spot: Spot, want: str) -> Feed:
        """The inputs of a node that make up one of its outputs, as far as they bring things of the type `want`."""
        branches = self.branches(spot.node)
        if branches is not None:
            return Feed(tuple(key for key in branches if self.inputs(spot.node).get(key) is not None), is_exact=True)
        keys = self._with_siblings(spot.node, [key for key in self._ordered_keys(spot.node) if self.takes(spot.node, key, want)])
        if not keys:
            linked = [key for key, value in self.inputs(spot.node).items() if is_link(value)]
            keys = [key for key in linked if not self.input_type(spot.node, key)]
        chosen, contradictory = self._choose(spot, want, keys)
        return Feed(tuple(chosen), len(chosen) == 1 and self._passes_on(spot, chosen[0]), contradictory)

    def _with_siblings(self, node: str, keys: list[str]) -> list[str]:
        """With the inputs whose type nothing tells, but whose name counts on from one of `keys` (`string_1`, `string_2`)."""
        stems = {stem for key in keys if (stem := _stem(key))}
        declaration = self.declaration(node)
        known = declaration.inputs if declaration is not None else {}
        more = [key for key, value in self.inputs(node).items() if key not in known and is_link(value) and not self.input_type(node, key)]
        more = [key for key in more if key not in keys and _stem(key) in stems]
        return keys + more if more else keys

    def _ordered_keys(self, node: str) -> list[str]:
        declaration, inputs = self.declaration(node), self.inputs(node)
        declared = [key for key in declaration.inputs if key in inputs] if declaration is not None else []
        return declared + [key for key in inputs if key not in declared]

    def _choose(self, spot: Spot, want: str, keys: list[str]) -> tuple[list[str], bool]:
        """Of several inputs of one type those of an output: by its name, by its place among the outputs, by what is sought."""
        name = self.output_name(spot.node, spot.output)
        by_name = [key for key in keys if name and alias(key) == alias(name)]
        role = role_of(name)
        by_name = by_name or [key for key in keys if role and role_of(key) == role]
        if by_name:
            return by_name, False
        if role and any(role_of(key) for key in keys):
            return [], False  # the other role's: the input of this one is not linked
        sought = [key for key in keys if spot.role and alias(key) == alias(spot.role)]
        sought = sought or [key for key in keys if role_of(spot.role) and role_of(key) == role_of(spot.role)]
        by_place = self._by_place(spot, want)
        if by_place is not None and len(keys) > 1:
            if sought and by_place not in sought:
                return [], True
            return ([by_place] if by_place in keys else []), False
        if sought and (len(keys) > 1 or self._has_sibling(spot, want)):
            return sought, False
        return keys, False

    def _by_place(self, spot: Spot, want: str) -> str | None:
        """The input at the same place among those of its type as the output among those of its type, where there are as many."""
        declaration = self.declaration(spot.node)
        if declaration is None:
            return None
        outputs = [at for at, kind in enumerate(declaration.outputs) if kind == want]
        inputs = [key for key, declared in declaration.inputs.items() if want in declared.type.split(",")]
        if want == "COMBO":  # choices are told apart by what they offer
            offered = declaration.output_choices[spot.output] if spot.output < len(declaration.output_choices) else None
            same = [key for key in inputs if declaration.inputs[key].choices == offered]
            if offered is not None and len(same) == 1:
                return same[0]
        return inputs[outputs.index(spot.output)] if spot.output in outputs and len(outputs) == len(inputs) > 1 else None

    def _has_sibling(self, spot: Spot, want: str) -> bool:
        declaration = self.declaration(spot.node)
        return declaration is None or declaration.outputs.count(want) > 1

    def _passes_on(self, spot: Spot, key: str) -> bool:
        """Whether an output is nothing but one input: a node that shows, a node that holds a value, a pipe that carries it."""
        declaration, declared, inputs = self.declaration(spot.node), self.declared_input(spot.node, key), self.inputs(spot.node)
        links = [each for each, value in inputs.items() if is_link(value)]
        if declaration is None:
            literals = [each for each, value in inputs.items() if not is_link(value)]
            return (links == [key] and not literals) or (literals == [key] and not links)
        if (declared is None or declared.type in ANY_TYPES) and is_link(inputs[key]):
            return links == [key]
        if any(PIPE.search(kind) for kind in declaration.outputs):
            return alias(self.output_name(spot.node, spot.output)) == alias(key)
        values = [each for each, kind in declaration.inputs.items() if kind.type.split(",")[0] in VALUE_TYPES]
        others = [each for each in links if each not in values]
        if values == [key] and not others:
            return True
        kinds = sorted(declaration.inputs[each].type for each in values)
        return not others and kinds == sorted(declaration.outputs)

    def above(self, spot: Spot, want: str) -> tuple[list[Spot], list[str], Feed]:
        """One step up: the outputs that an output is made of, and the literal inputs of its node that decide it."""
        kind = self.output_type(spot.node, spot.output)
        feed = self.feed(spot, want) if not (PIPE.search(kind) and want not in kind.split(",")) else self._in_pipe(spot, want)
        keys = feed.keys
        if not keys and not feed.is_contradictory:
            name = spot.role if PIPE.search(kind) else alias(self.output_name(spot.node, spot.output)) or spot.role
            links = [key for key, value in self.inputs(spot.node).items() if is_link(value)]
            pipe = next((key for key in links if PIPE.search(self.input_type(spot.node, key))), None)
            found = self.spot(spot.node, pipe, name) if pipe is not None else None
            return [found] if found is not None else [], [], Feed((), True)
        spots = [each for key in keys if (each := self.spot(spot.node, key, spot.role))]
        return spots, [key for key in keys if not is_link(self.inputs(spot.node)[key])], feed

    def _in_pipe(self, spot: Spot, want: str) -> Feed:
        """What a pipe that begins or goes on here carries under the name that is sought."""
        named = [key for key in self.inputs(spot.node) if self.takes(spot.node, key, want)]
        keys = [key for key in named if alias(key) == alias(spot.role)] or [
            key for key in named if role_of(spot.role) and role_of(key) == role_of(spot.role)
        ]
        if not keys and want not in VALUE_TYPES and len(named) == 1 and not role_of(spot.role):
            keys = named
        return Feed(tuple(keys), len(keys) == 1)

    # Switches

    def branches(self, node: str) -> tuple[str, ...] | None:
        """The inputs that a switch passes on: one where a literal selects it, else all; None where the node is no switch."""
        if node not in self._ways_on:
            self._ways_on[node] = None  # while its own switch is looked for
            self._ways_on[node] = self._find_branches(node)
        return self._ways_on[node]

    def _find_branches(self, node: str) -> tuple[str, ...] | None:
        keys = list(self.inputs(node))
        if FIRST_LINKED.search(class_of(self.graph, node)):
            linked = sorted(key for key in keys if is_link(self.inputs(node)[key]))
            return tuple(linked[:1])
        selector = next((key for key in keys if self._selects(node, key)), None)
        if selector is None:
            return None
        ways = self._ways(node, [key for key in keys if key != selector], selector)
        if ways is None:
            return None
        known, value = self.literal(node, selector)
        if not known or not isinstance(value, int):
            return tuple(ways.values())
        return (ways[value],) if value in ways else ()

    def _selects(self, node: str, key: str) -> bool:
        kind = self.input_type(node, key)
        return (kind == "BOOLEAN" or (kind == "INT" and alias(key) in SELECTORS)) and not PIPE.search(kind)

    def _ways(self, node: str, keys: list[str], selector: str) -> dict[int, str] | None:
        """Value of the switch -> the input that it passes on."""
        declaration = self.declaration(node)
        keys = list(dict.fromkeys([*(declaration.inputs if declaration is not None else ()), *keys]))
        keys = [key for key in keys if key != selector]
        if self.input_type(node, selector) == "BOOLEAN":
            true, false = [key for key in keys if TRUE_WORD.search(key)], [key for key in keys if FALSE_WORD.search(key)]
            if len(true) == len(false) == 1:
                return {1: true[0], 0: false[0]}
            lettered = {match[2]: key for key in keys if (match := LETTERED.match(key))}
            if len(lettered) == 2 and FIRST_IS_TRUE.match(class_of(self.graph, node)):
                return {1: lettered["a"], 0: lettered["b"]}
            return None
        numbered = {int(match[2]): key for key in keys if (match := NUMBERED.match(key)) and len(match[2]) < 4}
        return numbered if numbered and alias(selector) in SELECTORS else None

    # Where a value stands

    def origin(self, node: str, key: str, role: str = "") -> tuple[str, str]:
        """The literal input that an input's value comes from unchanged; the input itself where it is a literal, or is computed."""
        found = self._origin(node, key, role or key)
        return found if found is not None else (node, key)

    def is_computed(self, node: str, key: str) -> bool:
        """Whether an input is linked, and to something else than a literal that is passed on."""
        return is_link(self.inputs(node).get(key)) and self._origin(node, key, key) is None

    def _origin(self, node: str, key: str, role: str) -> tuple[str, str] | None:
        want = self.input_type(node, key)
        spot = self.spot(node, key, role)
        if spot is None:
            return node, key
        for _ in range(len(self.graph) + 1):
            spots, keys, feed = self.above(spot, want)
            if not feed.is_exact or len(spots) + len(keys) != 1:
                return None
            if keys:
                return spot.node, keys[0]
            spot = spots[0]
        return None

    def literal(self, node: str, key: str) -> tuple[bool, Any]:
        """Whether the value that arrives at an input is known, and the value."""
        found = self._origin(node, key, key)
        if found is None:
            return False, None
        value = self.inputs(found[0]).get(found[1])
        return not is_link(value), value

    def walk(self, starts: list[Spot], want: str) -> Iterator[Spot]:
        """All outputs of one type that a thing is made of, nearest first."""
        return spread(starts, lambda spot: self.above(spot, want)[0])


def spread(starts: list[Spot], made_from: Callable[[Spot], list[Spot]]) -> Iterator[Spot]:
    """The outputs, and everything that they are made from, each once, nearest first."""
    ahead, seen = list(starts), set(starts)
    for spot in ahead:  # grows while it is read: breadth first
        yield spot
        for above in made_from(spot):
            if above not in seen:
                seen.add(above)
                ahead.append(above)


def _stem(key: str) -> str:
    """The part of a name that inputs of one list share; empty where a name is not counted."""
    match = NUMBERED.match(key) or LETTERED.match(key)
    return match[1] if match else ""


def is_value_of(value: Any, kind: str) -> bool:
    """Whether a literal is of a type."""
    if isinstance(value, bool):
        return kind == "BOOLEAN"
    wanted: dict[str, type | tuple[type, ...]] = {"INT": int, "FLOAT": (int, float), "STRING": str, "COMBO": str}
    return isinstance(value, wanted.get(kind, ()))


def _type_of_value(value: Any) -> str:
    if isinstance(value, bool):
        return "BOOLEAN"
    return {int: "INT", float: "FLOAT", str: "STRING"}.get(type(value), "")
