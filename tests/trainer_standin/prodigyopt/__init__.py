"""Stands in for the package of the optimizer Prodigy."""
