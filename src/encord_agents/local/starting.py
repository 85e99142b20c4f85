"""The files of `local init`: an agent, a workflow and an ontology that run as they are."""

from __future__ import annotations

import json
from pathlib import Path

from encord_agents.local.ontologies import DEFAULT
from encord_agents.local.trouble import LocalPlatformError
from encord_agents.local.workflow import Workflow

AGENTS = '''"""Task agents: each function serves the stage that it is named after."""

from __future__ import annotations

from encord.objects import LabelRowV2, Object
from encord.objects.coordinates import BoundingBoxCoordinates

from encord_agents.tasks import Runner
from encord_agents.tasks.models import TaskAgentReturnStruct

runner = Runner()


@runner.stage("Pre-label")
def pre_label(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    """Draw a box. Put your model here; docs/runner.md lists what else a function may ask for."""
    if label_row.data_type not in ("image", "video", "pdf", "img_group"):
        return TaskAgentReturnStruct(pathway="skip")
    person = label_row.ontology_structure.get_child_by_title("Person", Object)
    if not label_row.get_object_instances(person):  # an agent may run twice for a task
        drawn = person.create_instance()
        box = BoundingBoxCoordinates(top_left_x=0.25, top_left_y=0.25, width=0.5, height=0.5)
        drawn.set_for_frames(box, frames=0, confidence=0.5, manual_annotation=False)
        label_row.add_object_instance(drawn)
    return TaskAgentReturnStruct(pathway="review", label_row=label_row)


if __name__ == "__main__":
    runner.run()
'''

WORKFLOW = """# Stages in order. Tasks start in the first one.
stages:
  - title: Pre-label
    type: agent                # served by a function in agents.py
    pathways: {review: Review, skip: Annotate}
  - {title: Annotate, type: annotation}     # people: `encord-agents local submit`, the page or the SDK
  - {title: Review, type: review}           # people: `encord-agents local approve` and `reject`
  - {title: Done, type: done}
"""


def write(directory: Path) -> list[Path]:
    """Write ``agents.py``, ``workflow.yaml`` and ``ontology.yaml``, and return their paths. Write none if one exists.

    Raises:
        LocalPlatformError: A file exists already, or cannot be written.
    """
    contents = {
        "agents.py": AGENTS,
        "workflow.yaml": WORKFLOW,
        "ontology.yaml": _ontology(),
    }
    there = [name for name in contents if (directory / name).exists()]
    if there:
        raise LocalPlatformError(f"{directory / there[0]} is there already, and nothing was written.")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise LocalPlatformError(f"{directory} cannot be written to: {error.strerror}.") from error
    return [directory / name for name in contents]


def default_workflow() -> Workflow:
    """Return the workflow in ``workflow.yaml``, for projects that are created without one."""
    import yaml

    return Workflow.from_dict(yaml.safe_load(WORKFLOW))


def _ontology() -> str:
    import yaml

    head = "# The ontology's editor, as the SDK's OntologyStructure.to_dict() has it.\n"
    return head + yaml.safe_dump(json.loads(json.dumps(DEFAULT)), sort_keys=False)
