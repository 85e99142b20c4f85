"""Every request that the platform answers, with the SDK's names for it: the source of docs/local/operations.md.

``python -m encord_agents.local.operations`` prints the page.
"""

from __future__ import annotations

from collections.abc import Mapping

from encord_agents.local import remedies, routes_v1, routes_v2

SDK: Mapping[str, str] = {
    "Projects": """
GET projects | client.list_projects | tags_anyof: 501
GET projects/{project} | client.get_project, project.refetch_data |
PUT projects/{project}/status | project.set_status |
GET projects/{project}/datasets | project.list_datasets |
GET projects/{project}/users | project.list_users |
POST projects/{project}/users/bulk-delete | project.remove_users |
GET projects/{project}/tags | project.get_tags, get_organisation_tags | always empty
GET projects/{project}/groups | project.list_groups | always empty
GET projects/{project}/branches | project.list_branches |
v1 project GET | project.label_rows, project.get_project |
v1 project POST | client.create_project | not from benchmark QA; project.add_object, add_classification: 501
v1 project DELETE | (the SDK's tests) |
v1 projectwithuserrole GET | client.get_projects |
v1 projectcopy POST | project.copy_project | no models; labels by `label_hash`, not by object or review status
v1 projectusers POST | project.add_users |
v1 projectdataset POST | project.add_datasets |
v1 projectdataset DELETE | project.remove_datasets |
v1 datasetdata GET | project.get_data |
""",
    "Workflow": """
GET projects/{project}/workflow/stages/{stage}/tasks | stage.get_tasks, with all its filters |
POST projects/{project}/workflow/stages/{stage}/actions | task.proceed, submit, approve, reject, assign, release | not in consensus stages
POST projects/{project}/workflow/stages/{stage}/move-tasks | task.move |
GET projects/{project}/workflow/stages/{stage}/tasks/{task}/reviews | task.get_label_reviews |
POST projects/{project}/workflow/stages/{stage}/tasks/{task}/reviews/actions | label_review.approve, reject, reopen |
POST projects/{project}/priorities | label_row.set_priority |
v1 labelworkflowgraphnode POST | label_row.workflow_complete, workflow_reopen |
GET projects/{project}/issues | task.issues.list |
POST projects/{project}/issues | task.issues.add_file_issue, add_frame_issue, ... |
POST projects/{project}/issues/delete | task.issues.delete |
GET projects/{project}/issue-tags | project.get_issue_tags |
POST projects/{project}/issue-tags | project.add_issue_tags |
GET analytics/task-actions | project.get_task_actions | actions of people, not of agents
""",  # noqa: E501
    "Labels": """
v1 labelrowmetadata GET | project.list_label_rows_v2 | include_children: 501 where there are data groups
v1 labelrow PUT | label_row.initialise_labels, the first time |
v1 labelrow GET | label_row.initialise_labels | include_reviews and include_export_history add nothing
v1 labelrow POST | label_row.save |
GET projects/{project}/labels/{label}/validation-state | label_row.get_validation_errors | always valid: what is not is never saved
POST projects/{project}/label-rows/classifications | project.get_label_classifications |
POST projects/{project}/labels/copy-branch | project.copy_labels_to_branch |
""",  # noqa: E501
    "Ontologies": """
GET ontologies | client.get_ontologies |
POST ontologies | client.create_ontology |
GET ontologies/{ontology} | client.get_ontology, project.refetch_ontology |
PUT ontologies/{ontology} | ontology.save | what labels use cannot be removed: 400
GET ontologies/{ontology}/groups | ontology.list_groups | always empty
""",
    "Datasets": """
GET datasets/list | client.get_datasets |
POST datasets | client.create_dataset | every storage location is this machine
GET datasets/{dataset}/users | dataset.list_users |
POST datasets/{dataset}/users/bulk-delete | dataset.remove_users |
GET datasets/{dataset}/groups | dataset.list_groups | always empty
v1 dataset GET | client.get_dataset |
v1 datarows GET | dataset.list_data_rows |
v1 datarow GET | data_row.refetch_data |
v1 datarow POST | data_row.save |
v1 datasetlinkitems POST | dataset.link_items |
v1 video DELETE | dataset.delete_data |
v1 video POST | dataset.update_data_item |
v1 datasetusers POST | dataset.add_users |
v1 datasetdatalongpolling POST | dataset.upload_image, upload_video, create_image_group, add_private_data_to_dataset, ... |
v1 datasetdatalongpolling GET | (the state of such an upload) |
""",  # noqa: E501
    "Storage": """
GET storage/folders | client.list_storage_folders |
POST storage/folders | client.create_storage_folder, folder.create_subfolder | none in step with a cloud
POST storage/folders/move | folder.move_to_folder |
PATCH storage/folders/patch-bulk | folder.update(bundle=...) |
GET storage/search/folders | client.find_storage_folders, folder.find_subfolders |
GET storage/search/items | client.find_storage_items |
GET storage/folders/{folder} | client.get_storage_folder |
PATCH storage/folders/{folder} | folder.update |
DELETE storage/folders/{folder} | folder.delete | only empty ones
GET storage/folders/{folder}/folders | folder.list_subfolders |
GET storage/folders/{folder}/summary | folder.get_summary |
GET storage/folders/{folder}/items | folder.list_items, find_items |
POST storage/folders/{folder}/items/move | item.move_to_folder, folder.move_items_to_folder |
POST storage/folders/{folder}/items/delete | item.delete, folder.delete_storage_items |
GET storage/folders/{folder}/items/{item}/child-items | item.get_child_items |
GET storage/folders/{folder}/items/{item}/summary | item.get_summary |
PATCH storage/folders/{folder}/items/{item} | item.update | name, description, client_metadata
POST storage/folders/{folder}/upload-signed-urls | folder.upload_image, upload_video, upload_audio, upload_text, upload_pdf, upload_nifti, create_image_group, create_image_sequence, create_dicom_series | no time series, no scenes
POST storage/folders/{folder}/data-upload-jobs | the same, and folder.add_private_data_to_folder_start | private data: files and addresses of this machine
GET storage/folders/{folder}/data-upload-jobs/{job} | folder.add_private_data_to_folder_get_result |
POST storage/folders/{folder}/data-upload-jobs/{job}/cancel | folder.add_data_to_folder_job_cancel | always too late
POST storage/folders/{folder}/create-group-items | folder.create_data_group, create_data_groups |
POST storage/items/get-bulk | client.get_storage_items |
PATCH storage/items/patch-bulk | item.update(bundle=...) |
GET storage/items/{item} | client.get_storage_item, item.refetch_data, item.get_signed_url |
GET presigned-urls | dataset.upload_image, ... |
GET cloud-integrations | client.get_cloud_integrations | the one there is: files on this machine
""",  # noqa: E501
    "The organisation": """
GET user/bearer-token | client.get_bearer_token, EncordUserClient.create_with_bearer_token |
GET organisation/users | client.list_organisation_users |
GET user/current-organisation/groups | client.list_groups | always empty
POST organisation/groups | client.create_group | 501: give users their roles one by one
GET organisation/client-metadata-schema | client.get_client_metadata_schema |
POST organisation/client-metadata-schema | client.set_client_metadata_schema_from_dict |
GET organisation/client-metadata-schema-v2 | client.metadata_schema |
POST organisation/client-metadata-schema-v2 | metadata_schema.save | kept, not enforced
GET organisation/organisation-tags | client.list_organisation_tags |
POST organisation/organisation-tags | client.create_organisation_tag |
DELETE organisation/organisation-tags/{tag} | client.delete_organisation_tag |
""",
}
"""By topic: the request, the SDK's names for it, and the differences from the real platform."""

_HEAD = """# What the local platform knows

Made by `python -m encord_agents.local.operations`; edit the table there.

Each operation of the SDK below works against the local platform, as far as the last column says nothing else. A filter
that is not understood is refused, never ignored. What is not listed is a 501 that says what to do instead;
[where the real platform's behaviour is not known](fidelity.md), the strict side was chosen.
"""


def rows() -> dict[str, tuple[str, str]]:
    """Return the SDK's names and the restrictions of each request."""
    found = {}
    for table in SDK.values():
        for line in table.strip().splitlines():
            request, names, note = (part.strip() for part in line.split("|"))
            found[request] = names, note
    return found


def answered() -> set[str]:
    """Return every request that has a route, under its name in the table."""
    return {*routes_v2.ROUTES, *(f"v1 {kind} {method}" for kind, method in routes_v1.OPERATIONS)}


def page() -> str:
    """Return the page docs/local/operations.md."""
    lines = [_HEAD]
    for topic, table in SDK.items():
        lines += [f"## {topic}", "", "| SDK | request | but |", "|---|---|---|"]
        for line in table.strip().splitlines():
            request, names, note = (part.strip() for part in line.split("|"))
            shown = names if names.startswith("(") else ", ".join(_code(name) for name in names.split(", "))
            lines.append(f"| {shown} | `{request}` | {note} |")
        lines.append("")
    lines += ["## Not here", "", "| SDK | instead |", "|---|---|"]
    seen = set()
    for names, sentence in remedies.REMEDIES.values():
        if names not in seen:
            seen.add(names)
            lines.append(f"| {names} | {sentence} |")
    return "\n".join(lines) + "\n"


def _code(name: str) -> str:
    return f"`{name}`" if "." in name or (name.islower() and " " not in name) else name


if __name__ == "__main__":
    import sys

    sys.stdout.write(page())
