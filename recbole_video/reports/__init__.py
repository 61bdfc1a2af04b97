"""Reports: finished runs as a paper's table beside its published numbers, its figures, and what made them."""
