"""See BaseProcess."""
