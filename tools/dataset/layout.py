"""What lies in a training folder besides the character's pictures: masks, regularisation pictures, a trainer's outputs, captions under
another ending and metadata files. Told by names, as trainers do; a metadata file by the pictures that it names.

Known layouts: kohya's `img/10_name class`, `reg/1_class`, `log/`, `model/`; masks as `NAME-masklabel.png` (OneTrainer), `NAME_mask.png`,
or under the picture's own name in a folder `masks/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lifeos.counting import counted, verb
from lifeos.file_names import name_bytes, system_name
from lifeos.findings import Finding, Severity
from tools.dataset.notices import noticed
from tools.dataset.scan import ListedFile, list_folders

MASK_NAMES = re.compile(r"(?P<before>.+?)[-_. ]mask(?:label)?s?|mask[-_. ](?P<after>.+)", re.IGNORECASE | re.DOTALL)
SURE_MASK = re.compile(r".+-masklabel", re.IGNORECASE | re.DOTALL)
MASK_FOLDERS = frozenset({"mask", "masks", "alpha_mask", "alpha_masks"})
REGULARISATION_FOLDERS = frozenset(
    {"reg", "regs", "reg_images", "reg_data", "regularization", "regularisation", "regularization_images", "class_images"}
)
PICTURE_FOLDER = "img"
OUTPUT_FOLDERS = frozenset({"log", "logs", "model", "models"})
"""Beside `img/`, where kohya's own layout has the trainer's outputs, which may hold sample pictures."""

CAPTION_ENDS = frozenset({".txt", ".caption", ".captions", ".cap", ".tags", ".tag", ".json"})
METADATA_ENDS = frozenset({".json", ".jsonl", ".csv"})
METADATA_BYTES = 4 << 20
"""Of a file that may hold captions, this much is looked through for the names of pictures."""
OWN_MANIFEST = b'"manifest_version"'


def settle_layout(listing: Iterable[ListedFile], caption_extension: str, root: Path | None = None) -> list[ListedFile]:
    """The listing with what is no training picture and no caption under a kind of its own: `mask`, `regularisation`, `trainer_output`,
    `other_caption`, `metadata_file`, and `aside_caption` (of one of the first three). Other texts are left out. Without a `root` no file
    is opened, and no metadata file found."""
    found = list(listing)
    pictures = [file.name for file in found if file.kind == "picture"]
    masks = _find_masks(pictures)
    kept = _outside(pictures, masks)
    aside = dict.fromkeys(masks, "mask") | kept
    stems = {_stem(name) for name in pictures if name not in aside}
    all_stems = {_stem(name) for name in pictures}
    settled = []
    for file in found:
        kind = aside.get(file.name, file.kind)
        if file.kind == "caption" and _stem(file.name) not in stems and _stem(file.name) in all_stems:
            kind = "aside_caption"  # of a mask or a regularisation picture: no orphan, and no caption of the set
        elif file.kind == "text":
            kind = _kind_of_text(file.name, stems, caption_extension, root)
        if kind:
            settled.append(file._replace(kind=kind))
    return settled


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _find_masks(pictures: Sequence[str]) -> set[str]:
    """Pictures that mask another one."""
    stems = {_stem(name) for name in pictures}
    plain = {_stem(name).rpartition("/")[2].casefold() for name in pictures if not _is_in_mask_folder(name)}
    masks = set()
    for name in pictures:
        folder, slash, last = _stem(name).rpartition("/")
        match = MASK_NAMES.fullmatch(last)
        masked = match["before"] or match["after"] if match else last
        beside = match is not None and f"{folder}{slash}{masked}" in stems
        elsewhere = _is_in_mask_folder(name) and not plain.isdisjoint({last.casefold(), masked.casefold()})
        if beside or elsewhere or SURE_MASK.fullmatch(last):
            masks.add(name)
    return masks


def _is_in_mask_folder(name: str) -> bool:
    return any(part.casefold() in MASK_FOLDERS for part in _folder(name).split("/"))


def _outside(pictures: Sequence[str], masks: set[str]) -> dict[str, str]:
    """Pictures by folders that hold none of the character: name -> kind. Empty if nothing would be left."""
    found = {}
    has_layout = any(name.startswith(f"{PICTURE_FOLDER}/") for name in pictures)
    for name in pictures:
        folders = [part.casefold() for part in _folder(name).split("/")]
        if any(folder in REGULARISATION_FOLDERS for folder in folders):
            found[name] = "regularisation"
        elif has_layout and folders[0] in OUTPUT_FOLDERS:
            found[name] = "trainer_output"
    return found if any(name not in found and name not in masks for name in pictures) else {}


def _kind_of_text(name: str, stems: set[str], caption_extension: str, root: Path | None) -> str:
    end = f".{name.rpartition('.')[2]}".lower()
    if _stem(name) in stems:
        return "other_caption" if end in CAPTION_ENDS and not name.endswith(caption_extension) else ""
    return "metadata_file" if end in METADATA_ENDS and root is not None and _names_pictures(root / system_name(name), stems) else ""


def _names_pictures(path: Path, stems: set[str]) -> bool:
    """Whether a file speaks of pictures of the set, and is no manifest of ours."""
    try:
        with open(path, "rb") as file:
            data = file.read(METADATA_BYTES)
    except OSError:
        return False
    if OWN_MANIFEST in data[:4096]:
        return False
    found = set(re.findall(rb"[^\"'\\/,;\r\n\t]+", data))  # paths, file names and keys, whatever the format
    found |= {word.rpartition(b".")[0] for word in found}
    return any(name_bytes(stem.rpartition("/")[2]) in found for stem in stems)


def check_layout(skipped: dict[str, list[str]], *, pictures: int, captions: int, caption_extension: str) -> Iterator[Finding]:
    """What to say of what lies beside the pictures. `skipped`: names by kind; `captions`: how many pictures have one."""
    if masks := skipped.get("mask"):
        fix = "to train with them give the trainer their folder (masked loss); else leave them"
        yield noticed("mask", "notice", f"masks are no training pictures, they are left out ({len(masks)})", sorted(masks), fix)
    if inside := skipped.get("regularisation"):
        folders = ", ".join(f"{folder.name} ({folder.pictures})" for folder in list_folders(inside))
        text = f"regularisation pictures lie in the training folder, they are not counted as training pictures: {folders}"
        root = next(part for part in _ways(inside[0]) if part.rpartition("/")[2].casefold() in REGULARISATION_FOLDERS)
        yield noticed("regularisation_inside", "warning", text, (), f"to train with them give --reg-data-dir the folder {root} in it")
    if outputs := skipped.get("trainer_output"):
        lie = f"{counted(len(outputs), 'picture')} {verb(len(outputs), 'lies', 'lie')}"
        text = f"{lie} in the trainer's own folders (log, model); {verb(len(outputs), 'it is', 'they are')} left out"
        yield noticed("trainer_output", "notice", text, sorted(outputs), "nothing to do")
    yield from _check_other_captions(skipped.get("other_caption", []), pictures, captions, caption_extension)
    if metadata := skipped.get("metadata_file"):
        text = "a metadata file: the trainer reads captions from files beside the pictures, and nothing from here"
        level: Severity = "warning" if captions else "error"
        fix = f"write each picture's caption into a file of its name that ends in {caption_extension}"
        yield noticed("metadata_file", level, text, sorted(metadata), fix)


def _check_other_captions(names: Sequence[str], pictures: int, captions: int, caption_extension: str) -> Iterator[Finding]:
    """Captions under other endings: an error if they are the only ones, since the set would be trained without."""
    ends: dict[str, list[str]] = {}
    for name in sorted(names):
        ends.setdefault(f".{name.rpartition('.')[2]}", []).append(name)
    for end, files in sorted(ends.items()):
        if end.lower() == ".json":
            fix = f"write each caption into a text file of the picture's name that ends in {caption_extension}"
        elif end.lower() == caption_extension.lower():
            fix = f"rename them to end in {caption_extension}: the trainer tells capital letters apart"
        else:
            fix = f"give --caption-extension {end} to use them, or rename them to end in {caption_extension}"
        captions_end = f"{counted(len(files), 'caption')} {verb(len(files), 'ends', 'end')}"
        text = f"{captions_end} in {end}; captions are read from files that end in {caption_extension}"
        if not captions:
            yield noticed("other_caption_extension", "error", f"{text}, and there is none", files, fix)
        else:
            level: Severity = "notice" if captions >= pictures else "warning"
            yield noticed("other_caption_extension", level, f"{text}: these are not read", files, fix)


def _ways(name: str) -> Iterator[str]:
    """Every folder on the way to a file, the outermost first."""
    parts = _folder(name).split("/")
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])
