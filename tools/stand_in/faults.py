"""What can go wrong with a ComfyUI server, as knobs: every fault is one that a real server or network has shown."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Faults:
    """Knobs of the embedded server. They may be turned while it runs; a count that is used up is 0 again.

    A route is named by method and path without `/api` and with `{id}` for the variable part: `POST /prompt`,
    `GET /history/{id}`, `GET /view`, `GET /ws`. A prompt's number counts, from 1, the prompts that began to run since the
    server was started, over restarts.
    """

    seed: int = 0
    """Of every random choice below."""
    drop_socket_after_messages: int | None = None
    """Each WebSocket is cut after so many messages, without a close frame."""
    drop_socket_chance: float = 0.0
    """Chance that a WebSocket is cut, after each message."""
    http_500: dict[str, int] = field(default_factory=dict)
    """So many of the next requests to a route are answered with 500, and not carried out."""
    http_500_chance: dict[str, float] = field(default_factory=dict)
    delay_seconds: dict[str, float] = field(default_factory=dict)
    """Each answer of a route is late by so much."""
    lose_prompt_replies: int = 0
    """So many of the next POST /prompt are accepted, and the connection is cut instead of answered."""
    truncated_views: int = 0
    """So many of the next GET /view break off in the middle: the connection is cut before Content-Length is reached."""
    half_written_views: int = 0
    """So many of the next GET /view send half a file with 200 and the matching Content-Length: the file was still being written."""
    restart_at_prompts: frozenset[int] = frozenset()
    """The server restarts in the middle of these prompts: queue, history, cache and numbering are lost, files stay."""
    restart_seconds: float = 0.2
    """How long a restarting server refuses connections."""
    out_of_memory_at_prompts: frozenset[int] = frozenset()
    """The sampler of these prompts runs out of GPU memory."""
    out_of_memory_until_free: bool = False
    """Every sampler runs out of GPU memory until POST /free."""
    dead_worker_at_prompt: int | None = None
    """The worker dies when it takes this prompt: later ones are accepted, and nothing runs until a restart."""
    interrupt_at_prompts: frozenset[int] = frozenset()
    """Someone else interrupts these prompts in the middle."""
    disk_full_at_prompts: frozenset[int] = frozenset()
    """SaveImage fails for these prompts: no space left on the server."""
    broken_models: frozenset[str] = frozenset()
    """Model files that are listed and cannot be loaded."""


class FaultInjector:
    """Decides, for many threads, whether a fault of `faults` strikes now."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._random = random.Random(faults.seed)
        self._lock = threading.Lock()

    def answers_500(self, route: str) -> bool:
        with self._lock:
            left = self.faults.http_500.get(route, 0)
            if left > 0:
                self.faults.http_500[route] = left - 1
                return True
            return self._strikes(self.faults.http_500_chance.get(route, 0.0))

    def loses_prompt_reply(self) -> bool:
        return self._take("lose_prompt_replies")

    def truncates_view(self) -> bool:
        return self._take("truncated_views")

    def half_writes_view(self) -> bool:
        return self._take("half_written_views")

    def drops_socket(self, messages_sent: int) -> bool:
        """Whether a socket is cut after its `messages_sent`-th message."""
        with self._lock:
            limit = self.faults.drop_socket_after_messages
            return (limit is not None and messages_sent >= limit) or self._strikes(self.faults.drop_socket_chance)

    def _take(self, name: str) -> bool:
        with self._lock:
            left = int(getattr(self.faults, name))
            if left > 0:
                setattr(self.faults, name, left - 1)
            return left > 0

    def _strikes(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance
