"""Options of runs: how they are declared, read and shown. Nothing in here knows a model, or imports PyTorch."""
