"""Where a run's settings belong in a graph: found by following the links back from the nodes that save, and from the samplers.

With several samplers (a high-resolution pass, a refiner, a detailer) the first is the one that no other sampler feeds. The
seed goes to all of them. Steps, CFG, sampler and scheduler go to the first and to those that had the same value: a pass that
was set differently on purpose keeps its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lifeos.errors import InputError, did_you_mean
from tools.workflows.graph import Graph, ancestors, class_of, find_outputs, is_link, label, links
from tools.workflows.node_types import FORGETTING_NODES, LATENT_KEYS, MODEL_KEYS, SEED_KEYS, TEXT_KEYS, VALUE_KEYS


@dataclass(frozen=True, slots=True)
class NodeOverrides:
    """Node ids and input names named by hand: they win over what following the graph finds."""

    positive_node: str | None = None
    positive_key: str | None = None
    negative_node: str | None = None
    negative_key: str | None = None
    sampler_node: str | None = None
    seed_key: str | None = None
    steps_key: str | None = None
    lora_node: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """An input that takes a setting."""

    node: str
    key: str


class Unplaceable(Exception):
    """Why a setting has no place in this graph, and what would give it one."""


class Placement:
    """The targets of each setting in one graph. A setting without a place is known here, and an error only when it is given."""

    def __init__(self, graph: Graph, name: str, overrides: NodeOverrides) -> None:
        self.graph, self.name, self.overrides = graph, name, overrides
        self._check_overrides()
        self.samplers = self._find_samplers()
        first = self.samplers[0]
        self.targets: dict[str, list[Target]] = {}
        self.problems: dict[str, str] = {}
        finders: dict[str, Callable[[], list[Target]]] = {
            "seed": lambda: self._sampler_targets("seed", (overrides.seed_key,) if overrides.seed_key else SEED_KEYS, "noise"),
            "steps": lambda: self._like_first(
                self._sampler_targets("steps", (overrides.steps_key,) if overrides.steps_key else ("steps",), "sigmas")
            ),
            "cfg": lambda: self._like_first(self._sampler_targets("cfg", ("cfg",), "guider")),
            "sampler": lambda: self._like_first(self._sampler_targets("sampler", ("sampler_name",), "sampler")),
            "scheduler": lambda: self._like_first(self._sampler_targets("scheduler", ("scheduler",), "sigmas")),
            "positive": lambda: self._text_targets("positive"),
            "negative": lambda: self._text_targets("negative"),
            "width": lambda: self._size_targets(first, "width"),
            "height": lambda: self._size_targets(first, "height"),
            "checkpoint": lambda: [self._checkpoint_target(first)],
        }
        for setting, find in finders.items():
            try:
                self.targets[setting] = find()
            except Unplaceable as reason:
                self.problems[setting] = str(reason)
        self._keep_texts_apart()

    def _check_overrides(self) -> None:
        named = {
            "--positive-node-id": self.overrides.positive_node,
            "--negative-node-id": self.overrides.negative_node,
            "--ksampler-node-id": self.overrides.sampler_node,
            "--lora-node-id": self.overrides.lora_node,
        }
        for flag, node_id in named.items():
            if node_id is not None and node_id not in self.graph:
                raise InputError(f"{flag} {node_id}", f"{self.name} has no such node", did_you_mean(node_id, self.graph))

    def _find_samplers(self) -> list[str]:
        """The samplers that the saved pictures come from, the first pass first."""
        outputs = find_outputs(self.graph)
        reached = dict.fromkeys(node_id for output in outputs for node_id in ancestors(self.graph, output))
        found = [node_id for node_id in reached if self._is_sampler(node_id)]
        depth = {node_id: sum(other in found for other in ancestors(self.graph, node_id)) for node_id in found}
        found.sort(key=lambda node_id: depth[node_id])
        chosen = self.overrides.sampler_node
        if chosen is not None:
            return [chosen, *(node_id for node_id in found if node_id != chosen)]
        if not found:
            why = "no sampler leads to a picture that is saved"
            raise InputError(self.name, why, "name it with --ksampler-node-id, or export another workflow in API format")
        return found

    def _is_sampler(self, node_id: str) -> bool:
        """By its inputs, so that custom nodes count too: conditioning and a seed, or a guider and noise."""
        inputs = self.graph[node_id]["inputs"]
        guided = is_link(inputs.get("guider")) and "noise" in inputs
        return guided or (is_link(inputs.get("positive")) and any(key in inputs for key in SEED_KEYS))

    def _sampler_targets(self, setting: str, keys: tuple[str, ...], via: str) -> list[Target]:
        """The input of each sampler that has one; the first must."""
        found: list[Target] = []
        for sampler in self.samplers:
            try:
                target = self._input_target(sampler, keys, via)
            except Unplaceable:
                if sampler == self.samplers[0]:
                    raise
                continue
            if target not in found:
                found.append(target)
        return found

    def _like_first(self, targets: list[Target]) -> list[Target]:
        return [target for target in targets if self.value(target) == self.value(targets[0])]

    def value(self, target: Target) -> Any:
        return self.graph[target.node]["inputs"][target.key]

    def _input_target(self, node_id: str, keys: tuple[str, ...], via: str = "") -> Target:
        """The literal input behind one of `keys` of a node, or of the node that is linked to its input `via`."""
        inputs = self.graph[node_id]["inputs"]
        for key in keys:
            if key in inputs:
                return self._literal(node_id, key)
        if is_link(inputs.get(via)):
            for upstream in ancestors(self.graph, inputs[via][0]):
                for key in keys:
                    if key in self.graph[upstream]["inputs"]:
                        return self._literal(upstream, key)
        wanted = " or ".join(keys)
        raise Unplaceable(f"{label(self.graph, node_id)} has no input {wanted}")

    def _literal(self, node_id: str, key: str) -> Target:
        """The place of a value: the input itself, or, where that is a link, the node that holds the value."""
        value = self.graph[node_id]["inputs"][key]
        if not is_link(value):
            return Target(node_id, key)
        source = value[0]
        inputs = self.graph[source]["inputs"]
        if key in inputs:
            return self._literal(source, key)
        is_reroute = class_of(self.graph, source) == "Reroute"
        held = list(inputs) if is_reroute else [name for name in (*VALUE_KEYS, *SEED_KEYS) if name in inputs]
        if len(held) == 1:
            return self._literal(source, held[0])
        raise Unplaceable(f"{key} of {label(self.graph, node_id)} is computed by {label(self.graph, source)}")

    def _text_targets(self, role: str) -> list[Target]:
        """The text inputs behind the positive or negative conditioning of the samplers."""
        node, key = getattr(self.overrides, f"{role}_node"), getattr(self.overrides, f"{role}_key")
        if node is not None:
            return self._named_text(role, node, key)
        found: dict[str, list[Target]] = {}
        for sampler in self.samplers:
            for text_node in self._text_nodes(sampler, role):
                found.setdefault(text_node, self._named_text(role, text_node, key) if key else self._texts_of(text_node, role))
        if not found:
            raise Unplaceable(f"no {role} text leads to {label(self.graph, self.samplers[0])}: name its node with --{role}-node-id")
        texts = {tuple(str(self.value(target)) for target in targets) for targets in found.values()}
        distinct = {tuple(targets) for targets in found.values()}
        if len(distinct) > 1 and len(texts) > 1:
            candidates = ", ".join(label(self.graph, node_id) for node_id in found)
            raise Unplaceable(f"several texts lead to it: {candidates}: choose with --{role}-node-id (and --{role}-node-key)")
        return list(dict.fromkeys(target for targets in found.values() for target in targets))

    def _named_text(self, role: str, node: str, key: str | None) -> list[Target]:
        inputs = self.graph[node]["inputs"]
        if key is None:
            return self._texts_of(node, role)
        if key not in inputs:
            raise InputError(f"--{role}-node-key {key}", f"{label(self.graph, node)} has no such input", did_you_mean(key, inputs))
        return [self._literal(node, key)]

    def _texts_of(self, node: str, role: str) -> list[Target]:
        inputs = self.graph[node]["inputs"]
        keys = [key for key in TEXT_KEYS if key in inputs] or [key for key in (role, *VALUE_KEYS) if key in inputs]
        if not keys:
            raise Unplaceable(f"{label(self.graph, node)} has no text input: name it with --{role}-node-key")
        return list(dict.fromkeys(self._literal(node, key) for key in keys))

    def _text_nodes(self, sampler: str, role: str) -> list[str]:
        """The nodes whose text becomes this conditioning, through whatever combines or changes it on the way."""
        inputs = self.graph[sampler]["inputs"]
        if is_link(inputs.get("guider")):
            inputs = self.graph[inputs["guider"][0]]["inputs"]
        start = inputs.get(role)
        if start is None and role == "positive":
            start = inputs.get("conditioning")
        found: list[str] = []
        seen: set[tuple[str, int]] = set()
        ahead = [start] if is_link(start) else []
        while ahead:
            node_id, output = ahead.pop(0)
            if (node_id, output) in seen:
                continue
            seen.add((node_id, output))
            inputs = self.graph[node_id]["inputs"]
            if self._holds_text(inputs, role):
                found.append(node_id)
            elif class_of(self.graph, node_id) not in FORGETTING_NODES:
                ahead += self._conditioning_links(inputs, output)
        return list(dict.fromkeys(found))

    @staticmethod
    def _holds_text(inputs: dict[str, Any], role: str) -> bool:
        """An encoder of text. A linked `text` still is one: its words come from another node."""
        return any(key in inputs for key in TEXT_KEYS) or isinstance(inputs.get(role), str)

    @staticmethod
    def _conditioning_links(inputs: dict[str, Any], output: int) -> list[list[Any]]:
        if is_link(inputs.get("positive")) and is_link(inputs.get("negative")):  # a control net: output 0 is positive, 1 negative
            return [inputs["negative" if output == 1 else "positive"]]
        linked = {key: value for key, value in inputs.items() if is_link(value)}
        conditioning = [value for key, value in linked.items() if key.startswith("conditioning")]
        return conditioning or (list(linked.values()) if len(linked) == 1 else [])

    def _keep_texts_apart(self) -> None:
        """One text behind both: the negative would overwrite the positive."""
        if set(self.targets.get("positive", ())) & set(self.targets.get("negative", ())):
            shared = label(self.graph, self.targets["negative"][0].node)
            del self.targets["negative"]
            self.problems["negative"] = f"{shared} is the positive text as well: name another with --negative-node-id"

    def latent_node(self) -> str | None:
        """The node that makes the empty latent which the first sampler starts from."""
        inputs = self.graph[self.samplers[0]]["inputs"]
        start = next((inputs[key] for key in LATENT_KEYS if is_link(inputs.get(key))), None)
        upstream = ancestors(self.graph, start[0]) if start else []
        return next((node_id for node_id in upstream if {"width", "height"} <= set(self.graph[node_id]["inputs"])), None)

    def _size_targets(self, sampler: str, side: str) -> list[Target]:
        """The latent's side, and the sides of the same value that an SDXL text encoder is told."""
        latent = self.latent_node()
        if latent is not None:
            found = self._literal(latent, side)
            encoders = [node for role in ("positive", "negative") for node in self._text_nodes(sampler, role)]
            told = [Target(node, key) for node in dict.fromkeys(encoders) for key in (side, f"target_{side}")]
            same = [each for each in told if self.graph[each.node]["inputs"].get(each.key) == self.value(found)]
            return [found, *same]
        raise Unplaceable(f"the picture that {label(self.graph, sampler)} starts from has no size of its own (made from another picture?)")

    def _models_of(self, sampler: str, keys: tuple[str, ...]) -> list[Target]:
        """The loaders along the way of the model into a sampler, nearest first."""
        inputs = self.graph[sampler]["inputs"]
        if is_link(inputs.get("guider")):
            inputs = self.graph[inputs["guider"][0]]["inputs"]
        start = inputs.get("model")
        found: list[Target] = []
        ahead = [start[0]] if is_link(start) else []
        for node_id in ahead:
            upstream = self.graph[node_id]["inputs"]
            found += [Target(node_id, key) for key in keys if isinstance(upstream.get(key), str)]
            onward = [
                source
                for key, source in links(self.graph, node_id)
                if key.startswith("model") or class_of(self.graph, node_id) == "Reroute"
            ]
            ahead += [source for source in onward if source not in ahead]
        return found

    def _checkpoint_target(self, sampler: str) -> Target:
        found = self._models_of(sampler, MODEL_KEYS)
        if len(found) == 1:
            return found[0]
        if not found:
            raise Unplaceable(f"no checkpoint loader leads to {label(self.graph, sampler)}")
        names = ", ".join(label(self.graph, target.node) for target in found)
        raise Unplaceable(f"several models are merged for {label(self.graph, sampler)}: {names}")

    def lora_loaders(self) -> list[Target]:
        """Where LoRA names stand on the way of the model into the first sampler, or the one chosen by hand."""
        if self.overrides.lora_node is not None:
            return [self._input_target(self.overrides.lora_node, ("lora_name",))]
        return self._models_of(self.samplers[0], ("lora_name",))
