"""The flags of the budgets that all work of a project shares: the same in every script that spends money."""

from __future__ import annotations

import argparse

from lifeos import cli


def add_budget_flags(group: argparse._ActionsContainer) -> None:
    """`--max-cost-day` and `--max-cost-month`, None if not given."""
    whole = "batches, sweeps and trainings together, as the cost log knows them"
    for period, name in (("day", "on a day"), ("month", "in a month")):
        text = cli.policy_help(f"spend no more than this {name} (UTC): {whole}; 0: no limit", f"cost.max_usd_per_{period}")
        group.add_argument(f"--max-cost-{period}", type=cli.non_negative, metavar="USD", help=text)
