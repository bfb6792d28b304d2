"""Where a run's settings belong in a graph: found along typed links from the picture that counts, or named by hand.

With several passes (high resolution, a refiner, a detailer) the seed goes to all. Steps, CFG, sampler and scheduler go to the first
and to those that had the same value: a pass that was set differently on purpose keeps its own. The prompt goes to every pass that had
the same words, and to one that continues the steps of the one before (base and refiner).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lifeos.errors import InputError, did_you_mean
from tools.workflows.graph import Graph, is_link, label
from tools.workflows.loras import LoraPlan, Loras
from tools.workflows.node_types import CONTINUING_KEYS, MODEL_KEYS
from tools.workflows.passes import ROLES, Passes, check_node, is_seed
from tools.workflows.settings import Settings
from tools.workflows.signatures import Signatures
from tools.workflows.sizes import SIDES, Sizes
from tools.workflows.targets import Change, Target, Unplaceable
from tools.workflows.texts import Encoder, Texts, Words
from tools.workflows.typed_graph import TypedGraph
from tools.workflows.values import Values


@dataclass(frozen=True, slots=True)
class NodeOverrides:
    """Node ids and input names named by hand: they win over what following the graph finds. `assignments`: `NODE.INPUT=VALUE`."""

    positive_node: str | None = None
    positive_key: str | None = None
    negative_node: str | None = None
    negative_key: str | None = None
    sampler_node: str | None = None
    seed_key: str | None = None
    steps_key: str | None = None
    lora_node: str | None = None
    more_lora_nodes: tuple[str, ...] = ()
    seed_node: str | None = None
    output_node: str | None = None
    assignments: tuple[str, ...] = ()

    @property
    def lora_nodes(self) -> tuple[str, ...]:
        return ((self.lora_node,) if self.lora_node is not None else ()) + self.more_lora_nodes


class Placement:
    """The places of each setting in one graph. A setting without a place is an error only when it is given."""

    def __init__(self, graph: Graph, name: str, overrides: NodeOverrides, signatures: Signatures, *, lora_with_clip: bool = True) -> None:
        self.graph, self.name, self.overrides = graph, name, overrides
        self._check_overrides()
        self.typed = TypedGraph(graph, signatures)
        self.passes = Passes(self.typed, name, output=overrides.output_node, sampler=overrides.sampler_node)
        self.texts = Texts(self.typed, self.passes)
        self.passes.drop_preparing(self._has_text)
        keys = {"seed": overrides.seed_key, "steps": overrides.steps_key}
        self.values = Values(self.typed, self.passes, keys)
        self.sizes = Sizes(self.typed, self.passes, self.values)
        self.loras = Loras(self.typed, self.passes, self.texts, with_clip=lora_with_clip)

    def _check_overrides(self) -> None:
        chosen = self.overrides
        named = [("--positive-node-id", chosen.positive_node), ("--negative-node-id", chosen.negative_node)]
        named += [("--ksampler-node-id", chosen.sampler_node), ("--seed-node-id", chosen.seed_node)]
        named += [("--output-node-id", chosen.output_node), *(("--lora-node-id", node) for node in chosen.lora_nodes)]
        for flag, node_id in named:
            if node_id is not None:
                check_node(self.graph, flag, node_id, self.name)

    def _has_text(self, sampler: str) -> bool:
        try:
            return self.texts.has_text(sampler)
        except Unplaceable:
            return True

    # One setting

    def find(self, setting: str, value: Any) -> list[Change]:
        """Everything that giving a setting changes. Raises Unplaceable."""
        if setting in ROLES:
            return self._text_changes(setting, value)
        if setting in SIDES:
            return self.sizes.changes(setting, value)
        if setting == "checkpoint":
            return [Change(setting, target, value) for target in self._checkpoints()]
        if setting == "seed":
            return self._written("seed", self._seeds(), value)
        if setting == "guidance":
            return self._written(setting, self.values.guidance(), value)
        targets = self.values.cfg() if setting == "cfg" else self.values.targets(setting)
        found = self._written(setting, targets, value)
        return found + self.values.hand_over(targets, value) if setting == "steps" else found

    def _written(self, setting: str, sinks: Sequence[Target], value: Any) -> list[Change]:
        placed = [self.values.place(sink, setting) for sink in sinks]
        return list({target: Change(setting, target, value, remark) for target, remark in placed}.values())

    def _seeds(self) -> list[Target]:
        node = self.overrides.seed_node
        if node is None:
            return self.values.targets("seed")
        key = self.overrides.seed_key or next((key for key in self.graph[node]["inputs"] if is_seed(self.typed, node, key)), None)
        if key is None or key not in self.graph[node]["inputs"]:
            raise Unplaceable(f"{label(self.graph, node)} has no input {key or 'seed or noise_seed'}: name another with --seed-node-id")
        return [Target(node, key)]

    def current(self, setting: str) -> Any:
        """The graph's own value of a setting, None where it is computed or has no place."""
        try:
            if setting in ROLES:
                target = next(iter(self._text_changes(setting, ""))).target
            elif setting in SIDES:
                target = self.sizes.sink(setting)
            elif setting == "checkpoint":
                target = self._checkpoints()[0]
            else:
                find: Callable[[], list[Target]] = {"seed": self._seeds, "guidance": self.values.guidance, "cfg": self.values.cfg}.get(
                    setting, lambda: self.values.targets(setting)
                )
                target = find()[0]
        except (Unplaceable, InputError):
            return None
        return self.values.value(target)

    # Texts

    def _text_changes(self, role: str, value: str) -> list[Change]:
        words = self._named_words(role) or self._parted(role)
        if role == "negative" and self.overrides.negative_node is None:
            self._keep_apart(words)
        found = []
        for word in dict.fromkeys(words):
            rewriter = self.texts.rewriter(word)
            remark = f"{label(self.graph, rewriter)} writes it anew before it is used" if rewriter else ""
            link = self.graph[word.node]["inputs"][word.key]
            if is_link(link):
                remark = f"no longer from {label(self.graph, link[0])}"
            found.append(Change(role, Target(word.node, word.key), value, remark))
        return list({change.target: change for change in found}.values())

    def _named_words(self, role: str) -> list[Words]:
        node, key = getattr(self.overrides, f"{role}_node"), getattr(self.overrides, f"{role}_key")
        if node is None:
            return []
        inputs = self.graph[node]["inputs"]
        if key is not None:
            if key not in inputs:
                raise InputError(f"--{role}-key {key}", f"{label(self.graph, node)} has no such input", did_you_mean(key, inputs))
            return [Words(*self.typed.origin(node, key, ""))]
        keys = self.texts.keys(Encoder(node, 0), role, is_named=True)
        if not keys:
            raise Unplaceable(f"{label(self.graph, node)} has no text input: name it with --{role}-key")
        return [word for each in keys for word in self.texts.words(node, each, role)]

    def _found_words(self, role: str) -> list[Words]:
        """The words of every pass that has those of the first, or goes on with its steps."""
        first = self.passes.samplers[0]
        by_encoder: dict[Encoder, list[Words]] = {}
        for sampler in self.passes.samplers:
            encoders = self.texts.encoders(sampler, role)
            if role == "positive":
                encoders = self._without_other_role(sampler, encoders)
            if sampler != first and by_encoder and self._continues(sampler) and len(encoders) == 1:
                self._add(by_encoder, encoders[0], role, same=True)
                continue
            for encoder in encoders:
                self._add(by_encoder, encoder, role, same=False)
        if not by_encoder:
            zeroed = self.texts.forgotten(first, role)
            by = f", {label(self.graph, zeroed)} leaves nothing of it" if zeroed else ""
            raise Unplaceable(f"no {role} text leads to {label(self.graph, first)}{by}: name its node with --{role}-node-id")
        if (zeroed := self.texts.forgotten(first, role)) and not self.texts.encoders(first, role):
            only = label(self.graph, next(iter(by_encoder)).node)
            why = f"{label(self.graph, zeroed)} leaves nothing of it in the first pass; {only} is that of a later pass"
            raise Unplaceable(f"{why}: name it with --{role}-node-id {next(iter(by_encoder)).node}")
        return [word for words in by_encoder.values() for word in words]

    def _add(self, found: dict[Encoder, list[Words]], encoder: Encoder, role: str, *, same: bool) -> None:
        key = getattr(self.overrides, f"{role}_key")
        if encoder in found:
            return
        keys = [key] if key in self.graph[encoder.node]["inputs"] else self.texts.keys(encoder, role)
        words = [word for each in keys for word in self.texts.words(encoder.node, each, role, self._like(role))]
        new = {(word.node, word.key) for word in words}
        for other in found.values() if not same else ():
            if new == {(word.node, word.key) for word in other} or self._texts(words) == self._texts(other):
                continue
            candidates = ", ".join(label(self.graph, node) for node in dict.fromkeys([*(each.node for each in found), encoder.node]))
            raise Unplaceable(f"several texts lead to it: {candidates}: choose with --{role}-node-id (and --{role}-key)")
        found[encoder] = words

    def _texts(self, words: Sequence[Words]) -> list[Any]:
        return [self.graph[word.node]["inputs"][word.key] for word in words]

    def _like(self, role: str) -> Words | None:
        """The positive text, as an example of where the negative one of a graph that is built alike stands."""
        if role == "positive":
            return None
        try:
            return next(iter(self._named_words("positive") or self._found_words("positive")), None)
        except (Unplaceable, InputError):
            return None

    def _without_other_role(self, sampler: str, encoders: list[Encoder]) -> list[Encoder]:
        """Of several texts those that are no negative too (a guider that takes the negative twice)."""
        if len(encoders) < 2:
            return encoders
        other = self.texts.encoders(sampler, "negative")
        return [encoder for encoder in encoders if encoder not in other] or encoders

    def _continues(self, sampler: str) -> bool:
        """Whether a pass goes on with the steps of another, by a first step that is not 0."""
        found = [key for key in CONTINUING_KEYS if key.startswith("start") and key in self.graph[sampler]["inputs"]]
        for key in found:
            known, value = self.typed.literal(sampler, key)
            if not known or value:
                return True
        return False

    def _parted(self, role: str) -> list[Words]:
        """The words of a role; a literal that the other role's encoder reads too is left, and the encoder's own input taken instead."""
        words = self._found_words(role)
        try:
            other = self._found_words("negative" if role == "positive" else "positive")
        except (Unplaceable, InputError):
            return words
        theirs, encoders = {(word.node, word.key) for word in other}, {word.via[0] for word in other if word.via}
        found = [
            Words(*word.via[0]) if word.via and (word.node, word.key) in theirs and word.via[0] not in encoders else word for word in words
        ]
        return list(dict.fromkeys(found))

    def _keep_apart(self, negative: Sequence[Words]) -> None:
        """One text behind both: the negative would overwrite the positive. Raises Unplaceable."""
        try:
            positive = self._named_words("positive") or self._parted("positive")
        except (Unplaceable, InputError):
            return
        both = {(word.node, word.key) for word in positive} & {(word.node, word.key) for word in negative}
        if both:
            shared = label(self.graph, next(iter(both))[0])
            raise Unplaceable(f"{shared} is the positive text as well: name another with --negative-node-id")

    # Models

    def _checkpoints(self) -> list[Target]:
        first = self.passes.samplers[0]
        found: dict[str, Target] = {}
        for sampler in self.loras.group():
            sources = self.loras.sources(sampler)
            if len(sources) > 1:
                names = ", ".join(label(self.graph, spot.node) for spot in sources)
                raise Unplaceable(f"several models are merged for {label(self.graph, sampler)}: {names}: {self._set_hint(sources[0].node)}")
            for spot in sources:
                if (key := self._file_key(spot.node)) is not None:
                    found[spot.node] = Target(spot.node, key)
        if not found:
            raise Unplaceable(f"no checkpoint loader leads to {label(self.graph, first)}: write its file with --set NODE.INPUT=VALUE")
        targets = [self.values.place(target, "checkpoint")[0] for target in found.values()]
        if len({str(self.values.value(target)) for target in targets}) > 1:
            names = ", ".join(label(self.graph, target.node) for target in targets)
            raise Unplaceable(f"several models work one after the other: {names}: {self._set_hint(targets[0].node)}")
        return list(dict.fromkeys(targets))

    def _file_key(self, node: str) -> str | None:
        inputs = self.graph[node]["inputs"]
        known = [key for key in MODEL_KEYS if key in inputs]
        return next(iter(known), None)

    def _set_hint(self, node: str) -> str:
        return f"write each with --set {node}.{self._file_key(node) or 'INPUT'}=VALUE"

    def lora_plan(self, settings: Settings) -> LoraPlan:
        """What the LoRAs and their strength change. Raises Unplaceable."""
        names = ((settings.lora,) if settings.lora is not None else ()) + settings.more_loras
        if not names and settings.lora_strength is None:
            return LoraPlan()
        return self.loras.plan(names, self.overrides.lora_nodes, settings.lora_strength)

    # What is saved

    def lend_saver(self, graph: Graph) -> str:
        """Let a saver save the pictures of the node that counts, where that only makes them. Returns its id; empty where none is lent."""
        output = self.passes.lent_output()
        for node in self.passes.left_out if output is not None else ():
            for key, value in graph[node]["inputs"].items():
                if is_link(value) and self.typed.input_type(node, key) == "IMAGE":
                    graph[node]["inputs"][key] = [self.passes.output, output]
                    return node
        return ""

    def drop_savers(self, graph: Graph, lent: str) -> list[str]:
        """Take the nodes that save other pictures of the same prompt out of a graph; what they passed on comes from above them."""
        dropped = []
        for node in self.passes.left_out:
            if node == lent:
                continue
            links = [value for value in graph[node]["inputs"].values() if is_link(value)]
            users = [(user, key) for user, key in self.typed.users(node) if user in graph]  # not one that was taken out before
            if users and len(links) != 1:
                continue
            for user, key in users:
                graph[user]["inputs"][key] = list(links[0])
            dropped.append(label(graph, node))
            del graph[node]
        return dropped
