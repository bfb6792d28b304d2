"""Training a LoRA with kohya's sd-scripts: prepare a clean set and the command, run the trainer, keep a truthful record.

Enter by `preparation.prepare` (changes nothing) and `runner.run_training`. The trainer is only ever a process of its own.
"""
