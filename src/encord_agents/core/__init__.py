"""What agents stand on: credentials, data models, assets, frames, dependency injection. Knows nothing of tasks."""
