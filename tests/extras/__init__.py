"""Main paths of the extras, run where one of them alone is installed (`nox -s extras`)."""
