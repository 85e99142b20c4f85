"""Editor agents on the page: lists them, and calls one for the task, frame and objects on the screen."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from encord_agents.local import calling, editor_agents, history
from encord_agents.local.calls import client_of
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.history import Client, acting
from encord_agents.local.page import actions, frames, listing
from encord_agents.local.page.pages import Pages
from encord_agents.local.page.rendering import render
from encord_agents.local.trouble import LocalPlatformError, Refusal, malformed

MOST_OBJECTS = 1_000
LONGEST_HASH = 100
NOTHING = "00000000-0000-0000-0000-000000000000"
"""Stands for the project and the data unit in a test call of an agent."""


def agents_page(pages: Pages, request: Request) -> Response:
    """Serve the page of registered agents."""
    registered = editor_agents.registered(pages.service)
    tried = {agent.name: pages.outcomes.of(_tried(agent.name)) for agent in registered}
    return render(pages.service, request, "agents.html", section="agents", agents=registered, tried=tried)


def add(pages: Pages, name: str, address: str) -> str:
    """Register an agent on this machine. Return a sentence about the result.

    Raises:
        Refusal: 400, the name or the address cannot be used.
    """
    try:
        agent = editor_agents.add(pages.service, name, address)
    except LocalPlatformError as error:
        raise malformed(str(error)) from None
    pages.outcomes.forget(_tried(agent.name))
    return f"{agent.name} is registered: each task and object has a button for it."


def remove(pages: Pages, name: str) -> str:
    """Remove an agent. Return a sentence about the result.

    Raises:
        Refusal: 400, there is no agent with this name.
    """
    try:
        editor_agents.remove(pages.service, name)
    except LocalPlatformError as error:
        raise malformed(str(error)) from None
    pages.outcomes.forget(_tried(name))
    return f"{name} is no longer registered."


def try_out(pages: Pages, name: str) -> None:
    """Check that an agent can be reached, as the real platform does when an agent is registered."""
    agent = _agent(pages, name)
    with pages.outcomes:
        outcome = calling.call(
            agent, project=NOTHING, data=NOTHING, frame=0, objects=(), is_test=True,
            trace_id=pages.service.calls.new(agent.name), timeout=pages.service.settings.agent_timeout,
        )  # fmt: skip
    pages.outcomes.keep(_tried(agent.name), outcome)


def call(pages: Pages, request: Request, *, name: str, frame: str, objects: Sequence[str]) -> None:
    """Call an agent for a task, and carry out its decision.

    Raises:
        Refusal: 400 or 404, there is no such agent, task, frame or object.
    """
    project = pages.project(request)
    task = pages.task(project, request)
    agent = _agent(pages, name)
    number = int(frame) if frame.isascii() and frame.isdigit() and len(frame) < 10 else -1
    if not 0 <= number < frames.of(pages, task).count:
        raise malformed(f"The task has no frame {frame[:20]!r}.")
    if len(objects) > MOST_OBJECTS or any(not hash or len(hash) > LONGEST_HASH for hash in objects):
        raise malformed("These are no hashes of objects.")
    service = pages.service
    with pages.outcomes, acting(Client(client_of(agent.name))):
        with service.database.write() as connection:
            history.called(connection, project.id, task["unit"], task["branch"])
        outcome = calling.call(
            agent, project=project.hash, data=task["data_hash"], frame=number, objects=objects,
            trace_id=service.calls.new(agent.name), timeout=service.settings.agent_timeout,
        )  # fmt: skip
        if outcome.decision is not None:
            outcome = replace(outcome, told=_decided(pages, project, task, outcome.decision))
    pages.outcomes.keep(task["uuid"], outcome)


def _agent(pages: Pages, name: str) -> editor_agents.EditorAgent:
    agent = editor_agents.find(pages.service, name)
    if agent is None:
        raise Refusal(404, "There is no such editor agent: it may have been removed. Load the page again.")
    return agent


def _decided(pages: Pages, project: ProjectRecord, before: sqlite3.Row, decision: str) -> str:
    """Carry out an agent's decision, if the task is still in its stage. Return a sentence about the result."""
    database = pages.service.database
    task = listing.task(database, project, before["uuid"])
    if task is None or task["stage"] != before["stage"]:
        return f"It decided “{decision[:256]}”, and the task has left the stage meanwhile: it stays where it is."
    stage = project.stages[task["stage"]]
    for action in actions.offered(stage):
        if decision in (action.label, action.value, action.value.partition(":")[2]):
            try:
                return actions.act(pages.service, project, stage, action.value, [task["uuid"]])
            except Refusal as refusal:
                return f"It decided “{decision}”, and the task could not go there: {refusal.message}"
    ways = ", ".join(f"“{action.label}”" for action in actions.offered(stage)) or "none"
    return (
        f"It decided “{decision[:256]}”, which is no way out of {stage.title} (those are: {ways}). The task stays: "
        "return the name of a pathway."
    )


def _tried(name: str) -> str:
    return f"tried {name}"
