"""Kills at random moments: ``make kills`` ends runs by SIGKILL, SIGTERM and SIGINT, resumes them, and compares.

``python -m tests.kills --help`` has the options. A few of its cases are a test, so that the harness itself is tested.
"""
