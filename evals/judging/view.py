"""What the measure of a gate sees of a picture while it is assessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evals.faces.subject import Sighting
    from evals.judging.references import ReferenceSet
    from lifeos.images import Picture


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One picture with all that was found in it, and what stands around it.

    `sighting` is None where no face was found. `folders` are the folders that the command line or policy names for measures
    (a training set, people who must not be shown), by name. What a measure derives from one of them it keeps in `memory`, which
    lives as long as the assessor.
    """

    picture: Picture
    sighting: Sighting | None
    references: ReferenceSet
    policy: Mapping[str, Any]
    folders: Mapping[str, Path]
    memory: dict[str, Any]
