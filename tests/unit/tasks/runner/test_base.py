"""What runners share: hashes, advice, return annotations, and what they tell of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import pytest

from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.exceptions import PrintableError, ProjectError, StageAlreadyAssignedError
from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.tasks import QueueRunner, Runner
from encord_agents.tasks.runner.base import checked_hash, literals

HASH = UUID("0995712a-457a-4ee5-8136-db69f91b492e")


@pytest.mark.parametrize("given", [HASH, str(HASH), str(HASH).upper(), HASH.hex])
def test_hashes(given: Any) -> None:
    """A hash is a uuid in any form."""
    assert checked_hash(given) == HASH


@pytest.mark.parametrize("given", ["", "my project", "123", str(HASH)[:-1], 7])
def test_what_is_no_hash(given: Any) -> None:
    """Anything else is refused, and shown."""
    with pytest.raises(ProjectError) as caught:
        checked_hash(given)
    assert repr(given) in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Literal["a", "b"], ["a", "b"]),
        (Literal["a"] | None, ["a"]),
        (Optional[Literal["a"]], ["a"]),  # noqa: UP045
        (Annotated[Literal["a"], "note"], ["a"]),
        (str | None, []),
        (None, []),
        (list[Literal["a"]], []),
    ],
)
def test_literals(annotation: Any, expected: list[str]) -> None:
    """Those that an agent may return; not those within other types."""
    assert list(literals(annotation)) == expected


def test_one_function_for_a_stage_without_a_project() -> None:
    """By the same title, or the same uuid in another form."""
    runner = Runner()
    for first, second in (("A", "A"), (HASH, str(HASH).upper())):
        runner.stage(first)(lambda: None)
        with pytest.raises(StageAlreadyAssignedError):
            runner.stage(second)(lambda: None)
        runner.stage(second, overwrite=True)(print_nothing)
    assert [agent.callable for agent in runner.agents] == [print_nothing, print_nothing]


def print_nothing() -> None: ...


def test_what_a_runner_says_of_itself(local_platform: LocalPlatform) -> None:
    """Its project's hash is text, its stages are the agent stages, its agents tell how they were decorated."""
    workflow = Workflow([AgentStage("A", {"go": "Done"}), Stage("Done", "done")])
    local = local_platform.create_project(workflow=workflow)
    client = local_platform.client()
    assert (Runner().project_hash, Runner().valid_stages) == (None, None)
    for runner in (
        Runner(UUID(local.project_hash), user_client=client),
        QueueRunner(local.project_hash, user_client=client),
    ):
        assert runner.project_hash == local.project_hash
        stages = runner.valid_stages
        assert stages is not None
        assert [stage.title for stage in stages] == ["A"]
        listed = LabelRowMetadataIncludeArgs(include_client_metadata=True)
        runner.stage(stages[0].uuid, label_row_metadata_include_args=listed)(print_nothing)
        (agent,) = runner.agents
        assert agent.label_row_metadata_include_args is listed
        assert agent.label_row_initialise_labels_args == LabelRowInitialiseLabelsArgs()
        assert agent.printable_name == "A"


@pytest.mark.parametrize("given", [None, 7, print_nothing])
def test_what_names_no_stage(given: Any) -> None:
    """A stage is named by text or a uuid."""
    with pytest.raises(PrintableError, match="title or its uuid"):
        Runner().stage(given)(print_nothing)


def test_an_empty_hash() -> None:
    """A runner is made without a project by ``None``, or by the text of a variable that is not set."""
    runner = Runner("")
    assert (runner.project_hash, runner.project, runner.valid_stages) == (None, None, None)
    with pytest.raises(ProjectError, match="The runner has no project"):
        runner()


def test_a_runner_without_a_project_needs_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are asked for when there is something to ask the platform for."""
    for name in ("ENCORD_SSH_KEY", "ENCORD_SSH_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    runner = Runner()
    runner.stage(UUID(int=1))(print_nothing)
    assert runner.project is None


def test_a_cache_that_cannot_be_used(
    local_platform: LocalPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An argument is refused when the runner is made; the environment's at the first agent of a project, or the run."""
    workflow = Workflow([AgentStage("A", {"go": "Done"}), Stage("Done", "done")])
    local = local_platform.create_project(workflow=workflow)
    local.add_placeholders(1)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(PrintableError, match=r"asset_cache.* is a file"):
        Runner(asset_cache=file)
    with pytest.raises(PrintableError, match="asset_cache_size"):
        Runner(asset_cache_size="much")

    monkeypatch.setenv("ENCORD_AGENTS_CACHE", str(file))
    client = local_platform.client()
    called = []
    decorate = Runner(local.project_hash, user_client=client).stage("A")
    with pytest.raises(PrintableError, match=r"ENCORD_AGENTS_CACHE.* is a file"):
        decorate(lambda: called.append("go"))
    runner = Runner(user_client=client)
    runner.stage("A")(lambda: called.append("go"))
    with pytest.raises(PrintableError, match=r"ENCORD_AGENTS_CACHE.* is a file"):
        runner(project_hash=local.project_hash)
    assert called == []
    monkeypatch.setenv("ENCORD_AGENTS_CACHE", "")
    runner(project_hash=local.project_hash)
    assert called == ["go"]
