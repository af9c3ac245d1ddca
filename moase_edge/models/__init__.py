"""Backbones: names, weights, what is accepted, and where a network is cut."""
