"""The flags that name nodes and inputs by hand: alike in the scripts that make pictures, checked, and named by every refusal."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests

from lifeos import cli
from lifeos.errors import InputError
from tests.tools.workflows.built_graphs import (
    FLUX,
    HIRES,
    NEW,
    chain,
    changed,
    concatenated,
    declare,
    fill,
    node,
    power,
    refusal,
    row,
    sampler,
    simple,
    two_models,
)
from tools import generate_batch, parameter_sweep, production_pipeline
from tools.stand_in import render_references
from tools.workflows import signatures
from tools.workflows.graph import Graph
from tools.workflows.node_flags import FIELDS
from tools.workflows.workflow import NodeOverrides

SCRIPTS = (production_pipeline, parameter_sweep, generate_batch)
FLAG = re.compile(r"--[a-z][a-z-]+")
MODULES = sorted(Path(signatures.__file__).parent.glob("*.py"))


def flags_of(script: Any) -> set[str]:
    return set(script.build_parser()._option_string_actions)


# Every refusal names a flag that is there


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__.rpartition(".")[2])
def test_every_flag_that_the_code_of_placing_names_is_one_of_the_script(script: Any) -> None:
    named = set()
    for module in MODULES:
        text = re.sub(r"tools/\w+\.py --[a-z-]+", "", module.read_text(encoding="utf-8"))  # of another script, which is named
        named |= {flag for role in ("positive", "negative") for flag in FLAG.findall(text.replace("{role}", role))}
    assert {"--positive-key", "--negative-node-id", "--set", "--guidance"} <= named
    assert named <= flags_of(script)


REFUSED: list[tuple[Graph, dict[str, Any]]] = [
    (FLUX, {"negative": "N"}),
    (FLUX, {"cfg": 5.0}),
    (simple(), {"guidance": 3.0}),
    (concatenated("A", "B"), {"positive": "P"}),
    (chain("amiranoor_v1.safetensors", "amiranoor_face.safetensors"), {"lora": NEW}),
    (chain("other_person.safetensors"), {"lora": "v3.safetensors"}),
    (simple(n3=sampler(model=["50", 0]), n50=node("LoRA Hub", text="x", model=["4", 0])), {"lora": NEW}),
    (two_models(), {"checkpoint": "c.safetensors"}),
    (two_models(), {"lora": "a", "more_loras": ("b",)}),
    (simple(n5=node("VAEEncode", pixels=["12", 0], vae=["4", 2]), n12=node("LoadImage", image="a.png")), {"width": 512}),
    (simple(n3=sampler(negative=["6", 0]), n7=None), {"negative": "N"}),
    (simple(n3=node("KSampler", **{k: v for k, v in sampler()["inputs"].items() if k != "steps"})), {"steps": 5}),
    (HIRES | {"5": node("EmptyLatentImage", width=["40", 0], height=512, batch_size=1), "40": node("Odd", a=1, b=2)}, {"width": 640}),
    (simple() | {"30": sampler(), "31": node("VAEDecode", samples=["30", 0]), "32": node("SaveImage", images=["31", 0])}, {"seed": 1}),
]


@pytest.mark.parametrize(("graph", "settings"), REFUSED, ids=lambda value: next(iter(value)) if "3" not in value else "")
def test_a_refusal_names_a_flag(graph: Graph, settings: dict[str, Any]) -> None:
    named = set(FLAG.findall(refusal(graph, **settings)))
    assert named
    for script in SCRIPTS:
        assert named <= flags_of(script)


def test_the_flags_are_alike() -> None:
    wanted = {"--positive-node-id", "--positive-key", "--negative-node-id", "--negative-key", "--ksampler-node-id", "--lora-node-id"}
    wanted |= {"--seed-node-id", "--output-node-id", "--guidance", "--set", "--seed-key", "--steps-key", "--positive-node-key"}
    for script in SCRIPTS:
        assert wanted <= flags_of(script)


def test_a_flag_for_a_workflow_of_ones_own_wants_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name nodes of your own workflow"):
        generate_batch.main(["--output-dir", str(tmp_path), "--seed-node-id", "5"])


# Each flag


SECOND = simple(n21=sampler(seed=5, latent_image=["3", 0]), n8=node("VAEDecode", samples=["21", 0], vae=["4", 2]))


@pytest.mark.parametrize(
    ("overrides", "settings", "found"),
    [
        (NodeOverrides(seed_node="21"), {"seed": 7}, {"21.seed": 7}),
        (NodeOverrides(), {"seed": 7}, {"3.seed": 7, "21.seed": 7}),
        (NodeOverrides(sampler_node="21"), {"steps": 30, "cfg": 3.0}, {"3.steps": 30, "21.steps": 30, "3.cfg": 3.0, "21.cfg": 3.0}),
        (NodeOverrides(negative_node="6"), {"negative": "N"}, {"6.text": "N"}),
        (NodeOverrides(positive_node="7", positive_key="text"), {"positive": "P"}, {"7.text": "P"}),
    ],
)
def test_named_nodes(overrides: NodeOverrides, settings: dict[str, Any], found: dict[str, Any]) -> None:
    assert changed(SECOND, None, overrides, **settings) == found


@pytest.mark.parametrize("field", ["positive_node", "negative_node", "sampler_node", "seed_node", "output_node", "lora_node"])
def test_a_node_that_is_not_there(field: str) -> None:
    flag = next((f"--{name.replace('_', '-')}" for name, each in FIELDS.items() if each == field), "--lora-node-id")
    assert refusal(simple(), None, NodeOverrides(**{field: "33"}), seed=1).startswith(f"{flag} 33: mine.json has no such node")


# --set


ADVANCED_SAVER = simple(
    n9=node("SaveImageAdvanced", **{"filename_prefix": "x", "format": "png", "format.bit_depth": "8-bit", "images": ["8", 0]})
)


@pytest.mark.parametrize(
    ("graph", "text", "path", "value"),
    [
        (simple(), "3.steps=30", "3.steps", 30),
        (simple(), "3.cfg=4", "3.cfg", 4.0),
        (simple(), "3.sampler_name=heun", "3.sampler_name", "heun"),
        (simple(), "6.text=a = b, c", "6.text", "a = b, c"),
        (simple(n3=sampler(steps=["40", 0]), n40=node("PrimitiveInt", value=4)), "3.steps=30", "3.steps", 30),
        (simple(n40=node("PrimitiveBoolean", value=False)), "40.value=true", "40.value", True),
        (simple(n40=node("Nobody Knows", amount=1)), "40.amount=3", "40.amount", 3),
        (power(lora_1=row("a.safetensors")), "50.lora_1.strength=0.4", "50.lora_1", row("a.safetensors") | {"strength": 0.4}),
        (power(lora_1=row("a.safetensors")), "50.lora_1.on=false", "50.lora_1", row("a.safetensors", on=False)),
        (ADVANCED_SAVER, "9.format.bit_depth=16-bit", "9.format.bit_depth", "16-bit"),
    ],
)  # fmt: skip
def test_a_value_is_written_as_its_type(graph: Graph, text: str, path: str, value: Any) -> None:
    found = changed(graph, None, NodeOverrides(assignments=(text,)), seed=1)
    found.pop("3.seed", None)
    assert found == {path: value}
    assert type(found[path]) is type(value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps=30", "--set steps=30: is no assignment (write it as NODE.INPUT=VALUE, such as 5.steps=30)"),
        ("3.steps", "--set 3.steps: is no assignment (write it as NODE.INPUT=VALUE, such as 5.steps=30)"),
        ("33.steps=1", "--set 33.steps=1: the workflow has no node 33 (did you mean 3?)"),
        ("3.stepz=1", "--set 3.stepz=1: node 3 (KSampler) has no input stepz (did you mean steps"),
        ("3.steps=many", "--set 3.steps=many: steps of node 3 (KSampler) takes a whole number"),
        ("3.steps=0", "--set 3.steps=0: steps of node 3 (KSampler) takes a number from 1 to 10000"),
        ("3.denoise=nan", "--set 3.denoise=nan: denoise of node 3 (KSampler) takes a number"),
        ("3.denoise=1.5", "--set 3.denoise=1.5: denoise of node 3 (KSampler) takes a number from 0 to 1"),
        ("3.model=x", "--set 3.model=x: model of node 3 (KSampler) takes MODEL, which comes from another node"),
        ("3.seed=5", "--set 3.seed: is the place of the seed (use --base-seed)"),
        ("6.text=x", "--set 6.text: is the place of the prompt (use --prompt)"),
    ],
)
def test_a_value_that_cannot_be_set(text: str, told: str) -> None:
    assert refusal(simple(), None, NodeOverrides(assignments=(text,)), seed=1, positive="P").startswith(told)


def test_a_value_that_was_set_wins_over_a_setting() -> None:
    found = changed(simple(), None, NodeOverrides(assignments=("3.steps=9",)), steps=30)
    assert found == {"3.steps": 9}


def test_no_value_goes_into_an_input_of_another_type() -> None:
    """An input that is called like a setting, but takes something else, is no place for it."""
    odd = declare("model:MODEL positive:CONDITIONING negative:CONDITIONING latent_image:LATENT seed:SEED steps:STRING cfg:INT", ["LATENT"])
    graph = simple()
    graph["3"]["class_type"] = "Odd Sampler"
    graph["3"]["inputs"] |= {"steps": "20", "cfg": 7}
    classes = {"Odd Sampler": odd}
    assert "has no input steps" in refusal(graph, classes, steps=30)
    assert "has no input cfg" in refusal(graph, classes, cfg=4.5)
    assert "has no input sampler_name" in refusal(graph, classes, sampler="heun")
    assert changed(graph, classes, seed=3) == {"3.seed": 3}


# What is shown is what is done


def own_workflow() -> Graph:
    """A high-resolution fix with a seed of its own node and a draft that is saved, for models of the embedded server."""
    graph = HIRES | {
        "30": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "31": node("SaveImage", filename_prefix="draft", images=["30", 0]),
        "40": node("PrimitiveInt", value=3),
        "41": node("PrimitiveStringMultiline", value="words"),
        "4": node("CheckpointLoaderSimple", ckpt_name="embedded_demo_sdxl.safetensors"),
        "6": node("CLIPTextEncode", text=["41", 0], clip=["4", 1]),
        "20": node("LatentUpscale", samples=["3", 0], width=512, height=768, upscale_method="nearest-exact", crop="disabled"),
        "5": node("EmptyLatentImage", width=256, height=384, batch_size=2),
    }
    graph["3"] = sampler(seed=["40", 0])
    graph["21"] = sampler(seed=["40", 0], steps=12, denoise=0.5, latent_image=["20", 0])
    return graph


def run(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(lambda: production_pipeline.main([str(argument) for argument in arguments]))
    return code, out.getvalue(), err.getvalue()


def test_what_a_dry_run_shows_is_what_the_history_holds(tmp_path: Path, embedded_server: Any) -> None:
    server = embedded_server()
    render_references(tmp_path / "references", 2)
    (tmp_path / "mine.json").write_text(json.dumps(own_workflow()), encoding="utf-8")
    command = [
        *("--workflow", tmp_path / "mine.json", "--output-dir", tmp_path / "batch", "--reference-dir", tmp_path / "references"),
        *("--engine", "dlib", "--comfy-url", server.url, "--prompt", "amiranoor, portrait", "--base-seed", 11, "--width", 384),
        *("--height", 576, "--steps", 30, "--lora", "amiranoor_v3.safetensors", "--set", "21.denoise=0.4"),
        *("--history-file", tmp_path / "history.jsonl"),
    ]
    code, shown, _ = run(*command, "--dry-run", "--json")
    assert code == 0
    preview = json.loads(shown)
    code, _, notes = run(*command)
    assert code in (0, 1), notes
    (entry,) = requests.get(f"{server.url}/history", timeout=10).json().values()
    done = entry["prompt"][2]
    for place in preview["places"]:
        at = done[place["node"]]
        assert (at["class_type"], at["inputs"][place["input"]]) == (place["class"], place["value"])
    assert done == preview["workflow"]
    told = {(place["setting"], place["node"], place["input"]): place["value"] for place in preview["places"]}
    assert told[("positive", "41", "value")] == "amiranoor, portrait"
    assert told[("seed", "40", "value")] == 11
    assert (told[("width", "20", "width")], told[("height", "20", "height")]) == (768, 1152)  # as 512 of 256 and 768 of 384
    assert told[("lora strength", "42", "strength_model")] == 0.8, "the policy's"
    assert [place["setting"] for place in preview["places"]][:2] == ["positive", "seed"]
    assert "31" not in done
    for line in preview["placed"]:
        assert f"  {line}\n" in notes, "the first lines of a run say the same"
    assert preview["placed"][-1] == f"graph of the first picture, SHA-256: {preview['workflow_sha256']}"
    recorded = json.loads((tmp_path / "batch" / "batch.json").read_text(encoding="utf-8"))
    assert recorded["workflows"][0]["sha256"] == preview["workflow_sha256"]
    assert recorded["variants"][0]["settings"]["lora_strength"] == 0.8
    code, _, notes = run(
        "--resume", "--output-dir", tmp_path / "batch", "--comfy-url", server.url, "--history-file", tmp_path / "history.jsonl"
    )
    assert code in (0, 1), "the flags for nodes are remembered"
    assert len(server.executed) == 1


def test_a_sweep_shows_where_everything_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(own_workflow()), encoding="utf-8")
    command = [
        "--workflow",
        tmp_path / "mine.json",
        "--output-dir",
        tmp_path / "sweep",
        "--lora",
        NEW,
        "--strengths",
        "0.6,1.0",
        "--prompt",
        "P",
    ]
    assert parameter_sweep.main([str(part) for part in [*command, "--base-seed", "5", "--dry-run", "--set", "21.denoise=0.3"]]) == 0
    shown = capsys.readouterr().out
    for line in ("positive: P → value of node 41", "seed: ", "lora strength: 0.6", "set: 0.3 → denoise of node 21", "SHA-256"):
        assert line in shown


def test_lines_are_for_people() -> None:
    assert fill(HIRES, None, NodeOverrides(assignments=("21.denoise=0.3",)), positive="P", seed=7, width=768).lines() == [
        "positive: P → text of node 6 (CLIPTextEncode)",
        "seed: 7 → seed of node 3 (KSampler), seed of node 21 (KSampler)",
        "width: 768 → width of node 5 (EmptyLatentImage)",
        "width: 1536 → width of node 20 (LatentUpscale) (was 1024, scaled as 512 to 768)",
        "batch size: 1 → batch_size of node 5 (EmptyLatentImage) (was 4)",
        "set: 0.3 → denoise of node 21 (KSampler) (was 0.5)",
    ]
