"""Notes for exceptions whose own messages name no remedy that works here."""

from __future__ import annotations

from encord.exceptions import OntologyError

from encord_agents.core.tracebacks import add_note, chain, described, is_a

__all__ = ["advise"]

DAEMONIC = "daemonic processes are not allowed to have children"
ABOUT_DAEMONIC = (
    "The agent runs in a worker process that may not start processes of its own, as those of Celery's prefork pool and "
    "of multiprocessing.Pool. Use threads in the agent, or billiard.Pool in place of multiprocessing.Pool; or run the "
    "worker with another pool (celery worker -P threads, or -P solo) and have the agent start processes by the method "
    "'spawn'. Runner and drain() have no such limit."
)

LOOP_RUNS = ("cannot be called from a running event loop", "This event loop is already running")
ABOUT_LOOPS = (
    "An event loop runs in this thread already, as in a notebook. Write the agent `async def` and await in it, or make "
    "the call in another thread: await asyncio.to_thread(runner.try_on), and likewise for the runner itself and "
    "run_stage. With runner(max_workers=2), agents run in threads of their own anyway."
)

OTHER_LOOP = ("Event loop is closed", "is bound to a different event loop", "attached to a different loop")
ABOUT_OTHER_LOOPS = (
    "An asynchronous client or lock belongs to the event loop that it was first used on, and each call of the runner, "
    "as of asyncio.run, has a loop of its own. In an `async def` agent, make it in an `async def` dependency with "
    "scope='run': it then lives as long as the runner's loop."
)

NO_OPENCV = "No module named 'cv2'"
ABOUT_OPENCV = (
    "The vision extra does not bring OpenCV, as that of encord-agents 0.2.10 did. Install it: "
    "pip install 'encord-agents[compat]'"
)

NOT_IN_ONTOLOGY = "can't find an item with a hash"
ABOUT_THE_ONTOLOGY = (
    "The labels have a class that the ontology does not have, or did not have when the project was opened. If it was "
    "added since then, start the run again, which reads the ontology."
)


def advise(exception: BaseException) -> None:
    """Add a note to an exception, or to one of its causes, if there is advice for it."""
    for one in chain(exception):
        if is_a(one, AssertionError) and DAEMONIC in described(one):
            add_note(one, ABOUT_DAEMONIC)
        if is_a(one, RuntimeError) and any(said in described(one) for said in LOOP_RUNS):
            add_note(one, ABOUT_LOOPS)
        if is_a(one, RuntimeError) and any(said in described(one) for said in OTHER_LOOP):
            add_note(one, ABOUT_OTHER_LOOPS)
        if is_a(one, ImportError) and NO_OPENCV in described(one):
            add_note(one, ABOUT_OPENCV)
        if is_a(one, OntologyError) and NOT_IN_ONTOLOGY in described(one):
            add_note(one, ABOUT_THE_ONTOLOGY)
