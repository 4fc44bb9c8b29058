doc    = "What builds and runs models on an NVIDIA GPU: PyTorch, TensorRT, INT4 kernels."
python = ["3.11", "3.12"] # those that TensorRT's bindings are built for
