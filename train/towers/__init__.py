"""Torch towers: the networks that training fits and `export/` turns into ONNX."""
