"""Experiments on the shipped pipeline: the demo."""
