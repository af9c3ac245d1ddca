"""Frames: where they come from, and how they become tensors; without PyTorch."""
