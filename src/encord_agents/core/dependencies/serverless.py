"""Names that existing code imports from here. New code uses those of `encord_agents.gcp.dependencies`, ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encord_agents.core.data_lookup import *  # noqa: F403
    from encord_agents.core.data_model import *  # noqa: F403
    from encord_agents.core.dependencies.models import *  # noqa: F403
    from encord_agents.core.utils import *  # noqa: F403
    from encord_agents.editor.aliases import *  # noqa: F403
    from encord_agents.editor.dependencies import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        # Imported lazily: editor agents build on injection, which knows nothing about Encord.
        from encord_agents.core import data_lookup, data_model, utils
        from encord_agents.core.dependencies import models
        from encord_agents.editor import aliases, dependencies

        for module in (aliases, dependencies, data_model, models, data_lookup, utils):
            if name in module.__all__:
                return getattr(module, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
