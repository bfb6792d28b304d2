"""One pretended process of the embedded server, and what its routes know of the server that outlives it."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from tools.stand_in.dialects import Dialect
from tools.stand_in.execution import Process
from tools.stand_in.faults import FaultInjector, Faults
from tools.stand_in.picture_store import PictureStore
from tools.stand_in.prompt_queue import PromptQueue


@dataclass(slots=True)
class Life:
    """Everything that a restart loses."""

    process: Process
    queue: PromptQueue
    listener: socket.socket
    runner: web.AppRunner | None = None
    forget_cache: threading.Event = field(default_factory=threading.Event)


class Surroundings(Protocol):
    """What a restart leaves: the part of the server that the routes use."""

    notice: str
    dialect: Dialect
    faults: Faults
    injector: FaultInjector
    store: PictureStore

    def count(self, what: str) -> None: ...
    def list_models(self, folder: str) -> list[str]: ...
    def model_folders(self) -> list[str]: ...
