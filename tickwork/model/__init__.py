"""Values and records: what tasks, runs and nodes are, as data."""
