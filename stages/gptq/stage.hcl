kind        = "gptq"
doc         = "Quantizes the linear layers of a causal LM with GPTQ (arXiv 2210.17323), layer by layer, by llm-compressor. The checkpoint is in compressed-tensors' packed format, which transformers and vLLM read. Layers that are finished outlive an attempt that fails, and are not made again; until all are, they take about as much room as the model."
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
  default = true
  doc     = "Symmetric around zero; false keeps a zero point for each group."
}

param "observer" {
  type    = string
  default = "minmax"
  one_of  = ["minmax", "mse", "imatrix"]
  doc     = "How a group's scale is found: minmax lets it reach the outermost weight; mse cuts outliers off where that leaves a smaller error; imatrix is mse with each input weighed by its mean square over the calibration samples."
}

param "damping" {
  type    = number
  default = 0.01
  min     = 0.000001
  max     = 1
  doc     = "What is added to the Hessian's diagonal, as a part of its mean."
}

param "act_order" {
  type    = string
  default = "static"
  one_of  = ["none", "static"]
  doc     = "static quantizes the columns with the largest activations first, and keeps groups as they lie."
}

param "block_size" {
  type    = number
  default = 128
  integer = true
  min     = 1
  max     = 65536
  doc     = "Columns that are worked through before the error is carried on to the rest of the row."
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
  doc  = "Samples whose activations say what matters."
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

metric "rtn_fallbacks" {
  unit   = "1"
  better = "lower"
  doc    = "Layers that were rounded to nearest, since their Hessian could not be inverted."
}

metric "load_seconds" {
  unit   = "s"
  better = "lower"
  doc    = "Reading the model and checking its weights."
}

metric "quantize_seconds" {
  unit   = "s"
  better = "lower"
  doc    = "Calibrating and rounding, all layers. Those of an earlier attempt cost little."
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
