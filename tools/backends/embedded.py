"""The back end `embedded`: ComfyUI's client on a server of our own, which runs in this process while it is open."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tools.backends import comfyui
from tools.backends.backend import Backend, BackendOptions

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer


class EmbeddedBackend(comfyui.ComfyServer):
    """A client that can also hand its server a model: of a demo's pictures only the name counts."""

    def lend(self, server: EmbeddedServer) -> None:
        self._server = server
        self.offers = replace(self.offers, takes_models=True)

    def upload_model(self, folder: str, file: Path) -> str:
        if file.name not in self._server.list_models(folder):
            self._server.add_model(folder, file.name)
        return file.name


@contextlib.contextmanager
def open_backend(url: str, options: BackendOptions) -> Iterator[Backend]:
    """A new embedded server and its client, not yet connected. Only here does anything import the stand-in."""
    from tools.stand_in import start_embedded_server

    with (
        start_embedded_server(seconds_per_picture=options.seconds_per_picture) as server,
        EmbeddedBackend.from_options(server.url, replace(options, credential=None)) as backend,
    ):
        backend.lend(server)
        yield backend
