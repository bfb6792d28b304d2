"""What a ComfyUI server says about a prompt, as values: rejected, ended (done, failed, interrupted, lost), with which pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lifeos.errors import InputError, nearest

Kind = Literal["done", "failed", "interrupted", "lost"]

OUT_OF_MEMORY_WORDS = ("outofmemory", "out of memory", "not enough memory", "cublas_status_alloc_failed")
PASSING_WORDS = ("connectionerror", "timeout", "connection reset", "temporarily unavailable", "cuda error", "cudnn_status")
"""Failures that another try, perhaps on another server, can get over. All others repeat themselves."""

MESSAGE_LIMIT = 400


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A picture on a server. The names are the server's: data, never a path on this machine."""

    filename: str
    subfolder: str
    type: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one of our prompts ended.

    `lost`: neither queued nor in the history any more (a restart, or someone deleted it). `can_heal`: another try may
    succeed. `seconds` is what the server worked on it, by its own clock; None where it does not say.
    """

    prompt_id: str
    kind: Kind
    images: tuple[ImageRef, ...] = ()
    node: str = ""
    message: str = ""
    out_of_memory: bool = False
    can_heal: bool = False
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What `/system_stats` tells. Bytes, of the first device that is no CPU, else None.

    `vram_usable` is what a prompt can have: what is free, and what the server's own loaded models hold, which it lets go.
    `notice` is what a server that makes no real pictures says of itself: reports repeat it.
    """

    url: str
    version: str
    device: str
    vram_total: int | None
    vram_usable: int | None
    notice: str | None = None


class RejectedPrompt(InputError):
    """The server refused a prompt. `node` is its id (empty: the graph as a whole), `message` what the server said."""

    def __init__(self, url: str, node: str, message: str, fix: str = "") -> None:
        self.node, self.message = node, message
        where = f"{url}: node {node}" if node else url
        super().__init__(where, f"the prompt was rejected: {message}", fix)


def read_server_info(url: str, stats: Mapping[str, Any]) -> ServerInfo:
    system = stats.get("system") or {}
    devices = [device for device in stats.get("devices") or [] if isinstance(device, Mapping)]
    gpu = next((device for device in devices if device.get("type") != "cpu"), None)
    shown = gpu or (devices[0] if devices else {})
    version = str(system.get("comfyui_version") or "unknown version")
    total, usable = _vram(gpu or {})
    return ServerInfo(url, version, str(shown.get("name") or "unknown device"), total, usable, system.get("notice"))


def _vram(gpu: Mapping[str, Any]) -> tuple[int | None, int | None]:
    total, free = gpu.get("vram_total"), gpu.get("vram_free")
    if not isinstance(total, int) or not isinstance(free, int):
        return None, None
    reserved, unused = gpu.get("torch_vram_total"), gpu.get("torch_vram_free")
    own = reserved - unused if isinstance(reserved, int) and isinstance(unused, int) else 0
    return total, min(total, free + max(0, own))


def read_rejection(url: str, body: Mapping[str, Any]) -> RejectedPrompt:
    """The 400 of `POST /prompt`. The reason is in `node_errors`; `error` itself is often silent."""
    for node, entry in (body.get("node_errors") or {}).items():
        for error in entry.get("errors") or []:
            return _node_rejection(url, str(node), str(entry.get("class_type", "")), error)
    error = body.get("error")
    if isinstance(error, Mapping):
        text = " ".join(str(part) for part in (error.get("message"), error.get("details")) if part)
        fix = "install the missing custom node on the server" if error.get("type") == "invalid_prompt" else ""
        return RejectedPrompt(url, "", text or "no reason given", fix)
    return RejectedPrompt(url, "", str(error or "no reason given"))


def _node_rejection(url: str, node: str, class_type: str, error: Mapping[str, Any]) -> RejectedPrompt:
    extra = error.get("extra_info") or {}
    name, value = extra.get("input_name"), extra.get("received_value")
    config = extra.get("input_config") or [None]
    if error.get("type") == "value_not_in_list" and isinstance(config[0], list):
        known = [str(item) for item in config[0]]
        close = nearest(str(value), known) or known[:8]
        fix = f"nearest on the server: {', '.join(close)}" if close else "the server has none"
        return RejectedPrompt(url, f"{node} ({class_type})", f"{name} {value!r} is not on the server", fix)
    text = ": ".join(str(part) for part in (error.get("message"), error.get("details")) if part)
    return RejectedPrompt(url, f"{node} ({class_type})", text or "no reason given")


def read_outcome(prompt_id: str, entry: Mapping[str, Any]) -> Outcome:
    """The end of a prompt as its `/history` entry tells it."""
    status = entry.get("status") or {}
    messages = [(str(name), data) for name, data in status.get("messages") or []]
    seconds = _seconds(messages)
    last, data = messages[-1] if messages else ("", {})
    if last == "execution_interrupted":
        where = f"{data.get('node_id', '')} ({data.get('node_type', '')})"
        return Outcome(prompt_id, "interrupted", node=where, message="interrupted at the server", can_heal=True, seconds=seconds)
    if last == "execution_error" or status.get("status_str") == "error":
        return _failure(prompt_id, data, seconds)
    images = _images(entry)
    if images:
        return Outcome(prompt_id, "done", images, seconds=seconds)
    cached = {str(node) for name, told in messages if name == "execution_cached" for node in told.get("nodes") or []}
    prompt = entry.get("prompt") or []
    wanted = {str(node) for node in prompt[4]} if len(prompt) > 4 else set()
    if wanted and wanted <= cached:
        return Outcome(prompt_id, "failed", message="served from the server's cache, without a new picture", can_heal=True, seconds=seconds)
    return Outcome(prompt_id, "failed", message="ended without a picture: no node saved one", seconds=seconds)


def _failure(prompt_id: str, data: Mapping[str, Any], seconds: float | None) -> Outcome:
    kind, text = str(data.get("exception_type", "")), " ".join(str(data.get("exception_message", "")).split())
    said = f"{kind} {text}".lower()
    out_of_memory = any(word in said for word in OUT_OF_MEMORY_WORDS)
    can_heal = out_of_memory or any(word in said for word in PASSING_WORDS)
    where = f"{data.get('node_id')} ({data.get('node_type', '')})" if data.get("node_id") is not None else ""
    message = ": ".join(part for part in (kind, text) if part) or "the server gave no reason"
    return Outcome(prompt_id, "failed", (), where, message[:MESSAGE_LIMIT], out_of_memory, can_heal, seconds)


def _seconds(messages: list[tuple[str, Any]]) -> float | None:
    times = [data["timestamp"] for _, data in messages if isinstance(data, Mapping) and isinstance(data.get("timestamp"), int | float)]
    return (times[-1] - times[0]) / 1000 if len(times) > 1 else None


def _images(entry: Mapping[str, Any]) -> tuple[ImageRef, ...]:
    """Saved pictures; previews (`type: temp`) only where nothing was saved."""
    found = [
        ImageRef(str(image["filename"]), str(image.get("subfolder", "")), str(image.get("type", "output")), str(node))
        for node, output in (entry.get("outputs") or {}).items()
        for image in output.get("images") or []
        if isinstance(image, Mapping) and image.get("filename")
    ]
    saved = tuple(image for image in found if image.type != "temp")
    return saved or tuple(found)
