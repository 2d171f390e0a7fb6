"""The owner's own routes, below `/runnerd/`: users, keys, usage, the audit, copies of it all."""
