"""The back end `embedded`: ComfyUI's client on a server of our own, which runs in this process while it is open."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tools.backends import comfyui
from tools.backends.backend import Backend, BackendOptions


@contextlib.contextmanager
def open_backend(url: str, options: BackendOptions) -> Iterator[Backend]:
    """A new embedded server and its client, not yet connected. Only here does anything import the stand-in."""
    from tools.stand_in import start_embedded_server

    with (
        start_embedded_server(seconds_per_picture=options.seconds_per_picture) as server,
        comfyui.open_backend(server.url, options) as backend,
    ):
        yield backend
