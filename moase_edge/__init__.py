"""moase-edge: a frozen vision engine that keeps learning through a small sidecar."""

__version__ = "0.1.0"
