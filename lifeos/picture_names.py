"""Picture names: what a picture's name says of its configuration, prompt and seed, and the name that a picture gets.

    0007_p003_v02_seed42_close-up-portrait.png                     a production batch
    step1500_str0.80_0007_p003_v02_seed42_close-up-portrait.png    a sweep: the configuration leads

    0007_p003_v02_seed42_close-up-portrait_repaired.png            a picture that a second graph made from the first of these

Names given by other programs are read as far as they go.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import PurePath

from lifeos.picture_formats import HEIF_SUFFIXES, SUFFIXES

SLUG_LENGTH = 40

SETTING = re.compile(
    r"(?:step|steps|epoch|str|strength|cfg|dim|alpha|lr|rank|weight|sampler|sched|clip|ver|v)[-=]?\d+(?:\.\d+)?(?:e-?\d+)?k?"
    r"|v\d+[a-z]*|(?:sampler|sched)-[a-z0-9]+",
    re.IGNORECASE,
)
"""A part of a name that is a setting of the configuration, as in `step1500_str0.80`."""

PARTS = re.compile(
    r"^(?:(?P<index>\d{3,20})(?:_|$))?(?:p(?P<prompt>\d{1,9})(?:_|$))?(?:v(?P<variation>\d{1,9})(?:_|$))?(?:seed(?P<seed>\d{1,20})(?:_|$))?",
    re.IGNORECASE,
)
SEED = re.compile(r"(?:^|[_\-\s])seed[-_=\s]?(\d{1,20})(?:[_\-\s]|$)", re.IGNORECASE)
OUR_NAME = re.compile(r"(?:^|_)\d{3,}_p\d+_v\d+_", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PictureName:
    """What a name says; None where it does not. `prompt_id` and `variation` count from 1."""

    config: str | None = None
    index: int | None = None
    prompt_id: int | None = None
    variation: int | None = None
    seed: int | None = None
    slug: str = ""
    is_repaired: bool = False
    """Whether a second graph made it from the picture of that name."""


REPAIRED = "_repaired"
"""Ends the stem of a repaired picture's name; a second one of the same prompt has a number behind it."""


def format_picture_name(
    *, index: int, prompt_id: int, variation: int, seed: int, text: str, config: str | None = None, suffix: str = ".png"
) -> str:
    """`NNNN_pPPP_vVV_seedSEED_slug.png`, after the configuration where there is one. `text`, the prompt, makes the slug."""
    lead = f"{safe_config(config)}_" if config else ""
    return f"{lead}{index:04d}_p{prompt_id:03d}_v{variation:02d}_seed{seed}_{slug_of(text)}{suffix}"


def parse_picture_name(name: str) -> PictureName:
    """Read a picture's name (a path will do). Never fails: what is not there is None."""
    stem = re.split(r"[/\\]", name)[-1]
    stem = PurePath(stem).stem if PurePath(stem).suffix.lower() in SUFFIXES | HEIF_SUFFIXES else stem
    ours = OUR_NAME.search(stem)
    if ours:  # everything before our part is the configuration, whatever it is made of
        start = ours.start() + (stem[ours.start()] == "_")
        return _read_parts(stem[start:], stem[: ours.start()] or None)
    config, rest = _split_config(stem)
    return _read_parts(rest, config)


def parse_config(text: str) -> str | None:
    """The configuration that a name (of a file or folder) begins with: `step1500_str0.80`, or None."""
    return _split_config(text)[0]


def _split_config(stem: str) -> tuple[str | None, str]:
    parts = stem.split("_")
    count = 0
    while count < len(parts) and SETTING.fullmatch(parts[count]):
        count += 1
    return "_".join(parts[:count]) or None, "_".join(parts[count:])


def _read_parts(text: str, config: str | None) -> PictureName:
    found = PARTS.match(text)
    fields = found.groupdict() if found else {}
    rest = text[found.end() :] if found else text
    seed = fields.get("seed")
    if seed is None:
        loose = SEED.search(text)
        seed = loose.group(1) if loose else None
    numbers = {key: int(value) for key, value in fields.items() if value is not None and key != "seed"}
    return PictureName(
        config=config,
        index=numbers.get("index"),
        prompt_id=numbers.get("prompt"),
        variation=numbers.get("variation"),
        seed=int(seed) if seed is not None else None,
        slug=rest.strip("_"),
        is_repaired=re.search(rf"[^_]{REPAIRED}(?:_\d+)?$", rest) is not None,
    )


def slug_of(text: str) -> str:
    """A short, plain form of a prompt for a file name: ASCII letters, digits and hyphens; `picture` where nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    words = re.findall(r"[a-z0-9]+", plain[:400])
    slug = ""
    for word in words:
        longer = f"{slug}-{word}" if slug else word[:SLUG_LENGTH]
        if len(longer) > SLUG_LENGTH:
            break
        slug = longer
    return slug or "picture"


def safe_config(config: str) -> str:
    """A configuration's name that may lead a file name: letters, digits, `.`, `_`, `-` and `=`, no leading dot."""
    return re.sub(r"[^A-Za-z0-9._=+-]+", "-", config).lstrip(".-") or "config"


def format_config(lora: str | None, strength: float | None) -> str | None:
    """The configuration of a batch from its LoRA and strength: `step1500_str0.80` for a checkpoint of a step, else the LoRA's own name."""
    parts = []
    if lora:
        stem = PurePath(lora.replace("\\", "/")).stem
        step = re.search(r"[-_]step0*(\d+)$", stem, re.IGNORECASE)
        parts.append(f"step{step.group(1)}" if step else safe_config(stem))
    if strength is not None:
        parts.append(f"str{strength:.2f}")
    return "_".join(parts) or None


def find_config(file: str, folder: str, batch_config: str | None = None) -> str | None:
    """The configuration of a picture in a folder: from its name, else from the nearest folder's name, else the batch's."""
    named = parse_picture_name(file).config
    if named:
        return named
    inside = PurePath(file).parts[len(PurePath(folder).parts) : -1] if PurePath(file).is_relative_to(folder) else ()
    folders = [*reversed(inside), PurePath(folder).name]
    return next((config for config in map(parse_config, folders) if config), batch_config)
