"""What can be asked of a ComfyUI server over HTTP. Nothing is followed, nothing is remembered: safe from any thread."""

from __future__ import annotations

from typing import Any, Self
from urllib.parse import quote

from lifeos.errors import UnavailableError
from tools.backends.outcomes import ServerInfo, read_server_info
from tools.backends.transport import Transport, read_address


class ServerApi:
    """Questions to one server. Use as a context manager, or `close` it."""

    def __init__(self, url: str, *, timeout_seconds: float = 30) -> None:
        self._transport = Transport(read_address(url), timeout_seconds=timeout_seconds)

    @property
    def url(self) -> str:
        """The server's address, without credentials or a trailing slash."""
        return self._transport.address.base

    def info(self) -> ServerInfo:
        """What the server says of itself. Raises UnavailableError where it is not there, or is no ComfyUI."""
        stats = self._transport.get_json("/system_stats")
        if not isinstance(stats, dict) or "system" not in stats:
            raise UnavailableError(self.url, "answers, but is not ComfyUI", "check --comfy-url")
        return read_server_info(self.url, stats)

    def models(self, folder: str) -> list[str]:
        """The model files of a folder (`checkpoints`, `loras`, …); empty where the server knows no such folder."""
        reply = self._transport.get(f"/models/{folder}")
        names = reply.json() if reply.status == 200 else []
        return [str(name) for name in names] if isinstance(names, list) else []

    def model_folders(self) -> list[str]:
        """The folders that `models` knows."""
        names = self._transport.get_json("/models")
        return [str(name) for name in names] if isinstance(names, list) else []

    def object_info(self, class_type: str) -> dict[str, Any] | None:
        """The declaration of a node class, or None where the server has none of that name."""
        reply = self._transport.get(f"/object_info/{quote(class_type, safe='')}")
        document = reply.json() if reply.status == 200 else None
        found = document.get(class_type) if isinstance(document, dict) else None
        return found if isinstance(found, dict) else None

    def node_classes(self) -> list[str]:
        """The names of all node classes. A large answer: ask only to suggest a name."""
        document = self._transport.get_json("/object_info")
        return sorted(document) if isinstance(document, dict) else []

    def queue(self) -> tuple[list[str], list[str]]:
        """The prompt ids that run and that wait, everybody's; those that wait in no particular order."""
        document = self._transport.get_json("/queue")
        if not isinstance(document, dict):
            raise UnavailableError(self.url, "answers, but not as ComfyUI does (/queue)", "check --comfy-url")
        running, pending = ([str(item[1]) for item in document.get(key) or []] for key in ("queue_running", "queue_pending"))
        return running, pending

    def free_memory(self) -> None:
        """Have the server unload its models and forget its cache (after it ran out of memory)."""
        self._transport.post_safely("/free", {"unload_models": True, "free_memory": True})

    def history(self, prompt_id: str) -> dict[str, Any] | None:
        """The history entry of a prompt that has ended; None for one that waits, runs, or is not known."""
        document = self._transport.get_json(f"/history/{quote(prompt_id, safe='')}")
        entry = document.get(prompt_id) if isinstance(document, dict) else None
        return entry if isinstance(entry, dict) else None

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
