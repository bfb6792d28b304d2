"""What can be asked of a ComfyUI server over HTTP. Nothing is followed, nothing is remembered: safe from any thread."""

from __future__ import annotations

from typing import Any, Self
from urllib.parse import quote

from tools.backends.backend import NodeDeclaration, ServerInfo, Workload
from tools.backends.comfyui_answers import HistoryEntry, Queue, Stats, read_server_info
from tools.backends.credentials import Credential, address_of
from tools.backends.transport import LARGE_ANSWER, Transport
from tools.workflows.declarations import DeclaredNode, read_declaration

OUR_CLIENTS = "lifeos-"
"""What the client ids of our programs begin with: the queue tells them, so that a prompt of ours is known after its program was killed."""


class ServerApi:
    """Questions to one server. Use as a context manager, or `close` it."""

    def __init__(self, url: str, *, timeout_seconds: float = 30, credential: Credential | None = None) -> None:
        self._transport = Transport(address_of(url, credential), timeout_seconds=timeout_seconds)

    @property
    def url(self) -> str:
        """The server's address, without credentials or a trailing slash."""
        return self._transport.address.base

    def info(self) -> ServerInfo:
        """What the server says of itself. Raises UnavailableError where it is not there, or is no ComfyUI."""
        return read_server_info(self.url, self._transport.get_record("/system_stats", Stats))

    def models(self, folder: str) -> list[str]:
        """The model files of a folder (`checkpoints`, `loras`, …); empty where the server knows no such folder."""
        path = f"/models/{quote(folder, safe='')}"
        reply = self._transport.get(path, limit=LARGE_ANSWER)
        names: list[str] = self._transport.record(reply, path, list[str]) if reply.status == 200 else []
        return names

    def lora_metadata(self, name: str) -> dict[str, str] | None:
        """The metadata in the header of a LoRA file, None where there is no such file or none in it. Its weights stay where they are."""
        return self.model_metadata("loras", name)

    def model_metadata(self, folder: str, name: str) -> dict[str, str] | None:
        """The same of a file of any model folder."""
        path = f"/view_metadata/{quote(folder, safe='')}"
        reply = self._transport.get(path, {"filename": name}, limit=LARGE_ANSWER)
        if reply.status in (401, 403):  # a server that lets us not in is none without the file
            raise self._transport.refused(reply.status)
        if reply.status != 200:
            return None
        return {key: value for key, value in self._transport.record(reply, path, dict[str, Any]).items() if isinstance(value, str)}

    def log_text(self) -> str | None:
        """The last lines that the server has logged (ComfyUI keeps some hundreds); None where it does not tell."""
        path = "/internal/logs/raw"
        reply = self._transport.get(path, limit=LARGE_ANSWER)
        if reply.status != 200:
            return None
        entries: Any = self._transport.record(reply, path, dict[str, Any]).get("entries")
        lines = entries if isinstance(entries, list) else []
        return "".join(str(each["m"]) for each in lines if isinstance(each, dict) and "m" in each)

    def model_folders(self) -> list[str]:
        """The folders that `models` knows."""
        names: list[str] = self._transport.get_record("/models", list[str])
        return names

    def node(self, class_type: str) -> NodeDeclaration | None:
        """The declaration of a node class, or None where the server has none of that name."""
        path = f"/object_info/{quote(class_type, safe='')}"
        reply = self._transport.get(path, limit=LARGE_ANSWER)
        if reply.status != 200:
            return None
        found = self._transport.record(reply, path, dict[str, DeclaredNode]).get(class_type)
        return read_declaration(found) if found is not None else None

    def node_classes(self) -> list[str]:
        """The names of all node classes. A large answer: ask only to suggest a name."""
        return sorted(self._transport.get_record("/object_info", dict[str, Any], limit=LARGE_ANSWER))

    def workload(self) -> Workload:
        """The prompt ids that run and that wait, everybody's; those that wait in no particular order."""
        queue = self._transport.get_record("/queue", Queue, limit=LARGE_ANSWER)
        running, waiting = (tuple(item[1] for item in items) for items in (queue.queue_running, queue.queue_pending))
        ours = frozenset(item[1] for item in (*queue.queue_running, *queue.queue_pending) if _is_ours(item))
        return Workload(running, waiting, ours)

    def free_memory(self) -> None:
        """Have the server unload its models and forget its cache (after it ran out of memory)."""
        self._transport.post_safely("/free", {"unload_models": True, "free_memory": True})

    def history(self, prompt_id: str) -> HistoryEntry | None:
        """The history entry of a prompt that has ended; None for one that waits, runs, or is not known."""
        path = f"/history/{quote(prompt_id, safe='')}"
        entry: HistoryEntry | None = self._transport.get_record(path, dict[str, HistoryEntry], limit=LARGE_ANSWER).get(prompt_id)
        return entry

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _is_ours(item: list[Any]) -> bool:
    """Whether an item of the queue, `[number, prompt id, graph, extra data, outputs]`, was queued by a program of ours."""
    extra = item[3] if len(item) > 3 else None
    return isinstance(extra, dict) and str(extra.get("client_id", "")).startswith(OUR_CLIENTS)
