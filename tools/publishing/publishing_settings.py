"""How copies are made: the policy's `publishing` section with what the command line gives instead, checked before the first picture."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lifeos.errors import InputError, did_you_mean
from tools.publishing.copy_encoding import SUFFIX
from tools.publishing.register import REGISTER_FILE
from tools.publishing.signing_identity import FROM_ENVIRONMENT
from tools.publishing.xmp_packet import Credits, write_packet

NAME_FIELDS = ("index", "id", "stem", "run_id")
PLAIN_FORMAT = re.compile(r"0?\d{0,2}d?")
NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
"""What a file name cannot hold on one system or another."""
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class PublishingSettings:
    """`name`: the pattern of a copy's name without its ending. `certificate` None: a self-made one. `stamp_url` empty: no time stamp."""

    format: str = "jpeg"
    quality: int = 90
    max_side: int = 2048
    name: str = "{index:04d}_{id}"
    credits: Credits = field(default_factory=Credits)
    with_credentials: bool = True
    certificate: Path | None = None
    key: str = ""
    anchors: Path | None = None
    stamp_url: str = ""
    keeps_older: bool = True
    languages: tuple[str, ...] = ("en",)
    register: Path = Path(REGISTER_FILE)

    @property
    def suffix(self) -> str:
        return SUFFIX[self.format]

    def name_of(self, *, index: int, mark_id: str, stem: str, run_id: str) -> str:
        """The name of a copy, its ending included; what a file name cannot hold becomes a hyphen."""
        filled = self.name.format_map({"index": index, "id": mark_id, "stem": stem, "run_id": run_id})
        return NOT_IN_NAMES.sub("-", filled)[:LONGEST_NAME].strip(" .") + self.suffix

    def to_json(self, signer: str) -> dict[str, Any]:
        """What is recorded of a copy, and compared: a copy that was made with other settings is made again."""
        return {
            "format": self.format,
            "quality": self.quality if self.format != "png" else None,
            "max_side": self.max_side,
            "xmp": self.credits.fields(),
            "signer": signer,
            "time_stamped": bool(self.stamp_url) and self.with_credentials,
            "older_credentials": "keep" if self.keeps_older else "drop",
        }


def settings_of(policy: Mapping[str, Any], root: Path, given: Mapping[str, Any] | None = None) -> PublishingSettings:
    """The settings of a policy; `given` are the values of flags, by the policy's keys, None where not given.

    Paths of the policy count from `root`, those of flags from where the user stands. Raises InputError for what cannot be.
    """
    flags = {key: value for key, value in (given or {}).items() if value is not None}
    rules = {**policy["publishing"], **flags}
    if bool(rules["certificate"]) != bool(rules["key"]):
        there, missing = ("certificate", "key") if rules["certificate"] else ("key", "certificate")
        raise InputError(f"--{missing}", f"a {there} is given, and no {missing}", "give both, or none for a self-made pair")
    settings = PublishingSettings(
        format=rules["format"],
        quality=rules["quality"],
        max_side=rules["max_side"],
        name=_checked_name(rules["name"]),
        credits=Credits(*(rules[name].strip() for name in ("creator", "credit", "ai_system", "ai_system_version"))),
        with_credentials=rules["content_credentials"],
        certificate=_path(rules["certificate"], root, is_flag="certificate" in flags),
        key=_key(rules["key"], root, is_flag="key" in flags),
        anchors=_path(rules["trust_anchors"], root, is_flag=False),
        stamp_url=_checked_url(rules["time_stamp_url"]),
        keeps_older=rules["older_credentials"] == "keep",
        languages=tuple(rules["languages"]) or ("en",),
        register=root / rules["register"],
    )
    write_packet(settings.credits)
    return settings


def _path(text: str | Path, root: Path, *, is_flag: bool) -> Path | None:
    if not str(text):
        return None
    path = Path(text).expanduser()
    return path if is_flag else root / path


def _key(text: str, root: Path, *, is_flag: bool) -> str:
    if not text or text.startswith(FROM_ENVIRONMENT) or "\n" in text or "PRIVATE KEY" in text:
        return text
    return str(_path(text, root, is_flag=is_flag))


def _checked_name(pattern: str) -> str:
    """Raises InputError for a pattern with fields that there are not, or that gives all pictures one name."""
    where = "publishing.name"
    try:
        parts = [(field, spec, change) for _, field, spec, change in string.Formatter().parse(pattern) if field is not None]
    except ValueError as error:
        raise InputError(where, f"{pattern!r} is no pattern: {error}", "such as {index:04d}_{id}") from None
    for name, spec, change in parts:
        if name not in NAME_FIELDS:
            raise InputError(where, f"there is no field {{{name}}}", did_you_mean(name or "", NAME_FIELDS))
        if change or not (PLAIN_FORMAT.fullmatch(spec or "") if name == "index" else not spec):
            raise InputError(where, f"the field {{{name}}} cannot be formatted so", "only {index} takes digits, as in {index:04d}")
    if not {"index", "id", "stem"} & {field for field, _, _ in parts}:
        raise InputError(where, f"{pattern!r} gives every picture the same name", "use {index}, {id} or {stem}")
    return pattern


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise InputError("publishing.time_stamp_url", "no address of a time-stamping authority", "give one that begins with https://")
    return url
