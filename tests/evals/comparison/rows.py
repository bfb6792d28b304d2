"""History rows for the tests of comparisons."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

SPECIFIED = (
    {
        "run_id": "v2_sweep",
        "lora_version": "v2",
        "training_params": {
            "network_dim": 16,
            "train_text_encoder": True,
            "optimizer": "AdamW8bit",
            "max_train_steps": 2000,
            "captions": "generic captions",
        },
        "eval_scores": {
            "face_similarity_mean": 0.52,
            "skin_realism_mean": 0.48,
            "overall_grade": "D",
            "best_config": "step1500_str0.80",
        },
    },
    {
        "run_id": "v3_sweep",
        "lora_version": "v3",
        "training_params": {
            "network_dim": 32,
            "train_text_encoder": True,
            "optimizer": "Prodigy",
            "max_train_steps": 2500,
            "captions": "BLIP-2 auto-captions",
            "regularization": True,
        },
        "eval_scores": {
            "face_similarity_mean": 0.71,
            "skin_realism_mean": 0.67,
            "overall_grade": "B",
            "best_config": "step2000_str0.75",
        },
    },
)
"""The rows behind the specification's example."""

SPECIFIED_HEAD = """\
# Version Comparison: v2_sweep vs v3_sweep

| Metric | v2_sweep | v3_sweep | Delta | Verdict |
|--------|----------|----------|-------|---------|
| Face Similarity (mean) | 0.52 | 0.71 | +0.19 | IMPROVED |
| Skin Realism (mean) | 0.48 | 0.67 | +0.19 | IMPROVED |
| Overall Grade | D | B | +2 levels | IMPROVED |
| Best Config | step1500_str0.80 | step2000_str0.75 | - | - |

## Recommendation
v3_sweep meets promotion threshold (grade >= C). Recommend deploying v3 LoRA.

## Config Details
- v2: network_dim=16, UNet+TE, AdamW8bit, 2000 steps, generic captions
- v3: network_dim=32, UNet+TE, Prodigy, 2500 steps, BLIP-2 auto-captions + regularization
"""


DRESSED = {"scenes": 36, "same_scene_share": 0.97}
POSED = {"faces": 36, "yaw_spread_deg": 2.4, "same_pose_share": 0.99, "entropy_bits": 0.36, "landmark_distance": 0.008}
TURNED = {"faces": 30, "yaw_spread_deg": 23.8, "same_pose_share": 0.11, "entropy_bits": 2.98, "landmark_distance": 0.106}
"""The figures of a batch of one pose, and of a varied one, as measured on real ones."""

Score = Callable[[int, int], float | None]
"""Of the picture of (prompt, seed)."""


def make_row(
    run_id: str,
    score: Score,
    *,
    skin: Score | None = None,
    weights: tuple[float, float] = (0.75, 0.25),
    prompts: int = 10,
    seeds: int = 2,
    protocol_id: str | None = "p1",
    version: str = "",
    **changes: Any,
) -> dict[str, Any]:
    """A whole row: `score` of each picture's face, `skin` of its skin (default: 0.1 less than its face).

    A picture may have a face without skin, and skin may have no weight: the overall score is made of the run's means by `weights`, of
    face and skin, and is missing where a mean that has a weight is.
    """
    images: list[dict[str, Any]] = []
    for prompt in range(1, prompts + 1):
        for seed in range(seeds):
            face = score(prompt, seed)
            below = None if face is None else skin(prompt, seed) if skin else face - 0.1
            name = f"p{prompt:03d}_seed{seed}.png"
            images.append({"file": name, "config": None, "prompt_id": prompt, "seed": seed, "face": face, "skin": below})
    faces, skins = ([image[key] for image in images if image[key] is not None] for key in ("face", "skin"))
    means: list[Any] = [sum(scores) / len(scores) if scores else None for scores in (faces, skins)]
    parts = [(mean, weight) for mean, weight in zip(means, weights, strict=True) if weight]
    overall = None if any(mean is None for mean, _ in parts) else round(sum(mean * weight for mean, weight in parts), 4)
    row = {
        "schema_version": 1,
        "run_id": run_id,
        "timestamp": "2026-11-20T10:00:00Z",
        "lora_version": version or run_id,
        "training_params": {},
        "protocol_id": protocol_id,
        "eval_scores": {
            "face_similarity_mean": means[0],
            "skin_realism_mean": means[1],
            "overall_score": overall,
            "overall_grade": None if overall is None else next(g for g, least in GRADES.items() if overall >= least),
            "images_evaluated": len(images),
            "images_without_face": len(images) - len(faces),
        },
        "notes": "",
        "images": images,
    }
    return {**row, **changes}


GRADES = {"A": 0.85, "B": 0.70, "C": 0.55, "D": 0.40, "F": 0.0}


def steady(level: float, wobble: float = 0.02) -> Callable[[int, int], float]:
    """Scores within `wobble` of a level, which differ by prompt and seed; the same at every call."""

    def score(prompt: int, seed: int) -> float:
        return level + random.Random(f"{level} {prompt} {seed}").uniform(-wobble, wobble)

    return score


def write_history(path: Path, rows: Iterable[Mapping[str, Any] | str]) -> Path:
    """A history file; text is written as it stands."""
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
