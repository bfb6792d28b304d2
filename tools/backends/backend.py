"""What a back end is: something that makes pictures from graphs, and what everything else of ours knows of it.

A back end is a class that satisfies `Backend`, a function `open_backend(url, options)` in its module that opens one, and a row in
`registry.py`. Dispatcher, planning, health check and budget know only what is here.

The life of a prompt: `submit` under an id of ours → `wait` tells its end once → `download` its pictures. A back end that names prompts
itself (Comfy API v2, RunPod serverless) returns its own name from `submit`; the caller records it and gives it back when it asks
again after a crash. What failed on the way is settled inside `submit`: one call queues one prompt, once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from lifeos.errors import InputError, UnavailableError
from tools.backends.credentials import Credential

MAX_PICTURE_BYTES = 256 << 20
"""Of one picture file: an uncompressed one of 9,000 x 9,000 pixels."""

EndKind = Literal["done", "failed", "interrupted", "lost"]


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """How to open a back end. Each reads what concerns it.

    silence_seconds: how long a running prompt may show no progress. outage_seconds: how long a server may be gone. poll_seconds: how
    often to ask where nothing tells. seconds_per_picture: the pretended time of the embedded server. max_picture_bytes: a picture
    larger than this is not taken. Of one server (`server_list.py`): credential: its token. tariff: what it costs, None: not said.
    most_at_once: prompts that it may hold, None: not limited.
    """

    silence_seconds: float = 600
    outage_seconds: float = 120
    poll_seconds: float = 0.5
    timeout_seconds: float = 30
    seconds_per_picture: float = 0.0
    max_picture_bytes: int = MAX_PICTURE_BYTES
    credential: Credential | None = None
    tariff: Tariff | None = None
    most_at_once: int | None = None


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a back end says of itself. Bytes are those of its first GPU; None where it has none, or does not say.

    `vram_usable` is what a prompt can have: what is free, and what the server's own loaded models hold, which it lets go.
    `notice` is what one that makes no real pictures says of itself: reports repeat it.
    """

    url: str
    version: str
    device: str
    vram_total: int | None = None
    vram_usable: int | None = None
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class Offers:
    """What can be asked of a back end. What it cannot answer is not checked beforehand: it refuses a prompt that it cannot run.

    lists_models, lists_nodes: `models`, `node` and their like know what is there. shares_memory: its GPU memory can be looked at and
    freed. takes_models: `upload_model` works. takes_pictures: `upload_picture` does. separator: what stands between the folders of
    its model names, where it is known without asking.
    """

    lists_models: bool = True
    lists_nodes: bool = True
    shares_memory: bool = True
    takes_models: bool = False
    takes_pictures: bool = False
    separator: str = ""


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a back end costs: by the hour while it is held, by the second of work, by the credit; most cost in one of the three ways."""

    usd_per_hour: float = 0.0
    usd_per_work_second: float = 0.0
    usd_per_credit: float = 0.0

    def of_work(self, seconds: float | None, credits: float | None = None) -> float:
        """Dollars for a prompt, beside what the hour costs."""
        return self.usd_per_work_second * (seconds or 0.0) + self.usd_per_credit * (credits or 0.0)


@dataclass(frozen=True, slots=True)
class Workload:
    """The prompts on a back end, everybody's, by its names for them; those that wait in no particular order.

    `by_lifeos` are those of them that a program of ours queued, this one or another, as far as the back end tells.
    """

    running: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    by_lifeos: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        return len(self.running) + len(self.waiting)


@dataclass(frozen=True, slots=True)
class NodeInput:
    """An input of a node class: its type (`MODEL`, `INT`, `COMBO` …), and what it may be chosen from, None where it is no choice.

    `type` may name several (`FLOAT,INT`), or any (`*`). `low`, `high`: the bounds of a number. `is_seed`: the interface draws it anew
    after each prompt. `is_multiline`: a text box. `is_socket`: it takes links only. `template`: inputs and outputs that share one have
    one type. `parts`: further inputs (`NAME.PART` in a graph), by the choice that brings them, or by `""` where they grow in number.
    """

    type: str
    choices: tuple[str, ...] | None = None
    required: bool = True
    default: Any = None
    low: float | None = None
    high: float | None = None
    is_seed: bool = False
    is_multiline: bool = False
    is_socket: bool = False
    template: str = ""
    parts: Mapping[str, Mapping[str, NodeInput]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeDeclaration:
    """The signature of a node class: inputs by name, and its outputs: types, names, choices (None: no choice) and templates."""

    inputs: Mapping[str, NodeInput]
    outputs: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    output_choices: tuple[tuple[str, ...] | None, ...] = ()
    output_templates: tuple[str, ...] = ()
    is_output: bool = False


@dataclass(frozen=True, slots=True)
class PictureRef:
    """A picture on a server. The names are the server's: data, never a path on this machine.

    `handle` is what else a back end needs to fetch it (an id, an address): its own business.
    """

    filename: str
    subfolder: str = ""
    type: str = "output"
    node: str = ""
    handle: str = ""


@dataclass(frozen=True, slots=True)
class PromptEnd:
    """How one of our prompts ended.

    `lost`: the server has it no more (a restart, someone deleted it, its results expired). `can_heal`: another try may succeed.
    `seconds` is what the server worked on it, by its own clock; `credits` what it charged; None where it does not say.
    `is_set_up`: every other picture of the workflow would fail alike (its saver writes what cannot be read); `fix` says what to do.
    `is_rejection`: the graph was refused only when it was to run; another server may take it. `is_charged`: a lost one was worked on and
    is paid for, so that it is made again once only.
    """

    prompt_id: str
    kind: EndKind
    pictures: tuple[PictureRef, ...] = ()
    node: str = ""
    message: str = ""
    out_of_memory: bool = False
    can_heal: bool = False
    seconds: float | None = None
    credits: float | None = None
    is_set_up: bool = False
    fix: str = ""
    is_rejection: bool = False
    is_charged: bool = False


def check_job(job_id: str, status: str, known: Collection[str]) -> None:
    """Of an answer about a job: that its status is a known one, and its name can stand in an address. Raises ValueError."""
    if status not in known:
        raise ValueError(f"{status[:40]!r} is no status of a job")
    if not job_id or not all(char.isalnum() or char in "-_." for char in job_id):
        raise ValueError("a job without a usable id")


class RejectedPrompt(InputError):
    """The server refused a prompt. `node` is its id (empty: the graph as a whole), `message` what the server said."""

    def __init__(self, url: str, node: str, message: str, fix: str = "") -> None:
        self.node, self.message = node, message
        where = f"{url}: node {node}" if node else url
        super().__init__(where, f"the prompt was rejected: {message}", fix)


class LostPicture(UnavailableError):
    """A picture that cannot be had. `can_heal`: made again, it may be (deleted, expired, never complete); else it would be the same.

    `is_set_up`: so would every other picture of the workflow. `node` is the id of the one that saved it, where it is known.
    """

    def __init__(self, what: object, why: str, fix: str = "", *, can_heal: bool = True, is_set_up: bool = False) -> None:
        self.can_heal, self.is_set_up = can_heal, is_set_up
        self.node = ""
        super().__init__(what, why, fix)


class StalledError(UnavailableError):
    """The server answers, but does not work."""


class BusyError(UnavailableError):
    """The server takes no more prompts for now, by its word for `retry_after` seconds. Nothing was queued: another server may take it."""

    def __init__(self, url: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(url, "its queue is full", "it is asked again")


class Backend(Protocol):
    """A place that makes pictures. `submit`, `wait` and `cancel` are called by one thread, all else by any.

    What is unavailable raises UnavailableError: gone for longer than `outage_seconds`, refusing, or answering what nobody can read.
    """

    on_outage: Callable[[UnavailableError | None], None]
    """Set by the caller: told what is wrong when an outage begins that is waited out, and None when it is over."""
    on_note: Callable[[str], None]
    """Set by the caller: told what a person may want to know, such as that a machine is only starting."""

    @property
    def url(self) -> str:
        """Its address without credentials: what records, reports and messages call it, and what finds it again."""

    @property
    def outage_seconds(self) -> float: ...
    @property
    def offers(self) -> Offers: ...
    @property
    def progress(self) -> Mapping[str, tuple[int, int]]:
        """Steps done and wanted of our running prompts, by prompt id, as far as they are told."""

    def connect(self) -> ServerInfo:
        """Reach it, for the first time or again, and begin to follow it."""

    def close(self) -> None:
        """Stop following. What is queued stays queued: `cancel` it first if it should not run."""

    def info(self) -> ServerInfo: ...
    def workload(self) -> Workload: ...
    def models(self, folder: str) -> list[str]:
        """The model files of a folder (`checkpoints`, `loras`, …); empty where there is no such folder."""

    def model_folders(self) -> list[str]: ...
    def lora_metadata(self, name: str) -> dict[str, str] | None:
        """What the header of a LoRA there says; None where there is no such file, nothing in it, or nothing can be asked."""

    def model_metadata(self, folder: str, name: str) -> dict[str, str] | None:
        """The same of a file of any model folder."""

    def node(self, class_type: str) -> NodeDeclaration | None:
        """The declaration of a node class, None where there is none of that name."""

    def node_classes(self) -> list[str]:
        """The names of all node classes. A large answer: ask only to suggest a name."""

    def depth(self, ahead: int) -> int:
        """How many prompts it should hold at once, where `ahead` are wanted behind the one that runs."""

    def submit(
        self,
        prompt_id: str,
        graph: dict[str, Any],
        *,
        ask_first: bool = False,
        handle: str | None = None,
    ) -> str:
        """Queue a prompt under our id and follow it; returns the back end's name for it (ours, where it takes ours).

        An answer that is lost on the way is settled by asking before anything is queued again; where that is impossible, it is said.
        Raises BusyError after a short wait where the server takes no more for now.
        With `ask_first` (after a crash) a prompt that the server has already, found by our id or by the `handle` that an earlier call
        returned, is only followed. Raises RejectedPrompt, UnavailableError.
        """

    def wait(self, timeout: float) -> list[PromptEnd]:
        """The ends of our prompts since the last call, as soon as there is one; empty after `timeout` seconds."""

    def cancel(self, prompt_ids: Iterable[str], handles: Mapping[str, str] | None = None) -> None:
        """Stop these prompts of ours, and nobody else's. Their ends are not told any more.

        `handles`, by our ids: what `submit` returned for those of an earlier run.
        """

    def download(self, ref: PictureRef) -> bytes:
        """A picture, whole. Raises LostPicture."""

    def free_memory(self) -> None:
        """Have it unload its models after memory ran out; nothing where that is not ours to do."""

    def upload_model(self, folder: str, file: Path) -> str:
        """Put a model file there and return its name. Raises InputError where `offers.takes_models` is false."""

    def upload_picture(self, name: str, data: bytes) -> str:
        """Put a picture where a graph can load it, and return what a loader's input is to say; the same picture twice is no harm.

        Raises RejectedPrompt where it is refused, InputError where `offers.takes_pictures` is false.
        """

    def tariff(self, usd_per_hour: float) -> Tariff:
        """What it costs, where a rented machine costs `usd_per_hour`."""


class ListsNothing:
    """The part of a back end that knows neither models nor nodes."""

    def models(self, folder: str) -> list[str]:
        return []

    def model_folders(self) -> list[str]:
        return []

    def lora_metadata(self, name: str) -> dict[str, str] | None:
        return None

    def model_metadata(self, folder: str, name: str) -> dict[str, str] | None:
        return None

    def node(self, class_type: str) -> NodeDeclaration | None:
        return None

    def node_classes(self) -> list[str]:
        return []


OpenBackend = Callable[[str, BackendOptions], AbstractContextManager[Backend]]
"""`open_backend(url, options)` of a back end's module. Nothing is asked of the server yet: `connect` does that."""
