"""Rows for a page's script, packed by column: a text that many rows share, such as a prompt, stands in the page once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def pack_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`count`, and for each field its values: `{"all": VALUE}`, `{"each": [VALUE, …]}`, or `{"table": [VALUE, …], "at": [PLACE, …]}`.

    All rows have the same fields. `unpackRows` of `cards.js` makes the rows again.
    """
    names = list(rows[0]) if rows else []
    return {"count": len(rows), "columns": {name: _pack([row[name] for row in rows]) for name in names}}


def _pack(values: list[Any]) -> dict[str, Any]:
    texts = [json.dumps(value) for value in values]
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    if len(places) == 1:
        return {"all": values[0]}
    table = {"table": [json.loads(text) for text in places], "at": [places[text] for text in texts]}
    each = {"each": values}
    return table if _size(table) < _size(each) else each


def _size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")))
