recipe {
  description = "Llama-3-8B on one GPU of 80 GB: INT4 by two schemes, TensorRT engines, checked, measured and timed side by side. It needs HF_TOKEN of someone who accepted the model's licence."
}

variable "model" {
  type        = string
  default     = "hf://meta-llama/Meta-Llama-3-8B"
  description = "The repository of the model."
}

variable "group_size" {
  type        = number
  default     = 128
  description = "Weights that share a scale."
}

variable "awq_symmetric" {
  type        = bool
  default     = true
  description = "Whether AWQ rounds around zero. Zero points lose less, and cost an engine one more small product in each layer."
}

variable "int4_engines" {
  type        = set(string)
  default     = ["gptq", "awq"]
  description = "Of which INT4 checkpoints engines are built."
}

variable "with_int8" {
  type        = bool
  default     = false
  description = "Whether weights and activations are quantized to 8 bits too, and an engine is built of that. All that is timed is on the GPU at once, and 80 GB hold, as reckoned and not tried, two engines beside float16's: give one of int4_engines."
}

variable "with_bf16" {
  type        = bool
  default     = false
  description = "Whether an engine in bfloat16 is built too: 16 GB more. All that is timed is on the GPU at once, and 80 GB hold, as reckoned and not tried, this engine in place of those of INT4: give int4_engines = []."
}

variable "gpu_memory_gib" {
  type        = object({ load = number, check = number })
  default     = { load = 24, check = 48 }
  description = "The GPU's memory that a stage takes at most which loads the model, and one that checks an engine of it: as many as it holds run side by side. A smaller GPU is refused before anything runs; one of 24 GB should have room for the checkpoints and their perplexities (--target) with load = 22, which was not tried."
}

variable "max_loss" {
  type        = number
  default     = 0.10
  description = "How much worse a quantized model's perplexity may be: 0.10 is 10 %."

  validation {
    condition     = var.max_loss > 0
    error_message = "A quantized model is never better: give a number above 0."
  }
}

stage "download" "base" {
  source = var.model
  token  = secret("HF_TOKEN")
}

stage "download" "wikitext" {
  source = "hf://datasets/Salesforce/wikitext#include=wikitext-2-raw-v1/*.parquet"
}

stage "corpus" "calibration" {
  files = download.wikitext.files
  file  = "**/train-*.parquet"
}

stage "corpus" "heldout" {
  files = download.wikitext.files
  file  = "**/test-*.parquet"
}

module "gpu" {
  source = "./modules/gpu.hcl"

  model            = download.base.model
  tokenizer        = download.base.tokenizer
  calibration      = corpus.calibration.text
  heldout          = corpus.heldout.text
  gptq_calibration = { samples = 128, length = 2048 }
  awq_calibration  = { samples = 128, length = 512 }
  group_size       = var.group_size
  awq_symmetric    = var.awq_symmetric
  int4_engines     = var.int4_engines
  engine_batches   = [8, 32]
  gpu_memory_gib   = var.gpu_memory_gib
  with_bf16        = var.with_bf16
  with_int8        = var.with_int8
  quality          = true
  eval_tokens      = 262144
  max_loss         = var.max_loss
}

output "checkpoints" {
  value       = module.gpu.checkpoints
  description = "The quantized checkpoints by scheme, for transformers and vLLM."
}

output "engines" {
  value       = module.gpu.engines
  description = "TensorRT engines, each for the GPU that it was built on."
}

output "layers" {
  value       = module.gpu.layers
  description = "Of each engine: what every layer became, how long it takes, and what TensorRT refused."
}

output "contest" {
  value       = module.gpu.contest
  description = "Every run of every entry, and what the GPU did meanwhile."
}
