"""Fuzzing of what reads other people's bytes: ``python -m fuzz TARGET``. See ``README.md`` beside this file.

Whatever is found becomes a file in ``found/``, which the ordinary tests read.
"""
