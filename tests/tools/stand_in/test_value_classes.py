"""What is placed into nodes of others that only carry values reaches the sampler of the embedded server, as the plan said."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.tools.stand_in.embedded_graphs import LORA, MODELS, Graph, base_graph, changed, passes
from tests.tools.workflows.built_graphs import node
from tools.stand_in import start_embedded_server
from tools.stand_in.server import EmbeddedServer
from tools.stand_in.value_classes import FUNCTIONS
from tools.workflows.graph import read_graph
from tools.workflows.workflow import Settings, Workflow


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with start_embedded_server(models=MODELS) as started:
        yield started


def texts(**nodes: dict[str, Any]) -> Graph:
    """The positive text comes from node `end`."""
    return changed(base_graph(**nodes), "positive", text=["end", 0])


def other_text(text: str) -> dict[str, Any]:
    return node("CLIPTextEncode", text=text, clip=["loader", 1])


WORDS = node("PrimitiveStringMultiline", value="old")
OFF = node("PrimitiveStringMultiline", value="off")
PIPE = node("ToBasicPipe", model=["loader", 0], clip=["loader", 1], vae=["loader", 2], positive=["positive", 0], negative=["negative", 0])

GRAPHS: dict[str, Graph] = {
    "ImpactSwitch": changed(
        base_graph(end=node("ImpactSwitch", select=2, sel_mode=False, input1=["off", 0], input2=["positive", 0]), off=other_text("off")),
        "sampler",
        positive=["end", 0],
    ),
    "ImpactConditionalBranch": texts(
        end=node("ImpactConditionalBranch", cond=False, tt_value=["off", 0], ff_value=["w", 0]), w=WORDS, off=OFF
    ),
    "easy ifElse": texts(end=node("easy ifElse", boolean=True, on_true=["w", 0], on_false=["off", 0]), w=WORDS, off=OFF),
    "CR Text Input Switch": texts(end=node("CR Text Input Switch", Input=2, text1=["off", 0], text2=["w", 0]), w=WORDS, off=OFF),
    "CR Conditioning Input Switch": changed(
        base_graph(
            end=node("CR Conditioning Input Switch", Input=1, conditioning1=["positive", 0], conditioning2=["off", 0]),
            off=other_text("off"),
        ),
        "sampler",
        positive=["end", 0],
    ),
    "Any Switch (rgthree)": texts(end=node("Any Switch (rgthree)", any_02=["w", 0], any_03=["off", 0]), w=WORDS, off=OFF),
    "ShowText|pysssss": texts(end=node("ShowText|pysssss", text=["w", 0], text_0="shown last"), w=WORDS),
    "easy positive": texts(end=node("easy positive", positive="old")),
    "CR Prompt Text": texts(end=node("CR Prompt Text", prompt="old")),
    "StringConstantMultiline": texts(end=node("StringConstantMultiline", string="old", strip_newlines=True)),
    "Text Multiline": texts(end=node("Text Multiline", text="old")),
    "Seed (rgthree)": changed(base_graph(s=node("Seed (rgthree)", seed=1)), "sampler", seed=["s", 0]),
    "easy seed": changed(base_graph(s=node("easy seed", seed=1)), "sampler", seed=["s", 0]),
    "FromBasicPipe": changed(
        base_graph(p=PIPE, end=node("FromBasicPipe", basic_pipe=["p", 0])),
        "sampler",
        model=["end", 0],
        positive=["end", 3],
        negative=["end", 4],
    ),
    "FromBasicPipe_v2": changed(
        base_graph(p=PIPE, end=node("FromBasicPipe_v2", basic_pipe=["p", 0])),
        "sampler",
        model=["end", 1],
        positive=["end", 4],
        negative=["end", 5],
    ),
    "EditBasicPipe": changed(
        base_graph(
            p=changed({"p": copy.deepcopy(PIPE)}, "p", positive=["off", 0])["p"],
            q=node("EditBasicPipe", basic_pipe=["p", 0], positive=["positive", 0]),
            end=node("FromBasicPipe", basic_pipe=["q", 0]),
            off=other_text("off"),
        ),
        "sampler",
        model=["end", 0],
        positive=["end", 3],
        negative=["end", 4],
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_placed_reaches_the_sampler(server: EmbeddedServer, name: str) -> None:
    workflow = Workflow(read_graph(GRAPHS[name], "mine.json"), "mine.json")
    (told,) = passes(server, workflow.fill(Settings(positive="P", negative="N", seed=77, steps=2, lora=LORA, lora_strength=0.5)).graph)
    wanted = {"positive": "P", "negative": "N", "seed": 77, "steps": 2}
    assert {key: told[key] for key in wanted} == wanted
    assert [(use["file"], use["strength"]) for use in told["loras"]] == [(LORA, 0.5)]


def test_joined_texts_are_joined_in_order(server: EmbeddedServer) -> None:
    join = node("Text Concatenate", delimiter=", ", clean_whitespace="true", text_b=["w", 0], text_a=["style", 0])
    (told,) = passes(server, texts(end=join, w=WORDS, style=node("Text Multiline", text="film")))
    assert told["positive"] == "film, old"


def test_every_class_has_a_signature_of_its_own() -> None:
    from tools.stand_in.node_classes import NODE_CLASSES

    assert all(NODE_CLASSES[name].module == "custom_nodes" for name in FUNCTIONS)
