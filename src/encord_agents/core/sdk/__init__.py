"""Every seam with the internals of the `encord` SDK: behaviour that the library relies on and the SDK does not promise.

Each seam names the SDK versions it was read from, and is checked before its first use (`seam.Seam`). If the SDK
differs, the library falls back to the SDK's own behaviour, which is slower but never wrong, and logs one line at DEBUG.
The SDK is not patched for other code in the process.

========================  =====================================================  ==================================
module                    does                                                   without it
========================  =====================================================  ==================================
`connections`             keeps connections open                                 a connection for every request
`once`                    turns the transport's own retries off, call by call    the SDK retries beneath the engine
`bundle`                  sends many payloads at once, without deep copies       the SDK's bundle, which copies
`as_loaded`               keeps a row's labels as they were loaded               they are loaded again when needed
`entrusted`               holds agents' own saves, to bundle them                a request for each
`tasks`                   makes tasks from their JSON                            workers request each task
`remembered`              opens a project again from cached responses            two more requests
`messages`                classifies errors that the SDK keeps as text only      errors without a name are outages
========================  =====================================================  ==================================

To allow a newer SDK, run ``tests/unit/core/sdk``: `test_seams.py` names each function that has changed since it was
read. Read it again, then add the version and the fingerprint there.
"""

from __future__ import annotations

from encord_agents.core.sdk.as_loaded import AS_LOADED
from encord_agents.core.sdk.bundle import BUNDLE
from encord_agents.core.sdk.connections import CONNECTIONS
from encord_agents.core.sdk.entrusted import ENTRUSTED
from encord_agents.core.sdk.messages import MESSAGES
from encord_agents.core.sdk.once import ONCE
from encord_agents.core.sdk.remembered import REMEMBERED
from encord_agents.core.sdk.tasks import TASKS

__all__ = ["SEAMS"]

SEAMS = (CONNECTIONS, ONCE, BUNDLE, AS_LOADED, ENTRUSTED, TASKS, REMEMBERED, MESSAGES)
