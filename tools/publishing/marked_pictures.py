"""Published copies among pictures that are trained on or judged: their watermark would be learnt, and raises texture scores by .009.

The cheap sign is the label in a file's metadata, which many other pictures carry too: only a mark that is read in the pixels counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from lifeos.counting import counted, verb
from lifeos.errors import InputError
from lifeos.escaping import escape_line
from lifeos.images import ImageError, decode_picture, list_pictures
from lifeos.picture_labels import has_ai_label, is_labelled

SHOWN = 3
ALLOW = "--allow-marked"


def carries_mark(data: bytes, path: Path, *, unlabelled: bool) -> bool:
    """Whether the picture in these bytes carries the watermark; False for what cannot be decoded.

    A labelled one is searched as `watermark.read` does (up to a second). One without a label, which most are, is looked at `unlabelled`
    only as it is: that finds copies that were neither resized nor cropped, in a hundredth of a second beside the decoding.
    """
    from tools.publishing.watermark import attempts

    labelled = has_ai_label(data)
    if not labelled and not unlabelled:
        return False
    try:
        rgb = decode_picture(data, path).rgb
    except ImageError:
        return False
    looks = attempts(rgb)
    return any(look.tile.stands_out for look in (looks if labelled else islice(looks, 1)))


def find_marked(paths: Sequence[Path]) -> list[Path]:
    """The published copies among labelled pictures, the only ones whose pixels are looked at."""
    return [path for path in paths if is_labelled(path) and carries_mark(path.read_bytes(), path, unlabelled=False)]


def describe_marked(marked: Sequence[Path], of: int) -> str:
    """`2 of 40 pictures carry the watermark of a published copy: a.jpg, b.jpg`."""
    names = ", ".join(escape_line(path.name) for path in marked[:SHOWN])
    more = f" and {len(marked) - SHOWN} more" if len(marked) > SHOWN else ""
    carry = verb(len(marked), "carries", "carry")
    return f"{len(marked)} of {counted(of, 'picture')} {carry} the watermark of a published copy: {names}{more}"


def refuse_marked(paths: Sequence[Path], what: object, *, allow: bool) -> None:
    """Raises InputError where published copies are among these pictures and nobody allowed it."""
    if allow:
        return
    if marked := find_marked(paths):
        why = f"{describe_marked(marked, len(paths))}; the mark raises texture scores"
        raise InputError(what, why, f"use the originals in approved/, or give {ALLOW}")


def refuse_marked_inputs(pictures: Sequence[Path], reference_dir: Path, *, allow: bool) -> None:
    """The same of the pictures that are judged, and of the references that they are judged by."""
    refuse_marked(pictures, "the pictures to judge", allow=allow)
    refuse_marked(list_pictures(reference_dir).pictures if reference_dir.is_dir() else (), reference_dir, allow=allow)
