"""Reading what another program or a hand wrote: JSON in, typed records out, or one error that names the place.

    @dataclass(frozen=True, slots=True)
    class Row:
        run_id: str
        images: list[Picture] = field(default_factory=list)     # nested records; a default makes a key optional
        notes: str | None = None

    row   = foreign.decode(data, Row, where)          # bytes or text; `where` is what an error names: a path, a URL, a flag
    row   = foreign.read_file(path, Row)              # a whole file
    plain = foreign.decode(data, dict, where)         # any JSON object, bounded, as plain Python values
    row   = foreign.convert(document, Row, where)     # values that something else has parsed (YAML, a part of a plain object)

    for line in foreign.read_lines(path, Row):        # JSON Lines: each line is a Line (`.record`) or a BadLine (`.error`)
        if isinstance(line, foreign.BadLine): warn(str(line.error)); continue
        use(line.record)

A kind is what msgspec can decode into: a dataclass (as fast as a `msgspec.Struct`, and the module that declares it stays on the
standard library), a Struct, a TypedDict, `dict`, `list[Row]`, `dict[str, Row]`, `Row | None`, `Literal[...]`. Keys that the kind does
not name are ignored. Types are strict: text is no number, `true` is no number, `3.0` is no whole number. A ValueError or TypeError
of a record's `__post_init__` becomes a fault at that record's place. What comes out needs no further check of its types or bounds.

What is allowed, and how it is read:

- size: `max_bytes`; nesting: `max_depth` levels; both are checked before the records are made.
- numbers: up to 64 bits (-2**63 to 2**64-1, and the same range for fractions). 400 digits or 1e308 are refused, with their place;
  with `too_large="null"` they are read as null (declarations of nodes name such limits).
- NaN, Infinity, -Infinity (Python's json and older trainers write them): read as null, "not measured"; with `not_finite="refuse"` a fault.
  With "text", here and for `too_large`, the number is handed out as text: for readers that go on and say what they left out.
- a byte order mark: skipped. Anything but UTF-8: refused, with its line.
- half surrogate pairs (`"\\ud800"`): each becomes U+FFFD, so that the text can be written again; with `surrogates="keep"` they
  stay, for file names that are not UTF-8 (Python writes their bytes so).
- one key twice: the last wins, as in Python.

Every fault is an InputError, or the class given as `error` (a server's answer: UnavailableError). msgspec is imported at the first call.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, NoReturn, TypeVar, overload

from lifeos.decoding_faults import in_words, name_key, shorten, split_message
from lifeos.errors import InputError, LifeosError

T = TypeVar("T")

MAX_BYTES = 64 << 20
MAX_LINE_BYTES = 16 << 20
MAX_DEPTH = 64
"""Deeper than any file of the tools around us (a workflow with subgraphs has about 15 levels), and far from Python's own limit."""

MIN_NUMBER, MAX_NUMBER = -(2**63), 2**64 - 1

NotFinite = Literal["null", "refuse", "text"]
TooLarge = Literal["refuse", "null", "text"]
Surrogates = Literal["replace", "keep"]

_BOM = b"\xef\xbb\xbf"
_NOT_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_DIGITS_ALIKE = bytes(ord("0") if chr(code) in "0123456789" else ord("e") if chr(code) in "eE" else code for code in range(256))

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Line(Generic[T]):
    """A line of a JSON Lines file that is a record of the kind. `number` counts from 1, empty lines included."""

    number: int
    record: T
    raw: bytes


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is none. `is_torn`: the last line, without its line end, as a crash leaves it. `raw` is cut at the limit."""

    number: int
    error: LifeosError
    raw: bytes
    is_torn: bool


@overload
def decode(
    data: bytes | str,
    kind: type[T],
    where: object,
    *,
    max_bytes: int = ...,
    max_depth: int = ...,
    not_finite: NotFinite = ...,
    too_large: TooLarge = ...,
    surrogates: Surrogates = ...,
    fix: str = ...,
    error: type[LifeosError] = ...,
) -> T: ...
@overload
def decode(
    data: bytes | str,
    kind: Any,
    where: object,
    *,
    max_bytes: int = ...,
    max_depth: int = ...,
    not_finite: NotFinite = ...,
    too_large: TooLarge = ...,
    surrogates: Surrogates = ...,
    fix: str = ...,
    error: type[LifeosError] = ...,
) -> Any: ...
def decode(
    data: bytes | str,
    kind: Any,
    where: object,
    *,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    not_finite: NotFinite = "null",
    too_large: TooLarge = "refuse",
    surrogates: Surrogates = "replace",
    fix: str = "",
    error: type[LifeosError] = InputError,
) -> Any:
    """A JSON document as a value of `kind`; the module's docstring says what is allowed.

    Raises `error`, which names `where`, the place inside (`$.images[3].seed`, or line and column where it is no JSON), what was wanted
    and what was found, and `fix`: what to do about it.
    """
    reader = _ExactReader(where, max_depth, not_finite, too_large, surrogates, fix, error)
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > max_bytes:
        reader.fail(f"{_size(len(raw))}: at most {_size(max_bytes)} are read")
    raw = raw.removeprefix(_BOM)
    if _is_plain(raw, max_depth):
        import msgspec

        try:
            return _decoder(kind)(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # read again below, more slowly: what msgspec refuses may be allowed, and the error is worded there
    return reader.convert(reader.parse(raw, isinstance(data, str)), kind)


def convert(
    document: Any,
    kind: Any,
    where: object,
    *,
    max_depth: int = MAX_DEPTH,
    not_finite: NotFinite = "null",
    too_large: TooLarge = "refuse",
    surrogates: Surrogates = "replace",
    fix: str = "",
    error: type[LifeosError] = InputError,
) -> Any:
    """The same for values that something else has parsed (YAML, a part of a plain object). The same rules, the same errors."""
    return _ExactReader(where, max_depth, not_finite, too_large, surrogates, fix, error).convert(document, kind)


@overload
def read_file(path: Path, kind: type[T], *, max_bytes: int = ..., **rules: Any) -> T: ...
@overload
def read_file(path: Path, kind: Any, *, max_bytes: int = ..., **rules: Any) -> Any: ...
def read_file(path: Path, kind: Any, *, max_bytes: int = MAX_BYTES, **rules: Any) -> Any:
    """The JSON document in a file; `rules` as for `decode`. A file that is not there or cannot be read is an error of the same class."""
    error = rules.get("error", InputError)
    try:
        with open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as problem:
        raise _unreadable(path, problem, error) from None
    if len(data) > max_bytes:
        raise error(path, f"larger than the {_size(max_bytes)} that are read", rules.get("fix", ""))
    return decode(data, kind, path, max_bytes=max_bytes, **rules)


@overload
def read_lines(path: Path, kind: type[T], *, max_line_bytes: int = ..., **rules: Any) -> Iterator[Line[T] | BadLine]: ...
@overload
def read_lines(path: Path, kind: Any, *, max_line_bytes: int = ..., **rules: Any) -> Iterator[Line[Any] | BadLine]: ...
def read_lines(path: Path, kind: Any, *, max_line_bytes: int = MAX_LINE_BYTES, **rules: Any) -> Iterator[Line[Any] | BadLine]:
    """The lines of a JSON Lines file, oldest first; empty ones are left out; `rules` as for `decode`.

    A line that cannot be used is handed out as a BadLine, so that nothing is skipped unseen. Raises only where the file itself
    cannot be read. Memory holds one line at a time.
    """
    error = rules.get("error", InputError)
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; a missing file must be reported before the first record
    except OSError as problem:
        raise _unreadable(path, problem, error) from None
    with file:
        number = 0
        while raw := file.readline(max_line_bytes + 1):
            number += 1
            whole = raw
            while len(whole) > max_line_bytes and not whole.endswith(b"\n"):  # the rest of a line that is too long
                whole = file.readline(max_line_bytes + 1)
                if not whole:
                    break
            if not raw.strip():
                continue
            try:
                yield Line(number, decode(raw, kind, f"{path}:{number}", max_bytes=max_line_bytes, **rules), raw)
            except LifeosError as fault:
                yield BadLine(number, fault, raw, is_torn=not whole.endswith(b"\n"))


_DECODERS: dict[Any, Any] = {}
_BUILDING = threading.Lock()


def _decoder(kind: Any) -> Any:
    """The decoder of a kind, which is built by one thread while no other builds one.

    msgspec 0.22 lets a thread use what another still finds out about a class, and the process dies of it (segmentation fault): two servers
    that answer for the first time at the same moment are enough.
    """
    found = _DECODERS.get(kind)
    if found is None:
        import msgspec

        with _BUILDING:
            found = _DECODERS[kind] = _DECODERS.get(kind) or msgspec.json.Decoder(kind).decode
    return found


def _is_plain(raw: bytes, max_depth: int) -> bool:
    """Whether msgspec alone may read it: surely no number beyond 64 bits, and surely not nested too deep."""
    if _may_hold_large_number(raw.translate(_DIGITS_ALIKE)):
        return False
    brackets = raw.translate(None, _NOT_BRACKETS)
    for _ in range(max_depth):  # each round takes away the innermost pairs; brackets in text may leave some over
        if not brackets:
            return True
        fewer = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(fewer) == len(brackets):
            return False
        brackets = fewer
    return not brackets


def _may_hold_large_number(alike: bytes) -> bool:
    """Whether a text, all its digits written as 0, holds 19 digits in a row or an exponent of two digits after a number."""
    if b"0" * 19 in alike or b"0e+00" in alike:
        return True
    at = alike.find(b"0e00")
    while at >= 0:  # most are in the middle of a hash
        start = at
        while start > 0 and alike[start - 1] in b"0.-":
            start -= 1
        if start == 0 or alike[start - 1] in b" :,[\t\r\n":
            return True
        at = alike.find(b"0e00", at + 4)
    return False


@dataclass(frozen=True, slots=True)
class _NotFinite:
    text: str


@dataclass(frozen=True, slots=True)
class _TooLarge:
    text: str


class _ExactReader:
    """The exact way: Python's json, then every value looked at, then msgspec's types."""

    def __init__(
        self,
        where: object,
        max_depth: int,
        not_finite: NotFinite,
        too_large: TooLarge,
        surrogates: Surrogates,
        fix: str,
        error: type[LifeosError],
    ) -> None:
        self.where, self.max_depth, self.fix, self.error = where, max_depth, fix, error
        self.not_finite, self.too_large, self.surrogates = not_finite, too_large, surrogates
        self._keys: list[str] = []  # the way to the value that is looked at
        self._read_as_null: dict[str, str] = {}  # place → what stood there

    def fail(self, why: str, place: str = "$") -> NoReturn:
        raise self.error(self.where if place == "$" else f"{self.where}: {place}", why, self.fix) from None

    def parse(self, raw: bytes, was_text: bool) -> Any:
        try:
            text = raw.decode("utf-8", "surrogatepass" if was_text or self.surrogates == "keep" else "strict")
        except UnicodeDecodeError as fault:
            self.fail(f"not UTF-8 (line {raw[: fault.start].count(10) + 1}, byte 0x{raw[fault.start]:02x})")
        try:
            return json.loads(text, parse_constant=_NotFinite, parse_int=_whole_number, parse_float=_fraction)
        except json.JSONDecodeError as fault:
            empty = not text.strip()
            self.fail("empty" if empty else f"not JSON: {fault.msg} (line {fault.lineno}, column {fault.colno})")
        except RecursionError:
            self.fail(f"nested deeper than {self.max_depth} levels")

    def convert(self, document: Any, kind: Any) -> Any:
        import msgspec

        settled = self._settle(document, 0)
        _decoder(kind)  # then msgspec knows its classes
        try:
            return msgspec.convert(settled, kind, str_keys=True)
        except msgspec.ValidationError as fault:
            text, place = split_message(str(fault))
            place = name_key(settled, kind, place)
            self.fail(in_words(text, self._read_as_null.get(place)), place)
        except UnicodeEncodeError as fault:  # only kept halves of a pair get so far, and no key of a record is one
            self.fail(f"the key {fault.object!a} is not UTF-8")

    def _settle(self, value: Any, depth: int) -> Any:
        """The value with the rules applied that JSON's types cannot express. `self._keys` leads to it."""
        if isinstance(value, str):
            return value if value.isascii() or self.surrogates == "keep" else _LONE_SURROGATE.sub("\ufffd", value)
        if isinstance(value, dict | list):
            if depth >= self.max_depth:
                self.fail(f"nested deeper than {self.max_depth} levels")
            return self._settle_list(value, depth) if isinstance(value, list) else self._settle_object(value, depth)
        if isinstance(value, float) and (value != value or abs(value) == math.inf):
            value = _NotFinite("NaN" if value != value else "-Infinity" if value < 0 else "Infinity")
        elif isinstance(value, float | int) and not MIN_NUMBER <= value <= MAX_NUMBER:
            value = _TooLarge(str(value) if abs(value) < 1e100 or isinstance(value, float) else f"an integer of {value.bit_length()} bits")
        if isinstance(value, _TooLarge | _NotFinite) and (self.too_large if isinstance(value, _TooLarge) else self.not_finite) == "text":
            return shorten(value.text)
        if isinstance(value, _TooLarge):
            if self.too_large == "refuse":
                self.fail(f"{shorten(value.text)} is beyond 64 bits", self._place())
            self._read_as_null[self._place()] = shorten(value.text)
            return None
        if isinstance(value, _NotFinite):
            if self.not_finite == "refuse":
                self.fail(f"{value.text} is not a number that can be used", self._place())
            self._read_as_null[self._place()] = value.text
            return None
        return value

    def _settle_list(self, value: list[Any], depth: int) -> list[Any]:
        settled = []
        self._keys.append("")
        for index, item in enumerate(value):
            self._keys[-1] = f"[{index}]"
            settled.append(self._settle(item, depth + 1))
        self._keys.pop()
        return settled

    def _settle_object(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        settled = {}
        self._keys.append("")
        for key, item in value.items():
            self._keys[-1] = f".{key}"
            settled[self._settle(key, depth + 1)] = self._settle(item, depth + 1)
        self._keys.pop()
        return settled

    def _place(self) -> str:
        return "$" + "".join(self._keys)


def _whole_number(text: str) -> Any:
    return int(text) if len(text) <= 20 else _TooLarge(text)  # int() of 5,000 digits raises


def _fraction(text: str) -> Any:
    value = float(text)
    return _TooLarge(text) if abs(value) == math.inf else value


def _unreadable(path: Path, problem: OSError, error: type[LifeosError]) -> LifeosError:
    if isinstance(problem, FileNotFoundError):
        return error(path, "no such file")
    if isinstance(problem, IsADirectoryError):
        return error(path, "is a directory, not a file")
    return error(path, problem.strerror or str(problem))


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"
