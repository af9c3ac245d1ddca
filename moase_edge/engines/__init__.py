"""Engines: named tensors in, named tensors out, whatever runs them."""
