"""Doing: datasets, training, generation, production, cost, orchestration, guardrails. May import `evals` and `lifeos`."""
