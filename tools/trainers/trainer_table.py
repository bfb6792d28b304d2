"""Which trainer trains which family, as the families' rows say, and the refusal of a pair that is not among them."""

from __future__ import annotations

from typing import Any

from lifeos.errors import InputError
from tools.families import families
from tools.families.families import Family, TrainedBy
from tools.trainers import trainer as registry
from tools.trainers.components import find_component


def families_of(trainer: str) -> tuple[str, ...]:
    """The ids of the families that a trainer trains."""
    return tuple(row.id for row in families.FAMILIES if any(each.trainer == trainer for each in row.trained_by))


def trainers_of(family: Family) -> list[TrainedBy]:
    """How the trainers that are here train a family, in the order of its row."""
    here = {row.name for row in registry.TRAINERS}
    return [each for each in family.trained_by if each.trainer in here]


def usual_trainer(family: Family) -> str:
    """The trainer of a family where none is named: the first of its row. Raises InputError for a family that nobody trains."""
    for each in trainers_of(family):
        return each.trainer
    trained = ", ".join(row.id for row in families.FAMILIES if trainers_of(row))
    raise InputError(f"family {family.id}", "no trainer here trains it", f"choose another: {trained}")


def training_of(family: Family, trainer: str) -> TrainedBy:
    """How a trainer trains a family. Raises InputError with the trainers that do where it does not."""
    usual_trainer(family)
    does = trainers_of(family)
    for each in does:
        if each.trainer == trainer:
            return each
    others = " or ".join(f"--trainer {each.trainer}" for each in does)
    trains = ", ".join(families_of(trainer)) or "no family of the table"
    raise InputError(f"family {family.id}", f"{trainer} does not train it here", f"use {others}; {trainer} trains {trains}")


def render_table() -> str:
    """The table as Markdown: a row for each family, a column for each trainer, and how far each pair was tried."""
    names = [row.name for row in registry.TRAINERS]
    lines = ["| family | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row in families.FAMILIES:
        cells = []
        for name in names:
            how = next((each for each in trainers_of(row) if each.trainer == name), None)
            cells.append("-" if how is None else f"{how.proof}: `{how.script}`" if how.script else how.proof)
        lines.append(f"| {row.title} (`{row.id}`) | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"- {proof}: {text}." for proof, text in families.PROOFS.items())])


def list_pairs() -> list[dict[str, Any]]:
    """The table as values."""
    return [
        {
            "family": row.id,
            "trainer": each.trainer,
            "script": each.script or None,
            "network_module": each.network_module or None,
            "components": [find_component(name).flag for name in each.components],
            "optional_components": [find_component(name).flag for name in each.optional],
            "without_effect": list(each.without_effect),
            "proof": each.proof,
        }
        for row in families.FAMILIES
        for each in trainers_of(row)
    ]
