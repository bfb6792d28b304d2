"""Doing: datasets, training, generation, production, cost, orchestration, guardrails. May import `evals` and `lifeos`."""

import lifeos as lifeos  # refuses an older Python in one line, before a module of ours can fail there
