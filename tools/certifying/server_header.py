"""What a ComfyUI server tells of a LoRA that lies there: the metadata in its header, never its weights."""

from __future__ import annotations

from collections.abc import Callable

from tools.backends.registry import open_backends
from tools.backends.server_list import list_servers
from tools.production.lora_file import LoraFile, read_served_lora


def ask_server(url: str, *, token_env: str | None = None, insecure_token: bool = False) -> Callable[[str], LoraFile | None]:
    """A function from a LoRA's name to what the server's file of that name says of its training; None where it says nothing of ours.

    `token_env`: the variable that holds the server's token. Raises InputError for an address or a token that is none; the function raises
    UnavailableError where the server is not there.
    """
    entries = list_servers((url,), token_env=token_env, insecure_token=insecure_token)

    def ask(name: str) -> LoraFile | None:
        with open_backends(entries) as (server,):
            metadata = server.lora_metadata(name)
        return read_served_lora(name, metadata) if metadata is not None else None

    return ask
