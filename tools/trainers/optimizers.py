"""What is known of optimizers, whichever trainer runs them. Standard library only."""

from __future__ import annotations

OWN_RATE = ("prodigy", "dadapt")
"""How the names of those begin that estimate the learning rate themselves: they take a single one, 1.0, for all parameters."""

UNET_RATE, TEXT_RATE = 1e-4, 5e-5
"""Learning rates for all others where nobody says."""


def finds_own_rate(optimizer: str) -> bool:
    return optimizer.lower().startswith(OWN_RATE)


def usual_rates(optimizer: str) -> tuple[float, float]:
    """Learning rates of the U-Net (or transformer) and of the text encoders where nobody says."""
    return (1.0, 1.0) if finds_own_rate(optimizer) else (UNET_RATE, TEXT_RATE)


def usual_arguments(optimizer: str) -> tuple[str, ...]:
    """Arguments of an optimizer, as NAME=PYTHON LITERAL, where nobody says."""
    if optimizer.lower() == "prodigy":
        return ("decouple=True", "weight_decay=0.01", "d_coef=1.0", "use_bias_correction=True", "safeguard_warmup=True")
    return ("weight_decay=0.01",) if optimizer.lower().startswith("adamw") else ()
