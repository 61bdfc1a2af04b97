"""What a run leaves to read: the table on the console, the curve, the table of users."""
