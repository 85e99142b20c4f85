"""What users hold: a runner collects their functions and runs them over a project's tasks."""
