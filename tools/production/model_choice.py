"""Which files the built-in workflow of a family loads: those that were named, else the only one on the server that fits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lifeos.counting import counted
from lifeos.errors import InputError, did_you_mean
from lifeos.findings import Finding
from tools.backends.backend import Backend
from tools.families import families
from tools.families.families import Family, FamilyFile
from tools.trainers.architectures import SAID
from tools.workflows.lora_names import same_file

SHOWN = 5
"""As many names of files stand in one line."""


def read_components(texts: Iterable[str] | None, family: Family) -> dict[str, str]:
    """`NAME=FILE` of `--component`: name -> file. Raises InputError for a name that the family does not have."""
    known = [each.name for each in family.files]
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, file = text.partition("=")
        if not equals or not file.strip():
            raise InputError(f"--component {text}", "is not NAME=FILE", f"such as --component {known[-1] if known else 'vae'}=FILE")
        if name not in known:
            raise InputError(f"--component {text}", f"{family.title} has no {name}", did_you_mean(name, known) or "leave it out")
        if name in found and found[name] != file:
            raise InputError("--component", f"{name} is given twice: {found[name]} and {file}", "leave one of the two out")
        found[name] = file
    return found


def choose_files(family: Family, given: Mapping[str, str], server: Backend | None) -> dict[str, str]:
    """Name -> file of everything that the family's workflow loads; without a server, that lists its files, only what was given.

    Raises InputError that names each that is missing, or that could be several, and how to name it.
    """
    if server is None or not server.offers.lists_models:
        return dict(given)
    folders = {folder: server.models(folder) for folder in dict.fromkeys(each.folder for each in family.files if each.name not in given)}
    chosen, faults, fixes = dict(given), list[str](), list[str]()
    for each in family.files:
        if each.name in given:
            continue
        found = find_fitting(family, each, folders[each.folder])
        if len(found) == 1:
            chosen[each.name] = found[0]
            continue
        faults.append(f"has {_several(each, found)}" if found else f"has no {_wanted(family, each)}")
        fixes.append(_mend(family, each, found, folders[each.folder]))
    if faults:
        raise InputError(server.url, "; ".join(faults), "; ".join(dict.fromkeys(fixes)))
    return chosen


def find_fitting(family: Family, file: FamilyFile, names: Sequence[str]) -> list[str]:
    """The files of a folder that may be what the family wants, by their names.

    A model of its own may be called anything: one whose name tells no family counts too. A text encoder or VAE must say what it is.
    """
    fitting = [name for name in names if fits(file, name)]
    if file not in family.models:
        return fitting
    return [name for name in names if name in fitting or not _is_told(name)]


def fits(file: FamilyFile, name: str) -> bool:
    return same_file(name, file.file) or re.search(file.fits, name.lower()) is not None


def flag_of(family: Family, file: FamilyFile) -> str:
    """The flag that names a file."""
    return "--checkpoint NAME" if file is family.files[0] else f"--component {file.name}=NAME"


def _is_told(name: str) -> bool:
    """Whether a name says what a model is: one of a family of the table, or a known one that is none (one that edits pictures, say)."""
    return any(re.search(pattern, name.lower()) for _, pattern in SAID) or any(
        fits(each, name) for row in families.FAMILIES for each in row.models
    )


def _mend(family: Family, file: FamilyFile, found: Sequence[str], names: Sequence[str]) -> str:
    """What to do about a file that is missing, or that could be one of several."""
    if found:
        return f"choose one with {flag_of(family, file)}"
    put = f"put {file.file} into its models/{file.folder}"
    if not names or file is not family.files[0]:
        return put
    return f"{put}, or choose the --family of what is there: {', '.join(names[:SHOWN])}"


def check_files(server: Backend, family: Family) -> Iterator[Finding]:
    """Whether a server has all that the family's workflow loads."""
    for each in family.files:
        found = find_fitting(family, each, server.models(each.folder))
        if not found:
            fix = f"put it into ComfyUI/models/{each.folder}, as {each.file} or with a name like it"
            yield Finding("model", f"no {_wanted(family, each)} of the server", fix)
        elif len(found) > 1:
            yield Finding("model", _several(each, found), f"choose one with {flag_of(family, each)}", "warning")
        else:
            yield Finding("model", f"{each.title} of {family.title}: {found[0]}", severity="ok")


def _wanted(family: Family, file: FamilyFile) -> str:
    return f"{file.title} of {family.title} in models/{file.folder}"


def _several(file: FamilyFile, found: Sequence[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"{counted(len(found), 'file')} that may be the {file.title}: {', '.join(found[:SHOWN])}{more}"
