# One causal LM on an NVIDIA GPU: quantized by GPTQ, AWQ and bitsandbytes, its graphs built into TensorRT engines, each engine
# checked against the checkpoint that it was made from, and all of them timed side by side. A recipe calls it with a model
# and two texts, as llama3-int4.hcl, llama3-synthetic.hcl and llama3-tiny.hcl do.

variable "model" {
  type        = any
  description = "The model: a port of type model/hf."
}

variable "tokenizer" {
  type        = any
  description = "Its tokenizer: a port of type tokenizer/hf."
}

variable "calibration" {
  type        = any
  description = "Text that calibrates: a port."
}

variable "heldout" {
  type        = any
  description = "Text that measures, none of which calibrated: a port."
}

variable "gptq_calibration" {
  type        = object({ samples = number, length = number })
  default     = { samples = 128, length = 512 }
  description = "How many samples of how many tokens calibrate GPTQ."
}

variable "awq_calibration" {
  type        = object({ samples = number, length = number })
  default     = { samples = 32, length = 512 }
  description = "The same for AWQ, which passes them through each layer once for every point of its grid."
}

variable "group_size" {
  type        = number
  default     = 128
  description = "Weights that share a scale. It must divide the sizes of all layers."
}

variable "awq_symmetric" {
  type        = bool
  default     = true
  description = "Whether AWQ rounds around zero. Zero points lose less, and cost an engine one more small product in each layer."
}

variable "int4_engines" {
  type        = set(string)
  default     = ["gptq", "awq"]
  description = "Of which INT4 checkpoints engines are built: gptq, awq, both or none."

  validation {
    condition     = length(setsubtract(var.int4_engines, ["gptq", "awq"])) == 0
    error_message = "There are gptq and awq."
  }
}

variable "with_bf16" {
  type        = bool
  default     = false
  description = "Whether an engine in bfloat16 is built too. It is as large as the one in float16."
}

variable "with_int8" {
  type        = bool
  default     = false
  description = "Whether weights and activations are quantized to 8 bits too, and an engine is built of that."
}

variable "with_bnb" {
  type        = bool
  default     = true
  description = "Whether bitsandbytes' LLM.int8 and NF4 are made and measured too."
}

variable "quality" {
  type        = bool
  description = "Whether perplexities must be good. Those of random weights say nothing."
}

variable "max_perplexity" {
  type        = number
  default     = 12
  description = "What the model itself must reach, where quality is asked for."
}

variable "max_loss" {
  type        = number
  default     = 0.1
  description = "How much worse a quantized model's perplexity may be, where quality is asked for: 0.10 is 10 %."
}

variable "window" {
  type        = number
  default     = 2048
  description = "Tokens the model sees at once when perplexity is measured."
}

variable "eval_tokens" {
  type        = number
  default     = 16384
  description = "Tokens of the held-out text that measure."
}

variable "check_tolerance" {
  type        = number
  default     = 0.05
  description = "How far an engine's logits may be from those of its checkpoint, which PyTorch computes in float16: root of the mean square of the differences, by that of the logits."
}

variable "batches" {
  type        = list(number)
  default     = [1, 8, 32]
  description = "Sequences side by side, in what is timed."
}

variable "engine_batches" {
  type        = list(number)
  default     = []
  description = "Batches that engines are built for, each a profile: those that are timed, where none is given. None that is timed may be larger than all of them."

  validation {
    condition     = length(var.engine_batches) == 0 || max(0, var.engine_batches...) >= max(0, var.batches...)
    error_message = "Batches of ${max(0, var.batches...)} are timed: one of engine_batches must be ${max(0, var.batches...)} or more. Add one, or leave the list empty, and engines are built for what is timed."
  }
}

variable "engine_spans" {
  type        = bool
  default     = true
  description = "Whether each profile takes the smaller batches too. Fewer profiles make smaller engines, built faster."
}

variable "inspected" {
  type        = set(string)
  default     = ["fp16", "bf16", "gptq", "awq", "int8"]
  description = "Engines whose report names the kernel of each layer. Asking TensorRT for that takes half a minute for 8 billion weights; each layer's time is told of all."

  validation {
    condition     = length(setsubtract(var.inspected, ["fp16", "bf16", "gptq", "awq", "int8"])) == 0
    error_message = "There is no engine ${join(", ", setsubtract(var.inspected, ["fp16", "bf16", "gptq", "awq", "int8"]))}: give some of fp16, bf16, gptq, awq and int8, or none."
  }
}

variable "static_batches" {
  type        = list(number)
  default     = [1, 8]
  description = "The same for transformers' generate, which compiles about a minute for each."
}

variable "prompt" {
  type        = number
  default     = 32
  description = "Tokens of each sequence's prompt."
}

variable "tokens" {
  type        = number
  default     = 256
  description = "New tokens of each sequence."
}

variable "repeats" {
  type        = number
  default     = 3
  description = "Rounds that count, in each of which all run once."
}

variable "saturation" {
  type        = number
  default     = 64
  description = "The largest batch that is tried when throughput is looked for; 0 looks for none."
}

variable "contest_seconds" {
  type        = number
  default     = 0
  description = "How long the timing may take, loading included: rounds are dropped where it does not suffice. 0 is no limit."
}

variable "fp16_speed" {
  type        = map(number)
  default     = {}
  description = "What the float16 engine must reach, by batch: tokens a second, once all have their first."
}

variable "int4_gain" {
  type        = map(number)
  default     = {}
  description = "How many times as fast as bfloat16 INT4 must be, by batch, both in the same loop."
}

variable "memory_gib" {
  type        = object({ load = number, build = number, check = optional(number, 32), contest = number })
  default     = { load = 24, build = 72, contest = 48 }
  description = "The machine's memory for a stage that loads the model, that builds an engine of it, that checks one, and that times all."
}

variable "gpu_memory_gib" {
  type        = object({ load = number, check = number })
  default     = { load = 24, check = 48 }
  description = "The GPU's memory that a stage takes at most which loads the model, and one that checks an engine of it: as many as it holds run side by side. Those that build engines have a GPU alone, and the one that times has the machine."
}

variable "cpus" {
  type        = number
  default     = 8
  description = "Processors of a stage that has the GPU alone, or the machine."
}

variable "shared_cpus" {
  type        = number
  default     = 5
  description = "Processors of a stage that shares the GPU with others. Of 16, three of them leave one for what is being stored."
}

locals {
  quantized   = merge({ gptq = gptq.int4.model, awq = awq.int4.model }, { for scheme, made in int8.model : scheme => made.model })
  checkpoints = merge({ fp16 = var.model, bf16 = var.model }, local.quantized)
  built       = merge({ fp16 = tensorrt.fp16 }, { for type, engine in tensorrt.bf16 : type => engine }, { for scheme, engine in tensorrt.quantized : scheme => engine })
  engines     = { for name, engine in local.built : name => engine.engine }
  length      = var.prompt + var.tokens
  prefill     = min(max(var.prompt, 64), 512) # of all rows of the largest batch: more takes longer to build
  decode      = [for b in length(var.engine_batches) == 0 ? var.batches : var.engine_batches : { batch = b, length = local.length }]
  timed       = toset([for b in var.batches : tostring(b)])
}

# Write the graphs, whose weights stay in the checkpoints' files, and build engines. The one in float16 comes first: nothing
# takes more of the machine's memory, and what was timed for it is not timed again.

stage "onnx_decoder" "fp16" {
  model = var.model
  dtype = "float16"

  needs {
    gpus = 0
  }
}

stage "onnx_decoder" "bf16" {
  for_each = var.with_bf16 ? toset(["bf16"]) : toset([])
  model    = var.model
  dtype    = "bfloat16"

  needs {
    gpus = 0
  }
}

stage "tensorrt" "fp16" {
  model   = onnx_decoder.fp16.model
  decode  = local.decode
  spans   = var.engine_spans
  prefill = local.prefill
  inspect = contains(var.inspected, "fp16")

  needs {
    cpus       = var.cpus
    memory_gib = var.memory_gib.build
  }
}

stage "tensorrt" "bf16" {
  for_each = onnx_decoder.bf16
  model    = each.value.model
  timing   = tensorrt.fp16.timing
  decode   = local.decode
  spans    = var.engine_spans
  prefill  = local.prefill
  inspect  = contains(var.inspected, "bf16")

  needs {
    cpus       = var.cpus
    memory_gib = var.memory_gib.build
  }
}

# Quantize, side by side. The model stays in the machine's memory, and a layer at a time is on the GPU.

stage "calibrate" "gptq" {
  text      = var.calibration
  tokenizer = var.tokenizer
  samples   = var.gptq_calibration.samples
  length    = var.gptq_calibration.length
}

stage "calibrate" "awq" {
  text      = var.calibration
  tokenizer = var.tokenizer
  samples   = var.awq_calibration.samples
  length    = var.awq_calibration.length
}

stage "gptq" "int4" {
  model       = var.model
  calibration = calibrate.gptq.tokens
  group_size  = var.group_size
  observer    = "imatrix"

  needs {
    cpus           = var.shared_cpus
    memory_gib     = var.memory_gib.load
    gpus           = 1
    gpu_memory_gib = var.gpu_memory_gib.load
  }
}

stage "awq" "int4" {
  model       = var.model
  calibration = calibrate.awq.tokens
  group_size  = var.group_size
  symmetric   = var.awq_symmetric
  duo_scaling = "off"

  needs {
    cpus           = var.shared_cpus
    memory_gib     = var.memory_gib.load
    gpus           = 1
    gpu_memory_gib = var.gpu_memory_gib.load
  }
}

stage "int8" "model" {
  for_each    = var.with_int8 ? toset(["int8"]) : toset([])
  model       = var.model
  calibration = calibrate.awq.tokens

  needs {
    cpus           = var.shared_cpus
    memory_gib     = var.memory_gib.load
    gpus           = 1
    gpu_memory_gib = var.gpu_memory_gib.load
  }
}

stage "bnb" "model" {
  for_each = var.with_bnb ? toset(["llm_int8", "nf4"]) : toset([])
  model    = var.model
  scheme   = each.key

  needs {
    cpus           = var.shared_cpus
    memory_gib     = var.memory_gib.load
    gpu_memory_gib = var.gpu_memory_gib.load
  }
}

# Measure the checkpoints, all under one protocol.

stage "perplexity" "base" {
  model      = var.model
  tokenizer  = var.tokenizer
  text       = var.heldout
  window     = var.window
  stride     = var.window
  max_tokens = var.eval_tokens
  dtype      = "bfloat16"

  require {
    enabled   = var.quality
    condition = metrics.perplexity <= var.max_perplexity
    message   = format("The model itself does not work: perplexity %.1f.", metrics.perplexity)
  }

  needs {
    cpus           = var.shared_cpus
    memory_gib     = var.memory_gib.load
    gpus           = 1
    gpu_memory_gib = var.gpu_memory_gib.load
  }
}

stage "perplexity" "quantized" {
  for_each   = merge(local.quantized, { for scheme, made in bnb.model : scheme => made.model })
  model      = each.value
  tokenizer  = var.tokenizer
  text       = var.heldout
  window     = var.window
  stride     = var.window
  max_tokens = var.eval_tokens
  dtype      = "bfloat16"

  require {
    enabled   = var.quality
    condition = metrics.perplexity <= perplexity.base.metrics.perplexity * (1 + var.max_loss)
    message   = format("%s lost too much: perplexity %.2f against %.2f. Raise max_loss if that will do.", each.key, metrics.perplexity, perplexity.base.metrics.perplexity)
  }

  needs {
    cpus           = var.shared_cpus
    memory_gib     = var.memory_gib.load
    gpus           = 1
    gpu_memory_gib = var.gpu_memory_gib.load
  }
}

# Build engines of quantized checkpoints, and hold each engine against the checkpoint that it was made from.

stage "onnx_decoder" "quantized" {
  for_each = { for scheme, model in local.quantized : scheme => model if scheme == "int8" || contains(var.int4_engines, scheme) }
  model    = each.value
  dtype    = "float16"

  needs {
    cpus           = var.shared_cpus
    memory_gib     = var.memory_gib.load
    gpus           = 1
    gpu_memory_gib = var.gpu_memory_gib.load
  }
}

stage "tensorrt" "quantized" {
  for_each = onnx_decoder.quantized
  model    = each.value.model
  timing   = tensorrt.fp16.timing
  decode   = local.decode
  spans    = var.engine_spans
  prefill  = local.prefill
  inspect  = contains(var.inspected, each.key)

  needs {
    cpus       = var.cpus
    memory_gib = var.memory_gib.build
  }
}

stage "onnx_check" "engine" {
  for_each        = local.engines
  model           = each.value
  reference       = local.checkpoints[each.key]
  reference_dtype = "float16"
  prefill_logits  = "last"
  shapes          = [for b in var.batches : { batch = b, length = 17 + b, steps = 8 }]

  require {
    condition = metrics.relative_difference <= var.check_tolerance
    message   = format("The engine of %s is not its checkpoint: logits differ by %.4f of their size.", each.key, metrics.relative_difference)
  }

  needs {
    cpus           = var.shared_cpus
    memory_gib     = var.memory_gib.check
    gpus           = 1
    gpu_memory_gib = var.gpu_memory_gib.check
  }
}

# Time what passed, in turns.

stage "contest" "speed" {
  models = merge({ base = var.model, gptq = gptq.int4.model }, { for name, engine in local.engines : "trt_${name}" => engine })
  verified = merge({ base = perplexity.base.result, gptq = perplexity.quantized["gptq"].result },
  { for name, engine in local.engines : "trt_${name}" => onnx_check.engine[name].result })
  entries = concat([
    { name = "generate", model = "base", backend = "generate", dtype = "bfloat16" },
    { name = "static", model = "base", backend = "generate_static", dtype = "bfloat16" },
    { name = "steady", model = "base", backend = "steady", dtype = "bfloat16" },
    { name = "humming", model = "gptq", backend = "humming", dtype = "bfloat16" },
  ], [for name, engine in local.engines : { name = "trt_${name}", model = "trt_${name}", backend = "tensorrt", dtype = "auto" }])
  only          = { generate = var.static_batches, static = var.static_batches }
  batches       = var.batches
  prompt        = var.prompt
  tokens        = var.tokens
  repeats       = var.repeats
  saturation    = var.saturation
  limit_seconds = var.contest_seconds

  needs {
    cpus       = var.cpus
    memory_gib = var.memory_gib.contest
  }
}

stage "contest_entry" "steady" {
  for_each = local.timed
  contest  = contest.speed.result
  model    = var.model
  entry    = "steady"
  batch    = each.key
}

stage "contest_entry" "humming" {
  for_each = local.timed
  contest  = contest.speed.result
  model    = gptq.int4.model
  entry    = "humming"
  batch    = each.key

  require {
    condition = metrics.decode_tokens_per_second >= contest_entry.steady[each.key].metrics.decode_tokens_per_second * lookup(var.int4_gain, each.key, 0)
    message   = format("INT4 gains too little at batch %s: %.0f token/s against %.0f.", each.key, metrics.decode_tokens_per_second, contest_entry.steady[each.key].metrics.decode_tokens_per_second)
  }
}

stage "contest_entry" "fp16" {
  for_each = local.timed
  contest  = contest.speed.result
  model    = tensorrt.fp16.engine
  entry    = "trt_fp16"
  batch    = each.key

  require {
    condition = metrics.decode_tokens_per_second >= lookup(var.fp16_speed, each.key, 0)
    message   = format("The float16 engine is too slow at batch %s: %.0f token/s.", each.key, metrics.decode_tokens_per_second)
  }
}

stage "contest_entry" "engine" {
  for_each = { for pair in setproduct([for name in keys(local.engines) : name if name != "fp16"], local.timed) :
    "${pair[0]}_b${pair[1]}" => { engine = pair[0], batch = tonumber(pair[1]) }
  }
  contest = contest.speed.result
  model   = local.engines[each.value.engine]
  entry   = "trt_${each.value.engine}"
  batch   = each.value.batch
}

stage "contest_entry" "transformers" {
  for_each = { for pair in setproduct(["generate", "static"], [for b in var.static_batches : tostring(b)]) :
    "${pair[0]}_b${pair[1]}" => { entry = pair[0], batch = tonumber(pair[1]) }
  }
  contest = contest.speed.result
  model   = var.model
  entry   = each.value.entry
  batch   = each.value.batch
}

# At the batch from which on more sequences give no more tokens a second.
stage "contest_entry" "saturated" {
  for_each = var.saturation == 0 ? {} : merge({ steady = var.model, humming = gptq.int4.model }, { for name, engine in local.engines : "trt_${name}" => engine })
  contest  = contest.speed.result
  model    = each.value
  entry    = each.key
  batch    = "saturation"
}

output "checkpoints" {
  value = merge(local.quantized, { for scheme, made in bnb.model : scheme => made.model })
}

output "engines" {
  value = local.engines
}

output "layers" {
  value = { for name, engine in local.built : name => engine.report }
}

output "contest" {
  value = contest.speed.result
}

report "gpu" {
  title       = "One GPU, side by side"
  description = "Checkpoints as transformers and this project's own loop run them, then TensorRT engines; all timed in turns, in one process."
  baseline    = "bfloat16, own loop"

  row "bfloat16, transformers" {
    stages = [for name, figure in contest_entry.transformers : figure if startswith(name, "generate")]
  }

  row "bfloat16, transformers compiled" {
    stages = [for name, figure in contest_entry.transformers : figure if startswith(name, "static")]
  }

  row "bfloat16, own loop" {
    stages = [perplexity.base, contest_entry.steady, [for name, figure in contest_entry.saturated : figure if name == "steady"]]
  }

  row "INT4 GPTQ, humming" {
    stages = [gptq.int4, perplexity.quantized["gptq"], contest_entry.humming, [for name, figure in contest_entry.saturated : figure if name == "humming"]]
  }

  row "INT4 AWQ" {
    stages = [awq.int4, perplexity.quantized["awq"]]
  }

  row "INT8 SmoothQuant" {
    stages = [[for scheme, made in int8.model : made], [for scheme, found in perplexity.quantized : found if scheme == "int8"]]
  }

  row "LLM.int8" {
    stages = [[for scheme, made in bnb.model : made if scheme == "llm_int8"], [for scheme, found in perplexity.quantized : found if scheme == "llm_int8"]]
  }

  row "NF4" {
    stages = [[for scheme, made in bnb.model : made if scheme == "nf4"], [for scheme, found in perplexity.quantized : found if scheme == "nf4"]]
  }

  row "TensorRT float16" {
    stages = [[for name, engine in local.built : engine if name == "fp16"], [for name, found in onnx_check.engine : found if name == "fp16"], contest_entry.fp16, [for name, figure in contest_entry.saturated : figure if name == "trt_fp16"]]
  }

  row "TensorRT bfloat16" {
    stages = [[for name, engine in local.built : engine if name == "bf16"], [for name, found in onnx_check.engine : found if name == "bf16"], [for name, figure in contest_entry.engine : figure if startswith(name, "bf16")], [for name, figure in contest_entry.saturated : figure if name == "trt_bf16"]]
  }

  row "TensorRT INT4 GPTQ" {
    stages = [[for name, engine in local.built : engine if name == "gptq"], [for name, found in onnx_check.engine : found if name == "gptq"], [for name, figure in contest_entry.engine : figure if startswith(name, "gptq")], [for name, figure in contest_entry.saturated : figure if name == "trt_gptq"]]
  }

  row "TensorRT INT4 AWQ" {
    stages = [[for name, engine in local.built : engine if name == "awq"], [for name, found in onnx_check.engine : found if name == "awq"], [for name, figure in contest_entry.engine : figure if startswith(name, "awq")], [for name, figure in contest_entry.saturated : figure if name == "trt_awq"]]
  }

  row "TensorRT INT8" {
    stages = [[for name, engine in local.built : engine if name == "int8"], [for name, found in onnx_check.engine : found if name == "int8"], [for name, figure in contest_entry.engine : figure if startswith(name, "int8")], [for name, figure in contest_entry.saturated : figure if name == "trt_int8"]]
  }
}
