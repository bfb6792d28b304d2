"""Graphs of jobs, for a server with nothing else to do: one of a flat picture, one of a sampling."""

from __future__ import annotations

import random
from typing import Any

from tests.tools.stand_in.embedded_graphs import Graph, flat_graph
from tools.workflows.workflow import Settings, Workflow


def plain_graph(**inputs: Any) -> Graph:
    """One flat picture, of a random colour: an identical prompt would come from the cache."""
    colour = random.SystemRandom().randrange(1 << 24)
    return flat_graph(**{"prefix": "lifeos_test/plain", "color": colour, **inputs})


def sampled_graph(seed: int) -> Graph:
    settings = Settings(positive="a test", seed=seed, steps=4, width=64, height=64, checkpoint="embedded_demo_sdxl.safetensors")
    return Workflow.built_in().place(settings)
