"""Anything at all in place of what ComfyUI says: its own words in the wrong places, and values that are none."""

from __future__ import annotations

import uuid
from typing import Any

from hypothesis import strategies as st

PROMPT_ID = str(uuid.UUID(int=1))

WORDS = [
    *("system", "devices", "comfyui_version", "type", "name", "vram_total", "vram_free", "queue_running", "queue_pending", PROMPT_ID),
    *("outputs", "images", "filename", "subfolder", "status", "status_str", "messages", "prompt", "error", "node_errors", "errors"),
    *("extra_info", "input_config", "input_name", "received_value", "dependent_outputs", "class_type", "message", "details"),
    *("KSampler", "input", "required", "optional", "sampler_name", "output", "1", "data", "exec_info", "queue_remaining"),
    *("execution_success", "execution_error", "executing", "progress", "node", "value", "max", "prompt_id", "timestamp", "nodes"),
    *("success", "error", "euler", "value_not_in_list", "cpu", "temp", "a.png", "execution_cached", "execution_interrupted"),
]

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([*WORDS, 10**400, "\ud800", PROMPT_ID])
)

JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=15,
)


def mutated(true: Any) -> st.SearchStrategy[Any]:
    """An answer as ComfyUI gives it, with some of its parts replaced by anything."""
    if isinstance(true, dict):
        parts = st.fixed_dictionaries({key: mutated(value) for key, value in true.items()})
    elif isinstance(true, list):
        parts = st.tuples(*map(mutated, true)).map(list)  # type: ignore[arg-type]
    else:
        parts = st.just(true)
    return st.integers(0, 9).flatmap(lambda chance: JSON if chance == 0 else parts)
