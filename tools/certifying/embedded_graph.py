"""The workflow that a server wrote into a picture's file, and whether it is the planned one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lifeos import foreign
from lifeos.errors import LifeosError
from lifeos.picture_metadata import png_chunks, png_text
from tools.production.plan import Item, Plan
from tools.production.repair_numbers import repair_number
from tools.workflows.graph import Graph, read_graph

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_FILE_BYTES = 256 << 20
KEYWORD = b"prompt"


def read_embedded_graph(path: Path) -> Graph | None:
    """The graph in a PNG's `prompt` chunk; None where there is none that can be used."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        data = path.read_bytes()
        if not data.startswith(PNG_SIGNATURE):
            return None
        for name, start, end in png_chunks(data, len(data)):
            content = data[start:end]
            if name in (b"tEXt", b"zTXt", b"iTXt") and content.partition(b"\0")[0] == KEYWORD:
                return read_graph(foreign.decode(png_text(name, content), dict, path, surrogates="keep"), str(path))
    except (LifeosError, OSError):
        return None
    return None


def unexplained(plan: Plan, item: Item, embedded: Graph, loaded: str = "") -> list[str]:
    """What in a graph is not as planned: inputs (`NODE.NAME`) in which it differs from the plan's first one otherwise than by prompt, seed
    and file name, and the prompt or the seed where it stands nowhere. `loaded`: the picture that a repair loads, by its name on the server.
    """
    planned = plan.graph_of(item)
    if embedded.keys() != planned.keys():
        return sorted(embedded.keys() ^ planned.keys())
    if item.repairs and plan.repair is not None:
        first = plan.item(repair_number(1, 1))
        node, key = plan.repair.image_node, plan.repair.image_key
        planned = {**planned, node: {**planned[node], "inputs": {**planned[node]["inputs"], key: loaded}}}
        wanted = _missing(plan, first, planned)  # an upscaler has neither prompt nor seed
    else:
        number = next(number for number in range(1, plan.planned + 1) if plan.item(number).variant == item.variant)
        first, wanted = plan.item(number), []
    lacking = [what for what in _missing(plan, item, embedded) if what not in wanted]
    return [*_differences(plan, first, item, planned, embedded), *lacking]


def _missing(plan: Plan, item: Item, graph: Graph) -> list[str]:
    """The prompt and the seed of an item, where they stand nowhere in a graph."""
    values = [value for node in graph.values() for value in node["inputs"].values()]
    prompt = plan.prompt_of(item)
    lacking = [] if any(isinstance(value, str) and prompt in value for value in values) else ["the prompt"]
    return lacking + ([] if item.seed in [value for value in values if isinstance(value, int)] else ["the seed"])


def _differences(plan: Plan, first: Item, item: Item, planned: Graph, embedded: Graph) -> Iterator[str]:
    for node, wanted in planned.items():
        found = embedded[node]
        if wanted["class_type"] != found["class_type"]:
            yield f"{node}.class_type"
        for key in wanted["inputs"].keys() | found["inputs"].keys():
            if not _is_explained(plan, first, item, wanted["inputs"].get(key), found["inputs"].get(key)):
                yield f"{node}.{key}"


def _is_explained(plan: Plan, first: Item, item: Item, planned: Any, found: Any) -> bool:
    """Whether an input holds what it should hold in the picture of `item`, where the plan's graph is that of `first`."""
    if isinstance(planned, str) and isinstance(found, str):
        expected = planned.replace(plan.prompt_of(first), plan.prompt_of(item)) if plan.prompt_of(first) else planned
        prefix, own = (f"lifeos/{plan.run_id}/{each.key}" for each in (first, item))
        return found in (expected, planned.replace(prefix, own))
    if isinstance(planned, int) and not isinstance(planned, bool) and planned == first.seed:
        return bool(found == item.seed)
    return bool(planned == found)
