"""Values that a program hands over: numbers, tokens, histories, in whatever type they come."""
