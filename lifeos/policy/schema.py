"""What a sound policy is: the built-in defaults, the JSON Schema beside the policy file, and the check of one by the other.

The schema (`evals/thresholds.schema.json`) also gives editors completion. The check reads the part of JSON Schema that it
uses, names the line and the nearest known key, and finds every fault at once; a general validator does neither.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from lifeos.errors import did_you_mean
from lifeos.findings import Finding

MOST_BITS = 63
"""Of a whole number: what fits into 64 bits. Anything larger is a slip, and cannot be made a float."""
LONGEST_SHOWN = 60
LANDMARKS = 5
POLICY_PATH = "evals/thresholds.yaml"
SCHEMA_FILE = Path(__file__).resolve().parents[2] / "evals" / "thresholds.schema.json"


def check_policy(document: Mapping[str, Any], lines: Mapping[str, int], *, whole: bool = False) -> list[Finding]:
    """Every fault of a policy document. With `whole` also what must hold between keys, which needs all of them.

    `lines` maps dotted keys to line numbers; a fault without one is put at its nearest parent, else at line 1.
    """
    found = list(_check(document, read_schema(), ""))
    if whole and not found:
        found = list(_check_between(document))
    return [fault_at(_line(key, lines), message, key) for key, message in found]


def fault_at(line: int, message: str, key: str = "") -> Finding:
    """One thing wrong with a policy: its line in the file, what was found and what is wanted, and the dotted key as its rule."""
    return Finding(key or "policy", f"{key}: {message}" if key else message, path=POLICY_PATH, line=line)


@cache
def read_schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


def _line(key: str, lines: Mapping[str, int]) -> int:
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key, 1)


def _check(value: Any, schema: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    if isinstance(schema.get("type"), list):  # a kind, or null
        if value is None:
            return
        schema = {**schema, "type": schema["type"][0]}
    kind = schema.get("type")
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        yield key, f"a number of {round(value.bit_length() * math.log10(2))} digits found, {_wanted(schema)} wanted"
        return
    if kind and not _is_kind(value, kind):
        yield key, f"{_show(value)} found, {_wanted(schema)} wanted"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield key, f"{_show(value)} found, one of {', '.join(map(str, schema['enum']))} wanted"
    elif kind in ("number", "integer"):
        low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        if not low <= value <= high or value <= schema.get("exclusiveMinimum", -math.inf):
            yield key, f"{value} is out of range: {_wanted(schema)} wanted"
    elif kind == "array":
        for index, item in enumerate(value):
            yield from _check(item, schema.get("items", {}), f"{key}.{index}")
    elif kind == "object":
        yield from _check_mapping(value, schema, key)


def _check_mapping(value: Mapping[str, Any], schema: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    known, other = schema.get("properties", {}), schema.get("additionalProperties", {})
    dot = f"{key}." if key else ""
    for name in schema.get("required", ()):
        if name not in value:
            yield key, f"the key {name} is missing"
    for name, item in value.items():
        if name in known:
            yield from _check(item, known[name], f"{dot}{name}")
        elif other is False:
            yield f"{dot}{name}", f"unknown key: {did_you_mean(str(name), known)}"
        else:
            yield from _check(item, other, f"{dot}{name}")


def _check_between(policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    face, card = policy["face_similarity"], policy["scorecard"]
    if face["pass_threshold"] < face["warn_threshold"]:
        yield "face_similarity.pass_threshold", f"{face['pass_threshold']} is below warn_threshold, {face['warn_threshold']}"
    for name, scale in face["engines"].items():
        if not scale["stranger"] < scale["warn"] < scale["pass"] < scale["same"]:
            yield f"face_similarity.engines.{name}", "stranger < warn < pass < same is wanted"
        yield from _check_row(scale, f"face_similarity.engines.{name}")
    bounds = card["grade_boundaries"]
    grades = sorted(bounds)
    if not grades:
        yield "scorecard.grade_boundaries", "at least one grade is wanted, with the boundary 0"
        return
    if any(bounds[better] <= bounds[worse] for better, worse in pairwise(grades)):
        yield "scorecard.grade_boundaries", "must fall from A to F"
    if bounds[grades[-1]] != 0:
        yield f"scorecard.grade_boundaries.{grades[-1]}", "must be 0: every score has a grade"
    if card["promotion_minimum_grade"] not in bounds:
        yield "scorecard.promotion_minimum_grade", f"{card['promotion_minimum_grade']} is not one of {', '.join(grades)}"
    if not math.isclose(sum(card["weights"].values()), 1.0):
        yield "scorecard.weights", f"must add up to 1, not {sum(card['weights'].values()):g}"


def _check_row(row: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    """What a face engine's row says besides its four cosines."""
    model = row.get("model")
    if model is not None and not re.fullmatch(r"[0-9a-f]{12,64}", model):
        yield f"{key}.model", f"{_show(model)} found, 12 to 64 digits of a SHA-256 wanted"
    points = row.get("input", {}).get("points")
    if points is not None and (len(points) != LANDMARKS or any(len(point) != 2 for point in points)):
        yield f"{key}.input.points", f"{LANDMARKS} pairs of x and y are wanted: both eyes, nose tip, both corners of the mouth"


def _is_kind(value: Any, kind: str) -> bool:
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    kinds: dict[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool}
    return isinstance(value, kinds[kind])


def _wanted(schema: Mapping[str, Any]) -> str:
    if "type" not in schema:
        return "a value"
    words = {"object": "a mapping", "array": "a list", "string": "text", "boolean": "true or false", "integer": "a whole number"}
    text = words.get(schema["type"], "a number")
    if "minimum" in schema and "maximum" in schema:
        return f"{text} from {schema['minimum']} to {schema['maximum']}"
    if "minimum" in schema:
        return f"{text}, {schema['minimum']} or more,"
    if "exclusiveMinimum" in schema:
        return f"{text} above {schema['exclusiveMinimum']}"
    return text


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f'the text "{_short(value)}"'
    if isinstance(value, dict | list | set | tuple):  # what is in it may be long, or a number that cannot be written out
        return f"a {type(value).__name__}".replace("a dict", "a mapping")
    return _short(str(value).lower() if isinstance(value, bool) else str(value))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
