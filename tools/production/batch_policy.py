"""The policy of a batch: the file's, with the thresholds of the command line, or of the command that began the batch."""

from __future__ import annotations

from typing import Any

from evals.load_thresholds import load_thresholds
from tools.production.pipeline import Circumstances
from tools.production.plan import read_plan
from tools.production.request import Request


def load_batch_policy(request: Request, around: Circumstances) -> dict[str, Any]:
    """Raises PolicyError for a policy file that is not sound."""
    if around.resume and (saved := read_plan(request.output_dir)) is not None:
        request = request.completed_by(saved.command)
    policy = load_thresholds(around.root)
    overrides: dict[str, Any] = {"skin_realism.overall_pass_threshold": request.skin_threshold}
    if request.face_threshold is not None:
        warn = policy["face_similarity"]["warn_threshold"]
        overrides["face_similarity.pass_threshold"] = request.face_threshold
        overrides["face_similarity.warn_threshold"] = min(warn, request.face_threshold)  # the policy wants pass >= warn
    return load_thresholds(around.root, overrides=overrides)
