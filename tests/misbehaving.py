"""Exceptions and values that refuse what is asked of them, as users' own classes do: on purpose, or by mistake."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any, NoReturn
from uuid import UUID

__all__ = ["EXCEPTIONS", "PATHWAYS", "VALUES", "leave", "refuse"]


def refuse(*_: object, **__: object) -> NoReturn:
    raise LookupError("refused")


def leave(*_: object, **__: object) -> NoReturn:
    raise SystemExit(3)


class Own(BaseException):
    """No `Exception`, as those of pytest, trio or gevent."""


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):  # noqa: N818
    code: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted(Exception):  # noqa: N818
    code: int = 1


class Mute(Exception):  # noqa: N818
    __str__ = __repr__ = refuse  # type: ignore[assignment]


class Exiting(Exception):  # noqa: N818
    __str__ = __repr__ = leave  # type: ignore[assignment]


class NoText(Exception):  # noqa: N818
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307


class Incomparable(Exception):  # noqa: N818
    __eq__ = __hash__ = __bool__ = __len__ = refuse  # type: ignore[assignment]


class False_(Exception):  # noqa: N801, N818
    """Counts as false: an exception that is a container of nothing."""

    def __len__(self) -> int:
        return 0


class Unpicklable(Exception):  # noqa: N818
    __reduce__ = __reduce_ex__ = leave  # type: ignore[assignment]


class Sealed(Exception):  # noqa: N818
    """Refuses to be written to, and to say what it was caused by."""

    __setattr__ = __delattr__ = refuse  # type: ignore[assignment]
    add_note = with_traceback = refuse  # type: ignore[assignment]
    __traceback__ = __cause__ = __context__ = __notes__ = property(refuse)  # type: ignore[assignment]


class Closed(Exception):  # noqa: N818
    """Refuses every attribute."""

    __getattribute__ = refuse  # type: ignore[assignment]


class Unclassed(Exception):  # noqa: N818
    """Refuses `isinstance`, as an unbound proxy does."""

    __class__ = property(refuse)  # type: ignore[assignment]


class Nameless(type):
    __name__ = property(refuse)  # type: ignore[assignment]


class OfNameless(Exception, metaclass=Nameless):  # noqa: N818
    pass


EXCEPTIONS: dict[str, Callable[[], BaseException]] = {
    kind.__qualname__: kind
    for kind in (
        *(Own, Frozen, Slotted, Mute, Exiting, NoText, Incomparable, False_, Unpicklable, Sealed, Closed, Unclassed),
        OfNameless,
    )
}
"""By the name that is told of them."""


class Way(str, enum.Enum):  # noqa: UP042 - this is how code written for older versions does it
    COMPLETE = "complete"


class OddText(str):
    """Text that refuses to be compared, hashed, measured or shown."""

    __slots__ = ()
    __eq__ = __hash__ = __len__ = __str__ = __repr__ = __bool__ = casefold = refuse  # type: ignore[assignment]


class OddUuid(UUID):
    __eq__ = __hash__ = __str__ = __repr__ = refuse  # type: ignore[assignment]


def odd(name: str, **refusing: Any) -> Any:
    return type(name, (), refusing)()


def struct(**assigned: object) -> Any:
    from encord_agents.tasks.models import TaskAgentReturnStruct

    made = TaskAgentReturnStruct("complete")
    for name, value in assigned.items():
        setattr(made, name, value)
    return made


VALUES: dict[str, Callable[[], Any]] = {
    "NoEq": lambda: odd("NoEq", __eq__=refuse, __hash__=refuse),
    "NoRepr": lambda: odd("NoRepr", __repr__=refuse, __str__=refuse),
    "ReprExits": lambda: odd("ReprExits", __repr__=leave, __str__=leave),
    "NoBool": lambda: odd("NoBool", __bool__=refuse, __len__=refuse),
    "NoClass": lambda: odd("NoClass", __class__=property(refuse)),
    "ClassExits": lambda: odd("ClassExits", __class__=property(leave)),
    "NoAttribute": lambda: odd("NoAttribute", __getattribute__=refuse),
    "OddText": lambda: OddText("nowhere"),
    "OddUuid": lambda: OddUuid(int=7),
    "OddPathway": lambda: struct(pathway=odd("OddPathway", __repr__=leave, __class__=property(leave))),
    "OddRow": lambda: struct(label_row=odd("OddRow", __repr__=leave)),
    "ClasslessRow": lambda: struct(label_row=odd("ClasslessRow", __class__=property(leave))),
    "OddPriority": lambda: struct(label_row_priority=odd("OddPriority", __float__=leave, __repr__=leave)),
    "text for a priority": lambda: struct(label_row_priority="high"),
}
"""What no agent may return, by name."""

PATHWAYS: dict[str, Callable[[], Any]] = {
    "Enum": lambda: Way.COMPLETE,
    "OddText": lambda: OddText("complete"),
}
"""What names a pathway, however little else can be asked of it."""
