"""One followed ComfyUI server. HTTP is the truth, the WebSocket only makes it quick."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tools.comfyui.outcomes import ImageRef, Outcome, ServerInfo


class ComfyServer:
    """A ComfyUI that we queue prompts on and follow. Use as a context manager, or `close` it.

    `submit`, `wait`, `cancel` belong to one thread; `download`, `models`, `object_info` may be called from any.
    """

    url: str
    progress: dict[str, tuple[int, int]]
    """Steps done and wanted of our running prompts, by prompt id."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 30,
        silence_seconds: float = 600,
        stalled_seconds: float = 60,
        outage_seconds: float = 120,
    ) -> None:
        raise NotImplementedError

    def connect(self) -> ServerInfo:
        """Reach the server and start to follow it. Raises UnavailableError with what to do."""
        raise NotImplementedError

    def models(self, folder: str) -> list[str]:
        """The model files of a folder (`checkpoints`, `loras`, …); empty where the server knows no such folder."""
        raise NotImplementedError

    def object_info(self, class_type: str) -> dict[str, Any] | None:
        """The declaration of a node class, or None where the server has none of that name."""
        raise NotImplementedError

    def free_memory(self) -> None:
        """Have the server unload its models and forget its cache (after it ran out of memory)."""
        raise NotImplementedError

    def submit(self, prompt_id: str, graph: dict[str, Any], *, workflow_ui: dict[str, Any] | None = None, ask_first: bool = False) -> None:
        """Queue a prompt under our own id, and follow it.

        A reply that is lost on the way is settled by asking the server before posting again. With `ask_first` (resuming
        after a crash) a prompt that the server has already is only followed. Raises RejectedPrompt, UnavailableError.
        """
        raise NotImplementedError

    def wait(self, timeout: float) -> list[Outcome]:
        """The ends of our prompts since the last call, as soon as there is one; empty after `timeout` seconds.

        Raises UnavailableError when the server has been gone for too long, or accepts prompts and does not run them.
        """
        raise NotImplementedError

    def download(self, ref: ImageRef) -> bytes:
        """A picture, complete: its length and its last bytes are checked, and it is fetched again where they are wrong.

        Raises UnavailableError; MissingPicture where the server has it no more.
        """
        raise NotImplementedError

    def cancel(self, prompt_ids: Iterable[str]) -> None:
        """Take these prompts of ours off the queue, then stop the one that runs. Nobody else's is touched."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop following. What is queued stays queued: `cancel` it first if it should not run."""
        raise NotImplementedError
