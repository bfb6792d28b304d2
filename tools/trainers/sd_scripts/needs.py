"""What sd-scripts imports for its options (v0.10.1, `get_optimizer` in library/train_util.py): it fails only after the model is loaded."""

from __future__ import annotations

from tools.trainers.packages import NeededPackage
from tools.trainers.sd_scripts.conflicts import TrainerOptions

ALWAYS = ("torch", "accelerate")

OPTIMIZERS: tuple[tuple[str, str, str], ...] = (
    ("8bit", "bitsandbytes", "bitsandbytes"),
    ("pagedadamw", "bitsandbytes", "bitsandbytes"),
    ("lion", "lion_pytorch", "lion-pytorch"),
    ("dadapt", "dadaptation", "dadaptation"),
    ("prodigy", "prodigyopt", "prodigyopt"),
    ("adafactor", "transformers", "transformers"),
    ("schedulefree", "schedulefree", "schedulefree"),
)
"""(what the optimizer's name begins or ends with, the module, the package). The first that fits counts."""

INSTALL = {"prodigyplus": "prodigy-plus-schedule-free", "pytorch_optimizer": "pytorch-optimizer"}
"""Packages whose module has another name, for optimizers that are given as module.Class."""

LOGGERS = {"tensorboard": "tensorboard", "wandb": "wandb"}


def needed_packages(options: TrainerOptions) -> tuple[NeededPackage, ...]:
    """Of the trainer itself, of the optimizer, of the attention and of the logs."""
    found = [NeededPackage(name, "the trainer", name) for name in ALWAYS]
    optimizer = options.one("optimizer_type")
    if package := _package_of(optimizer):
        module, needed_by, install = package
        found.append(NeededPackage(module, needed_by, INSTALL.get(module, install)))
    if options.has("xformers"):
        found.append(NeededPackage("xformers", "--xformers", "xformers, in the version for its PyTorch"))
    if options.has("logging_dir") or options.has("log_with"):
        logger = options.one("log_with", "tensorboard")
        found += [NeededPackage(LOGGERS[name], f"--log_with {name}", name) for name in LOGGERS if logger in (name, "all")]
    return tuple(found)


def _package_of(optimizer: str) -> tuple[str, str, str] | None:
    """(module, what needs it, package) of an optimizer; None where PyTorch has it itself, or nobody knows."""
    name = optimizer.lower()
    if "." in optimizer:
        module = optimizer.partition(".")[0]
        return None if module == "torch" else (module, f"--optimizer {optimizer}", module.replace("_", "-"))
    for part, module, package in OPTIMIZERS:
        if name.startswith(part) or name.endswith(part):
            return module, f"--optimizer {optimizer}", package
    return None
