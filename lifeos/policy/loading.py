"""Load the policy: `evals/thresholds.yaml`, checked, with built-in defaults for whatever it leaves out.

A value on the command line wins over the file; the file wins over the built-in defaults.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lifeos.errors import InputError
from lifeos.files import read_text
from lifeos.findings import Finding
from lifeos.policy.defaults import DEFAULTS
from lifeos.policy.schema import POLICY_PATH, check_policy, fault_at
from lifeos.project import PROJECT_ROOT, require_file

POLICY_FILE = Path(POLICY_PATH)
BUILT_IN = "built-in"
COMMAND_LINE = "command line"
MAX_BYTES = 500_000
MAX_DEPTH = 50
"""The policy is five deep. The C parser overruns its stack at some ten thousand levels, and takes Python with it."""
SAFE_DEPTH = 1000
"""Far from where the parser breaks; up to here the walk over the nodes finds what is too deep."""
MAX_NODES = 20_000
"""The policy has 200. Aliases of aliases multiply: ten lines of YAML can stand for a billion values."""
REPLACED_WHOLE = frozenset({"scorecard.grade_boundaries"})
"""Given in the file, these take the place of the built-in mapping: two sets of grades cannot be mixed."""


class PolicyError(InputError):
    """The policy file cannot be used; `faults` holds every one of them, at its line."""

    def __init__(self, path: Path, faults: list[Finding]) -> None:
        self.path, self.faults = path, faults
        first = faults[0]
        more = f"; and {len(faults) - 1} more: python evals/load_thresholds.py --check" if len(faults) > 1 else ""
        super().__init__(f"{path}:{first.line}", f"{first.text}{more}")


@dataclass(frozen=True, slots=True)
class Policy:
    """The values in force, and where each came from: dotted key -> `file:line`, `command line` or `built-in`."""

    values: dict[str, Any]
    sources: dict[str, str]


def load_thresholds(
    project_root: Path | str | None = None,
    path: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    section: str = "",
) -> dict[str, Any]:
    """The policy in force as nested dictionaries; every key of the built-in defaults is there.

    `project_root`: the checkout (default: the one of this file). `path`: another policy file, which must exist.
    `overrides`: dotted keys set on the command line; `None` means not given, `0` is a value.
    `section`: all that the caller reads: a fault in another section does not concern it.
    Raises PolicyError with file:line for a file that is not sound, UnavailableError without PyYAML.
    """
    return load_policy(project_root, path, overrides, section).values


def load_policy(
    project_root: Path | str | None = None,
    path: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    section: str = "",
) -> Policy:
    """`load_thresholds`, with the source of each value."""
    root = Path(project_root) if project_root is not None else PROJECT_ROOT
    file = Path(path) if path is not None else root / POLICY_FILE
    if path is not None:
        require_file(file, "--thresholds")
    document, lines, faults = read_yaml(file) if file.exists() else ({}, {}, [])
    faults += check_policy(document, lines)
    values = _merge(DEFAULTS, document)
    if not faults:  # what only holds between keys is checked on the whole, once the parts are sound
        faults = check_policy(values, lines, whole=True)
    faults = [fault for fault in faults if not section or fault.rule.partition(".")[0] in ("policy", section)]
    if faults:
        place = (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()
        raise PolicyError(file, sorted((replace(fault, path=place) for fault in faults), key=lambda fault: fault.line))
    _place_folders(values, root)
    sources = {key: f"{file.name}:{lines[key]}" if key in lines else BUILT_IN for key in flatten(values)}
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    _override(values, sources, given)
    return Policy(values, sources)


def _place_folders(values: dict[str, Any], root: Path) -> None:
    """The folders that gates look into are named from the checkout, and mean the same from everywhere."""
    for gate in values["gates"].values():
        if gate.get("folder"):
            gate["folder"] = str((root / Path(gate["folder"]).expanduser()).resolve())


def _override(values: dict[str, Any], sources: dict[str, str], given: dict[str, Any]) -> None:
    """Set the values of the command line, and check that the whole still holds together."""
    if not given:
        return
    for key, value in given.items():
        _set(values, key, value)
        sources[key] = COMMAND_LINE
    face = values["face_similarity"]
    only_pass = "face_similarity.pass_threshold" in given and "face_similarity.warn_threshold" not in given
    if only_pass and face["warn_threshold"] > face["pass_threshold"]:  # --threshold 0.3: what passes needs no warning
        face["warn_threshold"] = face["pass_threshold"]
        sources["face_similarity.warn_threshold"] = COMMAND_LINE
    for name, gate in values["gates"].items():
        if "limit" not in gate:
            why = "has no limit, so that guard is off, and the flag that was given for it has no use"
            raise InputError(f"gates.{name}", why, f"give --{name.replace('_', '-')}-threshold X too, or write its limit into the policy")
    sections = {key.partition(".")[0] for key in given}
    faults = [fault for fault in check_policy(values, {}, whole=True) if fault.rule.partition(".")[0] in sections]
    if faults:
        raise InputError(faults[0].rule, faults[0].message.removeprefix(f"{faults[0].rule}: "), "a flag overrides the policy here")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as dotted keys; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def read_yaml(file: Path) -> tuple[dict[str, Any], dict[str, int], list[Finding]]:
    """The document, the line of each dotted key, and what YAML itself would hide: duplicates, a file that is no mapping."""
    import yaml

    if file.is_file() and file.stat().st_size > MAX_BYTES:
        return {}, {}, [fault_at(1, f"{file.stat().st_size / 1e6:.1f} MB is no policy file: at most {MAX_BYTES / 1e6} MB is read")]
    text = read_text(file)
    kind: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    lines: dict[str, int] = {}
    faults: list[Finding] = []
    try:
        if _most_depth(text) > SAFE_DEPTH:
            _check_depth(yaml.parse(text, Loader=kind))
        node: Any = yaml.compose(text, Loader=kind)
        if node is None:
            return {}, {}, [fault_at(1, "the file is empty: write the policy, or remove the file to use the built-in defaults")]
        _Walk(lines, faults).visit(node, "")
        document = _construct(kind, text, node)
    except _ShapeError as error:
        return {}, {}, [*faults, fault_at(error.line, str(error))]
    except yaml.YAMLError as error:
        return {}, {}, [*faults, _syntax_fault(error, text)]
    if not isinstance(document, dict):
        return {}, {}, [fault_at(1, f"a mapping of sections is wanted, not {type(document).__name__}")]
    return document, lines, faults


class _ShapeError(Exception):
    """YAML that is too deep, too much, or holds a value that cannot be read."""

    def __init__(self, line: int, why: str) -> None:
        self.line = line
        super().__init__(why)


def _most_depth(text: str) -> int:
    """No YAML can be nested deeper: each level takes a bracket, a compact `- ` or `? `, or a column of indentation."""
    indentation = max((len(line) - len(line.lstrip(" ")) for line in text.splitlines()), default=0)
    return indentation + sum(text.count(mark) for mark in ("[", "{", "- ", "? "))


def _check_depth(events: Iterable[Any]) -> None:
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name.endswith("StartEvent") - name.endswith("EndEvent")
        if depth > MAX_DEPTH:
            raise _ShapeError(event.start_mark.line + 1, f"nested more than {MAX_DEPTH} deep")


def _construct(kind: Any, text: str, node: Any) -> Any:
    """The values of a node. A value that YAML takes for a date or a number and Python refuses is named at its line."""
    loader = kind(text)
    import yaml

    try:
        return loader.construct_document(node)
    except yaml.YAMLError:
        raise
    except Exception as error:  # of a tag such as `!!int ""` PyYAML lets through whatever its own code runs into
        for scalar in _scalars(node):
            try:
                kind("").construct_object(scalar)
            except Exception as fault:
                why = f"{scalar.value[:40]!r} cannot be read as {scalar.tag.rpartition(':')[2]} ({_reason(fault)}): quote it if it is text"
                raise _ShapeError(scalar.start_mark.line + 1, why) from None
        raise _ShapeError(node.start_mark.line + 1, f"cannot be read: {_reason(error)}") from None
    finally:
        loader.dispose()


def _reason(error: Exception) -> str:
    """An error of PyYAML's own code on one short line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:80]


def _scalars(node: Any) -> Iterator[Any]:
    if node.id == "scalar":
        yield node
    for item in node.value if node.id != "scalar" else ():
        for child in item if isinstance(item, tuple) else (item,):
            yield from _scalars(child)


def _syntax_fault(error: Any, text: str) -> Finding:
    mark = getattr(error, "problem_mark", None)
    position = getattr(error, "position", None)  # of a character that YAML forbids
    line = mark.line + 1 if mark else text.count("\n", 0, position or 0) + 1
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
    return fault_at(line, f"not YAML: {problem}")


class _Walk:
    """Notes the line of each dotted key and each fault that constructing the values would hide."""

    def __init__(self, lines: dict[str, int], faults: list[Finding]) -> None:
        self.lines, self.faults, self.nodes = lines, faults, 0

    def visit(self, node: Any, prefix: str, depth: int = 0, *, merged: bool = False) -> None:
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise _ShapeError(node.start_mark.line + 1, f"nested more than {MAX_DEPTH} deep (or an alias that leads back to itself)")
        if self.nodes > MAX_NODES:
            raise _ShapeError(node.start_mark.line + 1, "aliases that multiply to more values than a policy has")
        if node.id == "sequence":
            for index, item in enumerate(node.value):
                self.lines[f"{prefix}{index}"] = item.start_mark.line + 1
                self.visit(item, f"{prefix}{index}.", depth + 1)
        elif node.id == "mapping":
            own: set[str] = set()
            for key_node, value_node in node.value:
                self._visit_pair(key_node, value_node, prefix, own, depth + 1, merged)

    def _visit_pair(self, key_node: Any, value_node: Any, prefix: str, own: set[str], depth: int, merged: bool) -> None:
        line = key_node.start_mark.line + 1
        key = f"{prefix}{key_node.value}"
        if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *anchor`: its keys count where no other says them
            for source in value_node.value if value_node.id == "sequence" else [value_node]:
                self.visit(source, prefix, depth, merged=True)
            return
        if key_node.tag != "tag:yaml.org,2002:str":
            self.faults.append(fault_at(line, f"the key {_shown(key_node.value)} is not text: put it in quotes", prefix.rstrip(".")))
            return
        if key in own:
            first = self.lines[key]
            self.faults.append(fault_at(line, f"given twice (first at line {first}): YAML would silently keep the last", key))
        own.add(key)
        if not merged or key not in self.lines:
            self.lines[key] = line
        self.visit(value_node, f"{key}.", depth, merged=merged)


def _shown(key: Any) -> str:
    return key[:40] if isinstance(key, str) else "that is a list or a mapping"


def _merge(defaults: Mapping[str, Any], document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    merged: dict[str, Any] = deepcopy(dict(defaults))
    for key, value in document.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and f"{prefix}{key}" not in REPLACED_WHOLE
        merged[key] = _merge(merged[key], value, f"{prefix}{key}.") if both else value
    return merged


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value  # a key that no policy has is found by the check that follows
