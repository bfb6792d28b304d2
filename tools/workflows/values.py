"""Where the numbers and choices of a sampler stand: seed, steps, CFG, guidance, sampler, scheduler.

Each is an input of the sampler itself, or of the node that is linked to it for that purpose (noise, sigmas, guider, sampler). A value
that is linked is followed to the literal that it comes from unchanged. Where it is computed on the way, or that literal decides
something else as well, the value is written into the sampler's own input, in place of the link.
"""

from __future__ import annotations

from typing import Any

from tools.workflows.graph import ancestors, is_link, label
from tools.workflows.node_types import ANY_TYPES, CFG_KEYS, CONTINUING_KEYS, GUIDANCE_KEYS, PIPE, VALUE_TYPES, alias
from tools.workflows.passes import Passes, is_seed
from tools.workflows.targets import Change, Target, Unplaceable
from tools.workflows.typed_graph import Spot, TypedGraph

LINKED_BY = {"seed": "NOISE", "steps": "SIGMAS", "scheduler": "SIGMAS", "cfg": "GUIDER", "sampler": "SAMPLER"}
TYPES = {"seed": "INT", "steps": "INT", "cfg": "FLOAT", "sampler": "COMBO", "scheduler": "COMBO", "guidance": "FLOAT"}
NAMES = {"steps": ("steps", "steps_total"), "cfg": CFG_KEYS, "sampler": ("sampler_name", "sampler"), "scheduler": ("scheduler",)}
KNOWN_CHOICE = {"sampler": "euler", "scheduler": "sgm_uniform"}
"""A choice by which a list is known as that of samplers or schedulers, whatever the input is called."""
MOST_STEPS = 1000
"""A place in the steps that is this large means the end, whatever the steps are."""


class Values:
    """Finds the inputs that take a setting of the samplers. `keys`: names of inputs that were given by hand."""

    def __init__(self, typed: TypedGraph, passes: Passes, keys: dict[str, str | None]) -> None:
        self._typed, self._passes, self._keys = typed, passes, keys

    def sinks(self, setting: str, sampler: str) -> list[Target]:
        """The inputs of a sampler's settings, nearest to it."""
        own = self._own(setting, sampler)
        if own:
            return own
        kind = LINKED_BY[setting]
        starts = [*self._passes.links_of(sampler, kind), *self._piped(setting, sampler)]
        if setting == "cfg":
            return [target for node in self._passes.guides(sampler) for target in self._own(setting, node)]
        for wanted, spots in ((kind, starts), (TYPES[setting], starts)):
            for spot in self._typed.walk(spots, wanted):
                if found := self._own(setting, spot.node):
                    return found
        return []

    def _piped(self, setting: str, sampler: str) -> list[Spot]:
        typed = self._typed
        keys = [key for key, value in typed.inputs(sampler).items() if is_link(value) and PIPE.search(typed.input_type(sampler, key))]
        return [spot for key in keys if (spot := typed.spot(sampler, key, setting))]

    def _own(self, setting: str, node: str) -> list[Target]:
        keys = [key for key in self._typed.inputs(node) if self._is_setting(setting, node, key)]
        return [Target(node, key) for key in keys[:1]]

    def _is_setting(self, setting: str, node: str, key: str) -> bool:
        typed = self._typed
        if given := self._keys.get(setting):
            return key == given
        if setting == "seed":
            return is_seed(typed, node, key)
        declared = typed.declared_input(node, key)
        if declared is None and typed.declaration(node) is not None:
            return False
        if setting in KNOWN_CHOICE and declared is not None and declared.choices and KNOWN_CHOICE[setting] in declared.choices:
            return True
        if key not in NAMES[setting]:
            return False
        kind = declared.type if declared is not None and declared.type not in ANY_TYPES else typed.input_type(node, key)
        fitting = {"FLOAT": ("FLOAT", "INT", ""), "COMBO": ("COMBO", "STRING", ""), "INT": ("INT", "")}[TYPES[setting]]
        return kind.split(",")[0] in (fitting if declared is None else (TYPES[setting],))

    # One setting

    def targets(self, setting: str) -> list[Target]:
        """Where a setting goes: to the first pass and to those that have the same value; a seed to all. Raises Unplaceable."""
        samplers = self._passes.all_samplers if setting == "seed" else self._passes.samplers
        first = self._passes.samplers[0]
        found = self.sinks(setting, first)
        if not found:
            raise Unplaceable(self._why_not(setting, first))
        for sampler in samplers:
            for sink in self.sinks(setting, sampler):
                if setting == "seed" or self.same(sink, found[0]):
                    found.append(sink)
        return list(dict.fromkeys(found))

    def same(self, one: Target, other: Target) -> bool:
        """Whether two inputs have one value, as far as it is known; a value that is computed is only that of the same link."""
        known, value = self._typed.literal(one.node, one.key)
        also, wanted = self._typed.literal(other.node, other.key)
        if known and also:
            return bool(value == wanted)
        return not known and not also and self.raw(one) == self.raw(other)

    def raw(self, target: Target) -> Any:
        return self._typed.inputs(target.node)[target.key]

    def value(self, target: Target) -> Any:
        """The value at an input, None where it is computed."""
        known, value = self._typed.literal(target.node, target.key)
        return value if known else None

    def _why_not(self, setting: str, sampler: str) -> str:
        names = {"seed": "seed or noise_seed", "sampler": "sampler_name"}.get(setting, setting)
        told = f"{label(self._typed.graph, sampler)} has no input {names}"
        starts = self._passes.links_of(sampler, LINKED_BY[setting])
        if starts:
            told += f", and {label(self._typed.graph, starts[0].node)} has none"
        set_it = "write the value that it has instead with --set NODE.INPUT=VALUE"
        return f"{told}: {'name the node that has it with --seed-node-id' if setting == 'seed' else set_it}"

    def guidance(self) -> list[Target]:
        """The inputs for guidance in the place of CFG, on the way of the conditioning. Raises Unplaceable."""
        typed, found = self._typed, []
        for sampler in self._passes.samplers:
            for spot in typed.walk(self._passes.conditioning(sampler, "positive"), "CONDITIONING"):
                keys = [
                    key for key in typed.inputs(spot.node) if key in GUIDANCE_KEYS and typed.input_type(spot.node, key) in ("FLOAT", "INT")
                ]
                found += [Target(spot.node, key) for key in keys]
        if not found:
            raise Unplaceable(f"no node on the way to {label(typed.graph, self._passes.samplers[0])} takes a guidance: give --cfg")
        return [target for target in dict.fromkeys(found) if self.same(target, found[0])]

    def cfg(self) -> list[Target]:
        """Those of CFG; where a guidance of its own stands in its place, that is told. Raises Unplaceable."""
        try:
            guided = self.guidance()
        except Unplaceable:
            guided = []
        found = self.sinks("cfg", self._passes.samplers[0])
        value = self.value(found[0]) if found else None
        if guided and (not found or (isinstance(value, int | float) and value <= 1)):
            node, first = label(self._typed.graph, guided[0].node), label(self._typed.graph, self._passes.samplers[0])
            off = f"the CFG of {first} is switched off" if found else f"{first} has no CFG"
            raise Unplaceable(f"{off}, this model is led by the guidance of {node}: give --guidance")
        return self.targets("cfg")

    # From an input to the literal

    def place(self, sink: Target, setting: str) -> tuple[Target, str]:
        """The literal that an input's value comes from, or the input itself; and what is to be said of it."""
        typed = self._typed
        value = self.raw(sink)
        if not is_link(value):
            return sink, ""
        source = label(typed.graph, value[0])
        if typed.is_computed(sink.node, sink.key):
            return sink, f"no longer from {source}"
        origin = typed.origin(sink.node, sink.key, setting)
        other = self._other_use(origin, sink.key)
        if other is not None:
            return sink, f"no longer from {source}, which also decides {other.key} of {label(typed.graph, other.node)}"
        return Target(*origin), ""

    def _other_use(self, origin: tuple[str, str], sink: str) -> Target | None:
        """An input for something else that the same literal decides."""
        typed = self._typed
        ahead, seen = [origin[0]], {origin[0]}
        for node in ahead:
            for user, key in typed.users(node):
                if typed.input_type(user, key).split(",")[0] not in VALUE_TYPES or typed.origin(user, key) != origin:
                    continue
                if self._is_doing(user) and _group(key) != _group(sink):
                    return Target(user, key)
                if user not in seen:
                    seen.add(user)
                    ahead.append(user)
        return None

    def _is_doing(self, node: str) -> bool:
        """Whether a node does something with a value, rather than hand it on, show it or compute with it."""
        declaration = self._typed.declaration(node)
        outputs = declaration.outputs if declaration is not None else ()
        return any(kind not in VALUE_TYPES and kind not in ANY_TYPES and not PIPE.search(kind) for kind in outputs)

    # Steps of several passes

    def hand_over(self, targets: list[Target], new: int) -> list[Change]:
        """The places in the steps where one pass hands over to the next, moved in proportion. Raises Unplaceable."""
        typed, found = self._typed, []
        known, old = typed.literal(targets[0].node, targets[0].key)
        origins = {typed.origin(each.node, each.key, "steps") for each in targets}
        for sampler in self._passes.samplers:
            way = [sampler, *(spot.node for spot in typed.walk(self._passes.links_of(sampler, "SIGMAS"), "SIGMAS"))]
            for node in dict.fromkeys(way):
                for key in typed.inputs(node):
                    if key not in CONTINUING_KEYS or typed.input_type(node, key) != "INT":
                        continue
                    if typed.origin(node, key) in origins:
                        continue
                    sink = Target(node, key)
                    if typed.is_computed(node, key):
                        link = self.raw(sink)
                        if any(origin[0] in ancestors(typed.graph, link[0]) for origin in origins):
                            continue
                        raise Unplaceable(f"{key} of {label(typed.graph, node)} is computed: give it too, with --set {node}.{key}=VALUE")
                    value = self.value(sink)
                    if not isinstance(value, int) or value <= 0 or (known and isinstance(old, int) and value > old):
                        continue
                    if not known or not isinstance(old, int):
                        if value >= MOST_STEPS:
                            continue
                        raise Unplaceable(f"{key} of {label(typed.graph, node)} stays {value}: give it too, with --set {node}.{key}=VALUE")
                    target, remark = self.place(sink, key)
                    found.append(Change("steps", target, round(value * new / old), remark or f"was {value} of {old}"))
        return list({change.target: change for change in found}.values())


def _group(name: str) -> str:
    """What an input decides: the steps and the places in them are one thing, and so are all widths."""
    if name in CONTINUING_KEYS or name in NAMES["steps"]:
        return "steps"
    for side in ("width", "height"):
        if name.endswith(side):
            return side
    return alias(name)
