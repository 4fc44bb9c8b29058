recipe {
  description = "Llama-3-8B's shape with seeded random weights, on one GPU: what llama3-int4.hcl does, for its speed. The model says nothing about quality, and needs no network."
}

variable "group_size" {
  type        = number
  default     = 128
  description = "Weights that share a scale."

  validation {
    condition     = 2048 % var.group_size == 0
    error_message = "A scale is for ${var.group_size} weights of a row, and the model's rows have 4096 or 14336: give a number that divides both, such as 32, 64 or 128."
  }
}

variable "awq_symmetric" {
  type        = bool
  default     = true
  description = "Whether AWQ rounds around zero. Zero points lose less, and cost an engine one more small product in each layer."
}

variable "int4_engines" {
  type        = set(string)
  default     = ["gptq"]
  description = "Of which INT4 checkpoints engines are built."
}

variable "with_int8" {
  type        = bool
  default     = false
  description = "Whether weights and activations are quantized to 8 bits too, and an engine is built of that. All that is timed is on the GPU at once, and 80 GB hold, as reckoned and not tried, two engines beside float16's."
}

variable "with_bf16" {
  type        = bool
  default     = false
  description = "Whether an engine in bfloat16 is built too: 16 GB more. All that is timed is on the GPU at once, and 80 GB hold, as reckoned and not tried, this engine in place of those of INT4: give int4_engines = []."
}

variable "with_bnb" {
  type        = bool
  default     = true
  description = "Whether bitsandbytes' LLM.int8 and NF4 are made too: 15 GB more."
}

variable "engine_batches" {
  type        = list(number)
  default     = [8, 32]
  description = "Batches that engines are built for, each a profile that takes smaller ones too. One must be 32 or more, which is timed."
}

variable "engine_spans" {
  type        = bool
  default     = true
  description = "Whether each profile takes the smaller batches too. Fewer profiles make smaller engines, built faster."
}

variable "inspected" {
  type        = set(string)
  default     = ["fp16"]
  description = "Engines whose report names the kernel of each layer. Asking TensorRT for that takes half a minute; each layer's time is told of all."
}

variable "static_batches" {
  type        = list(number)
  default     = [8]
  description = "Sequences side by side where transformers' generate is timed; it compiles about a minute for each."
}

variable "contest_seconds" {
  type        = number
  default     = 420
  description = "How long the timing may take, loading and compiling included; rounds are dropped where it does not suffice."
}

variable "cpus" {
  type        = number
  default     = 8
  description = "Processors of a stage that has the GPU or the machine alone, or of the model's making."
}

variable "shared_cpus" {
  type        = number
  default     = 5
  description = "Processors of a stage that shares the GPU with others."
}

variable "gpu_memory_gib" {
  type        = object({ load = number, check = number })
  default     = { load = 24, check = 48 }
  description = "The GPU's memory that a stage takes at most which loads the model, and one that checks an engine of it. A smaller GPU is refused before anything runs."
}

stage "synthetic" "base" {
  shape      = "llama-3-8b"
  seed       = 1
  text_bytes = 1048576

  needs {
    cpus       = var.cpus
    memory_gib = 4
  }
}

module "gpu" {
  source = "./modules/gpu.hcl"

  model           = synthetic.base.model
  tokenizer       = synthetic.base.tokenizer
  calibration     = synthetic.base.text
  heldout         = synthetic.base.text
  group_size      = var.group_size
  awq_symmetric   = var.awq_symmetric
  int4_engines    = var.int4_engines
  with_bf16       = var.with_bf16
  with_int8       = var.with_int8
  with_bnb        = var.with_bnb
  gpu_memory_gib  = var.gpu_memory_gib
  cpus            = var.cpus
  shared_cpus     = var.shared_cpus
  engine_batches  = var.engine_batches
  engine_spans    = var.engine_spans
  inspected       = var.inspected
  static_batches  = var.static_batches
  contest_seconds = var.contest_seconds
  quality         = false
  fp16_speed      = { "8" = 1000 }
  int4_gain       = { "1" = 1.8, "8" = 1.2 }
}

output "checkpoints" {
  value       = module.gpu.checkpoints
  description = "The quantized checkpoints by scheme."
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
