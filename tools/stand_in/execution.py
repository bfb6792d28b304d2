"""Running one prompt: the order of nodes, the cache, the messages on the way, and every way to end."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any

from tools.stand_in.dialects import Dialect
from tools.stand_in.faults import Faults
from tools.stand_in.messages import Messenger
from tools.stand_in.node_classes import NODE_CLASSES
from tools.stand_in.node_values import NodeResult
from tools.stand_in.picture_store import PictureStore, encode_preview
from tools.stand_in.prompt_queue import QueueItem
from tools.stand_in.scene import Scene

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PREVIEWS_PER_PICTURE = 6
PREVIEW_SIDE = 160


class PromptInterruptedError(Exception):
    """Someone asked for the running prompt to stop."""


class ProcessEndedError(Exception):
    """The pretended process is gone: nothing of this prompt may be recorded."""


class NodeFailedError(Exception):
    """A failure with ComfyUI's name for it."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


@dataclass(slots=True)
class Pace:
    """How long things pretend to take, in seconds."""

    per_picture: float
    per_model_load: float
    previews: bool


@dataclass(slots=True)
class Process:
    """What one server process holds while it lives, besides its queue."""

    messenger: Messenger
    store: PictureStore
    faults: Faults
    pace: Pace
    dialect: Dialect
    restart_soon: Callable[[], None]
    interrupt: Event = field(default_factory=Event)
    ended: Event = field(default_factory=Event)
    wake: Event = field(default_factory=Event)
    """Set with either of the two, so that a sleeping sampler wakes at once."""
    cache: dict[str, NodeResult] = field(default_factory=dict)
    running_node: tuple[str, str] | None = None
    """(client id, node) of what runs now."""

    def stop_prompt(self) -> None:
        """Interrupt what runs now."""
        self.interrupt.set()
        self.wake.set()


@dataclass(frozen=True, slots=True)
class RunEnding:
    """What the history keeps of a prompt."""

    outputs: dict[str, Any]
    meta: dict[str, Any]
    status: dict[str, Any]


class PromptRun:
    """One prompt from `execution_start` to its end. `ordinal` counts the prompts that began to run, from 1."""

    def __init__(self, process: Process, item: QueueItem, ordinal: int) -> None:
        _, self.prompt_id, self.graph, self.extra_data, self._wanted = item
        self.store = process.store
        self._process = process
        self._ordinal = ordinal
        self._client_id: str | None = self.extra_data.get("client_id")
        self._messages: list[list[Any]] = []
        self._states: dict[str, dict[str, Any]] = {}
        self._results: dict[str, NodeResult] = {}
        self._executed: list[str] = []
        self._outputs: dict[str, Any] = {}
        self._meta: dict[str, Any] = {}
        self._node = ""

    def execute(self) -> RunEnding:
        """Run to the end, whatever it is. Raises ProcessEndedError only."""
        process = self._process
        process.interrupt.clear()
        process.wake.clear()
        if process.ended.is_set():
            raise ProcessEndedError
        self._record("execution_start", {})
        order = _reachable(self.graph, self._wanted)
        signatures = {node_id: _signature(self.graph, node_id, {}) for node_id in order}
        cached = [node_id for node_id in self.graph if node_id in signatures and signatures[node_id] in process.cache]
        self._record("execution_cached", {"nodes": cached})
        self._results = {node_id: process.cache[signatures[node_id]] for node_id in cached}
        ok = False
        try:
            for node_id in self._wanted:
                self._node = node_id
                if node_id in self._results:
                    self._reuse_output(node_id)
                else:
                    self._bring_about(node_id)
            self._record("execution_success", {})
            ok = True
        except PromptInterruptedError:
            self._record("execution_interrupted", self._where(), to_all=True)
        except ProcessEndedError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a node does wrong is reported to the client, not fatal here
            self._record("execution_error", self._describe(error, order))
        process.cache = {signatures[node_id]: result for node_id, result in self._results.items()}
        process.running_node = None
        status = {"status_str": "success" if ok else "error", "completed": ok, "messages": self._messages}
        return RunEnding(self._outputs if ok else {}, self._meta if ok else {}, status)

    # What node functions may ask for

    def load(self, folder: str, name: str) -> str:
        """Pretend to load a model file; a listed file may be broken."""
        self._sleep(self._process.pace.per_model_load)
        if name in self._process.faults.broken_models:
            raise NodeFailedError("safetensors._safetensors_rust.SafetensorError", "Error while deserializing header: header too large")
        return name

    def check_disk(self) -> None:
        if self._ordinal in self._process.faults.disk_full_at_prompts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sample(self, scenes: list[Scene], steps: int) -> tuple[NDArray[np.uint8], ...]:
        """Render the pictures, then let the pretended time of `steps` pass, with progress and previews."""
        from tools.stand_in.renderer import render

        started = time.monotonic()
        pictures = tuple(render(scene) for scene in scenes)
        seconds = self._process.pace.per_picture * len(scenes)
        for step in range(1, steps + 1):
            self._sleep(max(0.0, started + seconds * step / steps - time.monotonic()))
            if step == (steps + 1) // 2:
                self._strike_in_the_middle()
            self._progress(step, steps)
            if step % max(1, steps // PREVIEWS_PER_PICTURE) == 0:
                self._preview(pictures[0], step / steps)
        return pictures

    def send_picture(self, png: bytes, number: int, count: int) -> None:
        """Send a picture to the prompt's client, as the `number`-th of `count`."""
        self._progress(number, count)
        self._process.messenger.send_preview(png, self._about_node(), self._client_id, "image/png")

    def _strike_in_the_middle(self) -> None:
        faults = self._process.faults
        if self._ordinal in faults.restart_at_prompts:
            self._process.restart_soon()
            self._process.ended.wait()
            raise ProcessEndedError
        if self._ordinal in faults.interrupt_at_prompts:
            raise PromptInterruptedError
        if faults.out_of_memory_until_free or self._ordinal in faults.out_of_memory_at_prompts:
            message = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB of which 1.05 GiB is free."
            raise NodeFailedError("torch.OutOfMemoryError", message)

    def _sleep(self, seconds: float) -> None:
        process = self._process
        if seconds > 0:
            process.wake.wait(seconds)
        if process.ended.is_set():
            raise ProcessEndedError
        if process.interrupt.is_set():
            raise PromptInterruptedError

    # Nodes

    def _run_node(self, node_id: str) -> None:
        self._process.running_node = (self._client_id, node_id) if self._client_id is not None else None
        self._show_state(node_id, 0.0, 1.0, "running")
        self._send("executing", {"node": node_id, "display_node": node_id, "prompt_id": self.prompt_id})
        self._sleep(0)
        result = NODE_CLASSES[self.graph[node_id]["class_type"]].run(self, self._inputs(node_id))
        self._results[node_id] = result
        if result.ui is not None:
            self._outputs[node_id] = result.ui
            self._meta[node_id] = _meta(node_id, result)
            self._send("executed", {"node": node_id, "display_node": node_id, "output": result.ui, "prompt_id": self.prompt_id})
        state = self._states[node_id]
        self._show_state(node_id, state["max"], state["max"], "finished")
        self._executed.append(node_id)

    def _reuse_output(self, node_id: str) -> None:
        """A cached output is told again and kept; without a client id it is not told, and kept by old versions only."""
        ui = self._results[node_id].ui
        if ui is not None and (self._client_id is not None or self._process.dialect.keeps_anonymous_outputs):
            self._send("executed", {"node": node_id, "display_node": node_id, "output": ui, "prompt_id": self.prompt_id})
            self._outputs[node_id] = ui
            self._meta[node_id] = _meta(node_id, self._results[node_id])
        self._show_state(node_id, 1, 1, "finished")

    def _bring_about(self, wanted: str) -> None:
        """Run a node and, before it, what it needs and has not: a switch needs only the branch that it selects."""
        stack = [wanted]
        while stack:
            missing = [] if stack[-1] in self._results else self._missing(stack[-1])
            if missing:
                stack += reversed(missing)
                continue
            self._node = stack.pop()
            if self._node not in self._results:
                self._run_node(self._node)

    def _missing(self, node_id: str) -> list[str]:
        """The nodes that must run before a node can, in the order of its inputs."""
        lazy = NODE_CLASSES[self.graph[node_id]["class_type"]].lazy
        inputs = self.graph[node_id]["inputs"]
        if lazy is None:
            return [above for above in _links(self.graph[node_id]) if above not in self._results]
        missing: list[str] = []
        while not missing:
            known = self._inputs(node_id)
            wanted = [name for name in lazy(known) if name not in known]
            if not wanted:
                return []
            missing = [inputs[name][0] for name in wanted]
        return missing

    def _inputs(self, node_id: str) -> dict[str, Any]:
        """The values of a node's inputs, as far as what is linked to them has run."""
        node = self.graph[node_id]
        known = NODE_CLASSES[node["class_type"]]
        required, optional = known.inputs_for(node["inputs"])
        specs = {**required, **optional}
        values = {name: spec.options["default"] for name, spec in specs.items() if "default" in spec.options and name not in node["inputs"]}
        for name, value in node["inputs"].items():
            if name not in specs and not known.takes_anything:
                continue
            if not _is_link(value):
                values[name] = value
            elif value[0] in self._results:
                values[name] = self._results[value[0]].outputs[value[1]]
        return values

    # Messages

    def _send(self, kind: str, data: dict[str, Any], *, to_all: bool = False) -> None:
        """Events go to the prompt's client; without one only `to_all` events are sent, to everybody."""
        if self._client_id is not None or to_all:
            self._process.messenger.send(kind, data, self._client_id)

    def _record(self, kind: str, data: dict[str, Any], *, to_all: bool = False) -> None:
        data = {**data, "prompt_id": self.prompt_id, "timestamp": round(time.time() * 1000)}
        self._messages.append([kind, data])
        self._send(kind, data, to_all=to_all)

    def _show_state(self, node_id: str, value: float, limit: float, state: str) -> None:
        self._states[node_id] = {
            "value": value, "max": limit, "state": state, "node_id": node_id, "prompt_id": self.prompt_id,
            "display_node_id": node_id, "parent_node_id": None, "real_node_id": node_id,
        }  # fmt: skip
        self._process.messenger.send("progress_state", {"prompt_id": self.prompt_id, "nodes": self._states}, self._client_id)

    def _progress(self, value: int, limit: int) -> None:
        self._show_state(self._node, value, limit, "running")
        data = {"value": value, "max": limit, "prompt_id": self.prompt_id, "node": self._node}
        self._process.messenger.send("progress", data, self._client_id)

    def _preview(self, picture: NDArray[np.uint8], share: float) -> None:
        messenger = self._process.messenger
        if self._process.pace.previews and messenger.is_listening(self._client_id):
            messenger.send_preview(_half_denoised(picture, share), self._about_node(), self._client_id)

    def _about_node(self) -> dict[str, Any]:
        return {
            "node_id": self._node, "prompt_id": self.prompt_id, "display_node_id": self._node,
            "parent_node_id": None, "real_node_id": self._node,
        }  # fmt: skip

    def _where(self) -> dict[str, Any]:
        return {"node_id": self._node, "node_type": self.graph[self._node]["class_type"], "executed": list(self._executed)}

    def _describe(self, error: Exception, order: list[str]) -> dict[str, Any]:
        kind = error.kind if isinstance(error, NodeFailedError) else _full_name(error)
        try:
            inputs = {name: [_shown(value)] for name, value in self._inputs(self._node).items()}
        except (KeyError, IndexError):
            inputs = {}
        return {
            **self._where(), "exception_message": f"{error}\n", "exception_type": kind, "traceback": [],
            "current_inputs": inputs, "current_outputs": list(order),
        }  # fmt: skip


def _meta(node_id: str, result: NodeResult) -> dict[str, Any]:
    """What the history tells of an output; beside ComfyUI's own keys, the passes of samplers that made each picture."""
    meta = {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}
    return {**meta, "sampled": result.passes} if any(result.passes) else meta


def _full_name(error: Exception) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _shown(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else f"<{type(value).__name__}>"


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def _links(node: dict[str, Any]) -> list[str]:
    return [value[0] for value in node["inputs"].values() if _is_link(value)]


def _reachable(graph: dict[str, Any], outputs: list[str]) -> list[str]:
    """Every node that the outputs need, each after what it needs. The graph was validated: there is no loop."""
    order: list[str] = []
    stack = [(output, False) for output in reversed(outputs)]
    seen: set[str] = set()
    while stack:
        node_id, is_ready = stack.pop()
        if is_ready:
            order.append(node_id)
        elif node_id not in seen and node_id in graph:
            seen.add(node_id)
            stack.append((node_id, True))
            stack += [(above, False) for above in reversed(_links(graph[node_id])) if above not in seen]
    return order


def _signature(graph: dict[str, Any], node_id: str, known: dict[str, str]) -> str:
    """What a node's result depends on: its class and inputs, and those of everything above it; never node ids or titles."""
    if node_id not in known:
        node = graph[node_id]
        inputs = {
            name: [_signature(graph, value[0], known), value[1]] if _is_link(value) and value[0] in graph else value
            for name, value in node["inputs"].items()
        }
        text = json.dumps([node["class_type"], inputs], sort_keys=True, default=str)
        known[node_id] = hashlib.sha256(text.encode()).hexdigest()
    return known[node_id]


def _half_denoised(picture: NDArray[np.uint8], share: float) -> bytes:
    """A small preview in which noise still covers `1 - share` of the picture."""
    import cv2
    import numpy as np

    height, width = picture.shape[:2]
    scale = PREVIEW_SIDE / max(height, width)
    small = np.asarray(cv2.resize(picture, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA))
    noise = np.random.default_rng(round(share * 1000)).integers(0, 256, small.shape)
    return encode_preview(np.asarray(small * share + noise * (1 - share), np.uint8))
