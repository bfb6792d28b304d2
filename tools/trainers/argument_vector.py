"""Read a trainer's command line as its own parser would. Standard library only: the guardrails read commands too."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def read_arguments(args: Sequence[str], whole: Callable[[str], str] = str) -> dict[str, tuple[str, ...]]:
    """Options by their name without dashes -> their values (none for a switch); of one that is given twice the last. `--name=value` counts
    as two. `whole`: the name that is meant by the beginning of one."""
    values: dict[str, tuple[str, ...]] = {}
    option = ""
    for item in args:
        if item.startswith("--"):
            option, equals, value = item[2:].partition("=")
            option = whole(option.replace("-", "_"))
            values[option] = (value,) if equals else ()
        elif option:
            values[option] += (item,)
    return values
