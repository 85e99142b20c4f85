"""What agents stand on: credentials, data models, assets, images, dependency injection. Knows nothing of task queues."""
