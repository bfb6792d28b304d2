"""What the guardrails check: the context layer's size, references, age and secrets. Standard library only; the scripts are thin."""
