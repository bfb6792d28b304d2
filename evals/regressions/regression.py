"""What a regression is: a function `NAME_test(project)` that yields findings, registered by its decorator.

    @regression
    def threshold_policy_test(project: Project) -> Iterator[Finding]:
        \"\"\"The policy file exists, is sound and holds every key.\"\"\"

The first line of the docstring is what `known_failures.py --list` shows. No finding of severity `error`: it passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from evals.load_thresholds import load_thresholds
from lifeos.errors import InputError
from lifeos.findings import Finding
from lifeos.guardrails.checkout import Checkout
from lifeos.policy.loading import Policy, load_policy


class Project:
    """What a regression looks at. `strict_runtime_deps`: also at the packages installed for this Python."""

    def __init__(self, checkout: Checkout, *, strict_runtime_deps: bool = False) -> None:
        self.checkout = checkout
        self.strict_runtime_deps = strict_runtime_deps

    @cached_property
    def policy(self) -> Policy | InputError:
        """The policy, read once, or why it is not sound."""
        try:
            return load_policy(self.checkout.root)
        except InputError as error:
            return error

    def load_section(self, section: str) -> dict[str, Any]:
        """One section of the policy, which the others' faults do not concern. Raises InputError."""
        if isinstance(self.policy, Policy):
            values: dict[str, Any] = self.policy.values[section]
            return values
        return dict(load_thresholds(self.checkout.root, section=section)[section])


Regression = Callable[[Project], Iterator[Finding]]
REGRESSIONS: dict[str, Regression] = {}


def regression(function: Regression) -> Regression:
    """Register a regression under its function's name."""
    name = function.__name__
    if not name.endswith("_test") or not function.__doc__ or name in REGRESSIONS:
        raise TypeError(f"{name}: a regression has a docstring and a name of its own that ends in _test")
    REGRESSIONS[name] = function
    return function
