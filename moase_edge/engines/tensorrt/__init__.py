"""TensorRT in its flavours: finding one, what device there is, and running a plan."""
