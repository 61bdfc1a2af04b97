"""Raw videos -> frame times -> decoded frames -> chosen frames -> embeddings -> frame store.

Each step is a module; :mod:`pipeline` joins them. Decoding needs PyAV and no PyTorch, so that the
processes that decode stay small.
"""
