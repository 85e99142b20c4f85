"""The foundation of agents: credentials, data models, assets, frames, dependency injection. Knows nothing of tasks."""
