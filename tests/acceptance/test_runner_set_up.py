"""A mistake in the set-up is found when the runner is made, when a function is decorated, or when the call begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from encord.exceptions import AuthenticationError, AuthorisationError
from encord.objects import LabelRowV2

from encord_agents.exceptions import (
    CredentialsError,
    DependencyError,
    PrintableError,
    ProjectError,
    StageAlreadyAssignedError,
    UnknownPathwayError,
    UnknownStageError,
)
from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.tasks import QueueRunner, Runner

if TYPE_CHECKING:
    from tests.conftest import World


def hold() -> None:
    return None


# The constructor


@pytest.mark.parametrize("given", [" ", "my project", "1234", "12345678-1234-1234-1234-12345678"])
def test_a_hash_that_is_none(world: World, given: str) -> None:
    """An invalid hash is refused before anything is asked of the platform, and the error shows what one looks like."""
    world.platform.journal.clear()
    with pytest.raises(ProjectError, match="is not a project hash") as caught:
        Runner(given, user_client=world.client)
    assert caught.value.given == given
    assert world.platform.journal.count() == 0


def test_a_client_and_a_project_that_are_set_later(world: World) -> None:
    """Subclasses for 0.2.10 set both as plain attributes; what comes then uses them."""

    class Mine(Runner):
        def __init__(self) -> None:
            super().__init__()  # no client is made before one is used
            self.client = world.client
            self.project = world.client.get_project(world.project.project_hash)

    world.project.add_image("a")
    runner = Mine()
    runner.stage("Pre-label")(lambda: "complete")
    assert runner(progress="none").moved == 1
    assert (runner.client, runner.project_hash) == (world.client, world.project.project_hash)
    runner.project = None
    with pytest.raises(ProjectError, match="has no project"):
        runner()


def test_a_hash_as_uuid_or_text(world: World) -> None:
    """The project can be named by a uuid or by its text, in either case."""
    given = world.project.project_hash
    for form in (given, UUID(given), given.upper()):
        runner = Runner(form, user_client=world.client)
        assert runner.project is not None
        assert str(runner.project.project_hash) == given


def test_an_unknown_project(world: World) -> None:
    """The SDK's own exception passes, with a note that says what to do."""
    unknown = uuid4()
    with pytest.raises(AuthorisationError) as caught:
        Runner(unknown, user_client=world.client)
    assert any(str(unknown) in note and "member" in note for note in caught.value.__notes__)


def test_a_key_the_platform_does_not_know(world: World) -> None:
    """So it is with authentication."""
    with LocalPlatform() as other:
        from encord import EncordUserClient

        stranger = EncordUserClient.create_with_ssh_private_key(other.ssh_key, domain=world.platform.domain)
        with pytest.raises(AuthenticationError) as caught:
            Runner(world.project.project_hash, user_client=stranger)
    assert any("Register its public half" in note for note in caught.value.__notes__)


def test_no_credentials(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a client and without a key in the environment, there is nothing to run with."""
    for name in ("ENCORD_SSH_KEY", "ENCORD_SSH_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CredentialsError):
        Runner(world.project.project_hash)


def test_credentials_from_the_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a client, one is made from the environment."""
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    world.project.add_placeholders(1)
    runner = Runner(world.project.project_hash)
    runner.stage("Pre-label")(lambda: "complete")
    assert runner(progress="none").moved == 1


def test_a_project_without_a_workflow(world: World) -> None:
    """A project of the older kind has no stages to serve."""
    project = world.platform.create_project(
        workflow=Workflow([Stage("Annotate"), Stage("Done", "done")]), project_type="manual_qa", title="Old"
    )
    with pytest.raises(ProjectError, match=r"'Old'.*is of type 'manual_qa'"):
        Runner(project.project_hash, user_client=world.client)


def test_a_workflow_without_agent_stages(world: World) -> None:
    """Nor has this one."""
    project = world.platform.create_project(workflow=Workflow([Stage("Annotate"), Stage("Done", "done")]))
    with pytest.raises(ProjectError, match="has no agent stage"):
        Runner(project.project_hash, user_client=world.client)


# The decorator


def test_the_function_is_returned_unchanged(world: World) -> None:
    """A decorated function is still the user's function; `agents` lists what was registered, in order."""
    runner = world.runner()
    triage_uuid = UUID(world.project.stage("Triage").uuid)
    assert runner.stage("Pre-label")(hold) is hold

    def triage() -> str:
        return "ok"

    assert runner.stage(triage_uuid)(triage) is triage
    assert [(agent.identity, agent.callable) for agent in runner.agents] == [("Pre-label", hold), (triage_uuid, triage)]


def test_a_stage_name_with_a_typing_error(world: World) -> None:
    """It is refused when decorating, with the stages there are and the one that was probably meant."""
    runner = world.runner()
    with pytest.raises(UnknownStageError) as caught:
        runner.stage("Pre-lable")(hold)
    assert caught.value.given == "Pre-lable"
    assert [stage.title for stage in caught.value.valid] == ["Pre-label", "Triage"]
    assert "Did you mean 'Pre-label'?" in str(caught.value)
    assert world.project.stage("Pre-label").uuid in str(caught.value)
    assert runner.agents == []


def test_a_stage_that_agents_cannot_serve(world: World) -> None:
    """A review stage exists, but is not for agents, and the error says that rather than that it does not exist."""
    with pytest.raises(UnknownStageError, match="'Review' is of type review"):
        world.runner().stage("Review")(hold)


def test_a_stage_name_with_a_typing_error_without_a_project(world: World) -> None:
    """A runner without a project finds out when it is called with one, before any task."""
    world.project.add_placeholders(1)
    runner = Runner(user_client=world.client)
    runner.stage("Pre-lable")(hold)
    with pytest.raises(UnknownStageError, match="Did you mean 'Pre-label'"):
        runner(project_hash=world.project.project_hash, progress="none")


@pytest.mark.parametrize("form", ["title", "uuid", "text", "upper"])
def test_a_stage_by_title_or_uuid(world: World, form: str) -> None:
    """A stage is named by its title, its uuid, or the uuid's text."""
    world.project.add_placeholders(1)
    uuid = world.project.stage("Pre-label").uuid
    stage = {"title": "Pre-label", "uuid": UUID(uuid), "text": uuid, "upper": uuid.upper()}[form]
    runner = world.runner()
    runner.stage(stage)(lambda: "complete")
    assert runner(progress="none").moved == 1


@pytest.mark.parametrize("by_uuid", [False, True])
def test_a_stage_twice(world: World, by_uuid: bool) -> None:
    """A stage has one agent, however the second names it; the error names the function that is there."""
    runner = world.runner()
    runner.stage("Pre-label")(hold)
    stage: Any = UUID(world.project.stage("Pre-label").uuid) if by_uuid else "Pre-label"
    with pytest.raises(StageAlreadyAssignedError) as caught:
        runner.stage(stage)(lambda: "complete")
    assert caught.value.function == "hold"
    assert "overwrite=True" in str(caught.value)


def test_a_stage_twice_found_out_at_the_call(world: World) -> None:
    """Without a project, a title and a uuid turn out to be the same stage only when the project is known."""
    runner = Runner(user_client=world.client)
    runner.stage("Pre-label")(hold)
    runner.stage(world.project.stage("Pre-label").uuid)(hold)
    with pytest.raises(StageAlreadyAssignedError):
        runner(project_hash=world.project.project_hash, progress="none")


def test_overwriting_keeps_the_place(world: World) -> None:
    """The function that replaces another runs where that one would have."""
    world.project.add_placeholders(1)
    ran = []
    runner = world.runner()
    runner.stage("Pre-label")(lambda: ran.append("old"))

    @runner.stage("Triage")
    def triage() -> str:
        ran.append("triage")
        return "ok"

    @runner.stage("Pre-label", overwrite=True)
    def pre_label() -> str:
        ran.append("new")
        return "triage"

    assert [agent.callable for agent in runner.agents] == [pre_label, triage]
    runner(progress="none")
    assert ran == ["new", "triage"]


def test_titles_that_are_not_unique(world: World) -> None:
    """Two stages of one title have to be told apart by uuid, and can be."""
    workflow = Workflow(
        [
            AgentStage("Same", {"on": "second"}, id="first"),
            AgentStage("Same", {"done": "Done"}, id="second"),
            Stage("Done", "done"),
        ]
    )
    project = world.platform.create_project(workflow=workflow)
    project.add_placeholders(1)
    runner = Runner(project.project_hash, user_client=world.client)
    with pytest.raises(UnknownStageError, match=r"2 agent stages 'Same'.*uuid") as caught:
        runner.stage("Same")(hold)
    first, second = (stage.uuid for stage in project.stages[:2])
    assert first in str(caught.value)
    assert second in str(caught.value)
    runner.stage(first)(lambda: "on")
    runner.stage(second)(lambda: "done")
    assert runner(progress="none").moved == 2
    assert project.stage("Done").tasks == 1


def test_a_decorator_without_a_stage(world: World) -> None:
    """`@runner.stage` without parentheses is explained."""
    with pytest.raises(PrintableError, match="there must be one"):

        @world.runner().stage  # type: ignore[arg-type]
        def agent() -> None: ...


@pytest.mark.parametrize(
    "options",
    [
        {"label_row_metadata_include_args": {"branch_name": "x"}},
        {"label_row_initialise_labels_args": {}},
        {"give_up_on": ValueError},
        {"give_up_on": ("ValueError",)},
    ],
)
def test_options_of_the_wrong_type(world: World, options: dict[str, Any]) -> None:
    """They are refused when decorating, by name."""
    with pytest.raises(PrintableError, match=next(iter(options))):
        world.runner().stage("Pre-label", **options)(hold)


def test_overwriting_by_another_name(world: World) -> None:
    """A title and a uuid that turn out to be one stage: the second replaces the first, in its place, if it was said."""
    world.project.add_placeholders(2)
    stage = world.project.stage("Pre-label")
    runner = Runner(user_client=world.client)
    runner.stage("Pre-label")(lambda: "review")
    runner.stage("Triage")(lambda: "ok")
    runner.stage(stage.uuid, overwrite=True)(lambda: "triage")
    runner(project_hash=world.project.project_hash, progress="none")
    assert world.count("Done") == 2
    assert [str(agent.identity) for agent in runner.agents] == [stage.uuid, "Triage"]


@pytest.mark.parametrize("options", [{"progress": "bogus"}, {"report": "/"}])
def test_the_callback_comes_after_every_check(world: World, options: dict[str, Any]) -> None:
    """Options that are refused are refused before it runs."""
    called: list[object] = []
    runner = world.runner(pre_execution_callback=called.append)
    runner.stage("Pre-label")(hold)
    with pytest.raises(PrintableError):
        runner(**options)
    assert called == []


def test_check_finds_that_there_is_no_agent(world: World) -> None:
    """As a run would."""
    with pytest.raises(PrintableError, match="no agent"):
        world.runner().check()


def test_the_number_of_run_stage_is_called_by_its_name(world: World) -> None:
    """`max_tasks`, not what the runner's own call has."""
    runner = world.agent(hold)
    with pytest.raises(PrintableError, match=r"^max_tasks=0"):
        runner.run_stage("Pre-label", max_tasks=0)


def test_a_parameter_that_nothing_can_supply(world: World) -> None:
    """It is refused when decorating, project or not, naming the function and the parameter."""

    def agent(label_row: LabelRowV2, threshold: float) -> None: ...

    with pytest.raises(DependencyError) as caught:
        Runner(user_client=world.client).stage("Pre-label")(agent)
    assert (caught.value.function, caught.value.parameter) == ("agent", "threshold")


def test_a_failure_pathway_that_does_not_exist(world: World) -> None:
    """It is refused when decorating."""
    with pytest.raises(UnknownPathwayError, match="'nowhere'"):
        world.runner().stage("Pre-label", failure_pathway="nowhere")(hold)


# The call


def test_the_callback_runs_once_before_any_task(world: World) -> None:
    """Once per call, after validation, with the project, before the stage is even asked for its tasks."""
    world.project.add_placeholders(2)
    seen: list[tuple[Any, ...]] = []

    def callback(runner: Runner) -> None:
        assert runner.project is not None
        seen.append(("callback", str(runner.project.project_hash), world.platform.journal.count("tasks")))

    for given_at_call in (False, True):
        runner = Runner(
            None if given_at_call else world.project.project_hash,
            pre_execution_callback=callback,
            user_client=world.client,
        )
        runner.stage("Pre-label")(lambda: seen.append(("agent",)))
        world.platform.journal.clear()
        runner(progress="none", project_hash=world.project.project_hash)
    once = [("callback", world.project.project_hash, 0), ("agent",), ("agent",)]
    assert seen == once * 2


def test_the_callback_does_not_run_when_validation_fails(world: World) -> None:
    """It comes after validation."""
    called: list[Runner] = []
    runner = Runner(user_client=world.client, pre_execution_callback=called.append)
    runner.stage("Nowhere")(hold)
    with pytest.raises(UnknownStageError):
        runner(project_hash=world.project.project_hash, progress="none")
    with pytest.raises(PrintableError):
        runner(project_hash=world.project.project_hash, progress="none", num_retries=-1)
    assert called == []


@pytest.mark.parametrize("queue", [False, True])
def test_an_async_callback_is_refused(world: World, queue: bool) -> None:
    """It would do nothing, since nobody awaits it."""

    async def callback(runner: object) -> None: ...

    if queue:
        queue_runner = QueueRunner(
            world.project.project_hash,
            user_client=world.client,
            pre_execution_callback=callback,  # type: ignore[arg-type]
        )
        with pytest.raises(TypeError, match="it is async"):
            list(queue_runner.stage("Pre-label")(lambda: None).waiting())
        return
    runner = world.runner(pre_execution_callback=callback)
    runner.stage("Pre-label")(lambda: None)
    with pytest.raises(TypeError, match="it is async"):
        runner(progress="none")


def test_what_the_callback_raises_passes_unchanged(world: World) -> None:
    """The very exception, and no task was touched."""
    world.project.add_placeholders(1)
    problem = LookupError("no weights")

    def callback(runner: Runner) -> None:
        raise problem

    runner = world.runner(pre_execution_callback=callback)
    runner.stage("Pre-label")(lambda: "complete")
    with pytest.raises(LookupError) as caught:
        runner(progress="none")
    assert caught.value is problem
    assert problem.__cause__ is None
    assert world.count("Pre-label") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("refresh_every", 0.5),
        ("refresh_every", -5),
        ("refresh_every", True),
        ("refresh_every", "60"),
        ("refresh_every", float("nan")),
        ("refresh_every", float("inf")),
        ("num_retries", -1),
        ("num_retries", 1.5),
        ("num_retries", "3"),
        ("num_retries", None),
        ("task_batch_size", 0),
        ("task_batch_size", True),
        ("task_batch_size", 2.0),
        ("task_batch_size", None),
        ("max_tasks_per_stage", 0),
        ("max_tasks_per_stage", False),
        ("max_tasks_per_stage", "all"),
        ("max_workers", 0),
        ("max_outage", -1),
        ("retry_delay", -0.1),
    ],
)
def test_numbers_out_of_range(world: World, name: str, value: Any) -> None:
    """They are refused first, by name, with what they mean; nothing is asked of the platform."""
    runner = Runner(user_client=world.client)
    runner.stage("Pre-label")(hold)
    world.platform.journal.clear()
    with pytest.raises(PrintableError, match=name):
        runner(**{name: value}, project_hash=world.project.project_hash, progress="none")
    assert world.platform.journal.count() == 0


def test_no_project_anywhere(world: World) -> None:
    """The error names the three ways to give one."""
    runner = Runner(user_client=world.client)
    runner.stage("Pre-label")(hold)
    with pytest.raises(ProjectError) as caught:
        runner(progress="none")
    for way in ("Runner(project_hash=", "runner(project_hash=", "--project-hash"):
        assert way in str(caught.value)


def test_another_project_than_the_runners_own(world: World) -> None:
    """A runner that was made for one project refuses another, and takes its own in any form."""
    other = world.platform.create_project(workflow=Workflow([AgentStage("A", {"x": "D"}), Stage("D", "done")]))
    runner = world.agent(hold)
    with pytest.raises(ProjectError, match="cannot run project"):
        runner(project_hash=other.project_hash, progress="none")
    runner(project_hash=UUID(world.project.project_hash), progress="none")
    with pytest.raises(ProjectError, match="is not a project hash"):
        runner(project_hash="nonsense", progress="none")


def test_one_runner_over_several_projects(world: World) -> None:
    """A runner without a project serves the one that each call names."""
    runner = Runner(user_client=world.client)
    runner.stage("A")(lambda: "x")
    for n in (1, 2):
        project = world.platform.create_project(workflow=Workflow([AgentStage("A", {"x": "D"}), Stage("D", "done")]))
        project.add_placeholders(n)
        assert runner(project_hash=project.project_hash, progress="none").moved == n
        assert runner.project is not None
        assert str(runner.project.project_hash) == project.project_hash


def test_no_agents(world: World) -> None:
    """A runner without agents says what to write."""
    with pytest.raises(PrintableError, match=r"@runner\.stage"):
        world.runner()(progress="none")


@pytest.mark.parametrize("own", [True, False])
def test_a_subclass_checks_the_project(world: World, own: bool) -> None:
    """`_validate_project`, overridden, is called when the runner is made and once for each call; what it keeps of
    the project is there."""
    seen: list[object] = []

    class Mine(Runner):
        def _validate_project(self, project: Any) -> None:  # type: ignore[override]
            super()._validate_project(project)
            seen.append(None if project is None else project.title)
            if project is not None:
                self.objects = {o.feature_node_hash: o for o in project.ontology_structure.objects}

    project_hash = world.project.project_hash
    title = world.client.get_project(project_hash).title
    runner = Mine(project_hash if own else None, user_client=world.client)
    first = title if own else None
    assert seen == [first]
    runner.stage("Pre-label")(hold)
    for calls in (1, 2):
        runner(project_hash=project_hash, progress="none")
        assert seen == [first, *[title] * calls]
    assert len(runner.objects) == 1
