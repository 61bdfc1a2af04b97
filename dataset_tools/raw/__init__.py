"""Raw files as they come, read a part at a time: tables, free text, times, numbers."""
