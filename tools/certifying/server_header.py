"""What a ComfyUI server tells of a LoRA that lies there: the metadata in its header, never its weights."""

from __future__ import annotations

from collections.abc import Callable

from tools.backends.comfyui_routes import ServerApi
from tools.trainers.header_dialects import all_dialects


def ask_server(url: str) -> Callable[[str], dict[str, str] | None]:
    """A function from a LoRA's name to what the server's file of that name says of its training; None where it says nothing of ours.

    It raises UnavailableError where the server is not there.
    """

    def ask(name: str) -> dict[str, str] | None:
        with ServerApi(url) as server:
            metadata = server.lora_metadata(name)
        if metadata is None:
            return None
        run_id = next((found for row in all_dialects() if (found := row.dialect.read_run_id(metadata)) is not None), None)
        if run_id is None:
            return None
        told = next((row.dialect.read_parameters(metadata) for row in all_dialects() if row.dialect.recognises(metadata)), {})
        kept = {key: value for key in ("dataset_id", "dataset_manifest_hash") if isinstance(value := told.get(key), str)}
        return {"run_id": run_id, **kept}

    return ask
