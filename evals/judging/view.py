"""What a gate's measure sees: of its surroundings before anything is judged, and of each picture while that is assessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evals.faces.face_engine import FaceEngine
    from evals.faces.policy_scale import PolicyScale
    from evals.faces.subject import Sighting
    from evals.judging.references import ReferenceSet
    from evals.likeness.embedding import Embedder, Vector
    from lifeos.images import Picture


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One picture with all that was found in it, and what stands around it.

    `sighting` is None where no face was found. `folders` are the folders that the command line or policy names for measures
    (a training set, people who must not be shown), by name. What a measure derives from one of them it keeps in `memory`, which
    lives as long as the assessor. `embedding` is that of the whole picture (`evals.likeness.embedding`), None where its model is missing.
    """

    picture: Picture
    sighting: Sighting | None
    references: ReferenceSet
    policy: Mapping[str, Any]
    folders: Mapping[str, Path]
    memory: dict[str, Any]
    embedding: Vector | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What stands around all pictures of an assessor, for a gate's `prepare`: what that makes ready it keeps in `memory`, where the measure
    finds it. `scale` turns a cosine of `engine` into the policy's score."""

    engine: FaceEngine
    references: ReferenceSet
    scale: PolicyScale
    policy: Mapping[str, Any]
    folders: Mapping[str, Path]
    memory: dict[str, Any]
    workers: int
    embedder: Embedder | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a gate made ready. `identity` joins its metric in the protocol: scores with another are not comparable. `warnings`: what people
    should read before they trust it; `for_owner` the same where it names files: it is said, and stored nowhere."""

    identity: str = ""
    warnings: tuple[str, ...] = ()
    for_owner: tuple[str, ...] = ()
