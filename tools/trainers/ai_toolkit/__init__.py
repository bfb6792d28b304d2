"""Ostris' ai-toolkit: `toolkit_trainer.py` is the trainer as the rest of the program sees it."""
