"""Validates hand-written workflows, ontologies and options with pydantic; messages name the place and valid choices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from encord_agents.local.files import kind
from encord_agents.local.trouble import LocalPlatformError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")
MOST_SHOWN = 10
"""The most mistakes that are listed for one file."""

Text = Annotated[str, Field(min_length=1)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
Seconds = Annotated[Number, Field(ge=0)]


class Options(BaseModel):
    """Options by name, validated when they are given and when they are set.

    Raises:
        LocalPlatformError: An option is not valid.
    """

    model_config = ConfigDict(strict=True, validate_assignment=True, extra="forbid")

    def __init__(self, **given: Any) -> None:
        with explained():
            super().__init__(**given)

    def __setattr__(self, name: str, value: Any) -> None:
        with explained():
            super().__setattr__(name, value)


def checked(kind: TypeAdapter[T], given: Any, source: str = "", error: type[Exception] = LocalPlatformError) -> T:
    """Validate something that people wrote, and return it as the type that it should be.

    Args:
        source: The file's name, for messages.
        error: The exception to raise.

    Raises:
        LocalPlatformError: It is not valid; the message has one line for each mistake.
    """
    with explained(source, error):
        return kind.validate_python(given)


@contextmanager
def explained(source: str = "", error: type[Exception] = LocalPlatformError) -> Iterator[None]:
    """Turn pydantic's validation errors into messages for people."""
    try:
        yield
    except ValidationError as invalid:
        lines = [_line(found, source) for found in invalid.errors()]
        raise error("\n".join(lines[:MOST_SHOWN])) from None


def known(*names: str) -> BeforeValidator:
    """Refuse keys other than these, of a mapping or of an object made in Python."""

    def check(given: Any) -> Any:
        made_in_python = is_dataclass(given) and not isinstance(given, type)
        return refuse_others(vars(given) if made_in_python else given, names)

    return BeforeValidator(check)


def refuse_others(given: Any, names: Collection[str]) -> Any:
    """Return a mapping without the keys whose value is ``None``, which count as left out.

    Raises:
        ValueError: A key is not among the names. The message lists the names.
    """
    if not isinstance(given, Mapping):
        return given
    for key in given:
        if key not in names:
            raise ValueError(f"there is no {key!r} here; {choice(key, names)}")
    return {key: value for key, value in given.items() if value is not None}


def choice(given: Any, there: Iterable[str], what: str = "there") -> str:
    """Return a clause for messages that lists the valid names, and suggests the one most like the given name."""
    names = list(dict.fromkeys(there))
    guess = get_close_matches(str(given), names, n=1, cutoff=0.5)
    said = f"{what} are {', '.join(map(repr, names[:30]))}" if names else f"{what} are none"
    return said + (f"; did you mean {guess[0]!r}?" if guess else "")


def place(location: Sequence[Any]) -> str:
    """Return a place in a file in its usual notation: ``stages[2].pathways.go``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if not str(part).startswith("<"))
    return "".join(parts).removeprefix(".")


def _line(found: ErrorDetails, source: str) -> str:
    location, said = found["loc"], _said(found)
    if location[-1:] == ("[key]",):  # the key of a mapping, not its value
        location, said = location[:-2], f"a name {said}"
    return ": ".join(part for part in (source, place(location), said) if part)


def _said(found: ErrorDetails) -> str:
    given, context = found["input"], found.get("ctx", {})
    match found["type"]:
        case "value_error":
            return str(context["error"])
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not known"
        case "literal_error":
            return f"must be {context['expected']}, not {kind(given)}"
        case "string_type":
            # YAML does not read `yes`, `no` and `1` as text: asking for quotes is better than guessing.
            return f"must be text, not {kind(given)} (write it in quotes)"
        case "string_too_short" | "too_short":
            return "must not be empty"
        case "string_unicode":
            return "must be text that can be stored, and has half a character in it"
        case "recursion_loop":
            return "is nested too deeply"
        case "int_type":
            return f"must be a whole number, not {kind(given)}"
        case "greater_than_equal" | "less_than_equal":
            bound = f"at least {context['ge']:g}" if "ge" in context else f"at most {context['le']:g}"
            return f"must be {bound}, not {kind(given)}"
        case other:
            wanted = _WANTED.get(other)
            return f"must be {wanted}, not {kind(given)}" if wanted else found["msg"]


_WANTED = {
    "dict_type": "a mapping", "dataclass_type": "a mapping", "model_type": "a mapping",
    "list_type": "a list", "bool_type": "true or false",
    "float_type": "a number", "finite_number": "a number",
}  # fmt: skip
