"""Make the checkpoint that a sweep chose champion, by the gate of `compare_versions`: against the champion, else against the runner-up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evals.compare_versions import CHAMPION
from evals.comparison import promotion
from evals.comparison.comparing import compare
from evals.comparison.history import find_runs
from evals.comparison.memorisation import check_memorised
from evals.comparison.run_pictures import with_batch_facts, with_folders
from lifeos import times
from tools.production.pipeline import Circumstances
from tools.sweep.checkpoint_watch import WatchView
from tools.sweep.reference_check import find_training_manifest


def promote_chosen(view: WatchView, around: Circumstances, root: Path) -> tuple[str, bool]:
    """Promote the chosen pair. Returns what came of it as a sentence, and whether it is champion now."""
    choice, run_id = view.verdict.choice, view.state.design.run_id
    if choice.chosen is None or choice.runner_up is None or around.history_file is None:
        return "Nothing is promoted: there is no choice among several.", False
    champion_file = root / CHAMPION
    champion = promotion.read_champion(champion_file)
    chosen, other = f"{run_id}_{choice.chosen.config}", f"{run_id}_{choice.runner_up.config}"
    if champion is not None and champion.get("protocol_id") == view.protocol.get("id") and champion["run_id"] != chosen:
        other = str(champion["run_id"])
    found = [
        with_batch_facts(with_folders(item.run, around.history_file), None) for item in find_runs(around.history_file, [other, chosen])
    ]
    comparison = compare(found[:1], found[1:], dict(view.policy))
    memorised = check_memorised(found[1:], None, find_training_manifest(Path(view.state.design.folder), None), view.policy, engine={})
    gate = promotion.check_promotion(comparison, champion, memorised)
    if gate.passed:
        _, gate = promotion.promote(champion_file, comparison, gate, times.stamp(), lora=_lora(view))
    if not gate.passed:
        return gate.sentence, False
    return f"{chosen} is champion, with {choice.chosen.checkpoint} at strength {choice.chosen.strength:.2f}: {champion_file}", True


def _lora(view: WatchView) -> dict[str, Any]:
    """What names the chosen LoRA in the champion's record."""
    chosen = view.verdict.choice.chosen
    assert chosen is not None
    item = view.state.find(chosen.checkpoint)
    return {"file": chosen.checkpoint, "strength": chosen.strength, "step": chosen.step, "sha256": item.sha256 if item else None}
