"""What ai-toolkit (read at 0.12.26) would fail at, or quietly do otherwise than asked, before a GPU is paid for.

A finding's `rule` is our flag, or the place in the configuration. The classes that take the configuration ignore what they do not know, so
nothing of this is told by the trainer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from lifeos.findings import Finding
from tools.families.families import TrainedBy
from tools.trainers.ai_toolkit.toolkit_config import VAES, config_path, read_argument, read_setting
from tools.trainers.optimizers import finds_own_rate
from tools.trainers.trainer import TrainingJob, TrainingPlan
from tools.trainers.training_settings import TrainingSettings

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
"""What `data_loader.py` looks for; other files are passed over."""

NOT_THERE: Mapping[str, str] = {
    "min_snr_gamma": "use of min-SNR weighting in models of flows",
    "noise_offset": "use of a noise offset in models of flows",
    "max_token_length": "choice of how many tokens of a caption are read",
    "text_encoder_learning_rate": "training of the text encoders of these families: their answers are cached",
}
"""Settings that the trainer has nothing for. Somebody who asks for one is told; the policy's values for all families are no request."""

OPTIMIZERS = frozenset(
    (
        *("adam", "adamw", "adam8", "adamw8", "adam8bit", "adamw8bit", "ademamix8bit", "lion", "lion8bit", "adagrad", "adafactor"),
        *("prodigy", "prodigy8bit", "dadaptation", "dadaptationadam", "dadaptationlion", "automagic", "automagic2", "automagic3"),
    )
)
"""Those of `toolkit/optimizer.py`, which takes every name that begins with `prodigy` for Prodigy."""
WITH_EPS = ("adam", "ademamix", "prodigy", "dadaptation")

SCHEDULES = ("constant", "constant_with_warmup", "cosine", "cosine_with_restarts")

OURS = (
    "name",
    "type",
    "training_folder",
    "training_seed",
    "datasets",
    "network.pretrained_lora_path",
    "save.max_step_saves_to_keep",
)
OURS_OF_TRAIN = ("steps", "start_step", "lr", "lr_scheduler", "optimizer", "batch_size", "merge_network_on_save", "train_text_encoder")
REFUSED: Mapping[str, tuple[str, str]] = {
    "save.push_to_hub": ("would publish the LoRA", "leave it out"),
    "save.save_every": ("is set by --save-every-n-steps", "leave it out"),
    "save.save_format": ("the record knows .safetensors only", "leave it out"),
    "embedding": ("gives the LoRA files other names than the record knows", "leave it out"),
    "adapter": ("gives the LoRA files other names than the record knows", "leave it out"),
    "train.unload_text_encoder": ("puts the trigger word in the place of every caption", "leave it out"),
}

FOLDER_ONLY = ("flux", "wan22_14b")
"""Architectures whose base model is a folder of diffusers, or a name on the hub: a single file cannot be loaded."""
VAE_WANTED = ("flux2", "flux2_klein_4b", "flux2_klein_9b")


def find_conflicts(job: TrainingJob, plan: TrainingPlan, how: TrainedBy) -> list[Finding]:
    """Everything that speaks against a plan."""
    settings = job.settings
    return [
        *_check_dataset(job),
        *_check_settings(settings),
        *_check_passed_through(settings),
        *_check_optimizer(settings),
        *_check_base(settings, how),
        *_check_folder(job, plan),
    ]


def _check_dataset(job: TrainingJob) -> Iterator[Finding]:
    for subset in job.subsets:
        if unread := [ending for ending in subset.endings if ending not in PICTURES]:
            why = f"pictures that end in {', '.join(unread)} would be passed over without a word: ai-toolkit reads {', '.join(PICTURES)}"
            yield Finding("--train-data-dir", why, "save them as .png")


def _check_settings(settings: TrainingSettings) -> Iterator[Finding]:
    for name, what in NOT_THERE.items():
        if name in settings.given:
            yield Finding(f"--{name.replace('_', '-')}", f"ai-toolkit has no {what}", "leave it out")
    if settings.train_text_encoder:
        why = "the captions' encodings are cached before the training: the text encoder would not be trained"
        yield Finding("--train-text-encoder", why, "leave it out")
    if settings.attention != "sdpa":
        yield Finding("--attention", "these models have no such switch in ai-toolkit: it stops after loading them", "give sdpa")
    if not settings.save_state:
        yield Finding("--no-save-state", "ai-toolkit always writes optimizer.pt", "leave it out")
    if settings.save_every_n_steps < 1 or settings.max_train_steps < 1:
        yield Finding("--save-every-n-steps", "is below 1, or --max-train-steps is", "give 1 or more")


def _check_passed_through(settings: TrainingSettings) -> Iterator[Finding]:
    ours = {*OURS, *(f"train.{name}" for name in OURS_OF_TRAIN)}
    for argument in settings.trainer_args:
        setting = read_setting(argument)
        if setting is None:
            yield Finding(argument, "is no place in the configuration with a value", "write --trainer-arg=train.timestep_type=weighted")
            continue
        place = setting[0]
        if place in ours or place.split(".")[0] in ours:
            yield Finding(place, "is set by the command: passed through as well, the record would be untrue", "leave it out")
        for refused, (why, fix) in REFUSED.items():
            if place == refused or place.startswith(f"{refused}."):
                yield Finding(place, why, fix)


def _check_optimizer(settings: TrainingSettings) -> Iterator[Finding]:
    optimizer = settings.optimizer.lower()
    if optimizer not in OPTIMIZERS:
        what = "takes it for Prodigy" if optimizer.startswith("prodigy") else "does not know it: ValueError after the model is loaded"
        yield Finding("--optimizer", f"ai-toolkit {what}", f"give one of {', '.join(sorted(OPTIMIZERS))}")
    if finds_own_rate(optimizer) and settings.unet_learning_rate != 1.0:
        why = f"{settings.optimizer} estimates the rate itself; of a rate below 0.1 ai-toolkit makes 1.0 without a word"
        yield Finding("--unet-learning-rate", why, "give 1.0")
    for argument in settings.optimizer_args:
        pair = read_argument(argument)
        if pair is None:
            why = f"{argument} is not NAME=PYTHON LITERAL"
            yield Finding("--optimizer-arg", why, "write decouple=True, not decouple=true; texts need quotes")
        elif pair[0] in ("lr", "eps") and optimizer.startswith(WITH_EPS):
            yield Finding("--optimizer-arg", f"ai-toolkit gives {pair[0]} itself: TypeError after the model is loaded", "leave it out")
    if settings.lr_scheduler not in SCHEDULES:
        what = "rises from a third of the rate to the whole" if settings.lr_scheduler == "linear" else "stops after the model is loaded"
        yield Finding("--lr-scheduler", f"{settings.lr_scheduler} {what} in ai-toolkit", f"give one of {', '.join(SCHEDULES)}")
    if settings.lr_warmup_steps > 0 and settings.lr_scheduler != "constant_with_warmup":
        why = f"ai-toolkit has no warm-up for {settings.lr_scheduler}: it would be left out without a word"
        yield Finding("--lr-warmup-steps", why, "give 0, or --lr-scheduler constant_with_warmup")


def _check_base(settings: TrainingSettings, how: TrainedBy) -> Iterator[Finding]:
    if not Path(settings.base_model).is_file():
        return
    if how.name in FOLDER_ONLY:
        why = "is a single file: ai-toolkit loads this family from a folder of diffusers, or by a name on the hub"
        yield Finding("--base-model", why, "give the folder, or owner/name")
    has_vae = any(component in settings.components for component in VAES) or any("vae_path" in each for each in settings.trainer_args)
    if how.name in VAE_WANTED and not has_vae:
        why = "with a single file as the base model, ai-toolkit looks for the VAE on the hub under that file's path"
        yield Finding("--vae", why, "give --vae the file ae.safetensors of Flux.2")


def _check_folder(job: TrainingJob, plan: TrainingPlan) -> Iterator[Finding]:
    """Where the trainer looks for a file to go on from by itself, and what its reader of configurations would change."""
    output_dir, path = job.settings.output_dir, config_path(job.settings)
    if (output_dir / output_dir.name).exists():
        why = f"{output_dir / output_dir.name} is there: ai-toolkit would look in it for a file to go on from"
        yield Finding("--output-dir", why, "move it away, or choose another output folder")
    if "${" in plan.files[0].text:
        yield Finding("--output-dir", "a path or name holds ${, which ai-toolkit replaces by variables of the environment", "rename it")
    if path.suffix not in (".yaml", ".yml", ".json"):
        yield Finding("--dataset-config", f"ai-toolkit reads no configuration that ends in {path.suffix or 'nothing'}", "give it .yaml")
    if job.resume and not job.resume.beside:
        why = f"no whole optimizer.pt belongs to {job.resume.folder.name}: the optimizer would begin anew"
        yield Finding("--resume", why, "begin anew with --overwrite")
