"""Stands in for PyTorch, which a run looks for and the stand-in of the trainer does not use."""
