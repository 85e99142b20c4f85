"""Every seam with the inside of the `encord` SDK: what the library relies on that the SDK promises nobody.

Each seam says from which versions it was read, and is checked before its first use (`seam.Seam`). Where the SDK
differs, its own way is taken, with one line in the log at DEBUG: slower, and never wrong. Nothing of the SDK is changed
for others in the process.

========================  =====================================================  ==================================
module                    does                                                   without it
========================  =====================================================  ==================================
`connections`             keeps connections open                                 a connection for every request
`once`                    turns the transport's own retries off, call by call    the SDK retries beneath the engine
`bundle`                  sends many things at once, without copies of them      the SDK's bundle, which copies
`as_loaded`               keeps a row's labels as they were loaded               they are loaded anew where needed
`entrusted`               has agents' own saves wait for others                  a request for each
`tasks`                   makes tasks of their JSON                              workers ask for each task
`remembered`              opens a project again without asking for it            two requests more
`messages`                tells errors apart that the SDK keeps as text only     errors without a name are outages
========================  =====================================================  ==================================

To allow a newer SDK, run ``tests/unit/core/sdk``: `test_seams.py` names each function that is not as it was read. Read
it again, then add the version and the fingerprint there.
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
