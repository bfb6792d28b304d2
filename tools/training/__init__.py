"""Training a LoRA: prepare a clean set and a plan, run the trainer's processes, keep a truthful record.

Enter by `preparation.prepare` (changes nothing) and `training_run.run_training`. What is particular to a trainer lies in `tools/trainers`.
"""
