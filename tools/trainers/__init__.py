"""LoRA trainers: the seam and its registry in `trainer.py`, a module or package for each trainer, and what their files' headers say."""
