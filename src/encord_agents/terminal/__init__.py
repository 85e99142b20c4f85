"""The terminal output: progress, the log, the first failure, errors, and the report.

The report is the result and goes to stdout; everything else goes to stderr. There is colour only on a terminal. Titles
and messages are other people's text: they are never read as markup, and control characters in them are escaped.
This package imports none of its modules, since some commands only need `streams`, which is imported within
milliseconds; the other modules import the SDK. Rich is imported by the functions that draw.
"""
