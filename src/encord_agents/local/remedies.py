"""Remedies: the sentence at the end of every 501 answer that suggests an alternative."""

from __future__ import annotations

import re
from collections.abc import Mapping

DEFAULT = "What it knows is listed in docs/local/operations.md; for the rest use the real platform."
REMEDIES: Mapping[str, tuple[str, str]] = {
    r"GET analytics/(time-spent|collaborators/.*)": (
        "project.list_time_spent(), list_collaborator_timers()",
        "Nobody's time is measured here: project.get_task_actions() says who did what, and when.",
    ),
    r"GET projects/[^/]+/editor-logs": (
        "project.get_editor_logs()",
        "There is no editor here: project.get_task_actions() says who did what, and when.",
    ),
    r"GET labellog": ("project.get_label_logs()", "The history of a task is on the platform's page."),
    r".* index/collections.*": (
        "client.list_collections(), create_collection(), ...",
        "Keep the hashes of the items in a list of your own, or use client_metadata and list_items(search=...).",
    ),
    r".* index/presets.*": ("client.list_presets(), ...", "Filter in your program, on what list_items() returns."),
    r".* active/[^/]+/(sync|import)": (
        "project.active_sync(), active_import()",
        "Leave it out: there is no Active here that could be told.",
    ),
    r".* active/.*": (
        "project.list_collections(), list_filter_presets(), ...",
        "Filter in your program, on what list_label_rows_v2() returns.",
    ),
    r".* (storage/items/reencode.*|reencodevideotask)": (
        "folder.re_encode_videos(), dataset.re_encode_data(), re_encode_data_status()",
        "Leave it out, or convert the video with ffmpeg before you upload it.",
    ),
    r".* storage/folders/[^/]+/(cloud-synced-folder-syncs|cloud-linked-folder-syncs|folder-config).*": (
        "folders in step with a cloud",
        "Make a plain folder and upload the files.",
    ),
    r".* organisation/groups.*|.* projects/[^/]+/groups": (
        "groups of users, project.add_group()",
        "Give users their roles one by one: project.add_users(...).",
    ),
    r".* datasets/[^/]+/groups": (
        "dataset.add_group()",
        "Give users their roles one by one: dataset.add_users(...).",
    ),
    r".* (ontologies|storage/folders)/[^/]+/groups": (
        "ontology.add_group(), folder.add_group()",
        "Leave it out: ontologies and folders have no users here, and everybody may change them.",
    ),
    r"DELETE organisation/users/.*": (
        "client.remove_organisation_user()",
        "Take away the user's roles: project.remove_users(...), dataset.remove_users(...).",
    ),
    r".* projects/cvat-import.*": (
        "client.create_project_from_cvat()",
        "Upload the images, and save the labels with the SDK.",
    ),
    r".* dicom-deidentification.*": (
        "client.deidentify_dicom_files()",
        "De-identify the files before you upload them.",
    ),
    r".* projects/[^/]+/tags.*": ("project.add_organisation_tag()", "Put the tag into the project's description."),
    r".* ml-models.*": ("client.ml_models", "Run the model in an agent of your own."),
    r"(GET|PUT|POST) (labelingalgorithm|modeloperations|model).*": (
        "models and interpolation",
        "Run the model in an agent of your own.",
    ),
}
"""Patterns of requests, ``METHOD path`` below /v2/public/ (v1: the query type) -> the SDK's names, the remedy."""


def remedy(method: str, path: str) -> str:
    """Return a sentence that suggests an alternative to a request."""
    request = f"{method} {path.removeprefix('/v2/public/').strip('/')}"
    for pattern, (_, sentence) in REMEDIES.items():
        if re.fullmatch(pattern, request):
            return sentence
    return DEFAULT
