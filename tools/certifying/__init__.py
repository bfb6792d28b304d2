"""Where a picture comes from: the chain from a published copy back to the data that its LoRA was trained on (`certify`)."""
