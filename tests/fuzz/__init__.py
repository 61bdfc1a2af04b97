"""Property-based tests: what is given at random ends in a result or in one sentence, and touches nothing else.

``make test`` tries a few cases of each, always the same ones; ``make fuzz`` tries many new ones and prints its seed.
"""
