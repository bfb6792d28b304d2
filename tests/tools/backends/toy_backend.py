"""A back end that is none of ours: it names its prompts itself, is asked for nothing beforehand, and charges by the second and the credit.

As Comfy API v2 does: what a prompt is to us lies beside it as metadata, by which it is found again after a lost answer.
"""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifeos.errors import InputError, UnavailableError
from tools.backends.backend import (
    BackendOptions,
    LostPicture,
    NodeDeclaration,
    Offers,
    PictureRef,
    PromptEnd,
    ServerInfo,
    Tariff,
    Workload,
)


@dataclass
class ToyMachine:
    """What outlives a client: the jobs by the machine's own names, with our name for each as metadata."""

    picture: bytes = b""
    loses_answers: int = 0
    jobs: dict[str, str] = field(default_factory=dict)
    graphs: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0


MACHINES: dict[str, ToyMachine] = {}


class ToyBackend:
    on_outage: Callable[[UnavailableError | None], None]
    on_note: Callable[[str], None]
    outage_seconds = 1.0
    offers = Offers(lists_models=False, lists_nodes=False, shares_memory=False)

    def __init__(self, url: str) -> None:
        self.url = url
        self.on_note = lambda text: None
        self.progress: Mapping[str, tuple[int, int]] = {}
        self._machine = MACHINES[url]
        self._open: dict[str, str] = {}
        self._lock = threading.Lock()

    def connect(self) -> ServerInfo:
        return self.info()

    def close(self) -> None:
        pass

    def info(self) -> ServerInfo:
        return ServerInfo(self.url, "toy 1", "a cloud")

    def workload(self) -> Workload:
        return Workload()

    def models(self, folder: str) -> list[str]:
        raise AssertionError("it lists no models")

    def model_folders(self) -> list[str]:
        raise AssertionError("it lists no models")

    def node(self, class_type: str) -> NodeDeclaration | None:
        raise AssertionError("it lists no nodes")

    def node_classes(self) -> list[str]:
        raise AssertionError("it lists no nodes")

    def depth(self, ahead: int) -> int:
        return 2

    def submit(
        self,
        prompt_id: str,
        graph: dict[str, Any],
        *,
        ask_first: bool = False,
        handle: str | None = None,
    ) -> str:
        known = handle if handle in self._machine.jobs else self._named(prompt_id) if ask_first else None
        if known is None:
            known = self._create(prompt_id, graph)
        self._open[prompt_id] = known
        self._machine.most_at_once = max(self._machine.most_at_once, len(self._open))
        self.on_note("the machine is starting")
        return known

    def _create(self, prompt_id: str, graph: dict[str, Any]) -> str:
        self._machine.graphs.append(graph)
        self._machine.jobs[f"job-{len(self._machine.jobs) + 1}"] = prompt_id
        if self._machine.loses_answers:  # settled by looking for our name among the jobs
            self._machine.loses_answers -= 1
            found = self._named(prompt_id)
            assert found is not None
            return found
        return f"job-{len(self._machine.jobs)}"

    def _named(self, prompt_id: str) -> str | None:
        return next((handle for handle, ours in self._machine.jobs.items() if ours == prompt_id), None)

    def wait(self, timeout: float) -> list[PromptEnd]:
        time.sleep(0.01)
        ended, self._open = self._open, {}
        return [PromptEnd(ours, "done", (PictureRef("x.png", handle=handle),), seconds=2.0, credits=3.0) for ours, handle in ended.items()]

    def cancel(self, prompt_ids: Iterable[str]) -> None:
        for prompt_id in prompt_ids:
            self._open.pop(prompt_id, None)

    def download(self, ref: PictureRef) -> bytes:
        from PIL import Image

        if ref.handle not in self._machine.jobs:
            raise LostPicture(ref.filename, "its results have expired")
        with Image.open(io.BytesIO(self._machine.picture)) as picture:
            marked = picture.convert("RGB")
        marked.putpixel((0, 0), (int(ref.handle.rpartition("-")[2]), 0, 0))  # no two pictures are the same
        buffer = io.BytesIO()
        marked.save(buffer, "PNG")
        return buffer.getvalue()

    def free_memory(self) -> None:
        pass

    def lora_metadata(self, name: str) -> dict[str, str] | None:
        return None

    def model_metadata(self, folder: str, name: str) -> dict[str, str] | None:
        return None

    def upload_model(self, folder: str, file: Path) -> str:
        raise InputError(self.url, "takes no model files")

    def upload_picture(self, name: str, data: bytes) -> str:
        raise InputError(self.url, "takes no pictures")

    def tariff(self, usd_per_hour: float) -> Tariff:
        return Tariff(usd_per_work_second=0.01, usd_per_credit=0.002)


@contextlib.contextmanager
def open_backend(url: str, options: BackendOptions) -> Iterator[ToyBackend]:
    yield ToyBackend(url)
