"""Corruptions, shifts, labelled streams and data sets, without PyTorch."""
