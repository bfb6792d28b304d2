"""Load and validate the policy: `evals/thresholds.yaml`, with built-in defaults for whatever it leaves out.

Setting order everywhere: command line > evals/thresholds.yaml > built-in default. Reads one YAML file, writes nothing.

    python evals/load_thresholds.py                # the policy in force
    python evals/load_thresholds.py --explain      # each value with its source
    python evals/load_thresholds.py --check        # only say whether the file is sound

Exit codes: 0 the policy is sound · 2 it is not (each fault at file:line) · 3 PyYAML is not installed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.policy_schema import DEFAULTS, Fault, check_policy
from lifeos import cli
from lifeos.errors import EXIT_OK, InputError
from lifeos.files import read_text

POLICY_FILE = Path("evals/thresholds.yaml")
BUILT_IN = "built-in"


class PolicyError(InputError):
    """The policy file cannot be used; `faults` holds every one of them, at its line."""

    def __init__(self, path: Path, faults: list[Fault]) -> None:
        self.path, self.faults = path, faults
        first = faults[0]
        more = f"; and {len(faults) - 1} more: python evals/load_thresholds.py --check" if len(faults) > 1 else ""
        super().__init__(f"{path}:{first.line}", f"{first.key}: {first.message}{more}" if first.key else f"{first.message}{more}")


@dataclass(frozen=True, slots=True)
class Policy:
    """The values in force, and where each came from: dotted key -> `file:line`, `command line` or `built-in`."""

    values: dict[str, Any]
    sources: dict[str, str]


def load_thresholds(
    project_root: Path | str | None = None, path: Path | str | None = None, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The policy in force as nested dictionaries; every key of the built-in defaults is there.

    `project_root`: the checkout (default: the one of this file). `path`: another policy file, which must exist.
    `overrides`: dotted keys set on the command line; `None` means not given, `0` is a value.
    Raises PolicyError with file:line for a file that is not sound, UnavailableError without PyYAML.
    """
    return load_policy(project_root, path, overrides).values


def load_policy(
    project_root: Path | str | None = None, path: Path | str | None = None, overrides: Mapping[str, Any] | None = None
) -> Policy:
    """`load_thresholds`, with the source of each value."""
    root = Path(project_root) if project_root is not None else cli.PROJECT_ROOT
    file = Path(path) if path is not None else root / POLICY_FILE
    if path is not None:
        cli.require_file(file, "--thresholds")
    document, lines, faults = _read_yaml(file) if file.exists() else ({}, {}, [])
    faults += check_policy(document, lines)
    values = _merge(DEFAULTS, document)
    if not faults:  # what only holds between keys is checked on the whole, once the parts are sound
        faults = check_policy(values, lines, whole=True)
    if faults:
        raise PolicyError(file, sorted(faults, key=lambda fault: fault.line))
    sources = {key: f"{file.name}:{lines[key]}" if key in lines else BUILT_IN for key in flatten(values)}
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    for key, value in given.items():
        _set(values, key, value)
        sources[key] = "command line"
    overridden = check_policy(values, {}, whole=True) if given else []
    if overridden:
        raise InputError(overridden[0].key, overridden[0].message, "a flag overrides the policy here")
    return Policy(values, sources)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as dotted keys; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _read_yaml(file: Path) -> tuple[dict[str, Any], dict[str, int], list[Fault]]:
    """The document, the line of each dotted key, and what YAML itself would hide: duplicates, a file that is no mapping."""
    import yaml

    text = read_text(file)
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, {}, [Fault(1, "", "the file is empty: write the policy, or remove the file to use the built-in defaults")]
        lines: dict[str, int] = {}
        faults: list[Fault] = []
        _walk(node, "", lines, faults)
        document = loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        return {}, {}, [Fault(mark.line + 1 if mark else 1, "", f"not YAML: {problem}")]
    finally:
        loader.dispose()
    if not isinstance(document, dict):
        return {}, {}, [Fault(1, "", f"a mapping of sections is wanted, not {type(document).__name__}")]
    return document, lines, faults


def _walk(node: Any, prefix: str, lines: dict[str, int], faults: list[Fault]) -> None:
    if node.id == "sequence":
        for index, item in enumerate(node.value):
            lines[f"{prefix}{index}"] = item.start_mark.line + 1
            _walk(item, f"{prefix}{index}.", lines, faults)
    if node.id != "mapping":
        return
    for key_node, value_node in node.value:
        key = f"{prefix}{key_node.value}"
        line = key_node.start_mark.line + 1
        if key in lines:
            faults.append(Fault(line, key, f"given twice (first at line {lines[key]}): YAML would silently keep the last"))
        lines[key] = line
        _walk(value_node, f"{key}.", lines, faults)


def _merge(defaults: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = deepcopy(dict(defaults))
    for key, value in document.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        values = values[parent]
    if last not in values:
        raise KeyError(key)
    values[last] = value


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_project_root()
    parser.add_argument("--thresholds", type=Path, metavar="FILE", help="another policy file (default: evals/thresholds.yaml)")
    parser.add_argument("--explain", action="store_true", help="each value with its source: file:line or built-in")
    parser.add_argument("--check", action="store_true", help="print only whether the policy is sound")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        policy = load_policy(args.project_root, args.thresholds)
    except PolicyError as error:
        for fault in error.faults[1:]:
            print(f"{error.path}:{fault.line}: {fault.key}: {fault.message}", file=sys.stderr)
        raise
    flat = flatten(policy.values)
    if args.json:
        cli.print_json({"values": policy.values, "sources": policy.sources} if args.explain else policy.values)
    elif args.check:
        print(f"sound: {len(flat)} values, {sum(source != BUILT_IN for source in policy.sources.values())} of them from the file")
    else:
        width = max(len(key) for key in flat)
        for key, value in flat.items():
            print(f"{key:{width}}  {value!s}" + (f"  [{policy.sources[key]}]" if args.explain else ""))
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
