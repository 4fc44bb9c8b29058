recipe {
  description = "llama3-synthetic.hcl at toy size: seconds for each stage on any GPU that TensorRT builds for. What it times says nothing."
}

variable "group_size" {
  type        = number
  default     = 64
  description = "Weights that share a scale."

  validation {
    condition     = 256 % var.group_size == 0
    error_message = "A scale is for ${var.group_size} weights of a row, and the model's rows have 256 or 512: give a number that divides 256, such as 32, 64 or 128."
  }
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
  default     = true
  description = "Whether weights and activations are quantized to 8 bits too, and an engine is built of that."
}

variable "with_bf16" {
  type        = bool
  default     = true
  description = "Whether an engine in bfloat16 is built too."
}

stage "synthetic" "base" {
  seed         = 1
  hidden       = 256
  layers       = 4
  heads        = 8
  kv_heads     = 2
  intermediate = 512
  vocab        = 2048
  context      = 1024
  dtype        = "bfloat16"
}

module "gpu" {
  source = "./modules/gpu.hcl"

  model            = synthetic.base.model
  tokenizer        = synthetic.base.tokenizer
  calibration      = synthetic.base.text
  heldout          = synthetic.base.text
  gptq_calibration = { samples = 16, length = 128 }
  awq_calibration  = { samples = 8, length = 128 }
  group_size       = var.group_size
  awq_symmetric    = var.awq_symmetric
  int4_engines     = var.int4_engines
  with_bf16        = var.with_bf16
  with_int8        = var.with_int8
  window           = 256
  eval_tokens      = 1024
  batches          = [1, 4]
  static_batches   = [1]
  tokens           = 32
  repeats          = 2
  saturation       = 8
  memory_gib       = { load = 4, build = 8, check = 4, contest = 8 }
  gpu_memory_gib   = { load = 2, check = 3 }
  cpus             = 2
  shared_cpus      = 2
  quality          = false
}

output "checkpoints" {
  value = module.gpu.checkpoints
}

output "engines" {
  value = module.gpu.engines
}

output "layers" {
  value = module.gpu.layers
}

output "contest" {
  value = module.gpu.contest
}
