"""The data models that users see: options to list and load label rows, a frame, an object cut out of a frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, overload
from uuid import UUID

from encord.objects.ontology_object_instance import ObjectInstance
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from encord_agents.core.constants import MAX_DECISION_LENGTH
from encord_agents.core.legible import joined
from encord_agents.exceptions import closest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    ImageArray: TypeAlias = NDArray[np.uint8]
else:
    # Annotations of dependencies are evaluated at run time, and numpy is an extra.
    ImageArray = Any

__all__ = [
    "Base64Formats",
    "EditorAgentResponse",
    "Frame",
    "FrameData",
    "ImageArray",
    "InstanceCrop",
    "LabelRowInitialiseLabelsArgs",
    "LabelRowMetadataIncludeArgs",
]

ALIKE = 0.85
"""The similarity of a field's name and a misspelling of it: a letter or two, not another word (see `closest`)."""

Base64Formats: TypeAlias = Literal[".jpeg", ".jpg", ".png", ".webp"]
ImageFormat: TypeAlias = Base64Formats | Literal["JPEG", "PNG", "WEBP", "jpeg", "jpg", "png", "webp"]
MessageFormat: TypeAlias = Literal["openai", "openai-responses", "anthropic", "gemini"]
OutputFormat: TypeAlias = Literal["raw", "url"] | MessageFormat


class LabelRowMetadataIncludeArgs(BaseModel):
    """Options for listing label rows: arguments of ``project.list_label_rows_v2``."""

    model_config = ConfigDict(extra="forbid")

    include_workflow_graph_node: bool = True
    include_client_metadata: bool = False
    include_images_data: bool = False
    include_all_label_branches: bool = False
    include_children: bool = False
    branch_name: str | None = None
    """List the rows of this branch. Default: the task's. Excludes ``include_all_label_branches``."""

    @model_validator(mode="after")
    def _check_branches(self) -> Self:
        if self.include_all_label_branches and self.branch_name is not None:
            raise ValueError("Ask for one branch, by branch_name, or for include_all_label_branches, but not for both.")
        return self


class LabelRowInitialiseLabelsArgs(BaseModel):
    """Options for loading the labels of a row: arguments of ``label_row.initialise_labels``."""

    model_config = ConfigDict(extra="forbid")

    include_object_feature_hashes: set[str] | None = None
    include_classification_feature_hashes: set[str] | None = None
    include_reviews: bool = False
    overwrite: bool = False
    include_signed_url: bool = False


class FrameData(BaseModel):
    """The frame and data unit that a person is looking at.

    Read in camel case (``projectHash``) or snake case; written in snake case, or in camel case with ``by_alias=True``.
    """

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    project_hash: UUID = Field(alias="projectHash")
    data_hash: UUID = Field(alias="dataHash")
    frame: int = Field(default=0, ge=0)
    """The frame's number, from 0. An image is frame 0."""
    object_hashes: list[str] | None = Field(default=None, alias="objectHashes")
    """The selected objects, or ``None`` if there are none."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_misspelt(cls, value: Any) -> Any:
        """Reject a misspelling of a missing field. Other unknown fields are ignored: the platform may add some."""
        if isinstance(value, dict):
            names = [(field, one.alias or field) for field, one in cls.model_fields.items()]
            known = {name for pair in names for name in pair}
            missing = [name for pair in names if not any(name in value for name in pair) for name in pair]
            for name in value:
                if name in known or not isinstance(name, str):
                    continue
                if meant := closest(name, missing, cutoff=ALIKE):
                    raise ValueError(f"It has a field {name[:80]!r}. Did you mean {meant!r}?")
        return value


class EditorAgentResponse(BaseModel):
    """The response of an editor agent. Fields without a value are not sent, and a blank counts as no value.

    Attributes:
        message: Shown to the person in the label editor: its first 256 characters.
        decision: The name of the pathway that the task takes. The platform reads it if a workflow called the agent;
            the label editor ignores it.
    """

    message: str | None = None
    decision: str | None = Field(default=None, max_length=MAX_DECISION_LENGTH)

    @field_validator("message", "decision", mode="before")
    @classmethod
    def _as_it_can_be_sent(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return joined(value).encode("utf-8", "replace").decode().strip() or None  # UTF-8 has no lone surrogates

    @model_serializer(mode="wrap")
    def _without_nones(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


@dataclass(frozen=True)
class Frame:
    """One frame, decoded.

    Attributes:
        frame: Its number, from 0. An image is frame 0.
        content: Its pixels: RGB, uint8, ``[height, width, 3]``.
    """

    frame: int
    content: ImageArray = field(repr=False, compare=False)

    @overload
    def b64_encoding(self, image_format: ImageFormat = ..., output_format: Literal["raw", "url"] = ...) -> str: ...

    @overload
    def b64_encoding(
        self,
        image_format: ImageFormat = ...,
        *,
        output_format: MessageFormat,
    ) -> dict[str, Any]: ...

    @overload
    def b64_encoding(self, image_format: ImageFormat, output_format: MessageFormat) -> dict[str, Any]: ...

    def b64_encoding(
        self, image_format: ImageFormat = ".jpeg", output_format: OutputFormat = "url"
    ) -> str | dict[str, Any]:
        """Return the frame as base64 text, for JSON and for the messages of vision models.

        Args:
            image_format: ``.jpeg`` (small), ``.png`` (exact) or ``.webp``.
            output_format: ``"url"``: a ``data:`` URL. ``"raw"``: the base64 text alone. ``"openai"`` (Chat
                Completions), ``"openai-responses"``, ``"anthropic"`` and ``"gemini"``: the message part that these
                providers' APIs accept.

        Raises:
            ValueError: An unknown format.
        """
        from encord_agents.core.vision import b64_encode_image

        return b64_encode_image(self.content, image_format, output_format)


@dataclass(frozen=True)
class InstanceCrop(Frame):
    """A labelled object, cut out of its frame.

    Attributes:
        instance: The object. Its coordinates refer to the whole frame, not to the crop.
    """

    instance: ObjectInstance = field(repr=False, compare=False)
