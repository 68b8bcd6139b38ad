"""Networks that find cells: ONNX files with a card, run by onnxruntime on one thread."""
