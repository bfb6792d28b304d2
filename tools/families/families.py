"""The table of model families, and how a row is found.

The rows stand in `stable_diffusion.py`, `flux_rows.py` and `language_rows.py`, what a row holds in `family.py`. A new family is a row and
its text-to-image workflow in API format beside it. Standard library only: the guardrails read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from lifeos.errors import InputError, did_you_mean
from tools.families import flux_rows, language_rows, stable_diffusion
from tools.families.family import PROOFS, Family, FamilyFile, ResolutionRule, TrainedBy
from tools.families.stable_diffusion import SDXL

__all__ = [
    "DEFAULT_FAMILY",
    "FAMILIES",
    "PROOFS",
    "SDXL",
    "Family",
    "FamilyFile",
    "ResolutionRule",
    "TrainedBy",
    "find_family",
    "settle",
]

T = TypeVar("T")

NAMES_OF_FILES = ("checkpoint", "components")
"""What `production.families.ID` of the policy holds besides settings of a picture."""

FAMILIES: tuple[Family, ...] = (*stable_diffusion.ROWS, *flux_rows.ROWS, *language_rows.ROWS)
DEFAULT_FAMILY = SDXL.id
"""The family that is meant where none is named. The policy's values (`production.steps`, `dataset.clip_tokens` …) are this family's."""


def find_family(family_id: str | None = None) -> Family:
    """The row of an id; of none, the default's. Raises InputError for an id that is not in the table."""
    wanted = DEFAULT_FAMILY if family_id is None else family_id
    for row in FAMILIES:
        if row.id == wanted:
            return row
    raise InputError(f"model family {wanted}", "is not known", did_you_mean(wanted, family_ids()))


def family_ids() -> tuple[str, ...]:
    return tuple(row.id for row in FAMILIES)


def family_help() -> str:
    """What `--family` is for, for its help."""
    told = f"as the header of --lora or the name of --checkpoint tells, else {DEFAULT_FAMILY}, built-in"
    return f"model family: its built-in workflow and settings are used without --workflow (default: {told})"


def family_of_script(trainer: str, script: str, arguments: Sequence[str] = ()) -> Family | None:
    """The family that a trainer's script trains; None for a script of no family in the table. Where it trains several, the one whose own
    name and options are among the arguments most completely."""
    found = [(row, each) for row in FAMILIES for each in row.trained_by if (each.trainer, each.script) == (trainer, script)]

    def lacking(pair: tuple[Family, TrainedBy]) -> int:
        return sum(option not in arguments for option in filter(None, (pair[1].name, *pair[1].options)))

    return min(found, key=lacking)[0] if found else None


def settle(family: Family, policy_value: T | None, row_value: T) -> T:
    """The policy's value where the policy speaks of that family, else the row's."""
    return row_value if policy_value is None or family.id != DEFAULT_FAMILY else policy_value


def picture_settings(family: Family, policy: Mapping[str, Any]) -> dict[str, Any]:
    """What a picture of that family is made with where nobody says otherwise. Raises InputError for what the family has no place for."""
    own = policy_of(family, policy)
    settings = {name: settle(family, policy["production"].get(name), value) for name, value in family.settings.items()}
    for name in own:
        if name not in (*family.settings, *NAMES_OF_FILES):
            raise InputError(f"production.families.{family.id}.{name}", f"{family.title} has no place for it", "leave it out of the policy")
    return settings | {name: value for name, value in own.items() if name not in NAMES_OF_FILES}


def policy_of(family: Family, policy: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the policy says of that family alone. Raises InputError for a family there that is not in the table."""
    rows: Mapping[str, Mapping[str, Any]] = policy["production"].get("families", {})
    for name in rows:
        if name not in family_ids():
            raise InputError(f"production.families.{name}", "is not a model family", did_you_mean(name, family_ids()))
    return rows.get(family.id, {})
