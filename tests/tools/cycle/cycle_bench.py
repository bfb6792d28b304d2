"""A project of small steps that note that they ran, for the tests of a cycle and for the programs that they start and stop.

Nothing of pytest stands here: forty programs import it, each in a Python of its own.
"""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from tools.cost.meter import Meter
from tools.cycle import cycle_record as kept
from tools.cycle.cycle import Cycle, CycleLimits, choose_steps
from tools.cycle.steps import STEP_NAMES, CycleSettings, CycleStep

NO_LIMITS = CycleLimits(0, 0, Decimal(0))


class CycleBench:
    """A project of steps that note their name in `ran`, and do what the test tells them."""

    def __init__(self, root: Path, **settings) -> None:
        self.root = root
        self.settings = CycleSettings(root=root, agent_command="agent", **settings)
        self.meter = Meter(root / "cost.jsonl", root / "state.json", warn=lambda text: None)
        self.shown, self.said = io.BytesIO(), []
        self.programs = dict.fromkeys(STEP_NAMES, "")
        places = f"Path({str(root / 'cost.jsonl')!r}), Path({str(root / 'state.json')!r})"
        imports = "from decimal import Decimal; from pathlib import Path; from tools.cost.meter import Meter"
        self.tracker = f"{imports}; m = Meter({places})\n"
        self.programs["cost_start"] = self.tracker + "m.start('agent', 'RTX 4090', Decimal('0.60'))"
        self.programs["cost_stop"] = self.tracker + "m.stop(dict(zip(sys.argv[1::2], sys.argv[2::2])).get('--session'))"

    def step(self, name: str) -> CycleStep:
        real = next(step for step in choose_steps(None, None) if step.name == name)
        program = f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[3])!r}); open('ran', 'a').write('{name} ')\n"

        def commands(settings: CycleSettings) -> list[list[str]]:
            without_packages = () if self.tracker in self.programs[name] else ("-S",)  # which starts in half the time
            return [[sys.executable, *without_packages, "-c", program + self.programs[name]]]

        return CycleStep(name, real.title, "", commands, real.skip, limit=real.limit, repeated=real.repeated)

    def run(self, *names: str, limits: CycleLimits = NO_LIMITS, fresh: bool = False) -> kept.CycleRecord:
        steps = tuple(self.step(name) for name in names)
        cycle = Cycle(self.settings, limits, self.meter, steps, self.shown, self.said.append)
        return cycle.run(lambda: datetime.now(UTC), fresh=fresh)[0]

    @property
    def ran(self) -> list[str]:
        path = self.root / "ran"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return names

    @property
    def rows(self) -> list[dict]:
        log = self.root / "cost.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


ALL = STEP_NAMES
GUARDRAILS = ("preflight", "freshness", "context_budget", "known_failures")
METER = ("cost_start", "cost_stop")


def full_bench(root: Path, **settings) -> CycleBench:
    """A bench whose settings leave no step out."""
    given = dict.fromkeys(("generated_dir", "reference_dir", "training_dataset_dir", "training_output_dir"), root)
    return CycleBench(root, run_production=True, **given, **settings)
