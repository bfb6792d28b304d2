"""How far the item of a batch came, and where its prompts are: on one server, or at the end of a batch on two."""

from __future__ import annotations

from dataclasses import dataclass, field

from tools.backends.dispatch import SentPrompt


@dataclass(slots=True)
class ItemState:
    """How far an item came. `files` are the names of its pictures once they were downloaded."""

    prompt_id: str | None = None
    server: str | None = None
    handle: str | None = None
    """The server's own name for the prompt, where it does not take ours."""
    files: tuple[str, ...] = ()
    seconds: float | None = None
    failure: str | None = None
    nodes: dict[str, str] = field(default_factory=dict)
    """The ids of the nodes that saved them, as far as they are known."""
    charged: float = 0.0
    """Dollars that were paid for it alone."""
    lost: tuple[str, ...] = ()
    """Those of its pictures that are gone or damaged: the item is made again."""
    beside: SentPrompt | None = None
    """Where another server makes the same, or may still make it."""

    @property
    def is_made(self) -> bool:
        """Whether all of its pictures are there, as far as the journal knows."""
        return bool(self.files) and not self.lost

    @property
    def sent(self) -> tuple[SentPrompt, ...]:
        """The prompts that may be on a server."""
        first = (SentPrompt(self.prompt_id, self.server, self.handle),) if self.prompt_id and self.server else ()
        return (*first, self.beside) if self.beside is not None else first

    def submitted(self, prompt_id: str, server: str, *, is_second: bool = False) -> None:
        """A prompt is about to be posted: a second one beside the first, or one in the place of the first."""
        self.failure = None
        if prompt_id in {each.prompt_id for each in self.sent}:  # taken over from an earlier run
            return
        if is_second:
            self.beside = SentPrompt(prompt_id, server)
        else:
            self.prompt_id, self.server, self.handle = prompt_id, server, None

    def accepted(self, prompt_id: str, handle: str | None) -> None:
        """A server has a name of its own for a prompt."""
        if self.prompt_id == prompt_id:
            self.handle = handle
        elif self.beside is not None and self.beside.prompt_id == prompt_id:
            self.beside = SentPrompt(prompt_id, self.beside.server, handle)

    def dropped(self, prompt_id: str) -> None:
        """One of two is not wanted any more."""
        if self.beside is None:
            return
        if self.prompt_id == prompt_id:
            self.prompt_id, self.server, self.handle = self.beside.prompt_id, self.beside.server, self.beside.handle
            self.beside = None
        elif self.beside.prompt_id == prompt_id:
            self.beside = None

    def answered(self, prompt_id: str | None, server: str | None) -> None:
        """The answer of one prompt was taken; the other may still be under way."""
        if self.beside is not None and self.beside.prompt_id == prompt_id:
            first, *_ = self.sent
            self.prompt_id, self.server, self.handle = prompt_id, self.beside.server, self.beside.handle
            self.beside = first
        self.server = server or self.server

    def forget_prompts(self) -> None:
        """They are somebody else's."""
        self.prompt_id = self.server = self.handle = self.beside = None


@dataclass(slots=True)
class MadeTwice:
    """Pictures that two servers worked on, of which one worked for nothing: seconds of that one, and dollars charged for it."""

    pictures: int = 0
    seconds: float = 0.0
    usd: float = 0.0

    def add(self, seconds: float | None, usd: float | None) -> None:
        self.pictures += 1
        self.seconds += seconds or 0.0
        self.usd += usd or 0.0
