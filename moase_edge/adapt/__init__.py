"""What learns: the sidecar beside the engine, its learner, and the learned state."""
