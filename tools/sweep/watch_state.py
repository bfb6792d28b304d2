"""What a sweep over the checkpoints of a training has begun and finished: `sweep.json` in its folder, written before it is relied on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lifeos import files, foreign
from lifeos.counting import verb
from lifeos.errors import InputError
from lifeos.picture_names import safe_config
from tools.sweep.design import Config
from tools.sweep.running import SCHEMA, SWEEP_FILE

KIND = "checkpoints"
DELETED = "deleted"
"""How a checkpoint ended that was gone before it was judged."""
FIX = "repeat its command to continue it, or choose another --output-dir"


@dataclass(frozen=True, slots=True)
class WatchDesign:
    """What is asked of every checkpoint of a folder. `cfg`, `sampler`: None leaves the graph's, or the policy's."""

    run_id: str
    folder: str
    strengths: tuple[float, ...]
    prompts: tuple[str, ...]
    seeds: int
    cfg: float | None = None
    sampler: str | None = None

    @property
    def wanted(self) -> int:
        """Pictures of each checkpoint at each strength."""
        return len(self.prompts) * self.seeds


@dataclass(slots=True)
class WatchedCheckpoint:
    """One checkpoint. `served_as`: its name on the servers, once it is there; `copies`: files of ours that are to be taken away; `ended`:
    how its pictures ended (`complete`, `incomplete`, `deleted`), None until then."""

    file: str
    step: int
    sha256: str
    served_as: str | None = None
    copies: list[str] = field(default_factory=list)
    ended: str | None = None

    @property
    def folder(self) -> str:
        """The folder of its pictures in the sweep's."""
        return f"step_{self.step:08d}"

    def configs(self, design: WatchDesign) -> tuple[Config, ...]:
        """Its configurations, one for each strength."""
        return tuple(
            Config(safe_config(f"step{self.step}_str{strength:.2f}"), self.served_as, strength, design.cfg, design.sampler)
            for strength in design.strengths
        )


@dataclass(slots=True)
class WatchState:
    """The document. `training_run`: whose checkpoints are judged, once that is known. `copying_folder`: the training pictures that copying
    is measured against. `references`: the folder in use."""

    design: WatchDesign
    base_seed: int
    training_run: str | None = None
    copying_folder: str | None = None
    references: str | None = None
    checkpoints: list[WatchedCheckpoint] = field(default_factory=list)
    recorded: str | None = None
    stopped: str | None = None
    """Why the training was asked to stop, if it was."""
    kind: str = KIND
    schema: int = SCHEMA

    def write(self, root: Path) -> None:
        files.write_json(root / SWEEP_FILE, {**asdict(self), "run_id": self.design.run_id})

    def find(self, file: str) -> WatchedCheckpoint | None:
        return next((each for each in self.checkpoints if each.file == file), None)

    @property
    def judged(self) -> list[WatchedCheckpoint]:
        return sorted((each for each in self.checkpoints if each.ended not in (None, DELETED)), key=lambda each: each.step)


def read_state(root: Path) -> WatchState | None:
    """What was begun in a folder, None where nothing was. Raises InputError for a sweep of another kind."""
    path = root / SWEEP_FILE
    if not path.exists():
        return None
    document: dict[str, Any] = foreign.read_file(path, dict, fix=FIX)
    if document.get("kind") != KIND:
        raise InputError(root, "holds a sweep that was not made with --checkpoints", FIX)
    state: WatchState = foreign.convert(document, WatchState, path, fix=FIX)
    return state


def check_same_design(root: Path, begun: WatchState, wanted: WatchDesign) -> None:
    """Raises InputError for a command that asks for another sweep than the one that was begun."""
    was, now = asdict(begun.design), asdict(wanted)
    if differing := [name for name in now if was[name] != now[name]]:
        raise InputError(root, f"holds another sweep: {', '.join(differing)} {verb(len(differing), 'differs', 'differ')}", FIX)
