"""STAP: frames in their order, text, metadata, and a bank of past videos (arXiv 2604.20311)."""
