"""LoRA trainers: one module for each trainer, and what their files' headers say."""
