"""Torch towers to ONNX models (needs the extra `[export]`)."""
