"""The names users import, and how they may be called. A change here is a change to every user's code."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

PUBLIC = {
    "encord_agents": ["FrameData", "__version__"],
    "encord_agents.aws": ["Depends", "EncordEditorAgentException", "editor_agent"],
    "encord_agents.aws.dependencies": [
        "DAssetPath",
        "DEncordClient",
        "DObjectCrops",
        "DObjectsInstances",
        "DSingleFrame",
        "DStorageItem",
        "DVideoIterator",
        "dep_asset",
        "dep_client",
        "dep_object_crops",
        "dep_objects",
        "dep_single_frame",
        "dep_storage_item",
        "dep_video_iterator",
    ],
    "encord_agents.core.constants": [
        "EDITOR_TEST_REQUEST_HEADER",
        "EDITOR_URL_PARTS_REGEX",
        "ENCORD_DOMAIN_REGEX",
        "HEADER_CLOUD_TRACE_CONTEXT",
        "MAX_DECISION_LENGTH",
    ],
    "encord_agents.core.data_model": [
        "Base64Formats",
        "EditorAgentResponse",
        "Frame",
        "FrameData",
        "InstanceCrop",
        "LabelRowInitialiseLabelsArgs",
        "LabelRowMetadataIncludeArgs",
    ],
    "encord_agents.core.dependencies": ["Depends"],
    "encord_agents.core.dependencies.models": ["Depends"],
    "encord_agents.core.dependencies.shares": ["DataLookup"],
    "encord_agents.core.exceptions": ["EncordEditorAgentException"],
    "encord_agents.core.ontology": ["Answer", "OntologyDataModel"],
    "encord_agents.core.settings": ["Settings"],
    "encord_agents.core.utils": [
        "batch_iterator",
        "download_asset",
        "get_frame_count",
        "get_initialised_label_row",
        "get_user_client",
        "get_user_client_from_settings",
        "translate_suffixes_to_filesystem_suffixes",
    ],
    "encord_agents.core.video": ["get_frame", "iter_video", "iter_video_with_indices", "write_frame"],
    "encord_agents.core.webhooks": [
        "StageWorkAvailable",
        "TaskNotification",
        "UnexpectedEventType",
        "UnsupportedNotificationVersion",
        "WebhookVerificationError",
        "parse_notification",
        "verify_and_parse_notification",
        "verify_signature",
    ],
    "encord_agents.core.vision": [
        "DATA_TYPES",
        "CroppableCoordinates",
        "b64_encode_image",
        "crop_to_bbox",
        "crop_to_object",
        "mask_to_bbox",
        "poly_to_bbox",
        "rbb_to_poly",
        "rbbox_to_surrounding_bbox",
    ],
    "encord_agents.exceptions": ["PrintableError"],
    "encord_agents.fastapi": [
        "EncordEditorAgentException",
        "dep_client",
        "dep_label_row",
        "dep_single_frame",
        "get_encord_app",
        "verify_auth",
    ],
    "encord_agents.fastapi.cors": ["EncordCORSMiddleware", "EncordTestHeaderMiddleware", "get_encord_app"],
    "encord_agents.fastapi.dependencies": [
        "dep_asset",
        "dep_client",
        "dep_data_lookup",
        "dep_label_row",
        "dep_label_row_with_args",
        "dep_object_crops",
        "dep_objects",
        "dep_project",
        "dep_single_frame",
        "dep_storage_item",
        "dep_trace_id",
        "dep_video_iterator",
    ],
    "encord_agents.fastapi.notifications": [
        "add_notification_handlers",
        "dep_task_notification",
        "dep_task_notification_with_args",
    ],
    "encord_agents.fastapi.utils": ["verify_auth"],
    "encord_agents.gcp": ["Depends", "EncordEditorAgentException", "editor_agent"],
    "encord_agents.gcp.dependencies": [
        "DAssetPath",
        "DEncordClient",
        "DObjectCrops",
        "DObjectsInstances",
        "DSingleFrame",
        "DStorageItem",
        "DVideoIterator",
        "dep_asset",
        "dep_client",
        "dep_object_crops",
        "dep_objects",
        "dep_single_frame",
        "dep_storage_item",
        "dep_video_iterator",
    ],
    "encord_agents.labels": ["Detections", "add_detections", "to_detections"],
    "encord_agents.tasks": ["Depends", "QueueRunner", "Runner", "SequentialRunner", "stop_on_signals"],
    "encord_agents.tasks.dependencies": [
        "DataLookup",
        "Depends",
        "Frame",
        "Twin",
        "dep_asset",
        "dep_audio",
        "dep_client",
        "dep_data_lookup",
        "dep_object_crops",
        "dep_objects",
        "dep_pdf_pages",
        "dep_text",
        "of_child",
        "dep_single_frame",
        "dep_storage_item",
        "dep_twin_label_row",
        "dep_video_iterator",
        "dep_video_sampler",
    ],
    "encord_agents.tasks.models": [
        "AgentTaskConfig",
        "DecoratedCallable",
        "TaskAgentReturnPathway",
        "TaskAgentReturnStruct",
        "TaskAgentReturnType",
        "TaskCompletionResult",
        "TaskResult",
    ],
    "encord_agents.tasks.runner": ["QueueRunner", "Runner", "SequentialRunner"],
    "encord_agents.tasks.runner.queue_runner": ["QueueRunner"],
    "encord_agents.tasks.runner.runner_base": ["RunnerAgent", "RunnerBase"],
    "encord_agents.tasks.runner.sequential_runner": ["MAX_LABEL_ROW_BATCH_SIZE", "SequentialRunner"],
    "encord_agents.utils.colab": [
        "IS_COLAB",
        "generate_public_private_key_pair_with_instructions",
        "generate_public_private_keypair",
        "is_running_on_colab",
    ],
    "encord_agents.utils.generic_utils": ["try_coerce_UUID"],
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in PUBLIC.items() for name in names])
def test_name_is_where_users_import_it(module: str, name: str) -> None:
    """Every public import path exists."""
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_all_lists_what_it_says(module: str) -> None:
    """What a public module's ``__all__`` lists exists, sorted and once."""
    names: list[str] = getattr(importlib.import_module(module), "__all__", [])
    assert len(set(names)) == len(names)
    assert all(hasattr(importlib.import_module(module), name) for name in names)


def parameters(function: Any) -> dict[str, tuple[str, Any]]:
    """Name to (kind, default) of a function's parameters, without ``self``."""
    return {
        name: (p.kind.name, p.default) for name, p in inspect.signature(function).parameters.items() if name != "self"
    }


def test_helpers_are_called_as_before() -> None:
    """Functions that scripts call keep the names of their parameters, in order; newer ones come last."""
    before = {
        "encord_agents.core.utils": {
            "batch_iterator": ["iterator", "batch_size"],
            "download_asset": ["storage_item", "frame"],
            "get_frame_count": ["storage_item"],
            "get_initialised_label_row": ["frame_data", "include_args", "init_args"],
            "get_user_client": ["settings", "trace_id"],
            "get_user_client_from_settings": ["settings"],
            "translate_suffixes_to_filesystem_suffixes": ["suffix"],
        },
        "encord_agents.core.video": {
            "get_frame": ["video_path", "desired_frame"],
            "iter_video": ["video_path"],
            "iter_video_with_indices": ["video_path", "frame_indices"],
            "write_frame": ["frame_path", "frame"],
        },
        "encord_agents.core.vision": {
            "b64_encode_image": ["img", "format"],
            "crop_to_bbox": ["image", "bbox"],
            "crop_to_object": ["image", "coordinates"],
            "mask_to_bbox": ["coords"],
            "poly_to_bbox": ["poly"],
            "rbb_to_poly": ["rbb", "img_width", "img_height"],
            "rbbox_to_surrounding_bbox": ["rbb", "img_w", "img_h"],
        },
        "encord_agents.core.data_model": {
            "Frame": ["frame", "content"],
            "InstanceCrop": ["frame", "content", "instance"],
        },
        "encord_agents.tasks.dependencies": {
            "dep_twin_label_row": ["twin_project_hash", "init_labels", "include_task"],
            "dep_single_frame": ["storage_item"],
            "dep_asset": ["storage_item"],
        },
    }
    for module, functions in before.items():
        for name, expected in functions.items():
            given = [*inspect.signature(getattr(importlib.import_module(module), name)).parameters]
            assert given[: len(expected)] == expected, name


def test_runner_is_called_as_before() -> None:
    """The five parameters a call always had keep their order and defaults; everything newer is keyword-only."""
    from encord_agents.tasks import Runner

    given = parameters(Runner.__call__)
    positional = {name: default for name, (kind, default) in given.items() if kind == "POSITIONAL_OR_KEYWORD"}
    assert list(positional.items()) == [
        ("refresh_every", None),
        ("num_retries", 3),
        ("task_batch_size", 300),
        ("project_hash", None),
        ("max_tasks_per_stage", None),
    ]
    assert given["progress"] == ("KEYWORD_ONLY", "auto")
    assert all(kind == "KEYWORD_ONLY" for name, (kind, _) in given.items() if name not in positional)


def test_runner_is_made_as_before() -> None:
    """`Runner(project_hash, *, pre_execution_callback, user_client)`, and the cache, which is new."""
    from encord_agents.tasks import Runner

    assert parameters(Runner) == {
        "project_hash": ("POSITIONAL_OR_KEYWORD", None),
        "pre_execution_callback": ("KEYWORD_ONLY", None),
        "user_client": ("KEYWORD_ONLY", None),
        "asset_cache": ("KEYWORD_ONLY", None),
        "asset_cache_size": ("KEYWORD_ONLY", None),
    }


def test_stage_is_decorated_as_before() -> None:
    """`stage(stage, *, ...)` keeps its four options."""
    from encord_agents.tasks import Runner

    given = parameters(Runner.stage)
    assert given.pop("stage")[0] == "POSITIONAL_OR_KEYWORD"
    assert all(kind == "KEYWORD_ONLY" for kind, _ in given.values())
    assert {
        "label_row_metadata_include_args": None,
        "label_row_initialise_labels_args": None,
        "overwrite": False,
        "will_set_priority": False,
    }.items() <= {name: default for name, (_, default) in given.items()}.items()


def test_run_stage_is_called_as_documented() -> None:
    """`run_stage(stage, *, project_hash, num_retries, task_batch_size, max_tasks, bundle_saves, stop)`."""
    from encord_agents.tasks import Runner

    given = parameters(Runner.run_stage)
    names = ["stage", "project_hash", "num_retries", "task_batch_size", "max_tasks", "bundle_saves", "stop"]
    assert list(given) == names
    assert [default for _, default in list(given.values())[1:]] == [None, 3, 300, None, False, None]


def test_struct_has_its_three_fields() -> None:
    """`TaskAgentReturnStruct(pathway=None, label_row=None, label_row_priority=None)`."""
    from encord_agents.tasks.models import TaskAgentReturnStruct

    fields = ("pathway", "label_row", "label_row_priority")
    assert parameters(TaskAgentReturnStruct) == dict.fromkeys(fields, ("POSITIONAL_OR_KEYWORD", None))


def test_every_error_is_listed_and_printable() -> None:
    """Every error class of the tree is exported, and all but three are `PrintableError`s."""
    from encord_agents import exceptions

    classes = {
        name
        for name, value in vars(exceptions).items()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == exceptions.__name__
    }
    assert classes == set(exceptions.__all__)
    not_printable = {name for name in classes if not issubclass(getattr(exceptions, name), exceptions.PrintableError)}
    assert not_printable == {"EncordAgentsError", "EncordEditorAgentException", "TasksFailedError"}
    assert issubclass(exceptions.PrintableError, ValueError)
    assert exceptions.__doc__ is not None
    assert all(name in exceptions.__doc__ for name in classes)
