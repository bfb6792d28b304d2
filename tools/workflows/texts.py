"""Where the prompt and the negative prompt stand: from a sampler's conditioning to the encoders, and from their texts to the words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tools.workflows.graph import class_of, is_link, label, title_of
from tools.workflows.node_types import (
    FORGETTING_NODES,
    HELD_TEXT_KEYS,
    OTHER_TEXT,
    PLAIN_TEXT_KEYS,
    PROMPT_WORD,
    SAME_TEXT_KEYS,
    TEXT_KEYS,
    role_of,
)
from tools.workflows.passes import ROLES, Passes
from tools.workflows.targets import Unplaceable
from tools.workflows.typed_graph import Spot, TypedGraph

MOST_STEPS = 200
"""On the way from an encoder to its words."""

DESCRIPTION_LENGTH = 200
"""Characters. Quality and trigger words are shorter; a text that is longer, and longer than the prompt, describes the picture, too."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """An output that turns texts into conditioning."""

    node: str
    output: int


@dataclass(frozen=True, slots=True)
class Words:
    """A literal text that an encoder's input is made of. `via`: the inputs on the way, nearest to the encoder first."""

    node: str
    key: str
    via: tuple[tuple[str, str], ...] = ()
    is_template: bool = False


class Texts:
    """Finds the texts of a role (`positive`, `negative`) in a graph."""

    def __init__(self, typed: TypedGraph, passes: Passes) -> None:
        self._typed, self._passes = typed, passes

    def has_text(self, sampler: str) -> bool:
        return any(self.encoders(sampler, role) for role in ROLES)

    def encoders(self, sampler: str, role: str) -> list[Encoder]:
        """The encoders of a sampler's conditioning, through whatever combines or changes it on the way. Raises Unplaceable."""
        ahead = self._passes.conditioning(sampler, role)
        seen, found = set(ahead), []
        for spot in ahead:  # grows while it is read
            if class_of(self._typed.graph, spot.node) in FORGETTING_NODES:
                continue
            above, _, feed = self._typed.above(spot, "CONDITIONING")
            if feed.is_contradictory:
                raise Unplaceable(self._contradiction(spot, role))
            is_typed = any(self._typed.output_type(each.node, each.output) for each in above)
            if not is_typed and self._texts_of_node(spot.node):  # what nobody can type (a custom text encoder) is no conditioning
                found.append(Encoder(spot.node, spot.output))
            for each in above:
                if each not in seen:
                    seen.add(each)
                    ahead.append(each)
        return list(dict.fromkeys(found))

    def forgotten(self, sampler: str, role: str) -> str:
        """The node on the way after which nothing of a text is left; empty where there is none."""
        way = self._typed.walk(self._passes.conditioning(sampler, role), "CONDITIONING")
        return next((spot.node for spot in way if class_of(self._typed.graph, spot.node) in FORGETTING_NODES), "")

    def keys(self, encoder: Encoder, role: str, *, is_named: bool = False) -> list[str]:
        """The text inputs of an encoder that take the prompt of a role. `is_named`: by hand, so that its output tells nothing."""
        node, texts = encoder.node, self._texts_of_node(encoder.node)
        flag = f"name it with --{role}-node-id {node} and --{role}-key"
        if any(role_of(key) for key in texts):
            wanted = [key for key in texts if role_of(key) == role]
            if not is_named and self._contradicts(encoder, role):
                raise Unplaceable(self._contradiction(Spot(node, encoder.output), role))
            if not wanted and role == "positive":  # beside a negative text: the plain one
                wanted = [key for key in texts if not role_of(key) and key in TEXT_KEYS]
            if not wanted:
                raise Unplaceable(f"{label(self._typed.graph, node)} has no {role} text: {flag}")
            return wanted
        if len(texts) < 2:
            return texts
        if any(set(texts) <= same for same in SAME_TEXT_KEYS):
            return texts
        plain = [key for key in texts if key in PLAIN_TEXT_KEYS]
        if len(plain) == 1:
            return plain
        raise Unplaceable(f"{label(self._typed.graph, node)} has several texts ({', '.join(texts)}): {flag}")

    def _texts_of_node(self, node: str) -> list[str]:
        """The inputs of a node that take a text for people to write."""
        typed = self._typed
        declaration = typed.declaration(node)
        keys = [key for key in typed.inputs(node) if typed.takes(node, key, "STRING")]
        if declaration is None:  # a literal text may be a choice: what its name says, then
            keys = [key for key in keys if is_link(typed.inputs(node)[key]) or key in TEXT_KEYS or role_of(key)]
            return [key for key in keys if not OTHER_TEXT.search(key)]
        order = list(declaration.inputs)
        keys = sorted((key for key in keys if not OTHER_TEXT.search(key)), key=lambda key: order.index(key) if key in order else len(order))
        boxes = [key for key in keys if (declared := declaration.inputs.get(key)) is not None and declared.is_multiline]
        return boxes or keys

    def _contradicts(self, encoder: Encoder, role: str) -> bool:
        """Whether an output without a name of its own stands at the place of the other role's text."""
        declaration = self._typed.declaration(encoder.node)
        if declaration is None:
            return False
        if named := role_of(self._typed.output_name(encoder.node, encoder.output)):
            return named != role
        outputs = [at for at, kind in enumerate(declaration.outputs) if kind == "CONDITIONING"]
        texts = [key for key in declaration.inputs if key in self._texts_of_node(encoder.node) and role_of(key)]
        if encoder.output not in outputs or len(outputs) != len(texts):
            return False
        return role_of(texts[outputs.index(encoder.output)]) != role

    def _contradiction(self, spot: Spot, role: str) -> str:
        told = f"output {spot.output} of {label(self._typed.graph, spot.node)} is used as {role}, but stands at the place of the other text"
        return f"{told}: name its node with --{role}-node-id (and --{role}-key)"

    # From an encoder's input to the words

    def words(self, node: str, key: str, role: str, like: Words | None = None) -> list[Words]:
        """The literal that becomes an input's text (two where one node wants it twice). Raises Unplaceable where several do, or none.

        `like`: the text of the other role; of several the one that stands where that stands, in a node of the same class.
        """
        found = self._of_role(self._gather(node, key, (), set()), role)
        told = f"{key} of {label(self._typed.graph, node)}"
        if not found or any(self._may_be_a_choice(word) for word in self._the_prompt(found)):
            source = self._typed.spot(node, key)
            by = f" by {label(self._typed.graph, source.node)}" if source is not None else ""
            raise Unplaceable(f"{told} is computed{by}: write over it with --{role}-node-id {node} --{role}-key {key}")
        chosen = self._the_prompt(found)
        if len(chosen) > 1 and {role_of(word.key) for word in chosen} == set(ROLES):
            chosen = [word for word in chosen if role_of(word.key) == role]
        if len(chosen) > 1 and like is not None:
            chosen = [word for word in chosen if self._last_step(word) == self._last_step(like)] or chosen
        if len(chosen) > 1 and not self._is_twice(chosen):
            places = " and ".join(f"{each.key} of {label(self._typed.graph, each.node)}" for each in chosen)
            first = next((word for word in reversed(chosen) if word.key != "replace"), chosen[-1])  # not what is put into others
            raise Unplaceable(f"{told} is put together from {places}: choose with --{role}-node-id {first.node} --{role}-key {first.key}")
        return chosen

    def _of_role(self, words: list[Words], role: str) -> list[Words]:
        """The words without those that come through an input for the other role (a node that styles both prompts)."""
        other = "negative" if role == "positive" else "positive"
        return [word for word in words if not any(role_of(key) == other for _, key in (*word.via[1:], (word.node, word.key)))] or words

    def _is_twice(self, words: list[Words]) -> bool:
        """Whether texts are those of one node that all take the same prompt."""
        keys = {word.key for word in words}
        return len({word.node for word in words}) == 1 and any(keys <= same for same in SAME_TEXT_KEYS)

    def _gather(self, node: str, key: str, via: tuple[tuple[str, str], ...], seen: set[tuple[str, str]]) -> list[Words]:
        """Every literal text that an input is made of, each once. `seen`: the inputs that were looked at."""
        typed, way = self._typed, (*via, (node, key))
        if (node, key) in seen:
            return []
        seen.add((node, key))
        spot = typed.spot(node, key)
        if spot is None:
            return [Words(node, key, via)] if isinstance(typed.inputs(node).get(key), str) else []
        if len(via) > MOST_STEPS or self._shows_a_picture(spot.node):
            return []
        above, keys, _ = typed.above(spot, "STRING")
        linked = [each for each, value in typed.inputs(spot.node).items() if is_link(value) and Spot(value[0], value[1]) in above]
        inputs = [each for each in typed.inputs(spot.node) if each in keys or each in linked]
        if len(inputs) > 1:
            inputs = [each for each in inputs if not OTHER_TEXT.search(each)] or inputs
        found = [word for each in inputs for word in self._marked(spot.node, each, self._gather(spot.node, each, way, seen))]
        found += [word for each in above if not linked for word in self._behind(each, way, seen)]  # out of a pipe
        return list({(word.node, word.key): word for word in found}.values())

    def _behind(self, spot: Spot, way: tuple[tuple[str, str], ...], seen: set[tuple[str, str]]) -> list[Words]:
        above, keys, _ = self._typed.above(spot, "STRING")
        found = [word for key in keys for word in self._gather(spot.node, key, way, seen)]
        return found + [word for each in above for word in self._behind(each, way, seen)]

    def _may_be_a_choice(self, word: Words) -> bool:
        """Whether a literal of an unknown class need be no text for people, such as `device: auto`."""
        if self._typed.declaration(word.node) is not None or len(self._typed.inputs(word.node)) < 2:
            return False
        return word.key.lower() not in HELD_TEXT_KEYS and not role_of(word.key)

    def _shows_a_picture(self, node: str) -> bool:
        """Whether a text is read from a picture: then no text above it is the prompt."""
        typed = self._typed
        return any(typed.input_type(node, key) == "IMAGE" for key, value in typed.inputs(node).items() if is_link(value))

    def _marked(self, node: str, key: str, words: list[Words]) -> list[Words]:
        """The words of one input, those marked that are only a template: the words of another input are put into them."""
        known, find = self._typed.literal(node, "find") if "find" in self._typed.inputs(node) and key != "replace" else (False, None)
        if not known or not isinstance(find, str) or not find:
            return words
        return [replace(word, is_template=word.is_template or find in self._text(word)) for word in words]

    def _text(self, word: Words) -> str:
        return str(self._typed.inputs(word.node)[word.key])

    def _the_prompt(self, found: list[Words]) -> list[Words]:
        """Of several texts that are put together the one that is the prompt, as the titles of their nodes tell."""
        filled = [word for word in found if self._text(word).strip() and not word.is_template] or found
        if len(filled) == 1:
            return filled
        kept = [word for word in filled if not self._is_instruction(word)]
        if len(kept) == 1:
            return kept
        titled = [word for word in kept if PROMPT_WORD.search(title_of(self._typed.graph, word.node))]
        lengths = [len(self._text(word)) for word in kept if word not in titled]
        if len(titled) == 1 and max(lengths, default=0) < max(DESCRIPTION_LENGTH, len(self._text(titled[0]))):
            return titled
        return filled

    def _is_instruction(self, word: Words) -> bool:
        if OTHER_TEXT.search(title_of(self._typed.graph, word.node)):
            return True
        return any(OTHER_TEXT.search(key) for _, key in word.via[1:])

    def _last_step(self, word: Words) -> tuple[str, str]:
        node, key = word.via[-1] if word.via else (word.node, word.key)
        return class_of(self._typed.graph, node), key

    def rewriter(self, word: Words) -> str:
        """The node on the way that writes the text anew with a model of its own; empty where there is none."""
        typed = self._typed
        for node, _ in word.via:
            kinds = [typed.input_type(node, key) for key, value in typed.inputs(node).items() if is_link(value)]
            declaration = typed.declaration(node)
            if {"CLIP", "MODEL"} & set(kinds) and declaration is not None and "STRING" in declaration.outputs:
                return node
        return ""
