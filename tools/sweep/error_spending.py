"""How much of the error that is allowed each look at a growing curve may use, so that looking often does not make chance look like proof.

Each new checkpoint brings new comparisons; the n-th may be wrong with a share 1 / (n (n + 1)) of the allowed error. The shares of all
looks together, however many there will be, add up to 1, so by Bonferroni's inequality the chance of any wrong claim stays within the
allowed error (alpha-spending for an unbounded sequence of tests: Tian and Ramdas 2021, "Online control of the familywise error rate",
arXiv:1910.04900; spending over looks: Lan and DeMets 1983, doi:10.1093/biomet/70.3.659). Where the number of looks is known before, each
gets an equal share.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "alpha-spending, Tian and Ramdas 2021"


@dataclass(frozen=True, slots=True)
class ErrorSpending:
    """`error`: the chance of a wrong claim that all looks together may have, such as 0.05. `planned`: how many looks there will be, None:
    not known.

    A training that goes on beyond its plan counts as planned so long from the start: its first looks were then a little too sure.
    """

    error: float
    planned: int | None = None

    def at(self, look: int) -> float:
        """What the look may use; `look` counts from 1."""
        if self.planned is None:
            return self.error / (look * (look + 1))
        return self.error / max(self.planned, look)
