"""What a ComfyUI server says, as typed records, and what it means: its memory, rejections, the ends of prompts, its nodes.

The records name what we read of each answer, and are wide where custom nodes write what they like. What does not fit them is refused
at the edge, so that nothing behind it is checked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lifeos import foreign
from lifeos.errors import InputError, nearest
from tools.backends.backend import PictureRef, PromptEnd, RejectedPrompt, ServerInfo

OUT_OF_MEMORY_WORDS = ("outofmemory", "out of memory", "not enough memory", "cublas_status_alloc_failed")
PASSING_WORDS = ("connectionerror", "timeout", "connection reset", "temporarily unavailable", "cuda error", "cudnn_status")
"""Failures that another try, perhaps on another server, can get over. All others repeat themselves."""

MISSING_NODE = ("invalid_prompt", "missing_node_type")
"""What ComfyUI calls a node class that it does not have: before, and since 0.33."""

MISSING_NODE_WORDS = ("custom node may not be installed", "does not exist")
"""What it says then. A proxy passes on nothing else."""

MESSAGE_LIMIT = 400


# GET /system_stats


@dataclass(frozen=True, slots=True)
class StatsSystem:
    comfyui_version: str | None = None
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class StatsDevice:
    name: str | None = None
    type: str | None = None
    vram_total: int | None = None
    vram_free: int | None = None
    torch_vram_total: int | None = None
    torch_vram_free: int | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    system: StatsSystem
    devices: list[StatsDevice] = field(default_factory=list)


# GET /queue


@dataclass(frozen=True, slots=True)
class Queue:
    """Items are `[number, prompt id, graph, extra data, outputs]`."""

    queue_running: list[list[Any]]
    queue_pending: list[list[Any]]

    def __post_init__(self) -> None:
        for item in (*self.queue_running, *self.queue_pending):
            if len(item) < 2 or not isinstance(item[1], str):
                raise ValueError("an item of the queue without a prompt id")


# GET /history/{id}


@dataclass(frozen=True, slots=True)
class SavedPicture:
    filename: str | None = None
    subfolder: str | None = None
    type: str | None = None


Odd = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class NodeOutput:
    """What a node put out; custom nodes put anything beside the pictures, and odd things among them."""

    images: list[SavedPicture | Odd] | Odd = None


@dataclass(frozen=True, slots=True)
class MessageData:
    """Of the messages `execution_*` that the history keeps."""

    timestamp: float | None = None
    nodes: list[str | int] | None = None
    node_id: str | int | None = None
    node_type: str | None = None
    exception_type: str | None = None
    exception_message: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryStatus:
    status_str: str | None = None
    messages: list[tuple[str, MessageData]] | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    prompt: list[Any] | None = None
    outputs: dict[str, NodeOutput] | None = None
    status: HistoryStatus | None = None


# POST /prompt


@dataclass(frozen=True, slots=True)
class FaultExtra:
    node_id: str | int | None = None
    class_type: str | None = None
    input_name: str | None = None
    input_config: list[Any] | None = None
    received_value: Any = None


@dataclass(frozen=True, slots=True)
class PromptFault:
    type: str | None = None
    message: str | None = None
    details: str | None = None
    extra_info: FaultExtra | None = None


@dataclass(frozen=True, slots=True)
class NodeFaults:
    errors: list[PromptFault] | None = None
    dependent_outputs: list[str | int] | None = None
    class_type: str | None = None


@dataclass(frozen=True, slots=True)
class PromptAnswer:
    """200 or 400. Where no node is at fault, ComfyUI gives `node_errors` as an empty list."""

    error: PromptFault | str | None = None
    node_errors: dict[str, NodeFaults] | list[Any] | None = None

    @property
    def faults(self) -> dict[str, NodeFaults]:
        return self.node_errors if isinstance(self.node_errors, dict) else {}


# Messages of the WebSocket


@dataclass(frozen=True, slots=True)
class ExecInfo:
    queue_remaining: int | None = None


@dataclass(frozen=True, slots=True)
class SocketStatus:
    exec_info: ExecInfo | None = None


@dataclass(frozen=True, slots=True)
class SocketData:
    prompt_id: str | None = None
    node: str | int | None = None
    value: float | None = None
    max: float | None = None
    status: SocketStatus | None = None


@dataclass(frozen=True, slots=True)
class SocketMessage:
    type: str
    data: SocketData = field(default_factory=SocketData)


def read_server_info(url: str, stats: Stats) -> ServerInfo:
    gpu = next((device for device in stats.devices if device.type != "cpu"), None)
    shown = gpu or (stats.devices[0] if stats.devices else StatsDevice())
    total, usable = _vram(gpu or StatsDevice())
    version = stats.system.comfyui_version or "unknown version"
    return ServerInfo(url, version, shown.name or "unknown device", total, usable, stats.system.notice)


def _vram(gpu: StatsDevice) -> tuple[int | None, int | None]:
    if gpu.vram_total is None or gpu.vram_free is None:
        return None, None
    known = gpu.torch_vram_total is not None and gpu.torch_vram_free is not None
    own = (gpu.torch_vram_total or 0) - (gpu.torch_vram_free or 0) if known else 0
    return gpu.vram_total, min(gpu.vram_total, gpu.vram_free + max(0, own))


def read_rejection(url: str, answer: PromptAnswer) -> RejectedPrompt:
    """The 400 of `POST /prompt`. The reason is in `node_errors`; `error` itself is often silent."""
    for node, faults in answer.faults.items():
        for fault in faults.errors or []:
            return _node_rejection(url, node, faults.class_type or "", fault)
    error = answer.error
    if isinstance(error, PromptFault):
        text = " ".join(part for part in (error.message, error.details) if part)
        is_missing = error.type in MISSING_NODE or (error.type is None and any(words in text for words in MISSING_NODE_WORDS))
        fix = "install the missing custom node on the server" if is_missing else ""
        extra = error.extra_info or FaultExtra()
        node = f"{extra.node_id} ({extra.class_type})" if extra.node_id is not None and extra.class_type else ""
        return RejectedPrompt(url, node, _cut(text) or "no reason given", fix)
    return RejectedPrompt(url, "", _cut(error or "") or "no reason given")


def _node_rejection(url: str, node: str, class_type: str, fault: PromptFault) -> RejectedPrompt:
    extra = fault.extra_info or FaultExtra()
    choices = extra.input_config[0] if extra.input_config else None
    if fault.type == "value_not_in_list" and isinstance(choices, list):
        known = [str(item) for item in choices]
        close = nearest(str(extra.received_value), known) or known[:8]
        fix = f"nearest on the server: {', '.join(close)}" if close else "the server has none"
        return RejectedPrompt(url, f"{node} ({class_type})", _cut(f"{extra.input_name} {extra.received_value!r} is not on the server"), fix)
    text = ": ".join(part for part in (fault.message, fault.details) if part)
    return RejectedPrompt(url, f"{node} ({class_type})", _cut(text) or "no reason given")


def read_end(prompt_id: str, entry: HistoryEntry) -> PromptEnd:
    """The end of a prompt as its `/history` entry tells it."""
    status = entry.status or HistoryStatus()
    messages = status.messages or []
    seconds = _seconds(messages)
    last, data = messages[-1] if messages else ("", MessageData())
    if last == "execution_interrupted":
        where = f"{data.node_id if data.node_id is not None else ''} ({data.node_type or ''})"
        return PromptEnd(prompt_id, "interrupted", node=where, message="interrupted at the server", can_heal=True, seconds=seconds)
    if last == "execution_error" or status.status_str == "error":
        return _failure(prompt_id, data, seconds)
    pictures = _pictures(entry)
    if pictures:
        return PromptEnd(prompt_id, "done", pictures, seconds=seconds)
    cached = {str(node) for name, told in messages if name == "execution_cached" for node in told.nodes or []}
    outputs = entry.prompt[4] if entry.prompt is not None and len(entry.prompt) > 4 else None
    wanted = {str(node) for node in outputs} if isinstance(outputs, list) else set()
    return without_picture(prompt_id, seconds, from_cache=bool(wanted) and wanted <= cached)


def without_picture(prompt_id: str, seconds: float | None, *, from_cache: bool) -> PromptEnd:
    """The end of a prompt that ran and left no picture."""
    if from_cache:
        why = "served from the server's cache, without a new picture"
        return PromptEnd(prompt_id, "failed", message=why, can_heal=True, seconds=seconds)
    why, fix = "ended without a picture: no node saved one", "end the workflow with a node that saves pictures, such as SaveImage"
    return PromptEnd(prompt_id, "failed", message=why, seconds=seconds, is_set_up=True, fix=fix)


def _failure(prompt_id: str, data: MessageData, seconds: float | None) -> PromptEnd:
    where = f"{data.node_id} ({data.node_type or ''})" if data.node_id is not None else ""
    return read_failure(prompt_id, where, data.exception_type or "", data.exception_message or "", seconds)


def read_failure(prompt_id: str, where: str, kind: str, message: str, seconds: float | None) -> PromptEnd:
    """The end of a prompt that failed at a node: `where`, the kind of the exception, what it said."""
    text = " ".join(message.split())
    said = f"{kind} {text}".lower()
    out_of_memory = any(word in said for word in OUT_OF_MEMORY_WORDS)
    can_heal = out_of_memory or any(word in said for word in PASSING_WORDS)
    why = ": ".join(part for part in (kind, text) if part) or "the server gave no reason"
    return PromptEnd(prompt_id, "failed", (), where, _cut(why), out_of_memory, can_heal, seconds)


def _cut(text: str) -> str:
    return text[:MESSAGE_LIMIT]


def _seconds(messages: list[tuple[str, MessageData]]) -> float | None:
    times = [data.timestamp for _, data in messages if data.timestamp is not None]
    return max(0.0, times[-1] - times[0]) / 1000 if len(times) > 1 else None


def _pictures(entry: HistoryEntry) -> tuple[PictureRef, ...]:
    """Saved pictures; previews (`type: temp`) only where nothing was saved."""
    found = [
        PictureRef(picture.filename, picture.subfolder or "", picture.type or "output", node)
        for node, output in (entry.outputs or {}).items()
        for picture in (output.images if isinstance(output.images, list) else ())
        if isinstance(picture, SavedPicture) and picture.filename
    ]
    saved = tuple(picture for picture in found if picture.type != "temp")
    return saved or tuple(found)


def read_message(data: bytes, limit: int) -> SocketMessage | None:
    """A message of the WebSocket, None where it is none that we know: all of them only tell when to ask over HTTP."""
    try:
        return foreign.decode(data, SocketMessage, "a message", max_bytes=limit, too_large="null")
    except InputError:
        return None


def is_preview(graph: Mapping[str, Any], node: str) -> bool:
    """Whether a node of our graph only shows a picture."""
    return str(graph.get(node, {}).get("class_type", "")).startswith("Preview")
