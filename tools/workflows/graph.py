"""Graphs in ComfyUI's API format: `{node id: {class_type, inputs}}`, where a link is `[node id, output index]`."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeGuard

from lifeos.errors import InputError

Graph = dict[str, dict[str, Any]]

EXPORT_HINT = "in ComfyUI choose Workflow > Export (API), or with older versions switch on Dev Mode and choose Save (API Format)"


def is_ui_format(document: Any) -> bool:
    """Whether a document is a workflow as the editor saves it."""
    return isinstance(document, dict) and isinstance(document.get("nodes"), list)


def read_graph(document: Any, name: str) -> Graph:
    """A checked graph from a JSON document: every link leads somewhere, and nothing leads back to itself. Raises InputError."""
    if is_ui_format(document):
        raise InputError(name, "a workflow in UI format (nodes, links): the server takes the API format", EXPORT_HINT)
    if isinstance(document, dict) and isinstance(document.get("prompt"), dict) and "class_type" not in document["prompt"]:
        document = document["prompt"]  # the body of a POST /prompt, as scripts save it
    if not isinstance(document, dict) or not document:
        raise InputError(name, "not a workflow: an object of nodes is wanted", EXPORT_HINT)
    graph: Graph = {}
    for node_id, node in document.items():
        if isinstance(node, dict) and "class_type" in node and node["class_type"] is None:
            why = f"node {node_id} has no class: its custom node was missing in the ComfyUI that exported it"
            raise InputError(name, why, "install that node there, or take it out, then export again")
        if not (isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)):
            raise InputError(name, f'"{node_id}" is not a node in API format (class_type, inputs)', EXPORT_HINT)
        graph[str(node_id)] = copy.deepcopy(node)
        if not _is_meta(node.get("_meta")):
            del graph[str(node_id)]["_meta"]  # only a title for people, and not even that
    for node_id in graph:
        for key, source in links(graph, node_id):
            if source not in graph:
                raise InputError(name, f"{label(graph, node_id)}: {key} comes from node {source}, which is not there", EXPORT_HINT)
    if loop := find_loop(graph):
        raise InputError(name, f"the nodes {' → '.join(loop)} form a loop", "break it in ComfyUI, then export again")
    return graph


def _is_meta(meta: Any) -> bool:
    return meta is None or (isinstance(meta, dict) and isinstance(meta.get("title", ""), str))


def is_link(value: Any) -> TypeGuard[list[Any]]:
    whole = isinstance(value, list) and len(value) == 2 and isinstance(value[1], int) and not isinstance(value[1], bool)
    return whole and isinstance(value[0], str)


def links(graph: Graph, node_id: str) -> Iterator[tuple[str, str]]:
    """The linked inputs of a node: name, and the node that feeds it."""
    for key, value in graph[node_id]["inputs"].items():
        if is_link(value):
            yield key, value[0]


def class_of(graph: Graph, node_id: str) -> str:
    return str(graph[node_id]["class_type"])


def title_of(graph: Graph, node_id: str) -> str:
    """The title that a person gave a node; empty where it has none."""
    return (graph[node_id].get("_meta") or {}).get("title") or ""


def label(graph: Graph, node_id: str) -> str:
    """`node 6 (CLIPTextEncode "Positive")`, for people."""
    title = title_of(graph, node_id)
    shown = f' "{title}"' if title and title != class_of(graph, node_id) else ""
    return f"node {node_id} ({class_of(graph, node_id)}{shown})"


def ancestors(graph: Graph, start: str) -> list[str]:
    """The node and everything that it is made from, nearest first."""
    found = [start]
    for node_id in found:  # grows while it is read: breadth first
        found += [source for source in dict.fromkeys(source for _, source in links(graph, node_id)) if source not in found]
    return found


def find_loop(graph: Graph) -> list[str] | None:
    """The ids of nodes that are made from each other, in order; None where there are none. Without recursion: a chain may be long."""
    finished: set[str] = set()
    for root in graph:
        path: list[str] = []
        stack = [(root, iter([source for _, source in links(graph, root)]))] if root not in finished else []
        path += [root] if stack else []
        while stack:
            node_id, sources = stack[-1]
            source = next(sources, None)
            if source is None:
                finished.add(node_id)
                stack.pop()
                path.pop()
            elif source in path:
                return [*path[path.index(source) :], source][::-1]
            elif source not in finished:
                stack.append((source, iter([up for _, up in links(graph, source)])))
                path.append(source)
    return None


def rename_outputs(graph: dict[str, Any], suffix: str) -> dict[str, Any]:
    """The same graph, saving under another name: to the server's cache, the saving node is a new one."""
    renamed = copy.deepcopy(graph)
    for node in renamed.values():
        prefix = node.get("inputs", {}).get("filename_prefix")
        if isinstance(prefix, str):
            node["inputs"]["filename_prefix"] = prefix + suffix
    return renamed
