"""Annotation tools that people may use instead of the review page: a queue written for them, and their exports read.

label_studio.py   tasks and a labelling config      argilla.py   records and settings      shown.py   what both show of an item
"""
