"""Models: cards, ONNX sessions, tokenizers."""
