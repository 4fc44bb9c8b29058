doc    = "PyTorch, transformers, the quantizers and ONNX: what makes and measures models."
python = ["3.11", "3.12", "3.13"]
