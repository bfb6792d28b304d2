"""A server as a command line or a file names it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tools.backends.backend import BackendOptions, Tariff
from tools.backends.credentials import Credential


@dataclass(frozen=True, slots=True)
class ServerEntry:
    """A server as it was named. `tariff`, `most_at_once`: None where nothing was said. `has_loras`: the LoRAs are there already."""

    url: str
    credential: Credential | None = None
    tariff: Tariff | None = None
    most_at_once: int | None = None
    has_loras: bool = False
    place: str = field(default="", compare=False)
    """The file and line that name it; empty for a flag."""

    def options(self, options: BackendOptions) -> BackendOptions:
        """How to open it, where `options` hold for all servers."""
        return replace(options, credential=self.credential, tariff=self.tariff, most_at_once=self.most_at_once)
