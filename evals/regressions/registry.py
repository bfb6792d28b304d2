"""What a regression is: a function `NAME_test(project)` that yields findings, registered by its decorator.

    @regression
    def threshold_policy_test(project: Project) -> Iterator[Finding]:
        \"\"\"The policy file exists, is sound and holds every key.\"\"\"

The first line of the docstring is what `known_failures.py --list` shows. No finding of severity `error`: it passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from evals.guardrails.checkout import Checkout
from lifeos.findings import Finding


@dataclass(frozen=True, slots=True)
class Project:
    """What a regression looks at. `strict_runtime_deps`: also at the packages installed for this Python."""

    checkout: Checkout
    strict_runtime_deps: bool = False


Regression = Callable[[Project], Iterator[Finding]]
REGRESSIONS: dict[str, Regression] = {}


def regression(function: Regression) -> Regression:
    """Register a regression under its function's name."""
    name = function.__name__
    if not name.endswith("_test") or not function.__doc__ or name in REGRESSIONS:
        raise TypeError(f"{name}: a regression has a docstring and a name of its own that ends in _test")
    REGRESSIONS[name] = function
    return function
