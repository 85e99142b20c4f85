"""The deliberate differences from 0.2.10, each with its reason. docs/migrating.md is generated from this table."""

from __future__ import annotations

from typing import Any

INSIDE = "They are the inside of its injection. Mark parameters with `Depends`; `runner.check()` says what is needed."
MODELS = "They are steps on the way to `OntologyDataModel`, which is here, and the only one that its guide names."

NAMES_LEFT_OUT: dict[str, tuple[tuple[str, ...], str]] = {
    "encord_agents.cli.test": (("*",), "They are the inside of a command. `encord-agents test` does the same."),
    "encord_agents.cli.main": (("version",), "`encord-agents --version` is the command."),
    "encord_agents.cli.print": (
        ("print_agent_nodes", "print_system_info"),
        "They are the inside of a command. `encord-agents print` does the same.",
    ),
    "encord_agents.core.dependencies.models": (("Context", "Dependant", "ParamDetails"), INSIDE),
    "encord_agents.core.dependencies.utils": (("*",), INSIDE),
    "encord_agents.core.ontology": (
        (
            "GenericFieldModel",
            "GenericRadioModel",
            "KEEP_CHARS",
            "OBJECTS_RADIO_MODEL",
            "construct_fields",
            "create_checkbox_field",
            "create_objects_model",
            "create_radio_field",
            "create_text_field",
            "safe_key",
            "safe_str",
            "safe_str_camel",
        ),
        MODELS,
    ),
    "encord_agents.tasks.runner.runner_base": (
        ("PendingPathway", "StagePathways"),
        "They are the inside of the runner.",
    ),
    "encord_agents.utils.colab": (
        ("DARK_LOGO", "LIGHT_LOGO"),
        "The instructions show no pictures from elsewhere.",
    ),
}
"""Module -> the names that it lacks (``*``: all that it lacks), and the reason."""

BEHAVIOUR: dict[str, tuple[str, str]] = {
    "python": (
        "Python 3.11 or newer is required.",
        "Exception groups and notes carry errors of several tasks.",
    ),
    "vision": (
        "The `vision` extra brings PyAV and Pillow in place of OpenCV. An agent that imports `cv2` needs the "
        "`compat` extra, which brings both.",
        "PyAV counts frames as the platform does, where OpenCV loses some.",
    ),
    "report": (
        "`runner()` and `run_stage()` return a `RunReport`, where they returned `None`. Failed tasks do not raise; "
        "`runner().raise_for_failures()` does.",
        "One bad file must not end a night of work.",
    ),
    "exit-code": (
        "`runner.run()` exits with 1 if tasks failed.",
        "A scheduler has to notice.",
    ),
    "retries": (
        "A retry is a whole attempt: dependencies are made and torn down each time.",
        "The second attempt must not meet the remains of the first: a half-read file, a closed connection.",
    ),
    "bundles": (
        "Labels, priorities and moves are sent together, for up to 100 tasks. For that, return the label row in a "
        "`TaskAgentReturnStruct`, or use `bundle_saves=True`; `label_row.save()` still works.",
        "It is many times faster.",
    ),
    "cells": (
        "In a notebook, a cell that is run again replaces the function that it had defined for a stage, where it "
        "was an error. Another function for the stage still is one, without `overwrite=True`.",
        "Running a cell again is how people work in notebooks.",
    ),
    "yield": (
        "An agent's exception is raised at the `yield` of a dependency, so code after the `yield` is skipped unless "
        "it is in a `finally`.",
        "A dependency has to know whether to commit or to roll back. It is how FastAPI does it.",
    ),
    "transparency": (
        "`dep_single_frame` composites transparency onto white.",
        "The colours below transparent pixels are arbitrary.",
    ),
    "queue-errors": (
        "A queue function raises no task's error, not even for an unknown pathway or a malformed task: it is in "
        "the answer. With `raise_on_failure=True` it raises. Called with a list, it writes the results of all tasks "
        "that succeeded, where one failure took all along.",
        "Workers that die of one message lose the others.",
    ),
    "set-up": (
        "`QueueRunner` opens its project at first use, so that set-up errors are raised there.",
        "Importing a module should make no request.",
    ),
    "image-group": (
        "The texts of `DOWNLOAD_..._ERROR_MESSAGE` are other texts, and the exception is an "
        "`UnsupportedAssetError`, which is a `PrintableError` too.",
        "They say what to do instead.",
    ),
    "suffix": (
        "The suffix of a downloaded file is that of its name; it was that of its MIME type, such as `.x-wav`.",
        "Libraries choose their decoder by it.",
    ),
    "editor-asset": (
        "In an editor agent, `dep_asset` of a video is the path of the video's file, where it was that of a PNG of "
        "the frame on the screen. `dep_single_frame` gives the frame's pixels.",
        "It is what it is for images and in task agents.",
    ),
    "origins": (
        "Answers of editor agents on Google Cloud allow the origin that asks, if it is the label editor's, where "
        "they allowed any.",
        "Other pages must not call agents in the name of whoever looks at them.",
    ),
    "editor-origins": (
        "A request to an editor agent that names another page's origin than the label editor's is refused with 403. "
        "On FastAPI and AWS Lambda it was served.",
        "Browsers keep only the answer from such a page: the labels would be changed.",
    ),
    "editor-turns": (
        "Editor agents that ask for the same label row wait for each other. The first save of one whose labels were "
        "saved by somebody else since they were loaded is refused with 409, where the last one won.",
        "Nobody's labels are lost.",
    ),
    "editor-errors": (
        "Editor agents answer errors alike through all doors, as JSON with a `message`: 4xx for a request that is "
        "none or names no data unit, 405 for other methods than POST, 500 for an agent that fails. It was plain "
        "text on FastAPI, `Forbidden` or a list of `errors` on AWS Lambda, and on both cloud doors sometimes an "
        "exception. On FastAPI, a `TestClient` raises the agent's exception no more; an exception handler of your "
        "own for `Exception` is called as before.",
        "The editor shows the message.",
    ),
    "aws-nothing": (
        "On AWS Lambda, an agent that returns nothing is answered 200, and so is the request by which the platform "
        "tries an address. It was 204.",
        "It is what the other doors answer.",
    ),
    "aws-thread": (
        "On AWS Lambda, an agent runs in another thread than the one that imports it, with the caller's context "
        "variables and an event loop of its own for each call. An object that belongs to a thread or to the event "
        "loop of an earlier call, such as an `sqlite3` connection made at import, cannot be used in it: make it in "
        "the agent, or as a dependency.",
        "A call that would be cut off is answered 504 before that.",
    ),
    "in-part": (
        "A label row that was loaded in part, by `include_object_feature_hashes` or "
        "`include_classification_feature_hashes`, is not saved: returned by a task agent it fails the task, saved "
        "by an editor agent it is refused.",
        "Saving it deletes the labels that were not loaded.",
    ),
    "own-row": (
        "A label row that a task agent returns must be its task's own; another one fails the task. "
        "`other_row.save()` saves others.",
        "Labels on the wrong image are the worst mistake.",
    ),
    "fresh": (
        "A task that was loaded a minute ago or longer is looked at again before its result is written. It is "
        "skipped if it has left its stage, and fails if somebody has saved its labels.",
        "A person's work stands.",
    ),
    "priorities": (
        "`label_row_priority=0.0` is set, where it was ignored. What is no number from 0 to 1 raises a `ValueError`.",
        "It is the lowest priority.",
    ),
    "label-values": (
        "Labels with values that JSON has no word for, such as NaN, fail their task. Numbers of numpy are made plain.",
        "One such row made the platform refuse all that were sent with it.",
    ),
    "options": (
        "`LabelRowMetadataIncludeArgs` and `LabelRowInitialiseLabelsArgs` raise on an option that they do not have.",
        "A misspelt option did nothing.",
    ),
    "hash": (
        "A project hash that is no uuid raises a `ProjectError`, where it raised `typer.Abort`, and `Settings()` "
        "without a usable key a `CredentialsError`, where it raised pydantic's `ValidationError`.",
        "They say what to do. Both are a `PrintableError`, and so a `ValueError`.",
    ),
    "sampler": (
        "`dep_video_sampler` yields frames in the order in which their numbers are given, where it sorted them.",
        "Whoever gives an order wants it.",
    ),
    "whole-numbers": (
        "A frame number that is not whole, such as 2.5, raises a `PrintableError`, where it was cut off.",
        "Labels on the wrong image are the worst mistake.",
    ),
    "codings": (
        "A file that is stored with another `Content-Encoding` than gzip or deflate, such as br, is not downloaded. "
        "One that is a gzip file by its name, such as `scan.nii.gz`, is left compressed, where it was decompressed.",
        "Their readers would not recognise them.",
    ),
    "crops": (
        "A crop has all pixels that the object touches; its edges were rounded.",
        "Thin objects lost pixels, and the thinnest all of them.",
    ),
    "identity": (
        "`runner.agents[0].identity` is the stage as it was written, where it was its uuid.",
        "Messages show what was written. `printable_name` is the title.",
    ),
    "markup": (
        "A `PrintableError` shows its message as it is; it was read as rich markup, `[red]...[/red]`.",
        "Titles and paths have brackets.",
    ),
    "commands": (
        "`encord-agents --version` prints the version alone, `print agent-nodes` stages and pathways with their "
        "uuids, and a project that cannot be opened, or an agent that `encord-agents test` cannot reach or that "
        "answers with 400 or more, is exit code 1 or 2, where it was 0.",
        "Scripts read it.",
    ),
    "priority-alone": (
        "A `label_row_priority` is set whether or not the stage was registered with `will_set_priority=True`; "
        "without it the task failed.",
        "It is known from what the agent returns.",
    ),
    "no-agents": (
        "A runner without agents raises a `PrintableError` when it is called, where it returned.",
        "A decorator that is missing is a mistake.",
    ),
    "second-function": (
        "A second function of a `QueueRunner` for one stage is a `UserWarning`. Both can be called, but "
        "`get_agent_stages()` lists the stage once, where it was listed twice.",
        "It may be a mistake in the title, and tasks would be handed out twice.",
    ),
    "one-client": (
        "`get_user_client()` makes a client for each call, where it returned the same one. "
        "`get_user_client_from_settings()` still does.",
        "Its trace id would be that of the latest caller.",
    ),
    "lookup": (
        "A `DataLookup` fetches its datasets when they are first needed, where it did when it was made. One that is "
        "injected belongs to its run or its request, where a process had one for each project.",
        "Data that was added since is found.",
    ),
    "row-options": (
        "`runner.agents[0].label_row_metadata_include_args` and `.label_row_initialise_labels_args` are the options "
        "with their defaults where none are given; they were `None`.",
        "Nobody has to tell the two apart.",
    ),
    "float-pixels": (
        "`b64_encode_image` and `Frame.b64_encoding` refuse pixels of type float32, which OpenCV cut down to whole "
        "numbers.",
        "A picture of values from 0 to 1 came out black.",
    ),
    "key-pair": (
        "`generate_public_private_keypair` keeps a private key that it finds, and the instructions in a notebook do "
        "not hold it.",
        "A deleted key is gone, and outputs are saved with notebooks.",
    ),
    "validate-project": (
        "`_validate_project` raises a `ProjectError`, where it raised an `AssertionError`.",
        "Assertions are gone under `python -O`.",
    ),
}
"""A short name -> what differs, and the reason."""

OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "what the runner returns": ("report", {"out": ["RunReport"]}),
    "what follows a yield": ("yield", {"out": []}),
    "notebook: transcripts of several speakers": ("suffix", {"out": [".wav"]}),
    "editor on FastAPI: the file of a video": ("editor-asset", {"out": [".mp4", 200]}),
    "editor on Google Cloud: a box on the frame": ("origins", {"out": [[200, "https://app.encord.com"]]}),
    "a priority alone": (
        "priority-alone",
        {"tasks": {name: {"stage": "Review", "priority": 0.75, "boxes": []} for name in ("a.png", "b.png")}},
    ),
    "editor on AWS Lambda: an agent that returns nothing": ("aws-nothing", {"out": [[200, None], [200, None]]}),
    "editor on FastAPI: an agent that fails": ("editor-errors", {"out": [500]}),
    "editor on FastAPI: a page of somebody else": ("editor-origins", {"out": [403]}),
    "runner: one stage after the other, by hand": ("report", {"out": [False]}),
    "runner: an empty hash, and no agent": ("no-agents", {"out": [[None, None, False], "ValueError"]}),
    "queue: two functions for one stage": ("second-function", {"out": [True, True, 1]}),
    "runner: priorities of nothing and of one": (
        "priorities",
        {"tasks": {"a.png": ["Done", 0.0], "b.png": ["Done", 1.0]}},
    ),
    "runner: a hash that is none": ("hash", {"out": ["ProjectError", "AuthorisationError"]}),
    "runner: the frames of some numbers": ("sampler", {"out": [[0, 4, 8], [2, 7], [7, 2]]}),
    "by hand: a crop": ("crops", {"out": [[32, 32, 3], [32, 33, 3]]}),
    "by hand: settings": ("hash", {"out": [[True, None], [True], "CredentialsError"]}),
    "by hand: an option that there is not": ("options", {"out": ["ValidationError"]}),
    "queue: a list with one that fails": (
        "queue-errors",
        {"out": [[True, 1]], "tasks": {"a.png": ["Agent", None], "b.png": ["Done", None]}},
    ),
}
"""Program -> the difference of docs/migrating.md that it shows, and what is another result here."""
