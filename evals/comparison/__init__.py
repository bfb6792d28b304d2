"""Is one version better than another: read runs, pair pictures, estimate with uncertainty, judge, explain.

Entered through `evals.comparison.comparing.compare` and `evals.comparison.history.find_runs`.
"""
