"""What is known of optimizers, whichever trainer runs them. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping

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


MODULES: Mapping[str, str] = {
    "prodigy": "prodigyopt.Prodigy",
    "lion": "lion_pytorch.Lion",
    **{name.lower(): f"dadaptation.{name}" for name in ("DAdaptAdam", "DAdaptAdaGrad", "DAdaptAdan", "DAdaptLion", "DAdaptSGD")},
    **{name.lower(): f"schedulefree.{name}" for name in ("AdamWScheduleFree", "SGDScheduleFree", "RAdamScheduleFree")},
    **{name.lower(): f"bitsandbytes.optim.{name}" for name in ("Lion8bit", "PagedAdamW8bit", "PagedLion8bit", "SGDNesterov8bit")},
}
"""Where the class of an optimizer lies, for trainers that know it by its module only."""

PACKAGES: Mapping[str, str] = {
    "prodigyopt": "prodigyopt",
    "lion_pytorch": "lion-pytorch",
    "prodigyplus": "prodigy-plus-schedule-free",
    "pytorch_optimizer": "pytorch-optimizer",
}
"""What modules of optimizers are installed by, where it is not their name."""
