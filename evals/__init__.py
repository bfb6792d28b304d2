"""Judging: the policy, the measures, scorecards, comparisons, regression checks. May import `lifeos`."""

import lifeos as lifeos  # refuses an older Python in one line, before a module of ours can fail there
