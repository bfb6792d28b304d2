"""Workflows in API format: the built-in one or a user's, with a run's settings placed into the right nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.comfyui.client import ComfyServer


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run wants of a picture. None leaves the workflow's own value."""

    positive: str | None = None
    negative: str | None = None
    seed: int | None = None
    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    checkpoint: str | None = None
    lora: str | None = None
    lora_strength: float | None = None
    filename_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class NodeOverrides:
    """Node ids and input names named by hand: they win over what following the graph finds."""

    positive_node: str | None = None
    positive_key: str | None = None
    negative_node: str | None = None
    negative_key: str | None = None
    sampler_node: str | None = None
    seed_key: str | None = None
    steps_key: str | None = None


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model file that a workflow names: its folder on the server, its name there, and the node that loads it."""

    folder: str
    name: str
    node: str


class Workflow:
    """A graph in API format. `name` is the file it came from, or `built-in`."""

    name: str
    graph: dict[str, Any]

    @classmethod
    def load(cls, path: Path, overrides: NodeOverrides | None = None) -> Workflow:
        """A workflow file. Raises InputError for one in UI format, without a sampler, with a loop, with a dangling link."""
        raise NotImplementedError

    @classmethod
    def built_in(cls) -> Workflow:
        """SDXL text to image with one LoRA."""
        raise NotImplementedError

    def place(self, settings: Settings) -> dict[str, Any]:
        """A new graph with every setting in its nodes. Raises InputError naming what could not be placed, and why."""
        raise NotImplementedError


def find_models(graph: dict[str, Any]) -> list[ModelUse]:
    """Every model file that a graph loads."""
    raise NotImplementedError


def check_models(server: ComfyServer, graph: dict[str, Any]) -> None:
    """Raises InputError that names every model file and node class of the graph which the server lacks, with the nearest that it has."""
    raise NotImplementedError
