"""The policy of a batch: the file's, with the limits of the command line, or of the command that began the batch."""

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
    return load_thresholds(around.root, overrides=request.limits)
