"""What a reader of foreign data must survive: arbitrary JSON, documents of its own with one thing wrong, and arbitrary bytes.

@settings(max_examples=EXAMPLES, deadline=None)
@given(foreign_bytes(A_GOOD_DOCUMENT))
def test_...(data: bytes) -> None:
    only_our_errors(lambda: read(write(data)))
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from lifeos.errors import LifeosError

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3.5, "", "x", [], {}, [[]], {"a": None}),
    *(10**19, 10**400, -(10**400), 1e308, -1e308, math.nan, math.inf, -math.inf),
    *("\ud800", "a\x00b", "\x1b[2J", "../../x", "9" * 400, "2026-13-45T99:99:99Z", "nan", "1e999999"),
)
"""Wrong types, numbers beyond all measure, and text that is no time, no name and no number."""

JSON = st.recursive(
    st.sampled_from(ODD_VALUES) | st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
DIGITS = "9" * 5000
DEEP = ("[" * 100_000, '{"a":' * 100_000, '{"a":' + "[" * 5000 + "]" * 5000 + "}", DIGITS, f'{{"a": {DIGITS}}}')


def only_our_errors(work: Callable[[], object]) -> None:
    """Do it; one of our errors, a line for the user, is fine, and everything else is a fault of ours."""
    with contextlib.suppress(LifeosError):
        work()


@st.composite
def spoilt(draw: st.DrawFn, document: Any) -> Any:
    """The document with something else at some of its places, or without them."""
    made = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 2))):
        holder, key = draw(st.sampled_from(list(_places(made)) or [({}, "x")]))
        if draw(st.booleans()) and isinstance(holder, dict):
            holder.pop(key, None)
        else:
            holder[key] = copy.deepcopy(draw(st.sampled_from(ODD_VALUES) | JSON))
    return made


def _places(value: Any) -> Any:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


@st.composite
def foreign_bytes(draw: st.DrawFn, *documents: Any) -> bytes:
    """Bytes that a file or an answer may hold: JSON of any kind, one of the documents spoilt, cut or overwritten, or no JSON at all."""
    if not documents or draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200) | st.sampled_from(DEEP).map(str.encode))
    document = draw(JSON | st.one_of(*(spoilt(one) for one in documents)) | st.sampled_from(documents))
    text = json.dumps(document, ensure_ascii=draw(st.booleans()))
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    for at, patch in draw(st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=3)), max_size=2)):
        start = at % (len(data) + 1)
        data[start : start + len(patch)] = patch
    return bytes(data) if draw(st.booleans()) else b"\xef\xbb\xbf" + bytes(data)


def foreign_lines(*rows: Any) -> st.SearchStrategy[bytes]:
    """Some lines of a JSON Lines file, none of them ended by the last."""
    return st.lists(foreign_bytes(*rows), max_size=4).map(b"\n".join)
