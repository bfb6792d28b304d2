"""The steps of a cycle, as one table: what each runs, when, what it needs and what it makes.

A step is a standalone script run as a process. `skip` tells, before the step, why it has nothing to do; it may look at what
earlier steps made. `command` builds the argument vector from the settings.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from evals.judging.run_kinds import SORTING
from lifeos.guardrails.checkout import NoGitError
from lifeos.shells import split_command
from tools.briefings.findings_promotion import LEDGER, MEMORY, TASKS
from tools.cost.meter import LOG_FILE
from tools.cycle.committing import CommitPlan, commit_commands, plan_commit
from tools.cycle.opponent import find_opponent, read_past_runs

HISTORY = Path("evals/eval_history.jsonl")
BRIEFINGS = Path("briefings")
COMPARISON_REPORT = Path("evals/comparison_report.md")
CHAMPION = Path("evals/champion.json")
MANIFEST_NAME = "dataset_manifest.json"


@dataclass(frozen=True, slots=True)
class CycleSettings:
    """The command line of a cycle, with the policy's defaults filled in. Paths are as given; None means not given."""

    root: Path
    agent_command: str = ""
    agent_prompt: Path | None = None
    skip_agent: bool = False
    skip_cost_tracking: bool = False
    skip_commit: bool = False
    commit_message: str = ""
    max_age_days: float | None = None
    cost_activity: str = "agent"
    cost_rate_per_hr: str | None = None
    cost_gpu: str | None = None
    generated_dir: Path | None = None
    reference_dir: Path | None = None
    lora_version: str | None = None
    run_id: str | None = None
    notes: str | None = None
    training_dataset_dir: Path | None = None
    training_output_dir: Path | None = None
    dataset_manifest_out: Path | None = None
    compare_with_run_id: str | None = None
    comparison_output: Path | None = None
    run_production: bool = False
    production_workflow: Path | None = None
    production_prompts: Path | None = None
    production_count: int | None = None
    production_output_dir: Path | None = None
    production_reference_dir: Path | None = None
    production_lora: str | None = None
    production_comfy_url: tuple[str, ...] = ()
    production_servers: Path | None = None
    production_comfy_token_env: str | None = None
    """The name of the variable: a token itself is in no command, which everybody on the machine can read."""
    production_insecure_token: bool = False
    max_cost_day: float | None = None
    max_cost_month: float | None = None
    skipped: frozenset[str] = frozenset()

    @property
    def manifest(self) -> Path | None:
        """Where the dataset's manifest is, or will be."""
        if self.dataset_manifest_out is not None:
            return self.dataset_manifest_out
        return self.training_output_dir / MANIFEST_NAME if self.training_output_dir is not None else None


Commands = list[list[str]]


@dataclass(frozen=True, slots=True)
class CycleStep:
    """One row of the table.

    `commands` run one after another until one fails; `script` is checked by a dry run; `needs` are inputs that must exist when
    the step begins; `makes` are artefacts, shown at the end if they are there. Files that belong under version control, and are committed:
    `writes` are those that it writes in every run, `keeps` those that it may write (a pattern where their names are not known before).
    `limit` names the time limit. A `repeated` step runs again when an unfinished cycle continues. `rehearsal` is the flag of the script's
    own dry run, which is asked before anything is paid.
    """

    name: str
    title: str
    script: str
    commands: Callable[[CycleSettings], Commands]
    skip: Callable[[CycleSettings], str] = lambda settings: ""
    needs: Callable[[CycleSettings], list[Path | None]] = lambda settings: []
    makes: Callable[[CycleSettings], list[Path | None]] = lambda settings: []
    writes: Callable[[CycleSettings], list[Path | None]] = lambda settings: []
    keeps: Callable[[CycleSettings], list[Path | None]] = lambda settings: []
    limit: str = ""
    repeated: bool = False
    rehearsal: str = ""


def _python(settings: CycleSettings, script: str, *arguments: str) -> Commands:
    return [[sys.executable, str(Path(script)), *arguments]]


def _flags(**values: object) -> list[str]:
    """`_flags(run_id="v3", notes=None)` -> `["--run-id", "v3"]`: what was not given is left out, 0 is given."""
    return [part for name, value in values.items() if value is not None for part in (f"--{name.replace('_', '-')}", str(value))]


def _guardrail(name: str, title: str, script: str, arguments: Callable[[CycleSettings], list[str]] = lambda settings: []) -> CycleStep:
    def commands(settings: CycleSettings) -> Commands:
        return _python(settings, script, "--project-root", ".", *arguments(settings))

    return CycleStep(name, title, script, commands, limit="guardrail", repeated=True)


def _skip_agent(settings: CycleSettings) -> str:
    if settings.skip_agent:
        return "--skip-agent"
    if not settings.agent_command:
        return 'no agent is configured: give --agent-command "claude -p", or set cycle.agent_command in evals/thresholds.yaml'
    return ""


def _skip_cost(settings: CycleSettings) -> str:
    return "--skip-cost-tracking" if settings.skip_cost_tracking else _skip_agent(settings) and "no agent runs"


def _cost_start(settings: CycleSettings) -> Commands:
    flags = _flags(
        activity=settings.cost_activity,
        gpu=settings.cost_gpu,
        rate_per_hr=settings.cost_rate_per_hr,
        lora_version=settings.lora_version,
    )
    return _python(settings, "tools/runpod_cost_tracker.py", "--action", "start", *flags)


def _manifest(settings: CycleSettings) -> Commands:
    """A manifest that training left is verified, not made again: making it again would hide what changed since."""
    manifest = settings.manifest
    if manifest is not None and (settings.root / manifest).exists():
        return _python(settings, "tools/dataset_manifest.py", *_flags(verify=manifest, dataset_dir=settings.training_dataset_dir))
    return _python(settings, "tools/dataset_manifest.py", *_flags(dataset_dir=settings.training_dataset_dir, output=manifest))


def _skip_manifest(settings: CycleSettings) -> str:
    if settings.training_dataset_dir is None:
        return "no --training-dataset-dir"
    return "" if settings.manifest is not None else "no --training-output-dir or --dataset-manifest-out to write it to"


def _scorecard(settings: CycleSettings) -> Commands:
    manifest = settings.manifest
    known = manifest is not None and settings.training_dataset_dir is not None and (settings.root / manifest).exists()
    flags = _flags(
        generated=settings.generated_dir,
        reference=settings.reference_dir,
        run_id=settings.run_id,
        lora_version=settings.lora_version,
        notes=settings.notes,
        dataset_manifest=manifest if known else None,
    )
    return _python(settings, "evals/scorecard.py", *flags)


def _skip_scorecard(settings: CycleSettings) -> str:
    missing = [
        flag for flag, value in (("--generated-dir", settings.generated_dir), ("--reference-dir", settings.reference_dir)) if not value
    ]
    return f"no {' and '.join(missing)}" if missing else ""


def _compared(settings: CycleSettings) -> tuple[str, str] | None:
    """(before, now): the run asked for, else the opponent that the history offers, against this cycle's run or the newest."""
    runs = read_past_runs(settings.root / HISTORY)
    newest = [run for run in runs if run.kind != SORTING]
    now = settings.run_id or (newest[-1].run_id if newest else "")
    before = settings.compare_with_run_id or find_opponent(runs, now, settings.lora_version, settings.root / CHAMPION)
    return (before, now) if before and now else None


def _skip_comparison(settings: CycleSettings) -> str:
    if not settings.compare_with_run_id and _skip_scorecard(settings):
        return "no new scorecard, and no --compare-with-run-id"
    return "" if _compared(settings) else "the history holds no other run to compare with"


def _comparison(settings: CycleSettings) -> Commands:
    before, now = _compared(settings) or (settings.compare_with_run_id or "PREVIOUS_RUN", settings.run_id or "THIS_RUN")
    return _python(settings, "evals/compare_versions.py", *_flags(history=HISTORY, v1=before, v2=now, output=settings.comparison_output))


def _production(settings: CycleSettings) -> Commands:
    flags = _flags(
        workflow=settings.production_workflow,
        prompts=settings.production_prompts,
        count=settings.production_count,
        output_dir=settings.production_output_dir,
        reference_dir=settings.production_reference_dir or settings.reference_dir,
        lora=settings.production_lora,
        lora_version=settings.lora_version,
        servers=settings.production_servers,
        max_cost_day=settings.max_cost_day,
        max_cost_month=settings.max_cost_month,
        comfy_token_env=settings.production_comfy_token_env,
    )
    urls = [part for url in settings.production_comfy_url for part in ("--comfy-url", url)]
    insecure = ["--insecure-token"] if settings.production_insecure_token else []
    return _python(settings, "tools/production_pipeline.py", *flags, *urls, *insecure)


def plan_cycle_commit(settings: CycleSettings, chosen: Iterable[CycleStep] = ()) -> CommitPlan:
    """What the commit step would take now, and what the steps of `chosen` that are not skipped will have written by then."""
    declared = [path for step in STEPS for path in (*step.writes(settings), *step.keeps(settings))]
    coming = [path for step in chosen if not why_skipped(step, settings) for path in step.writes(settings)]
    return plan_commit(settings.root, declared, coming)


def commit_message(settings: CycleSettings) -> str:
    return settings.commit_message or f"Run the cycle{f' for {settings.run_id}' if settings.run_id else ''}"


def _commit(settings: CycleSettings) -> Commands:
    """No command where nothing that may be committed has changed."""
    return commit_commands(settings.root, plan_cycle_commit(settings), commit_message(settings))


def _skip_commit(settings: CycleSettings) -> str:
    if settings.skip_commit:
        return "--skip-commit"
    try:
        plan_cycle_commit(settings)
    except NoGitError as reason:
        return str(reason)
    return ""


STEPS: tuple[CycleStep, ...] = (
    _guardrail("preflight", "Preflight", "tools/lifeos_preflight.py"),
    _guardrail("freshness", "Freshness", "tools/lifeos_freshness_check.py", lambda settings: _flags(max_age_days=settings.max_age_days)),
    _guardrail("context_budget", "Context budget", "tools/lifeos_context_budget.py"),
    _guardrail("known_failures", "Known failures", "evals/known_failures.py"),
    CycleStep("cost_start", "Start the meter", "tools/runpod_cost_tracker.py", _cost_start, _skip_cost, repeated=True),
    CycleStep(
        "agent",
        "Agent",
        "",
        lambda settings: [split_command(settings.agent_command)],
        _skip_agent,
        needs=lambda settings: [settings.agent_prompt],
        keeps=lambda settings: [BRIEFINGS / "*.md", Path("research/*.md")],  # as agents/daily_cycle.md asks
        limit="agent",
    ),
    CycleStep(
        "cost_stop",
        "Stop the meter",
        "tools/runpod_cost_tracker.py",
        lambda settings: _python(settings, "tools/runpod_cost_tracker.py", "--action", "stop"),
        _skip_cost,
        writes=lambda settings: [LOG_FILE],
        repeated=True,
    ),
    CycleStep(
        "promote_findings",
        "Promote findings",
        "tools/promote_findings.py",
        lambda settings: _python(settings, "tools/promote_findings.py", "--project-root", ".", "--apply-critical"),
        lambda settings: "" if any((settings.root / BRIEFINGS).glob("*.md")) else "no briefing",
        keeps=lambda settings: [MEMORY, TASKS, LEDGER],
        limit="guardrail",
    ),
    CycleStep(
        "dataset_manifest",
        "Dataset manifest",
        "tools/dataset_manifest.py",
        _manifest,
        _skip_manifest,
        needs=lambda settings: [settings.training_dataset_dir],
        makes=lambda settings: [settings.manifest],
        writes=lambda settings: [] if settings.manifest is None or (settings.root / settings.manifest).exists() else [settings.manifest],
        keeps=lambda settings: [settings.manifest],
    ),
    CycleStep(
        "scorecard",
        "Scorecard",
        "evals/scorecard.py",
        _scorecard,
        _skip_scorecard,
        needs=lambda settings: [settings.generated_dir, settings.reference_dir],
        makes=lambda settings: [Path("evals/latest_report.md"), Path("evals/latest_scorecard.json")],
        writes=lambda settings: [HISTORY, Path("evals/latest_report.md"), Path("evals/latest_scorecard.json")],
    ),
    CycleStep(
        "comparison",
        "Comparison",
        "evals/compare_versions.py",
        _comparison,
        _skip_comparison,
        makes=lambda settings: [settings.comparison_output or COMPARISON_REPORT],
        writes=lambda settings: [settings.comparison_output or COMPARISON_REPORT],
        keeps=lambda settings: [CHAMPION],
    ),
    CycleStep(
        "production",
        "Production",
        "tools/production_pipeline.py",
        _production,
        lambda settings: "" if settings.run_production else "no --run-production",
        needs=lambda settings: [
            settings.production_workflow,
            settings.production_prompts,
            settings.production_reference_dir,
            settings.production_servers,
        ],
        rehearsal="--dry-run",
        makes=lambda settings: [settings.production_output_dir and settings.production_output_dir / "batch_report.html"],
        writes=lambda settings: [HISTORY],
    ),
    CycleStep("commit", "Commit", "", _commit, _skip_commit, repeated=True),
)
STEP_NAMES = tuple(step.name for step in STEPS)


def why_skipped(step: CycleStep, settings: CycleSettings) -> str:
    """Why a step has nothing to do, or an empty string."""
    return f"--skip {step.name}" if step.name in settings.skipped else step.skip(settings)
