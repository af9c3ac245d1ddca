"""The loop: frames in, answers out, learning in between."""
