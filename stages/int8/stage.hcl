kind        = "int8"
doc         = "Quantizes weights and activations of a causal LM's linear layers to 8 bits, by llm-compressor: SmoothQuant (arXiv 2211.10438) moves what is loud in the activations into the weights, and both are rounded to nearest, weights with a scale for each row, activations with one for each layer that calibration found. The checkpoint is in compressed-tensors' format, which transformers and vLLM read."
env         = "torch"
uses        = ["lib/compress", "lib/llm"]
determinism = "statistical"

needs {
  cpus       = 2
  memory_gib = 6
  gpus       = "0-1"
}

param "smoothing" {
  type    = number
  default = 0.5
  min     = 0
  max     = 1
  doc     = "How much of the loudness goes into the weights: 0 none, 1 all."
}

param "observer" {
  type    = string
  default = "minmax"
  one_of  = ["minmax", "mse"]
  doc     = "How a row's scale is found: minmax lets it reach the outermost weight; mse cuts outliers off where that leaves a smaller error."
}

param "ignore" {
  type    = list(string)
  default = ["lm_head"]
  doc     = "Layers that stay as they are: names, or re: and a regular expression."
}

param "rest" {
  type    = string
  default = "keep"
  one_of  = ["keep", "float16", "bfloat16"]
  doc     = "The type of scales and of all that is not quantized; keep leaves the model's own."
}

input "model" {
  type = "model/hf"
  doc  = "The model to quantize."
}

input "calibration" {
  type = "dataset/tokens"
  doc  = "Samples whose activations say what range each layer's inputs have. Later inputs beyond it are cut off."
}

output "model" {
  type = "model/hf"
}

metric "bits_per_weight" {
  unit   = "bit"
  better = "lower"
  doc    = "Stored bits of the quantized layers, with scales, for each of their weights."
}

metric "size_bytes" {
  unit   = "byte"
  better = "lower"
  doc    = "All safetensors files of the checkpoint."
}

metric "quantized_layers" {
  unit = "1"
  doc  = "Linear layers that were quantized."
}

metric "load_seconds" {
  unit   = "s"
  better = "lower"
  doc    = "Reading the model and checking its weights."
}

metric "quantize_seconds" {
  unit   = "s"
  better = "lower"
  doc    = "Smoothing, calibrating and rounding, all layers."
}

metric "save_seconds" {
  unit   = "s"
  better = "lower"
  doc    = "Packing and writing the checkpoint."
}

metric "peak_gpu_bytes" {
  unit   = "byte"
  better = "lower"
  doc    = "The most that tensors took on the GPU at one time. The model stays in the machine's memory, and a decoder layer at a time is brought to the GPU. Absent without a GPU."
}
