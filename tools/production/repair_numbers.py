"""The numbers of repairs among the numbers of a batch's pictures: each follows from the picture that is repaired.

So a repair is planned, sent, made, judged and filed like any other picture, with the same records, and there can be one for each.
"""

from __future__ import annotations

FIRST = 1_000_000_000
"""Above every number of a plan. The repair of the k-th picture of item N has the number k x this + N."""
MARK = "-repaired"


def repair_number(index: int, place: int) -> int:
    """The number of the repair of a picture: the `place`-th, from 1, of the item `index`."""
    return place * FIRST + index


def split_number(number: int) -> tuple[int, int]:
    """Which picture of which item a number repairs; 0 and the number itself for one that repairs none."""
    return (0, number) if number < FIRST else divmod(number, FIRST)


def is_repair(number: int) -> bool:
    return number >= FIRST


def key_of(number: int) -> str:
    """A number for people and file names: `0007`, `0007-repaired`, and `0007-repaired2` for the second picture of one prompt."""
    place, index = split_number(number)
    return f"{index:04d}" + (MARK if place else "") + (str(place) if place > 1 else "")


def number_of(key: str) -> int:
    """The number of a key."""
    index, mark, place = key.partition(MARK)
    return repair_number(int(index), int(place or 1)) if mark else int(index)
