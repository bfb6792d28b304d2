"""The policy: defaults, file, command line, and every fault at its line."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals import load_thresholds as subject
from evals.load_thresholds import load_thresholds
from lifeos import cli
from lifeos.errors import InputError
from lifeos.policy.defaults import DEFAULTS
from lifeos.policy.loading import PolicyError, flatten, load_policy
from lifeos.policy.schema import read_schema
from tests.checkouts import ROOT

SPECIFIED = {
    "face_similarity.pass_threshold": 0.60,
    "face_similarity.warn_threshold": 0.50,
    "face_similarity.metric": "cosine_similarity",
    "face_similarity.description": "InsightFace embedding cosine similarity between generated and reference faces",
    "skin_realism.texture_pass_threshold": 0.60,
    "skin_realism.color_naturalness_pass_threshold": 0.55,
    "skin_realism.overall_pass_threshold": 0.60,
    "skin_realism.description": "Laplacian variance + skin-tone histogram comparison",
    "scorecard.grade_boundaries": {"A": 0.85, "B": 0.70, "C": 0.55, "D": 0.40, "F": 0.0},
    "scorecard.promotion_minimum_grade": "C",
    "scorecard.description": "Combined face similarity + skin realism weighted average",
    "context_budget.claude_md_max_lines": 120,
    "context_budget.goals_max_lines": 10,
    "context_budget.patterns_max_lines": 10,
    "context_budget.session_learnings_max_lines": 80,
    "context_budget.total_max_lines": 220,
    "freshness.max_age_days": 7,
    "freshness.ci_max_age_days": 14,
}
"""The specification's five sections, with its values."""


def policy_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "evals" / "thresholds.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return folder


def faults_of(folder: Path, text: str | bytes) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load_thresholds(policy_file(folder, text))
    return [f"{fault.line} {fault.text}" for fault in caught.value.faults]


@pytest.mark.parametrize(("key", "value"), SPECIFIED.items(), ids=SPECIFIED)
def test_the_shipped_policy_has_the_specified_values(key: str, value: object) -> None:
    section, _, name = key.partition(".")
    assert load_thresholds(ROOT)[section][name] == value


def test_defaults_and_the_shipped_file_do_not_drift() -> None:
    import yaml

    shipped = yaml.safe_load((ROOT / "evals/thresholds.yaml").read_text(encoding="utf-8"))
    assert shipped == DEFAULTS
    pairs = ((value, flatten(DEFAULTS)[key]) for key, value in flatten(shipped).items())
    assert all(isinstance(one, bool) == isinstance(other, bool) for one, other in pairs)  # True == 1 to Python


def _keys_without_schema(values: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        known = schema.get("properties", {}).get(key)
        if known is None and not isinstance(schema.get("additionalProperties"), dict):
            yield prefix + key
        elif isinstance(value, dict):
            yield from _keys_without_schema(value, known or schema["additionalProperties"], f"{prefix}{key}.")
        elif "type" not in (known or schema["additionalProperties"]):
            yield f"{prefix}{key} (no type)"


def _schema_without_default(values: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, known in schema.get("properties", {}).items():
        if prefix == "gates.":  # every guard is off until somebody writes its limit
            continue
        if key not in values:
            yield prefix + key
        elif known.get("properties"):
            yield from _schema_without_default(values[key], known, f"{prefix}{key}.")


def test_the_schema_covers_every_key_and_no_other() -> None:
    assert list(_keys_without_schema(DEFAULTS, read_schema())) == []
    assert list(_schema_without_default(DEFAULTS, read_schema())) == []


def test_every_section_refuses_unknown_keys() -> None:
    sections = read_schema()["properties"]
    # `gates` holds a row for each gate that is in force, by its key: what a row may hold is fixed
    assert [name for name, section in sections.items() if section.get("additionalProperties") is not False] == ["gates"]
    rows = [*sections["gates"]["properties"].values(), sections["gates"]["additionalProperties"]]
    assert all(row["additionalProperties"] is False and row["required"] == ["limit"] for row in rows)


def test_a_missing_file_gives_the_defaults(tmp_path: Path) -> None:
    policy = load_policy(tmp_path)
    assert policy.values == DEFAULTS
    assert set(policy.sources.values()) == {"built-in"}


def test_what_is_returned_is_nobody_else_s(tmp_path: Path) -> None:
    load_thresholds(tmp_path)["freshness"]["files"].append("mine")
    assert "mine" not in load_thresholds(tmp_path)["freshness"]["files"]


def test_a_file_overrides_only_what_it_says(tmp_path: Path) -> None:
    policy = load_policy(policy_file(tmp_path, "\n\nfreshness:\n  max_age_days: 3\n"))
    assert policy.values == DEFAULTS | {"freshness": DEFAULTS["freshness"] | {"max_age_days": 3}}
    assert policy.sources["freshness.max_age_days"] == "thresholds.yaml:4"
    assert policy.sources["freshness.ci_max_age_days"] == "built-in"


def test_grades_are_replaced_and_engines_added(tmp_path: Path) -> None:
    text = "scorecard:\n  grade_boundaries: {A: 0.5, C: 0}\n"
    text += "face_similarity:\n  engines:\n    mine: {stranger: 0, warn: 0.2, pass: 0.3, same: 1}\n"
    values = load_thresholds(policy_file(tmp_path, text))
    assert values["scorecard"]["grade_boundaries"] == {"A": 0.5, "C": 0}
    assert set(values["face_similarity"]["engines"]) == {*DEFAULTS["face_similarity"]["engines"], "mine"}


DIGITS_400 = "9" * 400
FAULTS: dict[str, tuple[str | bytes, list[str]]] = {
    "an empty int by its tag": (
        'a: 1\nb: !!int ""\n',
        ["2 '' cannot be read as int (string index out of range): quote it if it is text"],
    ),
    "a timestamp by its tag": (
        "a: !!timestamp x\n",
        ["1 'x' cannot be read as timestamp ('NoneType' object has no attribute 'groupdict'): quote it if it is text"],
    ),
    "a bool by its tag": ("\n\na: !!bool x\n", ["3 'x' cannot be read as bool ('x'): quote it if it is text"]),
    "a number of 400 digits": (
        f"production:\n  cfg: {DIGITS_400}\n",
        ["2 production.cfg: a number of 400 digits found, a number, 0 or more, wanted"],
    ),
    "a whole number of 400 digits": (
        f"training: {{seed: {DIGITS_400}}}\n",
        ["1 training.seed: a number of 400 digits found, a whole number, 0 or more, wanted"],
    ),
    "a hexadecimal number of 6000 digits": (
        f"production:\n  steps: 0x{'f' * 5000}\n",
        ["2 production.steps: a number of 6021 digits found, a whole number, 0 or more, wanted"],
    ),
    "a mapping that is its own part": (
        "a: &a\n  <<: *a\n",
        ["1 nested more than 50 deep (or an alias that leads back to itself)"],
    ),
    "no grade": (
        "scorecard:\n  grade_boundaries: {}\n",
        ["2 scorecard.grade_boundaries: at least one grade is wanted, with the boundary 0"],
    ),
    "a long text for a number": (
        f"face_similarity:\n  pass_threshold: {'x' * 300}\n",
        [f'2 face_similarity.pass_threshold: the text "{"x" * 60}…" found, a number from 0 to 1 wanted'],
    ),
    "empty": ("", ["1 the file is empty: write the policy, or remove the file to use the built-in defaults"]),
    "only comments": ("# x\n\n", ["1 the file is empty: write the policy, or remove the file to use the built-in defaults"]),
    "a list": ("- a\n", ["1 a mapping of sections is wanted, not list"]),
    "a text": ("hello", ["1 a mapping of sections is wanted, not str"]),
    "an empty section": ("\nfreshness:\n", ["2 freshness: nothing found, a mapping wanted"]),
    "a number as text": (
        'face_similarity:\n  pass_threshold: "0.6"\n',
        ['2 face_similarity.pass_threshold: the text "0.6" found, a number from 0 to 1 wanted'],
    ),
    "1e-3 is text to YAML": (
        "skin_realism:\n  texture_pass_threshold: 1e-3\n",
        ['2 skin_realism.texture_pass_threshold: the text "1e-3" found, a number from 0 to 1 wanted'],
    ),
    "yes is a bool": (
        "face_similarity:\n  pass_threshold: yes\n",
        ["2 face_similarity.pass_threshold: true found, a number from 0 to 1 wanted"],
    ),
    "a bool that is text": (
        'face_similarity:\n  no_face_counts_as_zero: "no"\n',
        ['2 face_similarity.no_face_counts_as_zero: the text "no" found, true or false wanted'],
    ),
    "nothing": ("freshness:\n  max_age_days:\n", ["2 freshness.max_age_days: nothing found, a number, 0 or more, wanted"]),
    "out of range": (
        "face_similarity: {pass_threshold: 1.5}\n",
        ["1 face_similarity.pass_threshold: 1.5 is out of range: a number from 0 to 1 wanted"],
    ),
    "not a number": ("freshness: {max_age_days: .nan}\n", ["1 freshness.max_age_days: nan found, a number, 0 or more, wanted"]),
    "infinity": ("freshness: {max_age_days: .inf}\n", ["1 freshness.max_age_days: inf found, a number, 0 or more, wanted"]),
    "a fraction of a line": (
        "context_budget: {goals_max_lines: 10.5}\n",
        ["1 context_budget.goals_max_lines: 10.5 found, a whole number, 0 or more, wanted"],
    ),
    "pass below warn": (
        "\nface_similarity:\n  pass_threshold: 0.4\n",
        ["3 face_similarity.pass_threshold: 0.4 is below warn_threshold, 0.5"],
    ),
    "unknown key": (
        "face_similarity:\n  pass_treshold: 0.6\n",
        ["2 face_similarity.pass_treshold: unknown key: did you mean pass_threshold, warn_threshold?"],
    ),
    "unknown section": ("face_similarty: {}\n", ["1 face_similarty: unknown key: did you mean face_similarity?"]),
    "given twice": (
        "freshness:\n  max_age_days: 3\n  max_age_days: 4\n",
        ["3 freshness.max_age_days: given twice (first at line 2): YAML would silently keep the last"],
    ),
    "section given twice": (
        "freshness: {}\ncost: {}\nfreshness: {}\n",
        ["3 freshness: given twice (first at line 1): YAML would silently keep the last"],
    ),
    "grades that do not fall": (
        "scorecard:\n  grade_boundaries: {A: 0.5, B: 0.5, F: 0}\n  promotion_minimum_grade: B\n",
        ["2 scorecard.grade_boundaries: must fall from A to F"],
    ),
    "lowest grade above 0": (
        "scorecard:\n  grade_boundaries: {A: 0.5, C: 0.1}\n",
        ["2 scorecard.grade_boundaries.C: must be 0: every score has a grade"],
    ),
    "promotion grade that is none": (
        "scorecard:\n  promotion_minimum_grade: E\n",
        ["2 scorecard.promotion_minimum_grade: E is not one of A, B, C, D, F"],
    ),
    "weights": ("scorecard:\n  weights: {face_similarity: 0.75, skin_realism: 0.5}\n", ["2 scorecard.weights: must add up to 1, not 1.25"]),
    "engine without a point": (
        "face_similarity:\n  engines:\n    mine: {stranger: 0, warn: 0.2, same: 1}\n",
        ["3 face_similarity.engines.mine: the key pass is missing"],
    ),
    "engine out of order": (
        "face_similarity:\n  engines:\n    mine: {stranger: 0, warn: 0.4, pass: 0.3, same: 1}\n",
        ["3 face_similarity.engines.mine: stranger < warn < pass < same is wanted"],
    ),
    "engine with a digest that is none": (
        "face_similarity:\n  engines:\n    mine: {stranger: 0, warn: 0.2, pass: 0.3, same: 1, model: abc}\n",
        ['3 face_similarity.engines.mine.model: the text "abc" found, 12 to 64 digits of a SHA-256 wanted'],
    ),
    "engine fed in an unknown way": (
        "face_similarity:\n  engines:\n    mine: {stranger: 0, warn: 0.2, pass: 0.3, same: 1, input: {channels: gbr, side: 9, size: 9}}\n",
        [
            '3 face_similarity.engines.mine.input.channels: the text "gbr" found, one of rgb, bgr wanted',
            "3 face_similarity.engines.mine.input.side: unknown key: did you mean size?",
            "3 face_similarity.engines.mine.input.size: 9 is out of range: a whole number from 32 to 1024 wanted",
        ],
    ),
    "engine with three points": (
        "face_similarity:\n  engines:\n    mine: {stranger: 0, warn: 0.2, pass: 0.3, same: 1, input: {points: [[1, 2], [3, 4], [5, 6]]}}\n",
        ["3 face_similarity.engines.mine.input.points: 5 pairs of x and y are wanted: both eyes, nose tip, both corners of the mouth"],
    ),
    "all at once": (
        "face_similarity:\n  pass_threshold: 7\nfreshness:\n  max_age: 3\n  ci_max_age_days: -1\n",
        [
            "2 face_similarity.pass_threshold: 7 is out of range: a number from 0 to 1 wanted",
            "4 freshness.max_age: unknown key: did you mean max_age_days, ci_max_age_days?",
            "5 freshness.ci_max_age_days: -1 is out of range: a number, 0 or more, wanted",
        ],
    ),
    "an item of a list": (
        "freshness:\n  files:\n    - {path: A.md, refresh: x}\n    - {path: 3, refresh: x}\n    - {pat: B.md}\n",
        [
            "4 freshness.files.1.path: 3 found, text wanted",
            "5 freshness.files.2: the key path is missing",
            "5 freshness.files.2: the key refresh is missing",
            "5 freshness.files.2.pat: unknown key: did you mean path?",
        ],
    ),
    "keys that are no text": (
        "cost:\n  rates_per_hr: {1: 0.6, yes: 2, ~: 3}\n",
        [
            "2 cost.rates_per_hr: the key 1 is not text: put it in quotes",
            "2 cost.rates_per_hr: the key yes is not text: put it in quotes",
            "2 cost.rates_per_hr: the key ~ is not text: put it in quotes",
        ],
    ),
    "a key that is a list": (
        "cost: {}\n? [a, b]\n: 3\n",
        ["2 the key that is a list or a mapping is not text: put it in quotes", "2 not YAML: found unhashable key"],
    ),
    "tab": ("cost:\n\tidle_minutes: 3\n", ["2 not YAML: found character that cannot start any token"]),
    "two documents": ("cost: {}\n---\ncost: {}\n", ["2 not YAML: but found another document"]),
    "an undefined alias": ("cost: *x\n", ["1 not YAML: found undefined alias"]),
    "a Python object": (
        "\ncost: !!python/object/apply:os.system [ls]\n",
        ["2 not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'"],
    ),
    "a control character": (b"cost: {}\n# \x00\n", ["2 not YAML: control characters are not allowed"]),
    "an impossible date": (
        "cost: {}\nfreshness:\n  max_age_days: 2026-13-45\n",
        ["3 '2026-13-45' cannot be read as timestamp (month must be in 1..12): quote it if it is text"],
    ),
    "nested too deep": ("cost:\n  " + "[" * 100_000, ["2 nested more than 50 deep"]),
    "nested 60 deep": ("cost:\n  " + "[" * 60 + "]" * 60, ["2 nested more than 50 deep (or an alias that leads back to itself)"]),
    "dashes too deep": ("cost:\n  " + "- " * 5000, ["2 nested more than 50 deep"]),
    "indented too deep": (
        "".join(f"{' ' * depth}a:\n" for depth in range(900)),
        ["52 nested more than 50 deep (or an alias that leads back to itself)"],
    ),
    "an alias to itself": ("cost: &x {b: *x}\n", ["1 nested more than 50 deep (or an alias that leads back to itself)"]),
    "a billion values": (
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)),
        ["1 aliases that multiply to more values than a policy has"],
    ),
    "too large": (b"# x\n" * 250_000, ["1 1.0 MB is no policy file: at most 0.5 MB is read"]),
}


@pytest.mark.parametrize(("text", "wanted"), FAULTS.values(), ids=FAULTS)
def test_every_fault_is_named_at_its_line(tmp_path: Path, text: str | bytes, wanted: list[str]) -> None:
    assert faults_of(tmp_path, text) == wanted


@pytest.mark.parametrize(("text", "wanted"), FAULTS.values(), ids=FAULTS)
def test_the_command_says_the_same_and_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | bytes, wanted: list[str]
) -> None:
    root = policy_file(tmp_path, text)
    assert cli.run(lambda: subject.main(["--project-root", str(root), "--check"])) == 2
    *others, first = capsys.readouterr().err.splitlines()
    file = root / "evals/thresholds.yaml"
    assert first.startswith(f"error: {file}:{wanted[0].replace(' ', ': ', 1)}")
    assert others == [f"{file}:{fault.replace(' ', ': ', 1)}" for fault in wanted[1:]]


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffreshness: {max_age_days: 3}\n".encode(),
        b"freshness: {max_age_days: 3}\r\n",
        b"---\nfreshness: {max_age_days: 3}\n...\n",
        b"freshness:\n  max_age_days: .3e+1\n",
    ],
    ids=["BOM", "CRLF", "markers", "float"],
)
def test_other_ways_to_write_it(tmp_path: Path, text: bytes) -> None:
    assert load_thresholds(policy_file(tmp_path, text))["freshness"]["max_age_days"] == 3


def test_anchors_and_merge_keys_keep_their_lines(tmp_path: Path) -> None:
    text = (
        "face_similarity:\n  engines:\n    mine: &mine\n      stranger: 0.0\n      warn: 0.3\n      pass: 0.4\n      same: 1.0\n"
        "    other:\n      <<: *mine\n      pass: 0.5\n"
    )
    policy = load_policy(policy_file(tmp_path, text))
    assert policy.values["face_similarity"]["engines"]["other"] == {"stranger": 0.0, "warn": 0.3, "pass": 0.5, "same": 1.0}
    assert policy.sources["face_similarity.engines.other.pass"] == "thresholds.yaml:10"
    assert policy.sources["face_similarity.engines.other.warn"] == "thresholds.yaml:5"


@pytest.mark.parametrize(
    ("content", "message"),
    [("freshness: {} # é".encode("latin-1"), "not UTF-8 (byte 0xe9)"), ("freshness: {}".encode("utf-16"), "not UTF-8 (byte 0xff)")],
    ids=["latin-1", "utf-16"],
)
def test_another_encoding_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    root = policy_file(tmp_path, content)
    with pytest.raises(InputError) as caught:
        load_thresholds(root)
    assert str(caught.value) == f"{root / 'evals/thresholds.yaml'}:1: {message} (save it as UTF-8)"


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "evals/thresholds.yaml").mkdir(parents=True)
    with pytest.raises(InputError, match="is a directory, not a file"):
        load_thresholds(tmp_path)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.yaml: no such file \(give --thresholds an existing file\)"):
        load_thresholds(path=tmp_path / "no.yaml")


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        ({"face_similarity.pass_threshold": 0.7}, "face_similarity.pass_threshold", 0.7),
        ({"face_similarity.pass_threshold": 0.0}, "face_similarity.pass_threshold", 0.0),
        ({"face_similarity.pass_threshold": 0.0}, "face_similarity.warn_threshold", 0.0),
        ({"face_similarity.pass_threshold": None}, "face_similarity.pass_threshold", 0.6),
        ({"context_budget.total_max_lines": 0}, "context_budget.total_max_lines", 0),
        ({"skin_realism.texture_pass_threshold": 0}, "skin_realism.texture_pass_threshold", 0),
    ],
    ids=["over the file", "0.0 is a value", "a pass below warn takes warn along", "None is not given", "0 lines", "0 score"],
)
def test_the_command_line_comes_first(overrides: dict[str, Any], key: str, value: object) -> None:
    policy = load_policy(ROOT, overrides=overrides)
    assert flatten(policy.values)[key] == value
    assert (policy.sources[key] == "command line") is (None not in overrides.values())


def test_a_flag_out_of_range_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        load_thresholds(ROOT, overrides={"face_similarity.pass_threshold": 1.2})
    assert "face_similarity.pass_threshold: 1.2 is out of range" in str(caught.value)


def test_a_section_does_not_hear_of_the_others(tmp_path: Path) -> None:
    root = policy_file(tmp_path, "face_similarity: {pass_threshold: 7}\nfreshness: {max_age_days: 2}\n")
    assert load_thresholds(root, section="freshness")["freshness"]["max_age_days"] == 2
    with pytest.raises(PolicyError):
        load_thresholds(root, section="face_similarity")
    with pytest.raises(PolicyError):
        load_thresholds(policy_file(tmp_path, "freshness: ["), section="cost")


def test_explain_names_each_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = policy_file(tmp_path, "freshness:\n  max_age_days: 3\n")
    assert subject.main(["--project-root", str(root), "--explain"]) == 0
    lines = {line.split()[0]: line.rpartition("  ")[2] for line in capsys.readouterr().out.splitlines()}
    assert lines["freshness.max_age_days"] == "[thresholds.yaml:2]"
    assert lines["freshness.ci_max_age_days"] == "[built-in]"
    assert subject.main(["--project-root", str(root), "--explain", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["sources"]["freshness.max_age_days"] == "thresholds.yaml:2"
    assert document["values"]["freshness"]["max_age_days"] == 3


def test_json_is_the_policy(capsys: pytest.CaptureFixture[str]) -> None:
    assert subject.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, **DEFAULTS}


SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=True) | st.text(max_size=8)
KEYS = st.sampled_from([*DEFAULTS, *DEFAULTS["face_similarity"], *DEFAULTS["freshness"], "x", "1"])
DOCUMENTS = st.dictionaries(KEYS, SCALARS | st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=2), max_size=3), max_size=3)


@given(DOCUMENTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
def test_any_document_is_sound_or_a_policy_error(tmp_path: Path, document: dict[str, Any]) -> None:
    import yaml

    root = policy_file(tmp_path, yaml.safe_dump(document, allow_unicode=True))
    try:
        values = load_thresholds(root)
    except InputError:
        return
    assert set(values) == set(DEFAULTS)
    assert all(math.isfinite(value) for value in flatten(values).values() if isinstance(value, float))


def test_faults_as_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = policy_file(tmp_path, "freshness:\n  max_age_days: -1\n  mx: 3\n")
    assert cli.run(lambda: subject.main(["--project-root", str(root), "--check", "--format", "github"])) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "::error file=evals/thresholds.yaml,line=2,title=freshness.max_age_days::freshness.max_age_days: -1 is out of range: "
        "a number, 0 or more, wanted",
        "::error file=evals/thresholds.yaml,line=3,title=freshness.mx::freshness.mx: unknown key: "
        "there is ci_max_age_days, files, max_age_days",
    ]


TAGS = st.sampled_from(
    ["", "!!int ", "!!float ", "!!bool ", "!!timestamp ", "!!binary ", "!!null ", "!!str ", "!!omap ", "!!set ", "!x ", "&a "]
)
SCALARS = st.one_of(
    st.sampled_from(
        [".nan", ".inf", "-.inf", "9" * 400, "0x" + "f" * 5000, "1:60", "2026-13-45", "", "''", "*a", "~", "<<", "0o9", "1e400"]
    ),
    st.floats().map(str),
    st.integers().map(str),
    st.text(max_size=8),
)
VALUES = st.recursive(
    st.tuples(TAGS, SCALARS).map("".join),
    lambda inner: st.one_of(
        st.tuples(TAGS, st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")).map("".join),
        st.tuples(TAGS, st.lists(st.tuples(KEYS, inner), max_size=3).map(lambda items: f"{{{', '.join(map(': '.join, items))}}}")).map(
            "".join
        ),
    ),
    max_leaves=6,
)
KEYS = st.one_of(st.sampled_from(["<<", "? x", "!!int x", *DEFAULTS, *(key.rpartition(".")[2] for key in flatten(DEFAULTS))]), SCALARS)
LINES = st.lists(st.tuples(st.sampled_from(["", "  ", "    ", "- "]), KEYS, VALUES).map(lambda parts: f"{parts[0]}{parts[1]}: {parts[2]}"))
TEXTS = st.one_of(
    LINES.map("\n".join),
    st.text(),
    st.binary(),
    st.sampled_from(sorted(flatten(DEFAULTS))).flatmap(
        lambda key: VALUES.map(lambda value: "{" + ": {".join(key.split(".")) + ": " + value + "}" * (key.count(".") + 1))
    ),
)
EXAMPLES = int(os.environ.get("LIFEOS_FUZZ_EXAMPLES", "300"))


@given(TEXTS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[*HealthCheck], derandomize=EXAMPLES <= 300)
def test_any_text_is_a_policy_or_one_clear_error_with_a_line(tmp_path: Path, text: str | bytes) -> None:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    root = policy_file(tmp_path, data)
    try:
        policy = load_policy(root)
    except InputError as error:
        assert re.match(rf"{re.escape(str(root))}/evals/thresholds.yaml:[1-9][0-9]*: ", str(error)), str(error)
        if isinstance(error, PolicyError):
            assert all(fault.line >= 1 and fault.message for fault in error.faults)
        return
    assert all(math.isfinite(value) for value in flatten(policy.values).values() if isinstance(value, int | float))
