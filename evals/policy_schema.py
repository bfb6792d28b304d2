"""What a sound policy is: the built-in defaults, the JSON Schema beside the policy file, and the check of one by the other.

The schema (`evals/thresholds.schema.json`) also gives editors completion. The check reads the part of JSON Schema that it
uses, names the line and the nearest known key, and finds every fault at once; a general validator does neither.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from lifeos.errors import did_you_mean

SCHEMA_FILE = Path(__file__).with_name("thresholds.schema.json")

DEFAULTS: dict[str, Any] = {
    "face_similarity": {
        "pass_threshold": 0.6,
        "warn_threshold": 0.5,
        "metric": "cosine_similarity",
        "description": "InsightFace embedding cosine similarity between generated and reference faces",
        "no_face_counts_as_zero": False,
        "low_confidence_face_px": 100,
        "low_confidence_yaw_deg": 45,
        "second_face_area_ratio": 0.5,
        "engines": {
            "insightface_buffalo_l": {"stranger": 0.0, "warn": 0.5, "pass": 0.6, "same": 1.0},
            "insightface_mini": {"stranger": 0.02, "warn": 0.25, "pass": 0.3, "same": 1.0},
            "dlib_centred": {"stranger": 0.02, "warn": 0.42, "pass": 0.5, "same": 1.0},
        },
    },
    "skin_realism": {
        "texture_pass_threshold": 0.6,
        "color_naturalness_pass_threshold": 0.55,
        "overall_pass_threshold": 0.6,
        "description": "Laplacian variance + skin-tone histogram comparison",
    },
    "scorecard": {
        "grade_boundaries": {"A": 0.85, "B": 0.7, "C": 0.55, "D": 0.4, "F": 0.0},
        "promotion_minimum_grade": "C",
        "description": "Combined face similarity + skin realism weighted average",
        "weights": {"face_similarity": 0.75, "skin_realism": 0.25},
    },
    "context_budget": {
        "claude_md_max_lines": 120,
        "goals_max_lines": 10,
        "patterns_max_lines": 10,
        "session_learnings_max_lines": 80,
        "total_max_lines": 220,
        "also_counted": ["PROGRESS.md", "context/projects/pistachio/context.md"],
        "long_line_characters": 400,
    },
    "freshness": {
        "max_age_days": 7,
        "ci_max_age_days": 14,
        "files": [
            {
                "path": "CLAUDE.md",
                "refresh": "read it against the code, mend what is no longer true, write the day into its last line, commit",
            },
            {"path": "PROGRESS.md", "refresh": "python tools/run_full_cycle.py --project-root ."},
            {"path": "context/session-learnings.md", "refresh": "python tools/promote_findings.py --project-root ."},
            {"path": "context/projects/pistachio/context.md", "refresh": "correct what is running and what comes next, commit"},
            {"path": "research/*.md", "refresh": "python tools/run_full_cycle.py --project-root . (its agent step writes research notes)"},
        ],
    },
    "comparison": {
        "minimum_effect": 0.02,
        "confidence": 0.95,
        "resamples": 10000,
        "promotion_min_images": 20,
        "promotion_max_regression": 0.02,
        "memorised_cosine": 0.95,
    },
    "production": {
        "reference_dirs": ["references", "/workspace/references"],
        "checkpoint": "",
        "lora_strength": 0.8,
        "steps": 28,
        "cfg": 5.0,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "width": 832,
        "height": 1216,
        "negative_prompt": "lowres, bad anatomy, bad hands, extra fingers, deformed, blurry, watermark, text, cartoon, painting, plastic skin",
        "queue_ahead": 2,
        "prompt_timeout_seconds": 600,
        "retries": 2,
        "min_free_disk_gb": 2.0,
        "min_free_vram_mb": 6000,
        "seconds_per_picture": 8,
        "same_pose_yaw_spread_deg": 5,
    },
    "dataset": {
        "caption_extension": ".txt",
        "clip_tokens": 75,
        "upscale_warning": 1.25,
        "crop_warning": 0.2,
        "one_shot_share": 0.7,
        "min_yaw_spread_deg": 8,
        "min_sharpness": 0.35,
        "identity_outlier_spread": 3.5,
    },
    "training": {
        "trigger_word": "amiranoor",
        "class_tokens": "woman",
        "base_model": "/workspace/models/sd_xl_base_1.0.safetensors",
        "sd_scripts_dir": "/workspace/sd-scripts",
        "train_data_dir": "/workspace/lora_dataset_v3",
        "output_dir": "/workspace/lora_output_v3",
        "output_name": "amiranoor_v3",
        "resolution": 1024,
        "train_batch_size": 2,
        "train_repeats": 10,
        "reg_repeats": 1,
        "max_train_steps": 2500,
        "save_every_n_steps": 500,
        "network_dim": 32,
        "network_alpha": 16,
        "optimizer": "Prodigy",
        "lr_scheduler": "cosine",
        "lr_warmup_steps": 0,
        "prior_loss_weight": 1.0,
        "min_snr_gamma": 5.0,
        "noise_offset": 0.0357,
        "seed": 42,
        "min_free_disk_gb": 10.0,
        "seconds_per_step": 1.2,
    },
    "cost": {
        "default_gpu": "RTX 4090",
        "rates_per_hr": {"RTX 4090": 0.6, "RTX 3090": 0.4, "A100 80GB": 1.6, "H100": 2.8},
        "monthly_budget_usd": 100,
        "activities": {
            "training": "LoRA training",
            "generation": "Generation",
            "production": "Generation",
            "idle": "ComfyUI idle",
            "setup": "Setup",
            "evaluation": "Evaluation",
            "agent": "Agent",
            "untagged": "Untagged",
        },
        "idle_minutes": 15,
    },
    "cycle": {
        "agent_command": "",
        "agent_timeout_minutes": 120,
        "agent_max_cost_usd": 5,
        "guardrail_timeout_minutes": 5,
    },
}
"""Used for whatever evals/thresholds.yaml leaves out, and for all of it where the file is missing. A test compares the two."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a policy: its line in the file, the dotted key, what was found and what is wanted."""

    line: int
    key: str
    message: str

    @property
    def text(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


def check_policy(document: Mapping[str, Any], lines: Mapping[str, int], *, whole: bool = False) -> list[Fault]:
    """Every fault of a policy document. With `whole` also what must hold between keys, which needs all of them.

    `lines` maps dotted keys to line numbers; a fault without one is put at its nearest parent, else at line 1.
    """
    found = list(_check(document, read_schema(), ""))
    if whole and not found:
        found = list(_check_between(document))
    return [Fault(_line(key, lines), key, message) for key, message in found]


@cache
def read_schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


def _line(key: str, lines: Mapping[str, int]) -> int:
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key, 1)


def _check(value: Any, schema: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    kind = schema.get("type")
    if kind and not _is_kind(value, kind):
        yield key, f"{_show(value)} found, {_wanted(schema)} wanted"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield key, f"{_show(value)} found, one of {', '.join(map(str, schema['enum']))} wanted"
    elif kind in ("number", "integer"):
        low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        if not low <= value <= high or value <= schema.get("exclusiveMinimum", -math.inf):
            yield key, f"{value} is out of range: {_wanted(schema)} wanted"
    elif kind == "array":
        for index, item in enumerate(value):
            yield from _check(item, schema.get("items", {}), f"{key}.{index}")
    elif kind == "object":
        yield from _check_mapping(value, schema, key)


def _check_mapping(value: Mapping[str, Any], schema: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    known, other = schema.get("properties", {}), schema.get("additionalProperties", {})
    dot = f"{key}." if key else ""
    for name in schema.get("required", ()):
        if name not in value:
            yield key, f"the key {name} is missing"
    for name, item in value.items():
        if name in known:
            yield from _check(item, known[name], f"{dot}{name}")
        elif other is False:
            yield f"{dot}{name}", f"unknown key: {did_you_mean(str(name), known)}"
        else:
            yield from _check(item, other, f"{dot}{name}")


def _check_between(policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    face, card = policy["face_similarity"], policy["scorecard"]
    if face["pass_threshold"] < face["warn_threshold"]:
        yield "face_similarity.pass_threshold", f"{face['pass_threshold']} is below warn_threshold, {face['warn_threshold']}"
    for name, scale in face["engines"].items():
        if not scale["stranger"] < scale["warn"] < scale["pass"] < scale["same"]:
            yield f"face_similarity.engines.{name}", "stranger < warn < pass < same is wanted"
    bounds = card["grade_boundaries"]
    grades = sorted(bounds)
    if any(bounds[better] <= bounds[worse] for better, worse in pairwise(grades)):
        yield "scorecard.grade_boundaries", "must fall from A to F"
    if bounds[grades[-1]] != 0:
        yield f"scorecard.grade_boundaries.{grades[-1]}", "must be 0: every score has a grade"
    if card["promotion_minimum_grade"] not in bounds:
        yield "scorecard.promotion_minimum_grade", f"{card['promotion_minimum_grade']} is not one of {', '.join(grades)}"
    if not math.isclose(sum(card["weights"].values()), 1.0):
        yield "scorecard.weights", f"must add up to 1, not {sum(card['weights'].values()):g}"


def _is_kind(value: Any, kind: str) -> bool:
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    kinds: dict[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool}
    return isinstance(value, kinds[kind])


def _wanted(schema: Mapping[str, Any]) -> str:
    words = {"object": "a mapping", "array": "a list", "string": "text", "boolean": "true or false", "integer": "a whole number"}
    text = words.get(schema["type"], "a number")
    if "minimum" in schema and "maximum" in schema:
        return f"{text} from {schema['minimum']} to {schema['maximum']}"
    if "minimum" in schema:
        return f"{text}, {schema['minimum']} or more,"
    if "exclusiveMinimum" in schema:
        return f"{text} above {schema['exclusiveMinimum']}"
    return text


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f'the text "{value}"'
    return f"{str(value).lower() if isinstance(value, bool) else value}"
