"""What msgspec says of a value that does not fit, in words for people and with its place: the wording behind `lifeos/foreign.py`."""

from __future__ import annotations

import re
from typing import Any

SHOWN_CHARACTERS = 60
SEARCHED_KEYS = 1000
"""An object with more keys than this is named without the key that is at fault."""

_PLACE = re.compile(r"(.*?)(?: - at `(.*)`)?", re.DOTALL)
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
    "bytes": "text",
}


def split_message(message: str) -> tuple[str, str]:
    """msgspec's message in two: what is wrong, and where."""
    found = _PLACE.fullmatch(message)
    return (found[1], found[2] or "$") if found else (message, "$")


def name_key(document: Any, kind: Any, place: str) -> str:
    """The place with the keys of plain objects, which msgspec writes as `[...]`: found by trying the keys one by one."""
    import msgspec

    while (at := place.find("[...]")) >= 0:
        holder = _find(document, place[:at])
        if not isinstance(holder, dict) or len(holder) > SEARCHED_KEYS:
            return place
        entries = dict(holder)
        for key, value in entries.items():
            holder.clear()
            holder[key] = value
            try:
                msgspec.convert(document, kind, str_keys=True)
            except msgspec.ValidationError as fault:
                found = split_message(str(fault))[1]
                if found.startswith(place[:at]):
                    place = f"{place[:at]}.{key}{found[at + len('[...]') :]}"
                    break
        else:
            holder.update(entries)
            return place
    return place


def _find(document: Any, place: str) -> Any:
    """The value at a place such as `$.outputs.9.images[2]`, or None."""
    value = document
    rest = place[1:]
    while rest:
        if isinstance(value, list):
            index, _, rest = rest[1:].partition("]")
            value = value[int(index)] if index.isdecimal() and int(index) < len(value) else None
        elif isinstance(value, dict):
            key = next((key for key in sorted(map(str, value), key=len, reverse=True) if _starts_with(rest, key)), None)
            if key is None:
                return None
            value, rest = value[key], rest[len(key) + 1 :]
        else:
            return None
    return value


def _starts_with(rest: str, key: str) -> bool:
    return rest.startswith(f".{key}") and rest[len(key) + 1 : len(key) + 2] in ("", ".", "[")


def in_words(text: str, read_as_null: str | None) -> str:
    """msgspec's message for people: `Expected `int`, got `str`` becomes `a whole number is wanted, not text`."""
    if found := re.fullmatch(r"Expected `([^`]+)`(.*), got `([^`]+)`(.*)", text, re.DOTALL):
        wanted = " or ".join(_WORDS.get(name, name) for name in found[1].split(" | "))
        got = read_as_null or _WORDS.get(found[3], found[3])
        return f"{wanted}{found[2]} is wanted, not {got}{found[4]}"
    if found := re.fullmatch(r"Expected `([^`]+)`(.*)", text, re.DOTALL):
        return f"{_WORDS.get(found[1], found[1])}{found[2]} is wanted"
    if found := re.fullmatch(r"Object missing required field `(.*)`", text):
        return f"the key {found[1]} is missing"
    if found := re.fullmatch(r"Invalid enum value (.*)", text, re.DOTALL):
        return f"{shorten(found[1])} is not one of the values that are known"
    return text


def shorten(text: str) -> str:
    """A value as a message shows it."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:20]}… ({len(text)} characters)"
