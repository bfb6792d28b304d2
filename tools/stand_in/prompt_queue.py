"""The queue and history of one server process: what a restart loses."""

from __future__ import annotations

import copy
import heapq
import threading
from collections.abc import Callable
from typing import Any

QueueItem = tuple[float, str, dict[str, Any], dict[str, Any], list[str]]
"""(number, prompt id, graph, extra data, output nodes to run): ComfyUI's own tuple, kept because it is also its JSON."""

MAX_HISTORY = 10_000


class PromptQueue:
    """Prompts waiting in a heap by number, those running, and what became of the rest. Safe for many threads."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._changed = threading.Condition(threading.RLock())
        self._pending: list[QueueItem] = []
        self._running: dict[int, QueueItem] = {}
        self._history: dict[str, dict[str, Any]] = {}
        self._tasks = 0
        self._closed = False

    def put(self, item: QueueItem) -> None:
        """Queue a prompt. As on a real server, an equal number and id cannot be ordered: TypeError."""
        with self._changed:
            heapq.heappush(self._pending, item)
            self._on_change()
            self._changed.notify()

    def take(self) -> tuple[int, QueueItem] | None:
        """The next prompt, and a task number for `finish`; waits for one. None when the queue was closed."""
        with self._changed:
            while not self._pending and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            item = heapq.heappop(self._pending)
            task = self._tasks
            self._tasks += 1
            self._running[task] = copy.deepcopy(item)
            self._on_change()
            return task, item

    def finish(self, task: int, outputs: dict[str, Any], meta: dict[str, Any], status: dict[str, Any]) -> None:
        """Move a running prompt to the history."""
        with self._changed:
            item = self._running.pop(task)
            while len(self._history) >= MAX_HISTORY:
                self._history.pop(next(iter(self._history)))
            self._history[item[1]] = {"prompt": item, "outputs": outputs, "status": status, "meta": meta}
            self._on_change()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def snapshot(self) -> tuple[list[QueueItem], list[QueueItem]]:
        """Running and pending. Pending is the heap's array: not sorted."""
        with self._changed:
            return list(self._running.values()), list(self._pending)

    def remaining(self) -> int:
        with self._changed:
            return len(self._running) + len(self._pending)

    def interrupt_if_running(self, prompt_id: str, interrupt: Callable[[], None]) -> bool:
        """Call `interrupt` while the prompt runs, so that it cannot meet the next one; whether it did."""
        with self._changed:
            is_running = any(item[1] == prompt_id for item in self._running.values())
            if is_running:
                interrupt()
            return is_running

    def clear_pending(self) -> None:
        with self._changed:
            self._pending = []
            self._on_change()

    def delete_pending(self, prompt_id: str) -> bool:
        """Take a prompt off the queue; whether it was there."""
        with self._changed:
            for index, item in enumerate(self._pending):
                if item[1] == prompt_id:
                    del self._pending[index]
                    heapq.heapify(self._pending)
                    self._on_change()
                    return True
            return False

    def history(self, max_items: int | None = None, offset: int = -1) -> dict[str, Any]:
        """The newest `max_items` entries (all by default), or `max_items` from `offset`, oldest first."""
        with self._changed:
            keys = list(self._history)
            if max_items is not None:
                start = max(len(keys) - max_items, 0) if offset < 0 else offset
                keys = keys[start : start + max_items]
            return {key: self._history[key] for key in keys}

    def history_entry(self, prompt_id: str) -> dict[str, Any]:
        """`{id: entry}`, or `{}` for a prompt that is pending, running, unknown or forgotten."""
        with self._changed:
            return {prompt_id: self._history[prompt_id]} if prompt_id in self._history else {}

    def clear_history(self) -> None:
        with self._changed:
            self._history = {}

    def delete_history(self, prompt_id: str) -> None:
        with self._changed:
            self._history.pop(prompt_id, None)
