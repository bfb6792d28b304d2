"""Dataset documents of trainers: which pictures and captions they name.

JSON lines (`image_path` or `file_name`, `caption` or `text`; musubi-tuner, sd-scripts' metadata.jsonl, Hugging Face), JSON by picture
(sd-scripts' meta_cap.json, ai-toolkit's dataset_path), TOML (sd-scripts' and musubi-tuner's dataset files) and YAML (ai-toolkit). What is
read is what the trainers read; what cannot be read is refused in one line, never left out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifeos import files
from lifeos.errors import InputError
from lifeos.file_names import stored_path, system_name
from tools.dataset.hashing import read_caption_text
from tools.dataset.scan import TRAINED_SUFFIXES, ListedFile, split_repeats
from tools.dataset.training_set import Caption, PictureRecord

PICTURE_KEYS = ("image_path", "file_name", "image", "path")
CAPTION_KEYS = ("caption", "text")
DOCUMENT_BYTES = 64 << 20
FIX = "name pictures as image_path and captions as caption, or give --dataset-dir the folder with caption files"


@dataclass(frozen=True, slots=True)
class NamedFolder:
    """A folder whose pictures are trained on, with files of captions beside them, relative to the root (empty: the root itself)."""

    name: str
    repeats: int | None
    caption_extension: str | None


@dataclass(frozen=True, slots=True)
class DatasetDocument:
    """What a document names, under one folder `root`. `captions`: picture -> its caption (None: it has none); None where whole folders are
    named. `repeats`: by folder, where the document says."""

    file: Path
    root: Path
    sha256: str
    captions: Mapping[str, str | None] | None = None
    folders: tuple[NamedFolder, ...] = ()
    repeats: Mapping[str, int] = field(default_factory=dict)

    @property
    def caption_extension(self) -> str | None:
        """The ending of its caption files, if it says one."""
        return next((folder.caption_extension for folder in self.folders if folder.caption_extension), None)

    def names(self, picture: str) -> bool:
        """Whether a picture of the root is named."""
        if self.captions is not None:
            return picture in self.captions
        return picture.rpartition("/")[0] in {folder.name for folder in self.folders}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One picture or folder as a document names it. `where`: the line or table."""

    path: str
    where: str
    caption: str | None = None
    repeats: int | None = None
    caption_extension: str | None = None


def read_dataset_document(file: Path, root: Path | None = None) -> DatasetDocument:
    """Read a document. `root`: the folder that its names are relative to (default: the document's own), and that holds all of them.

    Raises InputError for a document that cannot be read, and for what it names and cannot be taken.
    """
    if not file.is_file():
        raise InputError(file, "no such file", "give a .jsonl, .json, .toml or .yaml file that names the pictures")
    if file.stat().st_size > DOCUMENT_BYTES:
        raise InputError(file, f"is larger than {DOCUMENT_BYTES >> 20} MB", "it is no dataset document: give --dataset-dir")
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise InputError(file, f"{file.suffix or 'no ending'} is no form of a dataset document", f"give one of {', '.join(READERS)}")
    entries, is_folders = reader(file)
    digest = files.sha256_file(file)
    base = (root or file.parent).absolute()
    if is_folders:
        return _of_folders(file, root.absolute() if root else None, digest, entries)
    if not entries:
        raise InputError(file, "names no picture", FIX)
    captions: dict[str, str | None] = {}
    for entry in entries:
        name = _name_inside(_find_picture(entry, base, file), base, entry, file)
        if name in captions:
            raise InputError(f"{file}:{entry.where}", f"names {entry.path} twice", "name each picture once")
        captions[name] = entry.caption
    repeats = {entry.path: entry.repeats for entry in entries if entry.repeats}
    every = next(iter(repeats.values()), None)
    told = {name.rpartition("/")[0]: every for name in captions} if every else {}
    return DatasetDocument(file, base, digest, captions, repeats={name: count for name, count in told.items() if count})


def caption_digest(text: str) -> str:
    """The SHA-256 that a caption has in a manifest: of the file that would hold it."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _of_folders(file: Path, root: Path | None, digest: str, entries: list[_Entry]) -> DatasetDocument:
    if not entries:
        raise InputError(file, "names no folder of pictures", FIX)
    places = []
    for entry in entries:
        place = Path(os.path.normpath((root or file.parent.absolute()) / Path(entry.path).expanduser()))
        if not place.is_dir():
            raise InputError(f"{file}:{entry.where}", f"names the folder {entry.path}, which is not there", "say where it lies")
        places.append(place)
    base = root or Path(os.path.commonpath(places))
    endings = {entry.caption_extension for entry in entries if entry.caption_extension}
    if len(endings) > 1:
        why = f"has captions that end in {' and in '.join(sorted(endings))}"
        raise InputError(file, why, "use one ending for all: a manifest is of captions of one ending")
    folders, repeats = [], {}
    for entry, place in zip(entries, places, strict=True):
        name = _name_inside(place, base, entry, file)
        folders.append(NamedFolder("" if name == "." else name, entry.repeats, entry.caption_extension))
        count = entry.repeats or split_repeats(place.name)[0]
        if count:
            repeats[folders[-1].name] = count
    return DatasetDocument(file, base, digest, None, tuple(folders), repeats)


def _find_picture(entry: _Entry, base: Path, file: Path) -> Path:
    """The file that a name means: as it stands, or with an ending, which sd-scripts' metadata leave out."""
    place = Path(os.path.normpath(base / Path(system_name(entry.path)).expanduser()))
    ways = [place, *(place.with_name(place.name + end) for suffix in sorted(TRAINED_SUFFIXES) for end in (suffix, suffix.upper()))]
    for way in ways:
        if way.is_file():
            return way
    raise InputError(f"{file}:{entry.where}", f"names {entry.path}, which is not in {base}", "give --dataset-dir the folder that holds it")


def _name_inside(place: Path, base: Path, entry: _Entry, file: Path) -> str:
    if not place.is_relative_to(base):
        why = f"names {entry.path}, which lies outside {base}"
        raise InputError(f"{file}:{entry.where}", why, "give --dataset-dir a folder that holds everything it names")
    return stored_path(place.relative_to(base))


def _read_lines(file: Path) -> tuple[list[_Entry], bool]:
    from lifeos import foreign

    found = []
    for line in foreign.read_lines(file, dict):
        if isinstance(line, foreign.BadLine):
            raise line.error
        found.append(_entry_of(line.record, None, str(line.number), file))
    return found, False


def _read_by_picture(file: Path) -> tuple[list[_Entry], bool]:
    from lifeos import foreign

    document = foreign.read_file(file, dict, max_bytes=DOCUMENT_BYTES, fix=FIX)
    return [_entry_of(value, str(name), str(name)[:80], file) for name, value in document.items()], False


def _entry_of(value: object, name: str | None, where: str, file: Path) -> _Entry:
    """A picture's entry, as sd-scripts reads it: tags follow the caption."""
    if isinstance(value, str) and name is not None:
        return _Entry(name, where, value)
    if not isinstance(value, Mapping):
        raise InputError(f"{file}:{where}", "is no entry of a picture", FIX)
    if odd := next((key for key in value if key in ("video_path", "image_path_0", "image_path_1")), None):
        raise InputError(f"{file}:{where}", f"names {odd}: videos and several pictures in one are not read here", "name pictures alone")
    path = name if name is not None else next((value[key] for key in PICTURE_KEYS if key in value), None)
    if not isinstance(path, str) or not path:
        raise InputError(f"{file}:{where}", f"names no picture ({', '.join(PICTURE_KEYS)})", FIX)
    parts = [next((value[key] for key in CAPTION_KEYS if key in value), None), value.get("tags")]
    if any(part is not None and not isinstance(part, str) for part in parts):
        raise InputError(f"{file}:{where}", "its caption is no text", "write one text for each picture")
    caption = ", ".join(part for part in parts if part) if any(part is not None for part in parts) else None
    return _Entry(path, where, caption)


def _read_toml(file: Path) -> tuple[list[_Entry], bool]:
    import tomllib

    try:
        document = tomllib.loads(files.read_text(file))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(file, f"is no TOML: {error}") from None
    general = document.get("general", {})
    entries: list[_Entry] = []
    nested: list[_Entry] = []
    for number, dataset in enumerate(_tables(document, "datasets", file), 1):
        for place, table in enumerate(_tables(dataset, "subsets", file) if "subsets" in dataset else [dataset], 1):
            told = {**(general if isinstance(general, Mapping) else {}), **dataset, **table}
            where = f"datasets[{number}]" + (f".subsets[{place}]" if "subsets" in dataset else "")
            folder = told.get("image_dir") or told.get("image_directory")
            document_inside = told.get("metadata_file") or told.get("image_jsonl_file")
            _refuse_other_kinds(told, where, file)
            if isinstance(document_inside, str):
                nested += _read_nested(file, document_inside, folder, told, where)
            else:
                entries.append(_folder_entry(told, folder, "caption_extension", ".caption" if "subsets" in dataset else None, where, file))
    return _one_kind(file, entries, nested)


def _read_yaml(file: Path) -> tuple[list[_Entry], bool]:
    import yaml

    try:
        document = yaml.load(files.read_text(file), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(file, f"is no YAML: {' '.join(str(error).split())[:120]}") from None
    config = document.get("config") if isinstance(document, Mapping) else None
    processes = config.get("process") if isinstance(config, Mapping) else None
    entries: list[_Entry] = []
    nested: list[_Entry] = []
    for process in processes if isinstance(processes, list) else []:
        for number, dataset in enumerate(_tables(process, "datasets", file) if isinstance(process, Mapping) else [], 1):
            where = f"datasets[{number}]"
            _refuse_other_kinds(dataset, where, file)
            folder = dataset.get("folder_path") or dataset.get("dataset_path")
            if isinstance(folder, str) and folder.endswith(".json"):
                nested += _read_nested(file, folder, None, dataset, where)
            else:
                entries.append(_folder_entry(dataset, folder, "caption_ext", ".txt", where, file))
    return _one_kind(file, entries, nested)


def _read_nested(file: Path, inside: str, folder: object, told: Mapping[str, Any], where: str) -> Iterator[_Entry]:
    """The pictures of a document that another one names."""
    path = file.parent / Path(inside).expanduser()
    if not path.is_file():
        raise InputError(f"{file}:{where}", f"names {inside}, which is not there", "say where it lies")
    found, _ = (_read_lines if path.suffix.lower() == ".jsonl" else _read_by_picture)(path)
    for entry in found:
        place = f"{folder}/{entry.path}" if isinstance(folder, str) and not Path(entry.path).is_absolute() else entry.path
        yield _Entry(place, f"{where}: {path.name}:{entry.where}", entry.caption, _count(told, where, file))


def _folder_entry(told: Mapping[str, Any], folder: object, key: str, default: str | None, where: str, file: Path) -> _Entry:
    if not isinstance(folder, str) or not folder:
        raise InputError(f"{file}:{where}", "names no folder of pictures", "name it as image_dir, image_directory or folder_path")
    ending = told.get(key, default)
    if isinstance(ending, str) and ending and not ending.startswith("."):
        ending = f".{ending}"
    return _Entry(folder, where, None, _count(told, where, file), ending if isinstance(ending, str) and ending else None)


def _count(told: Mapping[str, Any], where: str, file: Path) -> int | None:
    count = told.get("num_repeats")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or not 1 <= count < 10**6):
        raise InputError(f"{file}:{where}", f"num_repeats {count!r} is no number of repeats", "give 1 or more")
    return count


def _refuse_other_kinds(told: Mapping[str, Any], where: str, file: Path) -> None:
    if told.get("is_reg"):
        raise InputError(f"{file}:{where}", "is regularisation, which is no part of the training set", "give its folder to --reg-data-dir")
    for key in ("video_directory", "video_jsonl_file", "control_directory", "control_path"):
        if told.get(key):
            raise InputError(f"{file}:{where}", f"{key}: videos and control pictures are not read here", "name pictures alone")


def _one_kind(file: Path, entries: list[_Entry], nested: list[_Entry]) -> tuple[list[_Entry], bool]:
    if entries and nested:
        raise InputError(file, "names folders with caption files and documents with captions together", "use one of the two for all")
    if len({entry.repeats for entry in nested}) > 1:
        raise InputError(file, "repeats its documents differently", "use one number of repeats, or folders named 10_name")
    return (nested, False) if nested else (entries, True)


def _tables(document: Mapping[str, Any], key: str, file: Path) -> list[Mapping[str, Any]]:
    found = document.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise InputError(file, f"{key} is no list of tables", FIX)
    return found


READERS: Mapping[str, Callable[[Path], tuple[list[_Entry], bool]]] = {
    ".jsonl": _read_lines,
    ".json": _read_by_picture,
    ".toml": _read_toml,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}


def keep_named(listing: Iterable[ListedFile], document: DatasetDocument) -> list[ListedFile]:
    """A listing of the root with what the document does not name under the kind `not_named`. Raises InputError if it names a file that is
    no training picture there."""
    kept, pictures = [], set[str]()
    for file in listing:
        if file.kind == "picture":
            pictures.add(file.name)
            kept.append(file if document.names(file.name) else file._replace(kind="not_named"))
        elif document.captions is None and document.names(file.name):
            kept.append(file)
    if stranger := next((name for name in document.captions or () if name not in pictures), None):
        why = f"names {stranger}, which is no training picture of {document.root}"
        raise InputError(document.file, why, "take it out (masks, regularisation pictures and links out of the folder are none)")
    return kept


def give_captions(records: Iterable[PictureRecord], document: DatasetDocument) -> None:
    """Give each picture the caption that the document holds for it."""
    for record in records if document.captions is not None else ():
        text = document.captions[record.name] if document.captions is not None else None
        if text is not None:
            _, faults = read_caption_text(text.encode("utf-8", "surrogateescape"))
            record.caption = Caption(record.name, caption_digest(text), text, faults, is_file=False)
