"""From a backbone to an artifact: ONNX, parity, bundle."""
