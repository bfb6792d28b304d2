"""A number and what it counts, in words: one picture, two pictures."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 prompt`, `2 prompts`, `1,000 prompts`. `plural` is for a noun that does not just take an s (`1 batch`, `2 batches`)."""
    return f"{number:,} {noun if number == 1 else plural or _plural(noun)}"


def verb(number: int, one: str, many: str) -> str:
    """The form of a verb that fits a number: `verb(1, "is", "are")`."""
    return one if number == 1 else many


def dollars(usd: float) -> str:
    """`$12.30`, but below a cent `$0.0042`, so that what cost something never reads as nothing."""
    return f"${usd:.{4 if 0 < usd < 0.01 else 2}f}"


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
