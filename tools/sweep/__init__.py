"""Parameter sweeps: which pictures are made (`design`), in rungs that drop the worst (`running`), and what they say (`analysis`)."""
