"""Failures that happened once and must not come back, each a function with a name and a docstring (see `registry`)."""
