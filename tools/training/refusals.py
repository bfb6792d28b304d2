"""Everything that speaks against a run, found before it costs anything: a dry run and a run ask the same."""

from __future__ import annotations

from dataclasses import dataclass

from lifeos.errors import EXIT_GATE, EXIT_USAGE, InputError, LifeosError
from tools.training.disk_room import check_room
from tools.training.evidence import refuse_overwriting
from tools.training.one_at_a_time import refuse_second
from tools.training.preparation import Preparation


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason, in one line, and the exit code that the run would end with for it. `error`: for what is wrong outside the options."""

    text: str
    exit_code: int
    error: LifeosError | None = None


def find_refusals(preparation: Preparation, *, overwrite: bool, allow_dataset_errors: bool, min_free_gb: float) -> list[Refusal]:
    """The reasons, the first of which decides the exit code."""
    found = [Refusal(f"{item.rule}: {item.text}{_way_round(item.rule)}", EXIT_USAGE) for item in preparation.conflicts]
    found += [_of(error) for error in preparation.missing]
    if preparation.faults and not allow_dataset_errors:
        text = "the dataset has errors and must not be trained on (fix it, or give --allow-dataset-errors)"
        found.append(Refusal(text, EXIT_GATE))
    if preparation.built and preparation.stage is None:
        folder = preparation.settings.train_data_dir
        found.append(_of(InputError(folder, "holds no picture to train on", "give --train-data-dir a folder of pictures")))
    try:
        if preparation.settings.output_dir.exists():
            refuse_second(preparation.settings.output_dir)
            refuse_overwriting(preparation, overwrite)
        if preparation.stage:
            check_room(preparation.stage, min_free_gb)
    except LifeosError as error:
        found.append(_of(error))
    return found


def _of(error: LifeosError) -> Refusal:
    return Refusal(str(error), error.exit_code, error)


def _way_round(rule: str) -> str:
    return f" [to run it all the same: --allow-conflict {rule.lstrip('-')}]"
