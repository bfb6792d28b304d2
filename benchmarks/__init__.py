"""Measurements: each prints ratios against a named alternative, taken in one run."""
