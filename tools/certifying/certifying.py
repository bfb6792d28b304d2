"""A picture's certificate: every link from the file back to the data, put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifeos import times
from lifeos.project import PROJECT_ROOT, project_version
from tools.certifying.batch_links import batch_link, judging_links, original_link, plan_links
from tools.certifying.chain import Certificate, ChainLink
from tools.certifying.picture_search import UNKNOWN, SoughtPicture, copy_link, find_picture, mark_link, register_link
from tools.certifying.training_links import TrainingPlaces, training_links
from tools.publishing.register import Register


@dataclass(frozen=True, slots=True)
class CertifyingPlaces:
    """Where to look: the register, a batch directory (None: the one that the register names, else the one around the picture), and what
    stands behind the LoRA. `policy` is today's, for what an older batch leaves out."""

    register: Register
    policy: Mapping[str, Any]
    batch: Path | None = None
    project_root: Path = PROJECT_ROOT
    training: TrainingPlaces = field(default_factory=TrainingPlaces)


def certify(picture: Path, places: CertifyingPlaces, now: str | None = None) -> Certificate:
    """Follow a picture as far as it leads. Raises ImageError for what is no picture, and writes nothing."""
    found = find_picture(picture, places.register, places.batch, places.project_root)
    links = tuple(_links(found, places))
    return Certificate(
        picture.name, found.sha256, found.how != UNKNOWN, links, now or times.stamp(), f"LifeOS Production {project_version()}"
    )


def _links(found: SoughtPicture, places: CertifyingPlaces) -> Iterator[ChainLink]:
    yield copy_link(found)
    mark = mark_link(found)
    if mark is not None:
        yield mark
    if found.how == UNKNOWN:
        return
    yield register_link(found)
    yield batch_link(found)
    evidence = found.evidence
    if evidence is None or evidence.plan is None:
        return
    name = evidence.name_of(found.original) if found.original is not None else None
    yield original_link(found, evidence, name)
    if name is None:
        return
    yield from plan_links(evidence, name)
    yield from judging_links(found, evidence, name, places.policy)
    number = evidence.item_of(name)
    if number is not None and (evidence.plan.generates or number <= len(evidence.plan.images)):
        yield from training_links(evidence.plan, evidence.plan.item(number), places.training)
