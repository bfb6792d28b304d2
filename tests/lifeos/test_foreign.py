"""What another program or a hand wrote is read once, with types, and ends in a record or in one error that names the place."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifeos import foreign
from lifeos.errors import InputError, LifeosError, UnavailableError
from tests.examples import EXAMPLES


@dataclass(frozen=True, slots=True)
class Shot:
    seed: int
    face: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    run_id: str
    images: list[Shot] = field(default_factory=list)
    params: dict[str, float] = field(default_factory=dict)
    kind: Literal["sorting", "made"] = "made"


@dataclass(frozen=True, slots=True)
class Span:
    start: int
    end: int

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"the end {self.end} is before the start {self.start}")


READ = {
    "a record": (b'{"run_id": "v3", "images": [{"seed": 5, "face": 0.5}]}', Run, Run("v3", [Shot(5, 0.5)])),
    "unknown keys": (b'{"run_id": "v3", "later": [1, {}]}', Run, Run("v3")),
    "text": ('{"run_id": "é"}', Run, Run("é")),
    "whole numbers as fractions": (b'{"seed": 1, "face": 1}', Shot, Shot(1, 1.0)),
    "byte order mark": (b'\xef\xbb\xbf{"run_id": "v3"}', Run, Run("v3")),
    "the largest seed": (b'{"seed": 18446744073709551615}', Shot, Shot(2**64 - 1)),
    "the smallest number": (b'{"seed": -9223372036854775808}', Shot, Shot(-(2**63))),
    "NaN": (b'{"seed": 1, "face": NaN}', Shot, Shot(1, None)),
    "Infinity": (b'{"seed": 1, "face": -Infinity}', Shot, Shot(1, None)),
    "half a pair": (b'{"run_id": "a\\ud800b"}', Run, Run("a\ufffdb")),
    "half a pair in text": ('{"run_id": "a\ud800b"}', Run, Run("a\ufffdb")),
    "a whole pair": (b'{"run_id": "\\ud83d\\ude00"}', Run, Run("😀")),
    "one key twice": (b'{"run_id": "a", "run_id": "b"}', Run, Run("b")),
    "a hash is no number": (b'{"run_id": "3e45ab12e99"}', Run, Run("3e45ab12e99")),
    "digits in text": (b'{"run_id": "' + b"7" * 400 + b'"}', Run, Run("7" * 400)),
    "brackets in text": (b'{"run_id": "' + b"[" * 400 + b'"}', Run, Run("[" * 400)),
    "64 levels": (b"[" * 64 + b"]" * 64, list, json.loads("[" * 64 + "]" * 64)),
    "a plain object": (b'{"a": [1, 2.5, null, true, "x", 1e18]}', dict, {"a": [1, 2.5, None, True, "x", 1e18]}),
    "a small fraction": (b'{"seed": 1, "face": 0.00012345678901234567}', Shot, Shot(1, 0.00012345678901234567)),
    "a list of records": (b'[{"seed": 1}]', list[Shot], [Shot(1)]),
    "null where it may be": (b"null", Run | None, None),
}


@pytest.mark.parametrize(("data", "kind", "wanted"), READ.values(), ids=READ)
def test_what_is_allowed_is_read(data: bytes | str, kind: Any, wanted: object) -> None:
    assert foreign.decode(data, kind, "a.json") == wanted


REFUSED = {
    "no object": (b"[]", Run, "a.json: an object is wanted, not a list"),
    "a missing key": (b"{}", Run, "a.json: the key run_id is missing"),
    "a wrong type": (b'{"run_id": 5}', Run, "a.json: $.run_id: text is wanted, not a whole number"),
    "deep inside": (
        b'{"run_id": "a", "images": [{"seed": 1}, {"seed": "x"}]}',
        Run,
        "a.json: $.images[1].seed: a whole number is wanted, not text",
    ),
    "true is no number": (b'{"seed": true}', Shot, "a.json: $.seed: a whole number is wanted, not true or false"),
    "a fraction is no whole number": (b'{"seed": 3.0}', Shot, "a.json: $.seed: a whole number is wanted, not a number"),
    "the key of a plain object": (
        b'{"run_id": "a", "params": {"lr": 1, "dim.x": "y"}}',
        Run,
        "a.json: $.params.dim.x: a number is wanted, not text",
    ),
    "a word that is not known": (b'{"run_id": "a", "kind": "x"}', Run, "a.json: $.kind: 'x' is not one of the values that are known"),
    "a check of the record's own": (b'{"start": 5, "end": 3}', Span, "a.json: the end 3 is before the start 5"),
    "NaN where a number must be": (b'{"run_id": "a", "params": {"lr": NaN}}', Run, "a.json: $.params.lr: a number is wanted, not NaN"),
    "a large seed": (b'{"seed": 18446744073709551616}', Shot, "a.json: $.seed: 18446744073709551616 is beyond 64 bits"),
    "a small seed": (b'{"seed": -9223372036854775809}', Shot, "a.json: $.seed: -9223372036854775809 is beyond 64 bits"),
    "400 digits": (
        b'{"a": [' + b"7" * 400 + b"]}",
        dict,
        "a.json: $.a[0]: 77777777777777777777… (400 characters) is beyond 64 bits",
    ),
    "5,000 digits": (b'{"a": ' + b"7" * 5000 + b"}", dict, "a.json: $.a: 77777777777777777777… (5000 characters) is beyond 64 bits"),
    "1e308": (b'{"seed": 1, "face": 1e308}', Shot, "a.json: $.face: 1e+308 is beyond 64 bits"),
    "1e20 with a sign": (b'{"seed": 1, "face": -1.5E+20}', Shot, "a.json: $.face: -1.5e+20 is beyond 64 bits"),
    "1e400": (b"[1e400]", list, "a.json: $[0]: 1e400 is beyond 64 bits"),
    "a large number alone": (b"1e99", float, "a.json: 1e+99 is beyond 64 bits"),
    "65 levels": (b"[" * 65 + b"]" * 65, list, "a.json: nested deeper than 64 levels"),
    "100,000 levels": (b"[" * 100_000 + b"]" * 100_000, list, "a.json: nested deeper than 64 levels"),
    "nothing": (b" \n", Run, "a.json: empty"),
    "cut short": (b'{"run_id":\n "a', Run, "a.json: not JSON: Unterminated string starting at (line 2, column 2)"),
    "not UTF-8": (b'{\n"run_id": "a\xff"}', Run, "a.json: not UTF-8 (line 2, byte 0xff)"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), dict, "a.json: not UTF-8 (line 1, byte 0xff)"),
    "half a pair in bytes": (b'{"run_id": "\xed\xa0\x80"}', Run, "a.json: not UTF-8 (line 1, byte 0xed)"),
    "two documents": (b"{} {}", dict, "a.json: not JSON: Extra data (line 1, column 4)"),
}


@pytest.mark.parametrize(("data", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_allowed_is_one_error_that_names_the_place(data: bytes, kind: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        foreign.decode(data, kind, "a.json")
    assert str(caught.value) == message


def test_the_caller_says_what_to_do_and_which_error_it_is() -> None:
    with pytest.raises(UnavailableError, match=r"^http://pod: an object is wanted, not null \(check --comfy-url\)$"):
        foreign.decode(b"null", dict, "http://pod", fix="check --comfy-url", error=UnavailableError)


def test_numbers_that_are_none_can_be_refused() -> None:
    with pytest.raises(InputError, match=r"^a: \$\.x\[1\]: -Infinity is not a number that can be used$"):
        foreign.decode(b'{"x": [1, -Infinity]}', dict, "a", not_finite="refuse")


def test_numbers_that_are_too_large_can_be_read_as_null() -> None:
    assert foreign.decode(b'{"max": 1e308, "min": -1e400, "step": 1}', dict, "a", too_large="null") == {"max": None, "min": None, "step": 1}


def test_names_that_are_not_utf8_can_be_kept() -> None:
    name = b"a\xff.png".decode("utf-8", "surrogateescape")
    assert foreign.decode(json.dumps({"file": name}), dict, "a", surrogates="keep") == {"file": name}
    assert foreign.decode(json.dumps({name: 1}), dict, "a") == {"a\ufffd.png": 1}


def test_a_key_of_a_record_that_is_not_utf8_is_named() -> None:
    with pytest.raises(InputError) as caught:
        foreign.decode(b'{"run_id": "a", "b\\udcff": 1}', Run, "a.json", surrogates="keep")
    assert str(caught.value) == r"a.json: the key 'b\udcff' is not UTF-8"
    assert foreign.decode(b'{"b\\udcff": 1}', dict[str, int], "a.json", surrogates="keep") == {"b\udcff": 1}


def test_the_size_and_the_depth_are_the_caller_s() -> None:
    with pytest.raises(InputError, match=r"^a: 5 bytes: at most 4 bytes are read$"):
        foreign.decode(b'"abc"', str, "a", max_bytes=4)
    with pytest.raises(InputError, match=r"^a: nested deeper than 2 levels$"):
        foreign.decode(b'{"a": {"b": {}}}', dict, "a", max_depth=2)
    assert foreign.decode(b'{"a": {"b": 1}}', dict, "a", max_depth=2) == {"a": {"b": 1}}


CONVERTED = {
    "a record": ({"seed": 1, "face": math.nan}, "Shot(seed=1, face=None)"),
    "a large number": ({"seed": 10**30}, f"a: $.seed: {10**30} is beyond 64 bits"),
    "a huge number": ({"seed": 10**5000}, "a: $.seed: an integer of 16610 bits is beyond 64 bits"),
    "infinity where a number must be": ({"seed": math.inf}, "a: $.seed: a whole number is wanted, not Infinity"),
}


@pytest.mark.parametrize(("document", "wanted"), CONVERTED.values(), ids=CONVERTED)
def test_parsed_values_follow_the_same_rules(document: object, wanted: str) -> None:
    try:
        found = str(foreign.convert(document, Shot, "a"))
    except InputError as error:
        found = str(error)
    assert found == wanted


def test_a_value_that_holds_itself_is_too_deep() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InputError, match="nested deeper than 64 levels"):
        foreign.convert(loop, list, "a")


def test_a_file_is_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"run_id": "v3"}', encoding="utf-8")
    assert foreign.read_file(path, Run) == Run("v3")
    for bad, why in ((tmp_path / "none", "no such file"), (tmp_path, "is a directory, not a file")):
        with pytest.raises(InputError) as caught:
            foreign.read_file(bad, Run)
        assert str(caught.value) == f"{bad}: {why}"
    with pytest.raises(InputError, match=r"larger than the 8 bytes that are read"):
        foreign.read_file(path, Run, max_bytes=8)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero")
def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(InputError, match=r"larger than the 1,024 bytes that are read"):
        foreign.read_file(Path("/dev/zero"), Run, max_bytes=1024)


def test_lines_are_records_or_faults_and_none_is_skipped_unseen(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"seed": 1}\r\n\n{"seed": "x"}\n{"seed": 2' + b" " * 50 + b'}\n{"seed": 3}\n{"se')
    lines = list(foreign.read_lines(path, Shot, max_line_bytes=40))
    assert [line.record for line in lines if isinstance(line, foreign.Line)] == [Shot(1), Shot(3)]
    assert [(line.number, str(line.error), line.is_torn) for line in lines if isinstance(line, foreign.BadLine)] == [
        (3, f"{path}:3: $.seed: a whole number is wanted, not text", False),
        (4, f"{path}:4: 41 bytes: at most 40 bytes are read", False),
        (6, f"{path}:6: not JSON: Unterminated string starting at (line 1, column 2)", True),
    ]


def test_lines_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        list(foreign.read_lines(tmp_path / "none", Shot))


def test_importing_it_imports_no_package() -> None:
    """Modules that declare records are imported for every `--help`, also where nothing is installed."""
    code = "import sys, lifeos.foreign; raise SystemExit('msgspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**400)
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["\ud800", "\udcff", "run_id", "made"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["run_id", "images", "seed", "face", "params", "kind", "start"]) | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)
KINDS = st.sampled_from([Run, Shot, Span, dict, list, Any, list[Shot], dict[str, Run], dict[str, list[int]], Run | None])


def is_settled(value: object) -> bool:
    if isinstance(value, dict):
        return all(is_settled(key) and is_settled(item) for key, item in value.items())
    if isinstance(value, list):
        return all(is_settled(item) for item in value)
    if isinstance(value, str):
        return value.encode("utf-8") is not None
    return not isinstance(value, int | float) or foreign.MIN_NUMBER <= value <= foreign.MAX_NUMBER


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=JSON, kind=KINDS, as_text=st.booleans())
def test_any_json_is_a_record_or_our_error(document: object, kind: Any, as_text: bool) -> None:
    text = json.dumps(document)
    try:
        found = foreign.decode(text if as_text else text.encode(), kind, "a")
    except LifeosError:
        return
    assert kind is not Any or is_settled(found)


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.binary(max_size=200) | st.text(max_size=200), kind=KINDS)
def test_any_bytes_are_a_record_or_our_error(data: bytes | str, kind: Any) -> None:
    try:
        foreign.decode(data, kind, "a")
    except LifeosError:
        return


@settings(max_examples=EXAMPLES, deadline=None)
@given(document=JSON, edits=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=3), kind=KINDS)
def test_damaged_json_is_a_record_or_our_error(document: object, edits: list[tuple[int, bytes]], kind: Any) -> None:
    data = json.dumps(document).encode()
    for at, piece in edits:
        data = data[:at] + piece + data[at + 1 :]
    try:
        foreign.decode(data, kind, "a")
    except LifeosError:
        return


@settings(max_examples=EXAMPLES, deadline=None)
@given(document=JSON, kind=KINDS)
def test_the_fast_way_and_the_exact_way_read_the_same(document: object, kind: Any) -> None:
    data = json.dumps(document)
    assert outcome(data, kind) == outcome(data, kind, exactly=True)


def outcome(data: str, kind: Any, *, exactly: bool = False) -> str:
    with mock.patch.object(foreign, "_is_plain", lambda *_: False) if exactly else contextlib.nullcontext():
        try:
            return repr(foreign.decode(data, kind, "a"))
        except LifeosError as error:
            return str(error)


@pytest.mark.parametrize("text", ['{"a": 1}', '{"a": 1, "b": 1e400}'], ids=["plain", "exactly-read"])
def test_one_thread_at_a_time_teaches_msgspec_a_class(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Two at a time end the process with a segmentation fault: a quarter of the runs of 24 threads with four kinds did."""
    kinds = [dataclasses.make_dataclass(f"Kind{number}", [("a", int)]) for number in range(4)]
    active, most, built = 0, 0, []
    make = msgspec.json.Decoder

    def watched(kind: type) -> object:
        nonlocal active, most
        active += 1
        most = max(most, active)
        built.append(kind)
        time.sleep(0.01)
        active -= 1
        return make(kind)

    monkeypatch.setattr(msgspec.json, "Decoder", watched)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda kind: foreign.decode(text, kind, "a test", too_large="null"), kinds * 4))
    assert [value.a for value in found] == [1] * 16
    assert (most, sorted(map(repr, built))) == (1, sorted(map(repr, kinds)))
