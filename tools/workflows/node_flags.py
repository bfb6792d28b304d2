"""The flags that name nodes and inputs of a workflow by hand: the same in every script that makes pictures."""

from __future__ import annotations

import argparse
from typing import Any

from lifeos.errors import InputError
from tools.workflows.placing import NodeOverrides

FIELDS = {
    "positive_node_id": "positive_node",
    "positive_key": "positive_key",
    "negative_node_id": "negative_node",
    "negative_key": "negative_key",
    "ksampler_node_id": "sampler_node",
    "seed_node_id": "seed_node",
    "output_node_id": "output_node",
    "seed_key": "seed_key",
    "steps_key": "steps_key",
}
"""Flag, as an attribute of the parsed arguments -> field of NodeOverrides."""
LISTS = ("lora_node_ids", "assignments")
NAMES = (*FIELDS, *LISTS)
GUIDANCE_HELP = "guidance of a model that has one in the place of CFG (Flux; default: the workflow's own)"


def add_node_flags(parser: argparse.ArgumentParser) -> None:
    """The group of flags."""
    about = "found by following the typed links; give them here where that is ambiguous"
    group = parser.add_argument_group("nodes of --workflow", about)
    for role in ("positive", "negative"):
        group.add_argument(f"--{role}-node-id", metavar="ID", help=f"the node that takes the {role} prompt")
        text = "its input; a link there is replaced (default: text, or what else it has)"
        group.add_argument(f"--{role}-node-key", f"--{role}-key", dest=f"{role}_key", metavar="KEY", help=text)
    sampler = "the sampler that takes steps, CFG, sampler and scheduler first; seeds go to all"
    group.add_argument("--ksampler-node-id", metavar="ID", help=sampler)
    group.add_argument("--seed-node-id", metavar="ID", help="the only node that takes the seed")
    group.add_argument("--seed-key", metavar="KEY", help="its input for the seed (default: seed or noise_seed)")
    group.add_argument("--steps-key", metavar="KEY", help="the sampler's input for the steps (default: steps)")
    lora = "the node that takes --lora, or behind which a loader is put; repeat for the same LoRA at several nodes"
    group.add_argument("--lora-node-id", dest="lora_node_ids", action="append", metavar="ID", help=lora)
    output = "the node whose pictures count (default: the last one); others that save are taken out"
    group.add_argument("--output-node-id", metavar="ID", help=output)
    value = "write VALUE into an input, in place of what stands or is linked there; repeat for several"
    group.add_argument("--set", dest="assignments", action="append", metavar="NODE.INPUT=VALUE", help=value)


def given_nodes(args: argparse.Namespace) -> dict[str, Any]:
    """The flags as given, by name; None where they were not."""
    lists = {name: tuple(given) if (given := getattr(args, name)) else None for name in LISTS}
    return {name: getattr(args, name) for name in FIELDS} | lists


def to_overrides(given: dict[str, Any], *, has_workflow: bool) -> NodeOverrides:
    """What the flags say. Raises InputError for nodes of a workflow that was not given."""
    ids: tuple[str, ...] = given.get("lora_node_ids") or ()
    named = {field: given.get(name) for name, field in FIELDS.items()}
    if not has_workflow and (ids or any(value is not None for value in named.values())):
        raise InputError("--…-node-id and --…-key", "name nodes of your own workflow", "give it with --workflow")
    return NodeOverrides(
        **named, lora_node=ids[0] if ids else None, more_lora_nodes=tuple(ids[1:]), assignments=given.get("assignments") or ()
    )
