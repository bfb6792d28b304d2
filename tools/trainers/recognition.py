"""Which model families a LoRA or a base model is made for: by the names and widths of its weights, else by its metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.families import families
from tools.families.families import Family
from tools.trainers.architectures import find_architectures, find_widths
from tools.trainers.safetensors_header import SafetensorsHeader

SIZE_IN_NAME = ((re.compile(r"klein.*9b"), 4096), (re.compile(r"klein.*4b"), 3072), (re.compile(r"sd_?3\.?5.*medium"), 1536))
"""What metadata say of the size of a model -> the width of its blocks."""


@dataclass(frozen=True, slots=True)
class MadeFor:
    """What a file is made for. `architectures`: titles, several where it holds weights for several models, none where nothing tells.

    `widths`: of what goes into the blocks that it changes; empty where it does not tell.
    """

    architectures: tuple[str, ...]
    widths: frozenset[int] = frozenset()

    @property
    def is_known(self) -> bool:
        return bool(self.architectures)

    @property
    def families(self) -> tuple[Family, ...]:
        """The rows of the table that it fits; several where variants share an architecture."""
        return tuple(row for row in families.FAMILIES if self.fits(row))

    def fits(self, family: Family) -> bool:
        """Whether it may be used with a model of that family. A width that no family of the architecture has (a shrunken model) tells
        nothing."""
        if self.architectures != (family.made_for,):
            return False
        known = self.widths & {row.width for row in families.FAMILIES if row.made_for == family.made_for}
        return not known or family.width is None or family.width in known

    @property
    def title(self) -> str:
        """In words: `Flux.1`, `Flux.2 klein 4B`, `Z-Image`, `SDXL and Flux.1`."""
        rows = self.families
        return rows[0].title if rows else " and ".join(self.architectures)


def recognise(header: SafetensorsHeader) -> MadeFor:
    """What a file of weights is made for."""
    found = find_architectures(header)
    said = " ".join(header.metadata.values()).lower() if not header.weights else ""
    widths = find_widths(header) or frozenset(width for pattern, width in SIZE_IN_NAME if pattern.search(said[:100_000]))
    return MadeFor(found, widths)


def recognise_metadata(name: str, metadata: Mapping[str, str]) -> MadeFor:
    """The same of a file of which only the metadata are known: it lies on a server."""
    return recognise(SafetensorsHeader(Path(name), 0, 0, dict(metadata), {}))


def titles_of(rows: Iterable[Family]) -> str:
    """The titles of families that are meant together, each once."""
    return " or ".join(dict.fromkeys(row.title for row in rows))
