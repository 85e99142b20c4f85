"""The documentation is true: names are documented, links lead somewhere, and what is code works."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from encord.workflow.stages.agent import AgentTask
from pydantic import BaseModel

from encord_agents.core.settings import CacheSettings, Settings, WebhookSettings
from encord_agents.integrations.celery import register
from encord_agents.integrations.celery.registration import DEFAULTS
from encord_agents.integrations.celery.timing import Limits, Timing
from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.tasks import QueueRunner, Runner, dependencies
from encord_agents.tasks.engine import events
from encord_agents.tasks.engine.outcome import Phase
from encord_agents.tasks.models import TaskCompletionResult, TaskResult
from encord_agents.tasks.runner.queue_runner import QueueFunction

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
RUNNER_PAGE = (DOCS / "runner.md").read_text(encoding="utf-8")
QUEUE_PAGE = (DOCS / "queue_runner.md").read_text(encoding="utf-8")
CELERY_SECTION = QUEUE_PAGE.partition("\n## On Celery\n")[2].partition("\n## ")[0]
DESIGN_PAGE = (DOCS / "design.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def snippets(text: str, language: str) -> list[str]:
    return [code for found, code in FENCE.findall(text) if found == language]


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def links() -> list[tuple[Path, str]]:
    found = [(page, link) for page in PAGES for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8")))]
    return [(page, link) for page, link in found if not re.match(r"\w+:", link)]


# Names


@pytest.mark.parametrize("argument", inspect.signature(Runner.__call__).parameters)
def test_every_argument_of_a_call_is_documented(argument: str) -> None:
    """Each argument of ``runner(...)`` is in the runner's page, as a name and as an option of the command line."""
    if argument == "self":
        return
    assert f"`{argument}`" in RUNNER_PAGE
    if argument != "stop":  # an object, which no command line can give
        assert f"`--{argument.replace('_', '-')}`" in RUNNER_PAGE


def test_every_option_of_the_command_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    """Each option that ``--help`` lists has a line in the table of options, and the other way round."""
    from encord_agents.cli.runner import run_as_command

    with pytest.raises(SystemExit):
        run_as_command(Runner(), ["--help"])
    options = set(re.findall(r"^  (--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    assert "--project-hash" in options
    assert set(re.findall(r"^\| `(--[a-z-]+)` \|", RUNNER_PAGE, re.MULTILINE)) == options


def test_every_exit_code_is_documented() -> None:
    """The exit codes that ``--help`` explains are in the runner's page."""
    from encord_agents.cli.options import EXIT_CODES_HELP

    section = RUNNER_PAGE.partition("### Exit codes")[2].partition("\n## ")[0]
    for code in re.findall(r"^  (\d+) ", EXIT_CODES_HELP, re.MULTILINE):
        assert re.search(rf"^\|.*\b{code}\b.*\|", section, re.MULTILINE), code


@pytest.mark.parametrize("argument", [*inspect.signature(Runner.stage).parameters][2:])
def test_every_argument_of_the_decorator_is_documented(argument: str) -> None:
    """Each argument of ``@runner.stage(...)`` has a line in the runner's page."""
    assert f"| `{argument}` |" in RUNNER_PAGE


@pytest.mark.parametrize(
    "argument",
    [*[*inspect.signature(QueueRunner.stage).parameters][2:], *[*inspect.signature(QueueRunner.drain).parameters][1:]],
)
def test_every_argument_of_the_queue_runner_is_documented(argument: str) -> None:
    """Each argument of a queue runner's ``stage`` and ``drain`` has a line in its page, with ``drain``'s default."""
    assert f"| `{argument}` |" in QUEUE_PAGE
    default = getattr(inspect.signature(QueueRunner.drain).parameters.get(argument), "default", None)
    if default is not None:
        assert re.search(rf"^\| `{argument}` \| `?{default}`? \|", QUEUE_PAGE, re.MULTILINE)


@pytest.mark.parametrize("argument", [*inspect.signature(register).parameters.values()][2:], ids=str)
def test_every_argument_of_registering_on_celery_is_documented(argument: inspect.Parameter) -> None:
    """Each argument of ``register(runner, app, ...)`` has a line in the section on Celery, with its default."""
    default = "no polling" if argument.default is None else argument.default
    assert f"\n| `{argument.name}` | {default} |" in CELERY_SECTION


def test_every_option_of_sending_by_hand_is_documented() -> None:
    """Each option of ``encord-agents celery enqueue`` has a line in the section on Celery."""
    from encord_agents.cli.celery import enqueue

    options = [name for name in inspect.signature(enqueue).parameters if name != "where"]
    documented = re.findall(r"^\| `--([a-z-]+)` \|", CELERY_SECTION, re.MULTILINE)
    assert documented == [name.replace("_", "-") for name in options]


def test_the_settings_that_registering_on_celery_makes_are_documented() -> None:
    """Each default that differs from Celery's own is named."""
    assert [name for name in DEFAULTS if not re.search(rf"`{name}[=`]", CELERY_SECTION)] == []


def test_the_times_of_celery_are_as_documented() -> None:
    """Marks, holds and heartbeats last as long as the page says."""
    timing = Timing()
    assert (timing.in_queue, timing.failed) == (24 * 3600, 3600)
    assert (timing.heartbeat, timing.lease, timing.look_again, Limits().lost) == (5, 30, 10, 3)
    for said in (
        "24 hours",
        "for an hour",
        "every 5 seconds",
        "30 seconds after",
        "10 seconds",
        "After four processes",
    ):
        assert said in CELERY_SECTION


def test_a_queue_runner_is_made_as_documented() -> None:
    """Each argument of ``QueueRunner(...)`` is in its page, with its default."""
    (shown,) = re.findall(r"^`QueueRunner\((.*)\)`$", QUEUE_PAGE, re.MULTILINE)
    _, *arguments = inspect.signature(QueueRunner).parameters.values()
    assert shown == ", ".join(["project_hash", "*", *(f"{one.name}={one.default}" for one in arguments)])


@pytest.mark.parametrize("model", [TaskCompletionResult, TaskResult], ids=lambda model: model.__name__)
def test_every_field_of_an_answer_is_documented(model: type[BaseModel]) -> None:
    """Each field of what queue functions answer has a line in the table of its model, and the other way round."""
    table = QUEUE_PAGE.partition(f"| `{model.__name__}` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [*model.model_fields]


@pytest.mark.parametrize(
    "variable",
    [
        str(field.validation_alias)
        for kind in (Settings, WebhookSettings, CacheSettings)
        for field in kind.model_fields.values()
    ],
)
def test_every_environment_variable_is_documented(variable: str) -> None:
    """Each variable that the settings read has a line in the README and in the runner's page."""
    assert variable.startswith("ENCORD_")
    assert f"| `{variable}` |" in README
    assert f"| `{variable}` |" in RUNNER_PAGE


ELSEWHERE = {"download_asset", "get_frame_count", "get_user_client"}
"""Names of `core` that existing code imports from ``tasks.dependencies``."""


@pytest.mark.parametrize("name", sorted({*dependencies.__all__} - ELSEWHERE))
def test_every_ready_made_dependency_is_documented(name: str) -> None:
    """Each public name of ``tasks.dependencies`` is in the runner's page."""
    assert re.search(rf"`{name}[`(]", RUNNER_PAGE)


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_is_documented(phase: Phase) -> None:
    """Each phase in which a task can fail has a line in the runner's page."""
    assert f"| `{phase}` |" in RUNNER_PAGE


@pytest.mark.parametrize("event", [event.__name__ for event in events.Event.__args__])
def test_every_event_is_documented(event: str) -> None:
    """Each event that observers are called with is named in the runner's page."""
    assert f"`{event}`" in RUNNER_PAGE


@pytest.mark.parametrize(
    "package",
    [
        "",
        "core",
        "core/cache",
        "core/dependencies",
        "core/ontology",
        "labels",
        "tasks",
        "tasks/engine",
        "tasks/runner",
        "integrations/celery",
    ],
)
def test_the_house_is_drawn_as_it_is(package: str) -> None:
    """Each module has its place in the design's tree."""
    (tree,) = [code for code in snippets(DESIGN_PAGE, "") if code.startswith("src/")]
    modules = [path.name for path in (ROOT / "src" / "encord_agents" / package).glob("*.py")]
    assert [name for name in modules if name != "__init__.py" and not re.search(rf"(?<=\s){name}\b", tree)] == []


# Links and code


@pytest.mark.parametrize(("page", "link"), links(), ids=lambda value: getattr(value, "name", value))
def test_links_lead_somewhere(page: Path, link: str) -> None:
    """Each relative link of a page leads to a file of the repository and, where it says so, to a heading of it."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.is_relative_to(ROOT)
    assert target.exists()
    assert not anchor or anchor in anchors(target)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_snippets_compile(page: Path) -> None:
    """What is marked as Python is Python."""
    for code in snippets(page.read_text(encoding="utf-8"), "python"):
        ast.parse(code, filename=page.name)


@pytest.mark.parametrize("code", snippets((ROOT / "docs" / "notifications.md").read_text(encoding="utf-8"), "python"))
def test_the_receivers_of_the_notifications_page_can_be_made(code: str) -> None:
    """Each snippet of the page runs: what it imports is there, and an app takes its routes."""
    names: dict[str, Any] = {}
    exec(compile(code, "notifications.md", "exec"), names)
    if "platform" in names:
        names["platform"].close()
    assert {"app", "receive"} & names.keys()


@pytest.fixture
def project_hash(local_platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two pictures that wait in "Pre-label" on a platform that the environment leads to."""
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    for name, value in local_platform.environment().items():
        monkeypatch.setenv(name, value)
    pathways = {"review": "Review", "complete": "Done", "triage": "Triage", "needs a person": "Review"}
    workflow = Workflow(
        [
            AgentStage("Pre-label", pathways),
            AgentStage("Triage", {"review": "Review", "complete": "Done"}),
            Stage("Review", "review"),
            Stage("Done", "done"),
        ]
    )
    project = local_platform.create_project(workflow=workflow)
    project.add_placeholders(2)
    return project.project_hash


def defined(code: str, project_hash: str) -> dict[str, Any]:
    """What a script defines when it is imported, with a project hash that exists."""
    names: dict[str, Any] = {"__name__": "agents"}
    exec(compile(code.replace("00000000-0000-0000-0000-000000000000", project_hash), "agents.py", "exec"), names)
    return names


def test_the_agent_of_the_readme_runs(local_platform: LocalPlatform, project_hash: str) -> None:
    """The README's script labels, prioritises and moves every task of a project such as the README says it needs."""
    (code,) = snippets(README, "python")
    result = defined(code, project_hash)["runner"](project_hash=project_hash, progress="none").raise_for_failures()

    project = local_platform.project(project_hash)
    assert result.moved == 2
    assert len(project.tasks("Review")) == 2
    for task in project.tasks():
        assert project.saves(task.data_hash) == 1
        assert project.priority(task.data_hash) == 0.7


def test_the_agent_of_the_readme_draws_nothing_twice(local_platform: LocalPlatform, project_hash: str) -> None:
    """On a row that has its labels already, as after a run that was killed before the move, it adds none."""
    (code,) = snippets(README, "python")
    project = local_platform.project(project_hash)
    for _ in range(2):
        project.reset(keep_labels=True)
        assert defined(code, project_hash)["runner"](project_hash=project_hash, progress="none").moved == 2
    for task in project.tasks():
        label = project.label(task.data_hash)
        assert label is not None
        assert len(label["object_answers"]) == 1


def test_the_agent_of_the_readme_is_ten_lines() -> None:
    """Decorator, function and what is above them but imports: ten lines at most."""
    (code,) = snippets(README, "python")
    body, _, _ = code.partition("\n\nif __name__")
    lines = [line for line in body.splitlines() if line.strip() and not re.match(r"from |import ", line)]
    assert len(lines) <= 10


@pytest.mark.parametrize(
    "code", [code for code in snippets(RUNNER_PAGE, "python") if "@runner.stage" in code], ids=lambda code: ""
)
def test_the_agents_of_the_runner_page_run(local_platform: LocalPlatform, project_hash: str, code: str) -> None:
    """Each script with agents in the runner's page does its work, for a task in either stage, without a failure."""
    project = local_platform.project(project_hash)
    for data_hash in project.add_placeholders(1):
        project.add_task(data_hash, "Triage", branch="other")
    result = defined(code, project_hash)["runner"](project_hash=project_hash, progress="none").raise_for_failures()
    assert result.tasks >= 1
    assert not result.stopped


def test_the_json_of_the_queue_page_is_what_there_is() -> None:
    """The specification and the answers that are shown are complete, and are what the models read and write."""
    task, one, several = [json.loads(code) for code in snippets(QUEUE_PAGE, "json")]
    camel = {str(field.alias): task[name] for name, field in AgentTask.model_fields.items()}
    assert json.loads(AgentTask.model_validate(camel).model_dump_json()) == task
    for answer in (one, several):
        assert json.loads(TaskCompletionResult.model_validate(answer).model_dump_json()) == answer
        results = [TaskResult.model_validate(result) for result in answer["results"]]
        made = TaskCompletionResult.of(results, answer["stage_uuid"])
        assert made.model_dump(mode="json") == answer


def test_the_agents_of_the_queue_page_run(
    local_platform: LocalPlatform, project_hash: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's agent does its work, called as the page calls it: with one task, and with a list."""
    agents, queue, _, batches, *_ = snippets(QUEUE_PAGE, "python")
    names = defined(agents, project_hash)
    waiting: list[str] = []
    names["queue"] = type("Queue", (), {"put": waiting.append, "get": waiting.pop})
    try:
        exec(queue, names)
        assert isinstance(names["pre_label"], QueueFunction)
        assert TaskCompletionResult.model_validate_json(names["answer"]).success is True
        (names["stage"],) = names["runner"].get_agent_stages()
        names["tasks"] = [*names["stage"].get_tasks()]
        exec(batches, names)
    finally:
        names["runner"].close()
    assert capsys.readouterr().out.endswith(" moved None\n")
    assert len(local_platform.project(project_hash).tasks("Review")) == 2
