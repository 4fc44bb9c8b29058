kind        = "awq"
doc         = "Quantizes the linear layers of a causal LM with AWQ (arXiv 2306.00978), by llm-compressor: channels with large activations are scaled up, which the layer before them undoes, and all are rounded to nearest. The checkpoint is in compressed-tensors' packed format, which transformers and vLLM read."
env         = "torch"
uses        = ["lib/compress", "lib/llm"]
determinism = "statistical"

needs {
  cpus       = 2
  memory_gib = 6
  gpus       = "0-1"
}

param "bits" {
  type    = number
  default = 4
  one_of  = [2, 3, 4, 8]
  doc     = "Bits per weight."
}

param "group_size" {
  type    = number
  default = 128
  integer = true
  min     = 8
  max     = 65536
  doc     = "Weights of a row that share a scale; it must divide the input size of every layer that is quantized."
}

param "symmetric" {
  type    = bool
  default = false
  doc     = "Symmetric around zero; false keeps a zero point for each group."
}

param "observer" {
  type    = string
  default = "minmax"
  one_of  = ["minmax", "mse"]
  doc     = "How a group's scale is found: minmax lets it reach the outermost weight; mse cuts outliers off where that leaves a smaller error."
}

param "grid" {
  type    = number
  default = 20
  integer = true
  min     = 4
  max     = 1000
  doc     = "Scales that are tried for each set of layers. Each costs a pass of the samples through these layers."
}

param "duo_scaling" {
  type    = string
  default = "on"
  one_of  = ["on", "off", "both"]
  doc     = "on scales by activations and weights, off by activations alone; both tries half the grid each way."
}

param "ignore" {
  type    = list(string)
  default = ["lm_head"]
  doc     = "Layers that are not quantized: names, or re: and a regular expression."
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
  doc  = "Samples whose activations say what matters. A few thousand tokens will do, and time grows with their number."
}

output "model" {
  type = "model/hf"
}

metric "bits_per_weight" {
  unit   = "bit"
  better = "lower"
  doc    = "Stored bits of the quantized layers, with scales and zero points, for each of their weights."
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

metric "scaled_layers" {
  unit = "1"
  doc  = "Layers for whose input channels scales were searched; the best may be none. With fewer key than query heads o_proj is not among them."
}

metric "load_seconds" {
  unit   = "s"
  better = "lower"
  doc    = "Reading the model and checking its weights."
}

metric "quantize_seconds" {
  unit   = "s"
  better = "lower"
  doc    = "Searching scales and rounding, all layers."
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
