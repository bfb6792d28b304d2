"""Graphs in ComfyUI's API format: `{node id: {class_type, inputs}}`, where a link is `[node id, output index]`."""

from __future__ import annotations

import copy
from typing import Any

Graph = dict[str, Any]


def rename_outputs(graph: Graph, suffix: str) -> Graph:
    """The same graph, saving under another name: to the server's cache, the saving node is a new one."""
    renamed = copy.deepcopy(graph)
    for node in renamed.values():
        prefix = node.get("inputs", {}).get("filename_prefix")
        if isinstance(prefix, str):
            node["inputs"]["filename_prefix"] = prefix + suffix
    return renamed
