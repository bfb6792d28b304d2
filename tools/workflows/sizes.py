"""Where the size of a picture stands: in the node that makes the first latent, and in all that is told of the size beside it.

A second pass with a size of its own (a high-resolution fix) is scaled in proportion; so are schedulers and models that are told the
size. Text encoders that were told the same size are told the new one.
"""

from __future__ import annotations

from collections.abc import Iterator

from tools.workflows.graph import ancestors, is_link, label
from tools.workflows.node_types import BATCH_KEYS, FREE_SIZE, SIZE_CHOICE, TILE
from tools.workflows.passes import ROLES, Passes
from tools.workflows.targets import Change, Target, Unplaceable
from tools.workflows.typed_graph import TypedGraph
from tools.workflows.values import Values

SIDES = ("width", "height")
LATENT_SIDE = 8


class Sizes:
    """Finds and changes the sides of a graph's pictures, and how many of them a prompt makes."""

    def __init__(self, typed: TypedGraph, passes: Passes, values: Values) -> None:
        self._typed, self._passes, self._values = typed, passes, values
        self._before = [spot.node for spot in passes.picture_way(passes.picture_links(passes.samplers[0]))]

    def sides_of(self, node: str) -> dict[str, str]:
        """The inputs for width and height of a node, where it has both."""
        typed, found = self._typed, dict[str, str]()
        for side in SIDES:
            keys = [key for key in typed.inputs(node) if key.endswith(side) and not TILE.search(key)]
            keys = [key for key in keys if typed.input_type(node, key).split(",")[0] in ("INT", "")]
            keys.sort(key=lambda key: (key != side, key.startswith("target"), len(key)))
            if keys:
                found[side] = keys[0]
        return found if len(found) == 2 else {}

    def sink(self, side: str) -> Target:
        """The input that decides a side of the first pass. Raises Unplaceable."""
        typed = self._typed
        node = next((node for node in self._before if self.sides_of(node)), None)
        if node is None:
            for each in self._before:
                if choice := next((key for key in typed.inputs(each) if SIZE_CHOICE.search(key)), None):
                    raise Unplaceable(f"{choice} of {label(typed.graph, each)} decides it: choose there, with --set {each}.{choice}=VALUE")
            first = label(typed.graph, self._passes.samplers[0])
            made = f"the picture that {first} starts from has no size of its own (made from another picture?)"
            raise Unplaceable(f"{made}: if a node decides it, write there with --set NODE.INPUT=VALUE")
        choice = self._closed_choice(node)
        if choice is not None:
            told = f"{choice} of {label(typed.graph, node)} decides it: choose there, or free the sides, with --set {node}.{choice}=VALUE"
            raise Unplaceable(told)
        return Target(node, self.sides_of(node)[side])

    def _closed_choice(self, node: str) -> str | None:
        """An input of a node by which a list of sizes wins over its sides."""
        for key in self._typed.inputs(node):
            if SIZE_CHOICE.search(key):
                known, value = self._typed.literal(node, key)
                if not known or (isinstance(value, str) and not FREE_SIZE.search(value)) or value is True:
                    return key
        return None

    def changes(self, side: str, new: int) -> list[Change]:
        """Everything that a new side changes. Raises Unplaceable."""
        sink = self.sink(side)
        target, remark = self._values.place(sink, side)
        is_cut = target == sink and is_link(self._values.raw(sink))
        found = [Change(side, target, new, remark)]
        for each, is_told in self._others(sink, side):
            change = self._follow(each, sink, target, is_cut, side, new, is_told)
            if change is not None and change.target not in [other.target for other in found]:
                found.append(change)
        return found

    def _others(self, first: Target, side: str) -> Iterator[tuple[Target, bool]]:
        """Other inputs for the same side: of what comes after the first pass, of models and schedulers, and (True) of text encoders."""
        typed, passes = self._typed, self._passes
        after = [spot.node for spot in passes.picture_way(passes.picture_links(passes.output))] if passes.output else []
        nodes = [node for node in after if node not in self._before]
        told: list[str] = []
        for sampler in passes.samplers:
            nodes += [spot.node for spot in typed.walk(passes.models(sampler), "MODEL")]
            nodes += [spot.node for spot in typed.walk(passes.links_of(sampler, "SIGMAS"), "SIGMAS")]
            told += [spot.node for role in ROLES for spot in typed.walk(passes.conditioning(sampler, role), "CONDITIONING")]
        for node in dict.fromkeys(nodes):
            sides = self.sides_of(node)
            if sides and node != first.node:
                yield Target(node, sides[side]), False
        for node in dict.fromkeys(told):
            if {"x", "y", *SIDES} <= set(typed.inputs(node)):  # an area of the picture keeps its share of it
                yield Target(node, side), False
                yield Target(node, "x" if side == "width" else "y"), False
                continue
            for key in (side, f"target_{side}"):
                if key in typed.inputs(node) and node != first.node:
                    yield Target(node, key), True

    def _follow(self, each: Target, sink: Target, target: Target, is_cut: bool, side: str, new: int, is_told: bool) -> Change | None:
        typed, values = self._typed, self._values
        link, old = values.raw(each), values.value(sink)
        where = f"{each.key} of {label(typed.graph, each.node)}"
        mend = f"give it too, with --set {each.node}.{each.key}=VALUE"
        if is_link(link):
            if is_cut and link == values.raw(sink):
                return Change(side, each, new, f"no longer from {label(typed.graph, link[0])}")
            if not is_cut and typed.origin(each.node, each.key, side) == (target.node, target.key):
                return None
            if typed.is_computed(each.node, each.key):
                above = ancestors(typed.graph, link[0])
                if (not is_cut and target.node in above) or sink.node in above or any(node in above for node in self._passes.samplers):
                    return None  # it follows by itself
                if is_told:
                    return None
                raise Unplaceable(f"{where} is computed by {label(typed.graph, link[0])}: {mend}")
        value = values.value(each)
        if not isinstance(value, int) or value == 0:
            return None
        if value == old:
            place, remark = values.place(each, side)
            return Change(side, place, new, remark)
        if is_told:
            return None
        if not isinstance(old, int) or old <= 0:
            raise Unplaceable(f"{where} is {value}, and what it was made for is computed: {mend}")
        scaled = max(LATENT_SIDE, round(value * new / old / LATENT_SIDE) * LATENT_SIDE)
        place, remark = values.place(each, side)
        return Change(side, place, scaled, remark or f"was {value}, scaled as {old} to {new}")

    def batch(self) -> list[Change]:
        """One picture a prompt: its seed must be its own. Raises Unplaceable where a node puts several together."""
        typed, passes, found = self._typed, self._passes, []
        way = [spot.node for spot in passes.picture_way(passes.picture_links(passes.output))] if passes.output else self._before
        if joiner := passes.joiner(passes.output) if passes.output else "":
            told = f"{label(typed.graph, joiner)} puts several pictures of one prompt together"
            first = passes.picture_links(joiner)[0].node
            raise Unplaceable(f"{told}: choose one that comes before it, such as --output-node-id {first}")
        for node in dict.fromkeys(way):
            for key in typed.inputs(node):
                if key in BATCH_KEYS and typed.input_type(node, key).split(",")[0] == "INT" and self._multiplies(node, key):
                    known, value = typed.literal(node, key)
                    if not known or value != 1:
                        found.append(Change("batch size", Target(node, key), 1, f"was {value}" if known else "was computed"))
        return found

    def _multiplies(self, node: str, key: str) -> bool:
        typed = self._typed
        if key == "batch_size":
            return True
        declaration = typed.declaration(node)
        outputs = declaration.outputs if declaration is not None else ()
        return any(kind in outputs and any(typed.takes(node, each, kind) for each in typed.inputs(node)) for kind in ("LATENT", "IMAGE"))
