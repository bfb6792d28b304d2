"""The embedded server itself: its threads, what lives for one pretended process, and what outlives a restart."""

from __future__ import annotations

import asyncio
import collections
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import web

from lifeos.errors import InputError, UnavailableError
from tools.families.families import DEFAULT_FAMILY, FAMILIES
from tools.stand_in.dialects import DIALECTS
from tools.stand_in.execution import Pace, Process, ProcessEndedError, PromptRun
from tools.stand_in.faults import FaultInjector, Faults
from tools.stand_in.life import Life
from tools.stand_in.messages import Messenger
from tools.stand_in.notice import NOTICE
from tools.stand_in.picture_store import PictureStore
from tools.stand_in.prompt_queue import PromptQueue
from tools.stand_in.routes import build_application

HOST = "127.0.0.1"
CALL_SECONDS = 30.0
WORKER_JOIN_SECONDS = 10.0

MODEL_FOLDERS = [
    "checkpoints", "configs", "loras", "vae", "text_encoders", "diffusion_models", "clip_vision", "style_models", "embeddings",
    "diffusers", "vae_approx", "controlnet", "gligen", "upscale_models", "latent_upscale_models", "custom_nodes", "hypernetworks",
    "photomaker", "classifiers", "model_patches", "audio_encoders",
]  # fmt: skip
DEMO = "embedded_demo_"
"""How the files of the demo are called that are none: no real model is here."""


def _default_models() -> dict[str, list[str]]:
    """A checkpoint, LoRAs, and all that the built-in workflow of any family loads."""
    found: dict[str, list[str]] = {"checkpoints": [f"{DEMO}sdxl.safetensors"], "vae": [f"{DEMO}vae.safetensors"]}
    for family in FAMILIES:
        for each in family.files if family.id != DEFAULT_FAMILY else ():
            found.setdefault(each.folder, []).append(f"{DEMO}{each.file}")
    steps = [f"amiranoor_v3-step{step:04}.safetensors" for step in (500, 1000, 1500, 2000, 2500)]
    found["loras"] = ["amiranoor_v2.safetensors", "amiranoor_v3.safetensors", *steps]
    return {folder: list(dict.fromkeys(names)) for folder, names in found.items()}


DEFAULT_MODELS = _default_models()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Executed:
    """One prompt that ran, with its times on `time.monotonic()`'s clock: what a benchmark of idle time reads."""

    prompt_id: str
    started: float
    ended: float


class EmbeddedServer:
    """A ComfyUI-protocol server on loopback. Start it with `start_embedded_server`; use it as a context manager or `.stop()` it.

    `url` is its address, `faults` its knobs (may be turned while it runs), `executed` the prompts that ran, `counters` how
    often each route was asked and things happened (`accepted`, `lost replies`, `cut sockets`, `restarts`).
    """

    notice = NOTICE

    def __init__(
        self,
        *,
        seconds_per_picture: float,
        seconds_per_model_load: float,
        faults: Faults | None,
        port: int,
        output_dir: Path | None,
        models: Mapping[str, Sequence[str]] | None,
        version: str,
        previews: bool,
    ) -> None:
        if version not in DIALECTS:
            raise InputError("version", f"{version} is not one that the embedded server speaks", f"use one of {', '.join(DIALECTS)}")
        self.faults = faults or Faults()
        self.injector = FaultInjector(self.faults)
        self.dialect = DIALECTS[version]
        self.counters: collections.Counter[str] = collections.Counter()
        self.executed: list[Executed] = []
        self.model_dirs: dict[str, Path] = {}
        """Folders whose files are seen as models too, as those of ComfyUI are; by kind."""
        self._pace = Pace(seconds_per_picture, seconds_per_model_load, previews)
        self._models = {folder: list(names) for folder, names in (models if models is not None else DEFAULT_MODELS).items()}
        self._temporary = None if output_dir else Path(tempfile.mkdtemp(prefix="lifeos-embedded-"))
        self._root = output_dir or self._temporary
        self._port = port
        self._begun = 0
        self._lock = threading.Lock()
        self._life: Life | None = None
        self._worker: threading.Thread | None = None
        self._stopped = False

    # Life cycle

    def start(self) -> None:
        assert self._root is not None
        self.store = PictureStore(self._root.resolve(), NOTICE)
        self._loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop()  # the only kind with remove_reader on every platform
        self._thread = threading.Thread(target=self._run_loop, name="embedded-comfyui", daemon=True)
        self._thread.start()
        try:
            self._call(self._open())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and its threads; a temporary folder goes with it. Calling it twice is harmless."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def kill(self) -> None:
        """End the pretended process at once, as `kill -9` does: connections are cut, queue and history are lost."""
        self._call(self._close())
        worker = self._worker  # also that of a life that a restart has ended already
        if worker is not None and worker is not threading.current_thread():
            worker.join(WORKER_JOIN_SECONDS)

    def revive(self) -> None:
        """Start again after `kill`, on the same port, with the files of before and nothing else."""
        self._call(self._open())

    def restart(self, down_seconds: float = 0.0) -> None:
        """Kill and revive; connections are refused in between for `down_seconds`."""
        self.kill()
        time.sleep(down_seconds)
        self.count("restarts")
        self.revive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # What tests and scripts ask

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    @property
    def output_dir(self) -> Path:
        """Where SaveImage writes."""
        return self.store.root / "output"

    def add_model(self, folder: str, name: str) -> None:
        """A file that appears while the server runs: it is seen at once."""
        self._models.setdefault(folder, []).append(name)

    def list_models(self, folder: str) -> list[str]:
        if folder == "input":
            return self.store.inputs()
        there = self.model_dirs.get(folder)
        found = [path.name for path in there.iterdir() if path.suffix == ".safetensors"] if there is not None else []
        return sorted({*self._models.get(folder, []), *found})

    def model_folders(self) -> list[str]:
        return [*MODEL_FOLDERS, *[folder for folder in self._models if folder not in MODEL_FOLDERS]]

    def count(self, what: str) -> None:
        with self._lock:
            self.counters[what] += 1

    # Inside

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:  # a restart that was under way
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    async def _open(self) -> None:
        try:
            listener = socket.create_server((HOST, self._port))
        except OSError as error:
            why = error.strerror or str(error)
            raise UnavailableError(
                f"{HOST}:{self._port}", f"the embedded server cannot listen there: {why}", "choose another port"
            ) from None
        self._port = listener.getsockname()[1]
        messenger = Messenger(self._loop, self.injector, self.dialect.features, lambda: self.count("cut sockets"))
        queue = PromptQueue(lambda: messenger.send("status", {"status": {"exec_info": {"queue_remaining": queue.remaining()}}}))
        process = Process(messenger, self.store, self.faults, self._pace, self.dialect, self._restart_soon)
        life = self._life = Life(process, queue, listener)
        life.runner = web.AppRunner(build_application(self, life), access_log=None, shutdown_timeout=0.1)
        await life.runner.setup()
        await web.SockSite(life.runner, listener).start()
        self._worker = threading.Thread(target=self._work, args=(life,), name="embedded-comfyui-worker", daemon=True)
        self._worker.start()

    async def _close(self) -> None:
        life, self._life = self._life, None
        if life is None:
            return
        life.process.ended.set()
        life.process.wake.set()
        life.queue.close()
        assert life.runner is not None
        # asyncio forgets a connection that it was about to accept when the listener closes, and its client would wait for ever
        self._loop.remove_reader(life.listener)
        await asyncio.sleep(0.001)
        for site in list(life.runner.sites):
            await site.stop()
        if life.runner.server is not None:
            for connection in list(life.runner.server.connections):
                if connection.transport is not None:
                    connection.transport.abort()
        life.process.messenger.cut_all()
        await life.process.messenger.close()
        await life.runner.cleanup()

    def _restart_soon(self) -> None:
        asyncio.run_coroutine_threadsafe(self._restart_inside(), self._loop)

    async def _restart_inside(self) -> None:
        await self._close()
        await asyncio.sleep(self.faults.restart_seconds)
        if not self._stopped:
            self.count("restarts")
            await self._open()

    def _work(self, life: Life) -> None:
        """The worker thread: one prompt after the other, until the process ends or a fault kills it."""
        while (taken := life.queue.take()) is not None:
            task, item = taken
            with self._lock:
                self._begun += 1
                ordinal = self._begun
            if self.faults.dead_worker_at_prompt == ordinal:
                return
            if life.forget_cache.is_set():
                life.forget_cache.clear()
                life.process.cache.clear()
            started = time.monotonic()
            try:
                ending = PromptRun(life.process, item, ordinal).execute()
            except ProcessEndedError:
                return
            self.executed.append(Executed(item[1], started, time.monotonic()))
            life.queue.finish(task, ending.outputs, ending.meta, ending.status)
            client_id = item[3].get("client_id")
            if client_id is not None:
                life.process.messenger.send("executing", {"node": None, "prompt_id": item[1]}, client_id)
