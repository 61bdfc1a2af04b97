"""Data: atomic files and frame store -> sequences -> batches."""
