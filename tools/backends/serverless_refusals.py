"""What worker-comfyui says of a graph that its ComfyUI refuses: ComfyUI's own answer, as Python writes it line by line, or as it came."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from lifeos import foreign
from lifeos.errors import InputError
from tools.backends.backend import RejectedPrompt
from tools.backends.comfyui_answers import NodeFaults, PromptAnswer, PromptFault, read_rejection

REFUSED_GRAPH = ("workflow validation failed", "comfyui validation failed")
RAW_ANSWER = re.compile(r"(?:\. Raw response|\(could not parse error response\)): (.*)", re.DOTALL)
REFUSED_NODE = re.compile(r"• Node ([^\s:()]+)(?: \((\w+)\))?: (.*)")
LITERAL_LIMIT = 1 << 20
"""Of a line that is read as Python: a list of many models is long."""


def read_worker_refusal(url: str, text: str) -> RejectedPrompt | None:
    """The refusal that a failed job tells; None where the graph was not refused."""
    raw = RAW_ANSWER.search(text)
    nodes = list(REFUSED_NODE.finditer(text))
    if raw is None and not nodes and not any(words in text.lower() for words in REFUSED_GRAPH):
        return None
    answer = _decoded(raw[1]) if raw is not None else None
    if answer is not None and (answer.error is not None or answer.faults):
        return read_rejection(url, answer)
    plain = " ".join(text.split())
    return read_rejection(url, PromptAnswer(plain, dict(_faults(nodes))))


def _decoded(text: str) -> PromptAnswer | None:
    try:
        answer: PromptAnswer = foreign.decode(text.encode(), PromptAnswer, "refusal", max_bytes=len(text.encode()), too_large="null")
    except InputError:
        return None
    return answer


def _faults(nodes: list[re.Match[str]]) -> Iterator[tuple[str, NodeFaults]]:
    """Each node that is named, with what is wrong: its keys stand in lines of their own."""
    classes = {match[1]: match[3].strip() for match in nodes if match[2] == "class_type"}
    for match in nodes:
        if match[2] not in ("class_type", "dependent_outputs"):
            yield match[1], NodeFaults(_read_faults(match[3]), class_type=classes.get(match[1]))


def _read_faults(told: str) -> list[PromptFault]:
    """ComfyUI's list of faults, which the worker writes as Python does; as it stands where it is none."""
    try:
        found: Any = ast.literal_eval(told) if len(told) <= LITERAL_LIMIT else None
        faults: list[PromptFault] = foreign.convert(found, list[PromptFault], "refusal", too_large="null")
    except (ValueError, SyntaxError, MemoryError, RecursionError, InputError):
        faults = []
    return [fault for fault in faults if fault.type or fault.message] or [PromptFault(message=told)]
