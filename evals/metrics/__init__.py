"""Measures and face engines: image -> raw numbers -> scores. Import the modules themselves; this package loads nothing."""
