"""What a ComfyUI has to do and the last prompt that it ended: of one on this machine, or of a pod's through RunPod's proxy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lifeos import foreign
from lifeos.errors import LifeosError, UnavailableError
from tools.backends.address import Address

COMFYUI = "ComfyUI"
TIMEOUT_SECONDS = 5.0
MAX_HISTORY_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class QueueCount:
    queue_remaining: int


@dataclass(frozen=True, slots=True)
class QueueLength:
    """ComfyUI's answer to GET /prompt."""

    exec_info: QueueCount


def look_at_queue(address: Address, get: Callable[..., bytes]) -> tuple[int | None, str | None]:
    """Prompts that run or wait, and, where there are any, the id of the last one that ended (empty: none has). None is what it does not
    tell. `/prompt` counts them in a few bytes; `/queue` sends every workflow."""
    headers = address.credentials
    try:
        answer = get(f"{address.base}/prompt", COMFYUI, seconds=TIMEOUT_SECONDS, headers=headers)
        queued = foreign.decode(answer, QueueLength, COMFYUI, error=UnavailableError).exec_info.queue_remaining
    except LifeosError:
        return None, None
    if not queued:
        return queued, None
    try:
        route = f"{address.base}/history?max_items=1"
        answer = get(route, COMFYUI, seconds=TIMEOUT_SECONDS, headers=headers, max_bytes=MAX_HISTORY_BYTES)
        history: dict[str, Any] = foreign.decode(answer, dict, COMFYUI, error=UnavailableError)
    except LifeosError:
        return queued, None
    return queued, " ".join(history)
