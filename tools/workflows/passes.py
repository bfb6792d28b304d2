"""The passes of a graph: which node's pictures count, which samplers make them, and in what order they work.

A sampler is known by what it takes: a model and conditioning with a seed or noise, or a guider with noise or sigmas. The passes are
those along the links of latents and pictures that lead to the picture that counts; what only conditions it is none of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from lifeos.errors import InputError, did_you_mean
from tools.workflows.graph import ancestors, class_of, is_link, label
from tools.workflows.node_types import PIPE, SEED_KEYS, role_of
from tools.workflows.typed_graph import Spot, TypedGraph, spread

ROLES = ("positive", "negative")
PICTURE_TYPES = frozenset({"IMAGE", "LATENT", "VIDEO", ""})
JOINING = re.compile(r"Batch|Conca|Stitch|Grid|Collage|SideBySide")
"""Nodes of several latents or pictures that make one list, or one picture to compare them, of them."""


class NoSamplerError(InputError):
    """A graph in which nothing samples the picture that is saved."""


class Passes:
    """`samplers`: of the picture that counts, the first pass first. `all_samplers`: with those that only prepare or condition it.

    `output`: the node whose pictures count. `left_out`: other nodes that would save pictures of the same prompt.
    Raises InputError where there is no sampler, or where nothing tells which picture counts.
    """

    def __init__(self, typed: TypedGraph, name: str, *, output: str | None, sampler: str | None) -> None:
        self._typed, self._name, self._chosen = typed, name, sampler
        self.output, self.left_out = self._choose_output(output)
        reached = ancestors(typed.graph, self.output) if self.output else list(typed.graph)
        self.all_samplers = [node for node in reached if self.is_sampler(node)]
        chain = self.samplers_of(self.output) if self.output else self.all_samplers
        depth = {node: len(self._behind(node) & set(chain)) for node in chain}
        self.samplers = sorted(chain, key=lambda node: depth[node])
        if sampler is not None:
            self.samplers = [sampler, *(node for node in self.samplers if node != sampler)]
            self.all_samplers = list(dict.fromkeys([sampler, *self.all_samplers]))
        if not self.samplers:
            why = "no sampler leads to a picture that is saved"
            raise NoSamplerError(name, why, "name it with --ksampler-node-id, or export another workflow in API format")

    def drop_preparing(self, has_text: Callable[[str], bool]) -> None:
        """Leave out samplers that no text leads to (a depth or pose model), where others have one."""
        written = [node for node in self.samplers if has_text(node)]
        if written:
            self.samplers = written

    # What a sampler takes

    def is_sampler(self, node: str) -> bool:
        if node == self._chosen:
            return True
        typed = self._typed
        types = {typed.input_type(node, key): key for key, value in typed.inputs(node).items() if is_link(value)}
        if "GUIDER" in types:
            return "NOISE" in types or "SIGMAS" in types
        has_seed = any(is_seed(typed, node, key) for key in typed.inputs(node)) or "NOISE" in types or "SIGMAS" in types
        pipes = any(PIPE.search(kind) for kind in types)
        declaration = typed.declaration(node)
        if declaration is not None and pipes:
            required = {key for key, declared in declaration.inputs.items() if declared.required}
            return has_seed and {"steps", "cfg"} <= required
        if not has_seed or "CONDITIONING" not in types or ("MODEL" not in types and declaration is not None):
            return False
        if declaration is None:
            return True
        works = any(declared.required for declared in declaration.inputs.values())  # a pipe, which only carries, needs nothing
        return works and bool({"LATENT", "IMAGE"} & set(declaration.outputs))

    def guides(self, sampler: str) -> list[str]:
        """The nodes that take a sampler's model and conditioning: itself, or the guider that is linked to it."""
        starts = self.links_of(sampler, "GUIDER")
        if not starts:
            return [sampler]
        found = [spot.node for spot in self._typed.walk(starts, "GUIDER")]
        return [node for node in found if self.links_of(node, "CONDITIONING") or self.links_of(node, "MODEL")] or [sampler]

    def links_of(self, node: str, kind: str, role: str = "") -> list[Spot]:
        """What is linked to a node's inputs of one type, or under that name in a pipe that is linked to it."""
        typed = self._typed
        keys = [key for key in typed.inputs(node) if typed.takes(node, key, kind)]
        if not keys:
            keys = [key for key, value in typed.inputs(node).items() if is_link(value) and PIPE.search(typed.input_type(node, key))][:1]
        return [spot for key in keys if (spot := typed.spot(node, key, role))]

    def conditioning(self, sampler: str, role: str) -> list[Spot]:
        """Where the positive or negative conditioning of a sampler comes from."""
        typed, found = self._typed, []
        for node in self.guides(sampler):
            keys = [key for key in typed.inputs(node) if typed.takes(node, key, "CONDITIONING")]
            if not keys:
                found += self.links_of(node, "CONDITIONING", role)
                continue
            named = [key for key in keys if role_of(key) == role]
            if not named and role == "positive":
                named = [key for key in keys if not role_of(key) and "empty" not in key]
            found += [spot for key in named if (spot := typed.spot(node, key, role))]
        return found

    def models(self, sampler: str) -> list[Spot]:
        """Where the model of a sampler comes from."""
        return [spot for node in self.guides(sampler) for spot in self.links_of(node, "MODEL", "model")]

    # Pictures and latents

    def picture_way(self, starts: list[Spot]) -> Iterator[Spot]:
        """The outputs that a picture is made of, along pictures and latents alone, nearest first."""
        return spread(starts, self._made_from)

    def _made_from(self, spot: Spot) -> list[Spot]:
        typed = self._typed
        kind = typed.output_type(spot.node, spot.output)
        same = typed.above(spot, kind)[0] if kind in PICTURE_TYPES else []
        return same or self.picture_links(spot.node)

    def picture_links(self, node: str) -> list[Spot]:
        """The pictures and latents that are linked to a node."""
        typed = self._typed
        keys = [key for key, value in typed.inputs(node).items() if is_link(value) and typed.input_type(node, key) in PICTURE_TYPES]
        found = [spot for key in keys if (spot := typed.spot(node, key))]
        return found or self.links_of(node, "LATENT", "latent")

    def samplers_of(self, output: str) -> list[str]:
        way = self.picture_way(self.picture_links(output))
        found = list(dict.fromkeys(node for node in [output, *(spot.node for spot in way)] if self.is_sampler(node)))
        for node in found:  # grows while it is read
            found += [earlier for earlier in self._continued(node) if earlier not in found]
        return found

    def _behind(self, sampler: str) -> set[str]:
        """The samplers that a sampler's latent comes from."""
        found: list[str] = [sampler]
        for node in found:  # grows while it is read
            way = self.picture_way(self.picture_links(node))
            earlier = [spot.node for spot in way if self.is_sampler(spot.node)] + self._continued(node)
            found += [each for each in dict.fromkeys(earlier) if each not in found]
        return set(found) - {sampler}

    def _continued(self, sampler: str) -> list[str]:
        """The samplers whose latent reaches a sampler as a part of its conditioning: the stages of Stable Cascade, decoders that sample.

        A decoded picture among the conditioning (a control net's) is no pass.
        """
        typed = self._typed
        conditions = [spot.node for role in ROLES for spot in typed.walk(self.conditioning(sampler, role), "CONDITIONING")]
        latents = [
            spot
            for node in dict.fromkeys(conditions)
            for key, value in typed.inputs(node).items()
            if is_link(value) and typed.input_type(node, key) == "LATENT" and (spot := typed.spot(node, key))
        ]
        return list(dict.fromkeys(spot.node for spot in typed.walk(latents, "LATENT") if self.is_sampler(spot.node)))

    # Which picture counts

    def _choose_output(self, chosen: str | None) -> tuple[str, tuple[str, ...]]:
        graph = self._typed.graph
        saving = [node for node in graph if self._saves(node)]
        found = saving or [node for node in graph if not self._typed.users(node)]
        made = {node: samplers for node in found if (samplers := self.samplers_of(node))}
        if chosen is None and made:
            made = {node: samplers for node, samplers in made.items() if not self.joiner(node)} or made
            most = max(len(samplers) for samplers in made.values())
            last = [node for node, samplers in made.items() if len(samplers) == most]
            last = [node for node in last if not any(self._is_later(other, node) for other in last if other != node)]
            if len({tuple(self.picture_links(node)) for node in last}) > 1:
                names = ", ".join(label(graph, node) for node in last)
                why = f"several nodes save a picture of the same prompt: {names}"
                raise InputError(self._name, why, "choose one with --output-node-id")
            chosen = last[0]
        if chosen is None:
            chosen = found[0] if found else ""
        return chosen, tuple(node for node in (saving or made) if node != chosen)

    def joiner(self, output: str) -> str:
        """The node on the way to a saved picture that puts several together; empty where there is none."""
        nodes = dict.fromkeys(spot.node for spot in self.picture_way(self.picture_links(output)))
        joins = {node: match[0] for node in nodes if (match := JOINING.search(class_of(self._typed.graph, node)))}
        several = (node for node in joins if len(self.picture_links(node)) > 1)
        return next((node for node in several if joins[node] == "Batch" or any(map(self._is_sampled, self.picture_links(node)))), "")

    def lent_output(self) -> int | None:
        """Which output of the node whose pictures count another must save; None where it saves them itself."""
        typed, node = self._typed, self.output
        declaration = typed.declaration(node)
        if not typed.users(node) or self._saves(node) or (declaration is not None and declaration.is_output):
            return None
        return next((at for at in typed.used_outputs(node) if typed.output_type(node, at) == "IMAGE"), None)

    def _saves(self, node: str) -> bool:
        typed = self._typed
        inputs = typed.inputs(node)
        if not ("filename_prefix" in inputs or "save" in class_of(typed.graph, node).lower()):
            return False
        return any(typed.input_type(node, key) in ("IMAGE", "VIDEO", "") for key, value in inputs.items() if is_link(value))

    def _is_later(self, one: str, other: str) -> bool:
        """Whether the picture of one node is made from that of another (not only from what both begin with)."""
        starts, earlier = self.picture_links(one), {spot for spot in self.picture_links(other) if self._is_sampled(spot)}
        return any(spot in earlier for spot in self.picture_way(starts) if spot not in starts)

    def _is_sampled(self, spot: Spot) -> bool:
        return any(self.is_sampler(each.node) for each in self.picture_way([spot]))


def is_seed(typed: TypedGraph, node: str, key: str) -> bool:
    """Whether an input is a seed: drawn anew by the interface, or called so."""
    declared = typed.declared_input(node, key)
    if declared is not None and (declared.is_seed or key in SEED_KEYS):
        return declared.type == "INT"
    return declared is None and key in SEED_KEYS and typed.input_type(node, key) in ("INT", "")


def check_node(graph_ids: Iterable[str], flag: str, node: str, name: str) -> None:
    """Raises InputError where a node that a flag names is not in the graph."""
    known = list(graph_ids)
    if node not in known:
        raise InputError(f"{flag} {node}", f"{name} has no such node", did_you_mean(node, known))
