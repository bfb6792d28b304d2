"""The LoRAs of a graph: which stand there, which one a new one is set into, and where another loader is put.

A row is a place for a LoRA's name with its strengths: the input of a loader, one of several in a stack, or an object in a loader that
keeps rows of its own. A LoRA that is there already is set, and so is an older version of the same character; an accelerator or a style
stays. Otherwise a loader is put behind the model, with the text encoder where the LoRA may have weights for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tools.workflows.graph import Graph, ancestors, class_of, is_link, label
from tools.workflows.lora_names import is_accelerator, is_empty, is_indistinct, is_style, same_character, same_file
from tools.workflows.node_types import MODEL_KEYS, PIPE
from tools.workflows.passes import ROLES, Passes
from tools.workflows.targets import Change, Target, Unplaceable
from tools.workflows.texts import Encoder, Texts
from tools.workflows.typed_graph import Spot, TypedGraph

ROW_KEY = re.compile(r"^lora(?:_name)?(?:_?(\d+))?(?:_name)?$", re.IGNORECASE)
STRENGTH_KEY = re.compile(r"strength|weight|(?:^|_)wt(?:_|$)|(?:model|clip)_str(?:_|$)", re.IGNORECASE)
LORA_WORD = re.compile(r"lora|lycoris", re.IGNORECASE)
KNOWN_WITHOUT_ROWS = frozenset({"Power Lora Loader (rgthree)", "CR Apply LoRA Stack"})
"""LoRA loaders that load nothing while no row or stack is there."""
MANY = "choose with --lora-node-id"


@dataclass(frozen=True, slots=True)
class Row:
    """A LoRA's place: `name` as it stands, `strengths` with it, `switches`: what turns it on, with the value for on."""

    node: str
    target: Target
    name: str
    strengths: tuple[Target, ...]
    switches: tuple[tuple[Target, object], ...] = ()
    is_on: bool = True
    is_one_of_several: bool = False


@dataclass(frozen=True, slots=True)
class Insertion:
    """A loader that is put behind a model's output, and a text encoder's where there is one."""

    model: Spot
    clip: Spot | None


@dataclass(frozen=True, slots=True)
class LoraPlan:
    """What a LoRA changes. `kept`: those that stay, by node and name. `remarks`: what a person should know beside it."""

    changes: tuple[Change, ...] = ()
    insertions: tuple[tuple[str, Insertion], ...] = ()
    kept: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class Loras:
    """Finds and places the LoRAs of a graph. `with_clip`: whether a new loader takes the text encoder too."""

    def __init__(self, typed: TypedGraph, passes: Passes, texts: Texts, *, with_clip: bool) -> None:
        self._typed, self._passes, self._texts, self._with_clip = typed, passes, texts, with_clip

    # What is there

    def rows_of(self, node: str) -> list[Row]:
        """The rows of one node, and of the stacks that are linked to it."""
        rows = list(self._rows_in(node))
        for key, value in self._typed.inputs(node).items():
            kind = self._typed.input_type(node, key)
            if is_link(value) and LORA_WORD.search(kind):
                for spot in self._typed.walk([Spot(value[0], value[1])], kind):
                    rows += self._rows_in(spot.node)
        return rows

    def _rows_in(self, node: str) -> Iterator[Row]:
        inputs = self._typed.inputs(node)
        for key, value in inputs.items():
            if isinstance(value, dict) and isinstance(value.get("lora"), str):
                strengths = [Target(node, key, part) for part in ("strength", "strengthTwo") if value.get(part) is not None]
                switch = ((Target(node, key, "on"), True),) if "on" in value else ()
                yield Row(node, Target(node, key, "lora"), value["lora"], tuple(strengths), switch, value.get("on", True) is True, True)
            elif match := ROW_KEY.match(key):
                yield from self._plain_row(node, key, match[1])

    def _plain_row(self, node: str, key: str, number: str | None) -> Iterator[Row]:
        typed, inputs = self._typed, self._typed.inputs(node)
        origin = typed.origin(node, key)
        value = typed.inputs(origin[0]).get(origin[1])
        if not isinstance(value, str) and not is_link(value):
            return
        strengths = [each for each in inputs if STRENGTH_KEY.search(each) and self._is_number(node, each) and _number_in(each) == number]
        switches = [each for each in inputs if re.search(r"switch|toggle|enable", each) and _number_in(each) in (number, None)]
        on: list[tuple[Target, object]] = []
        is_on = True
        for each in switches if number is not None else ():
            state = inputs[each]
            if isinstance(state, bool) or str(state).lower() in ("on", "off"):
                on.append((Target(node, each), True if isinstance(state, bool) else "On"))
                is_on = is_on and str(state).lower() in ("true", "on")
        counts = [each for each in ("lora_count", "num_loras") if isinstance(inputs.get(each), int)]
        is_on = is_on and not any(number is not None and int(number) > inputs[each] for each in counts)
        name = value if isinstance(value, str) else ""
        yield Row(node, Target(*origin), name, tuple(Target(node, each) for each in strengths), tuple(on), is_on, number is not None)

    def _is_number(self, node: str, key: str) -> bool:
        return self._typed.input_type(node, key).split(",")[0] in ("FLOAT", "INT")

    def _way(self, sampler: str) -> list[str]:
        """The nodes on the way of a sampler's model, nearest first."""
        return list(dict.fromkeys(spot.node for spot in self._typed.walk(self._passes.models(sampler), "MODEL")))

    def rows(self, samplers: Sequence[str]) -> list[Row]:
        """The rows that are switched on, on the way of these samplers' models."""
        found = [row for sampler in samplers for node in self._way(sampler) for row in self.rows_of(node)]
        return [row for row in dict.fromkeys(found) if row.is_on]

    def _unknown(self, samplers: Sequence[str]) -> list[str]:
        """Nodes on the way that load LoRAs in a way that is not known."""
        nodes = dict.fromkeys(node for sampler in samplers for node in self._way(sampler))
        return [node for node in nodes if self._speaks_of_loras(node) and not self.rows_of(node)]

    def _speaks_of_loras(self, node: str) -> bool:
        class_type = class_of(self._typed.graph, node)
        if class_type in KNOWN_WITHOUT_ROWS:
            return any(isinstance(value, str) and LORA_WORD.search(key) and value for key, value in self._typed.inputs(node).items())
        inputs = self._typed.inputs(node).items()
        keys = [key for key, value in inputs if LORA_WORD.search(key) and not STRENGTH_KEY.search(key) and not is_empty(str(value))]
        return bool(LORA_WORD.search(class_type) or keys)

    # Which models are one

    def group(self) -> list[str]:
        """The samplers whose models get a LoRA: the first, and those whose model is a part of the same one (high and low noise)."""
        samplers = self._passes.samplers
        first = samplers[0]
        return [first, *(each for each in samplers[1:] if self._is_same_model(first, each))]

    def apart(self) -> list[str]:
        """The models of later passes that are another model, by the text encoder of their own (a refiner)."""
        rest = [each for each in self._passes.samplers if each not in self.group()]
        return list(dict.fromkeys(label(self._typed.graph, spot.node) for each in rest for spot in self.sources(each)))

    def _is_same_model(self, one: str, other: str) -> bool:
        mine, theirs = self.sources(one), self.sources(other)
        if set(mine) & set(theirs) or {self._file(spot) for spot in mine} & {self._file(spot) for spot in theirs} - {""}:
            return True
        return set(self.clips(other)) <= set(self.clips(one))

    def _file(self, spot: Spot) -> str:
        inputs = self._typed.inputs(spot.node)
        return next((str(inputs[key]) for key in MODEL_KEYS if isinstance(inputs.get(key), str)), "")

    def sources(self, sampler: str) -> list[Spot]:
        """Where a sampler's model begins: the outputs of loaders."""
        typed = self._typed
        ends = [spot for spot in typed.walk(self._passes.models(sampler), "MODEL") if not typed.above(spot, "MODEL")[0]]
        return list(dict.fromkeys(Spot(spot.node, spot.output) for spot in ends))

    def clips(self, sampler: str) -> list[Spot]:
        """The text encoders' outputs that a sampler's conditioning begins with."""
        typed, found = self._typed, []
        for role in ROLES:
            for encoder in self._encoders(sampler, role):
                starts = self._passes.links_of(encoder.node, "CLIP", "clip")
                found += [spot for spot in typed.walk(starts, "CLIP") if not typed.above(spot, "CLIP")[0]]
        return list(dict.fromkeys(Spot(spot.node, spot.output) for spot in found))

    def _encoders(self, sampler: str, role: str) -> list[Encoder]:
        try:
            return self._texts.encoders(sampler, role)
        except Unplaceable:
            return []

    # Placing one

    def plan(self, names: Sequence[str], nodes: Sequence[str], strength: float | None) -> LoraPlan:
        """What the LoRAs `names` change, at the nodes that were named by hand where there are any. Raises Unplaceable."""
        if len(names) > 1 and len(nodes) != len(names):
            raise Unplaceable(f"{len(names)} LoRAs are given: give --lora-node-id for each, in the same order")
        if not names:
            return self._strength_alone(nodes, strength)
        if not nodes:
            return self._plan_one(names[0], strength)
        pairs = list(zip(names, nodes, strict=True)) if len(names) > 1 else [(names[0], node) for node in nodes]
        plans = [self._at_node(name, node, strength) for name, node in pairs]
        touched = {change.target.node for plan in plans for change in plan.changes}
        kept = [row for row in self.rows(self._passes.samplers) if row.node not in touched]
        return LoraPlan(
            tuple(change for plan in plans for change in plan.changes),
            tuple(insertion for plan in plans for insertion in plan.insertions),
            self._named(kept),
        )

    def _strength_alone(self, nodes: Sequence[str], strength: float | None) -> LoraPlan:
        rows = [row for node in nodes for row in self.rows_of(node)] if nodes else self.rows(self.group())
        rows = [row for row in rows if not is_empty(row.name)]
        chosen = rows if len(rows) == 1 else [row for row in rows if not is_accelerator(row.name)]
        if not chosen:
            raise Unplaceable("the workflow has no LoRA loader" if not rows else f"the workflow has only accelerators: {MANY}")
        if len({row.name for row in chosen}) > 1:
            raise Unplaceable(f"several LoRA loaders lead to the sampler: {MANY}")
        return LoraPlan(tuple(change for row in chosen for change in self._set(row, None, strength)))

    def _plan_one(self, name: str, strength: float | None) -> LoraPlan:
        group = self.group()
        rows = self.rows(group)
        chosen = [row for row in rows if same_file(row.name, name)]
        chosen = chosen or self._older(rows, name) or self._placeholder(rows, name)
        chosen = chosen or [row for row in rows if is_empty(row.name) and not row.is_one_of_several][:1]
        kept = self._named([row for row in rows if row not in chosen])
        remarks = tuple(f"not put on {model}, which is another model: name it with --lora-node-id" for model in self.apart())
        if chosen:
            return LoraPlan(tuple(change for row in chosen for change in self._set(row, name, strength)), (), kept, remarks)
        unknown = self._unknown(group)
        if unknown:
            node = label(self._typed.graph, unknown[0])
            told = f"{node} loads LoRAs in a way that is not known: set it there with --set {unknown[0]}.INPUT=VALUE"
            raise Unplaceable(f"{told}, or put a loader behind it with --lora-node-id {unknown[0]}")
        insertions = self._insertions(group)
        return LoraPlan((), tuple((name, each) for each in insertions), kept, remarks)

    def _older(self, rows: Sequence[Row], name: str) -> list[Row]:
        """The rows that hold another version of the same character."""
        alike = [row for row in rows if same_character(row.name, name)]
        if len({row.name for row in alike}) > 1:
            raise Unplaceable(f"several LoRAs of that character are there: {', '.join(self._named(alike))}: {MANY}")
        return alike

    def _placeholder(self, rows: Sequence[Row], name: str) -> list[Row]:
        """The only row beside accelerators and styles, where its name tells no character. Raises Unplaceable where `name` tells none."""
        others = [row for row in rows if not (is_empty(row.name) or is_accelerator(row.name))]
        people = [row for row in others if not is_style(row.name)]
        if len({row.name for row in people}) == 1 and is_indistinct(people[0].name):
            return people
        if people and is_indistinct(name):
            told = ", ".join(self._named(others))
            first = people[0].node
            if len(others) > 1:
                raise Unplaceable(f"several LoRA loaders lead to the sampler: {MANY} ({told})")
            raise Unplaceable(
                f"{told} may be another version of it: replace it with --lora-node-id {first}, or name the model's node there"
            )
        return []

    def _at_node(self, name: str, node: str, strength: float | None) -> LoraPlan:
        rows = self.rows_of(node)
        chosen = [row for row in rows if same_file(row.name, name)] or [row for row in rows if same_character(row.name, name)]
        chosen = chosen or (rows if len(rows) == 1 else [])
        if len(chosen) == 1:
            return LoraPlan(tuple(self._set(chosen[0], name, strength)))
        if rows:
            keys = ", ".join(row.target.key for row in rows)
            told = f"{label(self._typed.graph, node)} has several rows ({keys})"
            raise Unplaceable(f"{told}: set one with --set {rows[0].node}.{rows[0].target.key}=VALUE")
        output = self._model_output(node)
        if output is None:
            raise Unplaceable(f"{label(self._typed.graph, node)} has neither a LoRA nor a model: name another node with --lora-node-id")
        return LoraPlan((), ((name, Insertion(Spot(node, output), self._clip_for(node))),))

    def _model_output(self, node: str) -> int | None:
        used = self._typed.used_outputs(node)
        found = next((at for at in used if self._typed.output_type(node, at) == "MODEL"), None)
        if found is not None:
            return found
        ways = (spot for each in self._passes.samplers for spot in self._typed.walk(self._passes.models(each), "MODEL"))
        return next((spot.output for spot in ways if spot.node == node and not self._typed.output_type(node, spot.output)), None)

    def _clip_for(self, node: str) -> Spot | None:
        if not self._with_clip:
            return None
        for at in self._typed.used_outputs(node):
            if self._typed.output_type(node, at) == "CLIP":
                return Spot(node, at)
        for sampler in self._passes.samplers:
            if node in self._way(sampler):
                return next(iter(self.clips(sampler)), None)
        return None

    def _insertions(self, group: Sequence[str]) -> list[Insertion]:
        found: list[Insertion] = []
        taken: set[Spot] = set()
        for sampler in group:
            model = self._last_common(self._passes.models(sampler))
            if model is None:
                first = label(self._typed.graph, sampler)
                raise Unplaceable(f"no link of a model leads to {first}: name a node that gives one with --lora-node-id")
            if any(each.model == model for each in found):
                continue
            free = [spot for spot in self.clips(sampler) if spot not in taken] if self._with_clip else []
            taken |= set(free)
            found.append(Insertion(model, free[0] if free else None))
        return found

    def _last_common(self, starts: list[Spot]) -> Spot | None:
        """The output nearest to the loader that all of a sampler's model comes through."""
        found, ahead = None, starts[:1]
        for _ in range(len(self._typed.graph) + 1):
            if len(ahead) != 1:
                break
            spot = ahead[0]
            kind = self._typed.output_type(spot.node, spot.output)
            if kind in ("MODEL", ""):
                found = Spot(spot.node, spot.output)
            elif not PIPE.search(kind):  # behind a pipe the loader would come after the texts that need its text encoder
                break
            ahead = self._typed.above(spot, "MODEL")[0]
        return found

    def _set(self, row: Row, name: str | None, strength: float | None) -> list[Change]:
        changes: list[Change] = []
        if name is not None:
            is_same = same_file(row.name, name)
            changes = [Change("lora", row.target, self._known_name(row, name) if is_same else name, "" if is_same else f"was {row.name}")]
        if strength is not None:
            if not row.strengths:
                raise Unplaceable(f"{label(self._typed.graph, row.node)} has no strength input: leave --lora-strength out")
            changes += [Change("lora strength", target, strength) for target in row.strengths]
        return changes + [Change("lora", target, on) for target, on in row.switches if not row.is_on]

    def _known_name(self, row: Row, name: str) -> str:
        """Of two ways to write one file's name the one that the server lists; that of the graph where none is asked."""
        declared = self._typed.declared_input(row.target.node, row.target.key)
        choices = declared.choices if declared is not None and self._typed.signatures.is_live else None
        return name if choices and name in choices and row.name not in choices else row.name

    def _named(self, rows: Sequence[Row]) -> tuple[str, ...]:
        filled = [row for row in rows if not is_empty(row.name)]
        return tuple(f"{row.name} in {label(self._typed.graph, row.node)}" for row in filled)


def _number_in(key: str) -> str | None:
    found = re.findall(r"\d+", key)
    return found[-1] if found else None


def insert_loader(graph: Graph, typed: TypedGraph, insertion: Insertion, name: str, strength: float) -> str:
    """Put a LoRA loader between a model (and its text encoder) and everything that uses them. Returns its node id."""
    number = max((int(node_id) for node_id in graph if node_id.isdecimal()), default=0) + 1
    new, model, clip = str(number), insertion.model, insertion.clip
    before = {node for node in ancestors(graph, model.node) if not _encodes(typed, node)}
    for node_id, node in graph.items():
        for key, value in node["inputs"].items():
            if not is_link(value):
                continue
            if (value[0], value[1]) == (model.node, model.output):
                node["inputs"][key] = [new, 0]
            elif (
                clip is not None
                and (value[0], value[1]) == (clip.node, clip.output)
                and node_id not in before
                and _conditions(typed, node_id)
            ):
                node["inputs"][key] = [new, 1]
    inputs: dict[str, Any] = {"lora_name": name, "strength_model": strength, "model": [model.node, model.output]}
    if clip is not None:
        inputs |= {"strength_clip": strength, "clip": [clip.node, clip.output]}
    class_type = "LoraLoader" if clip is not None else "LoraLoaderModelOnly"
    graph[new] = {"class_type": class_type, "inputs": inputs, "_meta": {"title": "LoRA"}}
    return new


def _encodes(typed: TypedGraph, node: str) -> bool:
    declaration = typed.declaration(node) if node in typed.graph else None
    return declaration is not None and "CONDITIONING" in declaration.outputs


def _conditions(typed: TypedGraph, node: str) -> bool:
    """Whether a user of a text encoder makes conditioning with it, and not texts."""
    declaration = typed.declaration(node) if node in typed.graph else None
    if declaration is None or any(PIPE.search(kind) for kind in declaration.outputs):
        return True
    return bool({"CONDITIONING", "CLIP", "MODEL"} & set(declaration.outputs))
