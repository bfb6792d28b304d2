"""Scorecards: the means, grade and promotion verdict of one run, as JSON, as a report and as a history row."""
