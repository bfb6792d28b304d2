"""The bytes of content credentials that no signature covers: lengths and labels of boxes, and the room that was kept for the signature.

C2PA's reader overlooks a change in a thousand of a copy's bytes. Here each of them must be as a writer leaves it. Boxes are those of JUMBF
(ISO/IEC 19566-5), the signature is a COSE_Sign1 (RFC 9052) in CBOR (RFC 8949).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SEGMENT_HEAD = 8
"""Of a JPEG segment's content: "JP", the number of the box, and the segment's place; the box's own head is repeated behind it."""
BOX_HEAD = 8
BOX_NUMBER = b"\x02\x11"
"""What C2PA's library calls the box of a JPEG."""
TAIL_OF_KINDS = bytes.fromhex("00110010800000aa00389b71")
STORE, SIGNATURE = b"c2pa" + TAIL_OF_KINDS, b"c2cs" + TAIL_OF_KINDS
LABELLED = 0x03
STAMPS = frozenset({"sigTst", "sigTst2"})
UNSIGNED_KEYS = STAMPS | {"pad", "pad2", "rVals"}
COSE_SIGN1 = 18
NOTHING = 0xF6
"""CBOR's null: what is signed stands elsewhere."""
DEEPEST = 16


@dataclass(frozen=True, slots=True)
class UnsignedBytes:
    """What was found: `fault`, empty where every byte is as it should be; and whether the signature holds a time stamp."""

    fault: str = ""
    has_stamp: bool = False


def check_unsigned(parts: Sequence[bytes], *, are_segments: bool) -> UnsignedBytes:
    """Look at the content credentials of a file: the chunks that hold them, or the segments (`are_segments`) of a JPEG."""
    try:
        store = _joined(parts) if are_segments else _only(parts)
        ((kind, start, end),) = _boxes(store, 0, len(store))
        if kind != b"jumb":
            raise ValueError("no JUMBF box")
        uuid, label, start = _description(store, start, end)
        if (uuid, label) != (STORE, b"c2pa"):
            raise ValueError("the store of manifests has another name")
        manifests = list(_boxes(store, start, end))
        signature = _check_manifests(store, manifests)
        return UnsignedBytes(has_stamp=_has_stamp(signature))
    except (ValueError, IndexError) as error:
        return UnsignedBytes(f"bytes that no signature covers were changed: {error}")


def _only(parts: Sequence[bytes]) -> bytes:
    if len(parts) != 1:
        raise ValueError(f"{len(parts)} stores of manifests")
    return parts[0]


def _joined(segments: Sequence[bytes]) -> bytes:
    """The box that lies in parts in the segments of a JPEG."""
    head = segments[0][SEGMENT_HEAD : SEGMENT_HEAD + BOX_HEAD]
    joined = bytearray(head)
    for place, segment in enumerate(segments, 1):
        if segment[:SEGMENT_HEAD] != b"JP" + BOX_NUMBER + place.to_bytes(4, "big"):
            raise ValueError(f"the head of segment {place}")
        if segment[SEGMENT_HEAD : SEGMENT_HEAD + BOX_HEAD] != head:
            raise ValueError(f"the head of the box in segment {place}")
        joined += segment[SEGMENT_HEAD + BOX_HEAD :]
    return bytes(joined)


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the content of each box; together they must fill the space."""
    at = start
    while at < end:
        size = int.from_bytes(data[at : at + 4], "big")
        if size < BOX_HEAD or at + size > end:
            raise ValueError(f"the length of the box at {at}")
        yield data[at + 4 : at + 8], at + BOX_HEAD, at + size
        at += size


def _description(data: bytes, start: int, end: int) -> tuple[bytes, bytes, int]:
    """Kind and label of a superbox, and where its content begins behind them."""
    kind, at, stop = next(_boxes(data, start, end))
    if kind != b"jumd" or data[at + 16] & LABELLED != LABELLED:
        raise ValueError(f"the description of the box at {start}")
    return data[at : at + 16], data[at + 17 : stop].partition(b"\0")[0], stop


def _check_manifests(store: bytes, manifests: list[tuple[bytes, int, int]]) -> bytes:
    """The signature of the last manifest, which is the one in force. Lengths of all are checked on the way."""
    found = b""
    for kind, start, end in manifests:
        if kind != b"jumb":
            raise ValueError("a box that is no manifest")
        found = b""
        _, _, inside = _description(store, start, end)
        for _, part, stop in _boxes(store, inside, end):
            uuid, label, content = _description(store, part, stop)
            boxes = list(_boxes(store, content, stop))
            if label == b"c2pa.signature" and uuid == SIGNATURE and len(boxes) == 1:
                found = store[boxes[0][1] : boxes[0][2]]
    if not found:
        raise ValueError("the last manifest has no signature")
    return found


def _has_stamp(signature: bytes) -> bool:
    """Check what stands unsigned in a COSE_Sign1: known keys, and nothing but zeros in the room that was kept."""
    at = 1 if signature[0] == 0xC0 | COSE_SIGN1 else 0
    kind, count, at = _head(signature, at)
    if (kind, count) != (4, 4):
        raise ValueError("no signature of four parts")
    at = _behind(signature, at)
    kind, count, at = _head(signature, at)
    if kind != 5:
        raise ValueError("the signature has no unsigned part")
    keys = []
    for _ in range(count):
        start, at = at, _behind(signature, at)
        key = _text(signature, start)
        start, at = at, _behind(signature, at)
        if key not in UNSIGNED_KEYS:
            raise ValueError("an unknown key")
        if key.startswith("pad") and any(_bytes(signature, start)):
            raise ValueError("the room that was kept for the signature is not empty")
        keys.append(key)
    if signature[at] != NOTHING:
        raise ValueError("the signature holds what it signs")
    at = _behind(signature, at + 1)
    if any(signature[at:]):
        raise ValueError("bytes behind the signature")
    return bool(STAMPS & set(keys))


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Kind, number and end of the head of a CBOR item."""
    kind, short = data[at] >> 5, data[at] & 31
    if short < 24:
        return kind, short, at + 1
    if short > 27:
        raise ValueError(f"the CBOR item at {at}")
    size = 1 << (short - 24)
    return kind, int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size


def _behind(data: bytes, at: int, depth: int = 0) -> int:
    """Where the CBOR item behind this one begins."""
    kind, number, end = _head(data, at)
    if kind in (2, 3):
        end += number
    elif kind in (4, 5, 6):
        if depth > DEEPEST or number > len(data):
            raise ValueError(f"the CBOR item at {at}")
        for _ in range(1 if kind == 6 else number * (kind - 3)):
            end = _behind(data, end, depth + 1)
    if end > len(data):
        raise ValueError(f"the length of the CBOR item at {at}")
    return end


def _text(data: bytes, at: int) -> str:
    kind, number, end = _head(data, at)
    return data[end : end + number].decode("ascii", "replace") if kind == 3 else ""


def _bytes(data: bytes, at: int) -> bytes:
    kind, number, end = _head(data, at)
    if kind != 2:
        raise ValueError("the room that was kept for the signature is not of bytes")
    return data[end : end + number]
