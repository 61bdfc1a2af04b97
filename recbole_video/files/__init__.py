"""Reading and writing files: whole or not at all, nothing run, one process at a time."""
