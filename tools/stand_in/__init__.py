"""An embedded server that speaks ComfyUI's protocol on a loopback port and renders demo portraits: for demo, tests, dry runs.

`start_embedded_server()` gives a running server (a context manager); `render_references(folder)` writes reference portraits
of the person whom it renders. Nothing heavy is imported before one of them is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tools.stand_in.dialects import NEWEST
from tools.stand_in.faults import Faults
from tools.stand_in.notice import NOTICE

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer

__all__ = ["NOTICE", "Faults", "render_references", "start_embedded_server"]


def start_embedded_server(
    *,
    seconds_per_picture: float = 0.0,
    seconds_per_model_load: float = 0.0,
    faults: Faults | None = None,
    port: int = 0,
    output_dir: Path | None = None,
    models: Mapping[str, Sequence[str]] | None = None,
    version: str = NEWEST,
    previews: bool = True,
) -> EmbeddedServer:
    """Start a server in threads of its own and return when it answers. Use it as a context manager, or call `.stop()`.

    `port` 0 takes a free one. `output_dir` holds `output/`, `input/` and `temp/` (default: a temporary folder, removed by
    `.stop()`). `models` replaces the lists of model names by folder. `version` is one of `dialects.DIALECTS`:
    "0.33.0", "0.8.0" (which cannot cancel by id) or "0.3.64" (without `/api/jobs`). `seconds_per_picture` pretends the GPU's time.
    Raises UnavailableError if the port is taken.
    """
    from tools.stand_in.server import EmbeddedServer

    server = EmbeddedServer(
        seconds_per_picture=seconds_per_picture,
        seconds_per_model_load=seconds_per_model_load,
        faults=faults,
        port=port,
        output_dir=output_dir,
        models=models,
        version=version,
        previews=previews,
    )
    server.start()
    return server


def render_references(folder: Path, count: int = 6) -> list[Path]:
    """Write `count` reference portraits of the embedded server's person to `folder`: unfiltered, in several poses and lights."""
    from tools.stand_in.sample_references import write_references

    return write_references(folder, count)
