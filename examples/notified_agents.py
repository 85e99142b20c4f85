"""The agents of `prelabel_and_triage.py` as a server: the platform says where tasks wait, and they are run.

    uvicorn notified_agents:app --app-dir examples

ENCORD_WEBHOOK_SECRET holds the secret of the address that notifications are sent to.
"""

from encord_agents.fastapi import serve_runner
from prelabel_and_triage import runner

app = serve_runner(runner)
