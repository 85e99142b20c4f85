"""Judge labels: a model looks at each labelled object, and what it doubts goes to a person."""

from __future__ import annotations

from typing import Annotated, Literal

from hosted import ask_gemini
from pydantic import BaseModel, ConfigDict

from encord_agents.core.data_model import InstanceCrop
from encord_agents.tasks import Depends, Runner
from encord_agents.tasks.dependencies import dep_object_crops

runner = Runner()


class Verdict(BaseModel):
    """What the model is to say of a crop."""

    model_config = ConfigDict(extra="forbid")

    verdict: Literal["right", "wrong", "unsure"]


@runner.stage("Judge")
def judge(crops: Annotated[list[InstanceCrop], Depends(dep_object_crops())]) -> str:
    for crop in crops:
        parts = [
            {"text": f"Somebody labelled this as {crop.instance.object_name!r}. Is that right?"},
            crop.b64_encoding(output_format="gemini"),
        ]
        answer = ask_gemini(parts, Verdict.model_json_schema())
        if Verdict.model_validate_json(answer).verdict != "right":
            return "a person"
    return "done"


if __name__ == "__main__":
    runner.run()
