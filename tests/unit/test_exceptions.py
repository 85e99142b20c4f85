"""Errors say what happened and what to do, keep their facts, and cross processes."""

from __future__ import annotations

import pickle

import pytest

from encord_agents import exceptions
from encord_agents.exceptions import (
    AssetDownloadError,
    CertificateError,
    CredentialsError,
    DependencyError,
    EditorRequestError,
    EncordAgentsError,
    EncordEditorAgentException,
    MissingExtraError,
    Named,
    NoRoomError,
    OutageError,
    ProjectError,
    StageAlreadyAssignedError,
    TasksFailedError,
    UnknownPathwayError,
    UnknownStageError,
    UnsupportedAssetError,
)

STAGES = [Named("Pre-label", "1"), Named("Triage", "2")]

EXAMPLES: list[EncordAgentsError] = [
    AssetDownloadError("cat.png", "1234", "the storage host answered 404", status=404),
    CertificateError("The certificate is not trusted here."),
    CredentialsError("There is no key."),
    DependencyError("x", function="agent", parameter="model"),
    EditorRequestError("There is no body.", 422),
    EncordEditorAgentException("Draw a box first."),
    NoRoomError("The file of cat.png", OSError(28, "No space left on device")),
    OutageError(300.0, TimeoutError("read timed out")),
    ProjectError("no project", given="abc"),
    StageAlreadyAssignedError("Triage", "triage"),
    TasksFailedError(1, 3, ["cat.png (agent): ValueError()"], None),
    MissingExtraError("vision", "pre_label()", ["av"]),
    UnknownPathwayError("ok", "Triage", STAGES),
    UnknownStageError("Pre-labl", STAGES),
    UnsupportedAssetError("no frames", item="cat.txt", mime_type="text/plain"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_cross_processes(error: EncordAgentsError) -> None:
    """Message, facts and class survive pickling."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__


def test_every_class_is_tried() -> None:
    """The examples above leave out no class but the two roots."""
    tried = {type(error).__name__ for error in EXAMPLES}
    assert tried == set(exceptions.__all__) - {"EncordAgentsError", "PrintableError"}


def test_mistyped_stage_is_guessed() -> None:
    """A typo gets the stage that was meant, and all there are."""
    error = UnknownStageError("pre-labl", STAGES)
    assert "Did you mean 'Pre-label'?" in str(error)
    assert "'Triage' (2)" in str(error)
    assert error.given == "pre-labl"
    assert error.valid == tuple(STAGES)


def test_suggestion_of_the_caller_wins() -> None:
    """Where the caller knows better what was meant, that is what is suggested."""
    assert "Did you mean 'to review'?" in str(UnknownPathwayError("Review", "Triage", STAGES, suggestion="to review"))
