"""Of which model families a graph is: by the text encoder that it asks for, and by the names of the models that it loads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lifeos.files import read_json
from tools.families import families
from tools.families.families import Family
from tools.trainers.architectures import SAID
from tools.workflows.graph import Graph

BASE_MODEL_FOLDERS = {
    "ckpt_name": "checkpoints",
    "base_ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "gguf_name": "diffusion_models",
    "model_path": "diffusion_models",
}
"""An input that names a base model -> the server's folder."""
TEXT_ENCODER_LOADER = re.compile(r"CLIPLoader")
TOLD_BY_CLASS = frozenset({"TripleCLIPLoader", "TextEncodeQwenImage21"})
"""Node classes that only one kind of model has."""

Sign = tuple[str, str]
"""A node class without its number of files, and the `type` that it is given; or such a class alone."""


@dataclass(frozen=True, slots=True)
class GraphFamilies:
    """The rows that a graph may be of, none where nothing tells, and what told it."""

    rows: tuple[Family, ...]
    why: str = ""


def find_graph_families(graph: Graph) -> GraphFamilies:
    """What the nodes and the model names of a graph tell. Where they contradict each other, nothing."""
    signs, names = signs_of(graph), base_models(graph)
    by_nodes = tuple(row for row in families.FAMILIES if signs & _signs_of_row(row.workflow_file))
    by_names = tuple(row for row in families.FAMILIES if any(names_model(row, name) for _, name in names))
    rows = tuple(row for row in by_nodes if row in by_names) if by_nodes and by_names else by_nodes or by_names
    if by_names:
        named = next(name for _, name in names if any(names_model(row, name) for row in by_names))
        return GraphFamilies(rows, f"its model is {named}")
    titles = {title for _, name in names for title, pattern in SAID if re.search(pattern, name.lower())}
    if titles and not titles & {row.made_for for row in rows}:
        return GraphFamilies(())
    told = ", ".join(sorted(" ".join(filter(None, sign)) for sign in signs))
    return GraphFamilies(rows, f"its text encoder is loaded by {told}" if rows else "")


def base_models(graph: Graph) -> list[tuple[str, str]]:
    """The base models that a graph loads: folder on the server, name."""
    return [
        (folder, str(node["inputs"][key]))
        for node in graph.values()
        for key, folder in BASE_MODEL_FOLDERS.items()
        if isinstance(node["inputs"].get(key), str)
    ]


def signs_of(graph: Graph) -> set[Sign]:
    """What a graph asks its text encoder to be."""
    found: set[Sign] = set()
    for node in graph.values():
        class_type, kind = str(node["class_type"]), node["inputs"].get("type")
        if class_type in TOLD_BY_CLASS:
            found.add((class_type, ""))
        elif TEXT_ENCODER_LOADER.search(class_type) and isinstance(kind, str) and kind != "stable_diffusion":
            found.add(("CLIPLoader", kind))
    return found


@cache
def _signs_of_row(workflow_file: Path) -> frozenset[Sign]:
    graph: dict[str, Any] = read_json(workflow_file)
    return frozenset(signs_of(graph))


def names_model(row: Family, name: str) -> bool:
    """Whether a model's name says that it is of that family."""
    return any(re.search(each.fits, name.lower()) for each in row.models)
