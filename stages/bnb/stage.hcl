kind        = "bnb"
doc         = "Quantizes the linear layers of a causal LM by bitsandbytes, without calibration: LLM.int8 (arXiv 2208.07339) multiplies in 8 bits and keeps inputs with outliers in 16, NF4 (arXiv 2305.14314) stores 4 bits. The checkpoint is bitsandbytes' own, which transformers reads on a GPU."
env         = "gpu"
uses        = ["lib/compress", "lib/llm"]
determinism = "statistical"

needs {
  cpus       = 2
  memory_gib = 6
  gpus       = 1
}

param "scheme" {
  type    = string
  default = "nf4"
  one_of  = ["llm_int8", "nf4"]
  doc     = "llm_int8 stores 8 bits and a scale for each row; nf4 stores 4 bits and a scale for every 64 weights."
}

param "double_quant" {
  type    = bool
  default = false
  doc     = "Whether nf4 stores its scales in 8 bits too."
}

param "threshold" {
  type    = number
  default = 6
  min     = 0
  max     = 1000
  doc     = "From which size on inputs of llm_int8 are multiplied in 16 bits."
}

param "ignore" {
  type    = list(string)
  default = ["lm_head"]
  doc     = "Modules that stay as they are, by name or the last parts of it."
}

input "model" {
  type = "model/hf"
  doc  = "The model to quantize."
}

output "model" {
  type = "model/bnb"
}

metric "bits_per_weight" {
  unit   = "bit"
  better = "lower"
  doc    = "Stored bits of the quantized layers, with scales and tables, for each of their weights."
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

metric "quantize_seconds" {
  unit   = "s"
  better = "lower"
  doc    = "Reading the model, each layer of which is quantized as soon as it is read."
}

metric "save_seconds" {
  unit   = "s"
  better = "lower"
  doc    = "Writing the checkpoint."
}

metric "peak_gpu_bytes" {
  unit   = "byte"
  better = "lower"
  doc    = "The most that tensors took on the GPU at one time."
}
