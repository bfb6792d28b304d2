"""Judging: the policy, the measures, scorecards, comparisons, regression checks. May import `lifeos`."""
