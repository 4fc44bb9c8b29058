# Four INT4 schemes of one causal LM, exported, checked, measured and compared with the model itself. A recipe calls it with
# a model and two texts, as smollm2-int4.hcl and llama3-int4.hcl do.

variable "model" {
  type        = any
  description = "The model to quantize: a port of type model/hf."
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
  description = "How many samples of how many tokens calibrate GPTQ."
}

variable "awq_calibration" {
  type        = object({ samples = number, length = number })
  description = "The same for AWQ, which passes them through each layer once for every point of its grid."
}

variable "group_size" {
  type        = number
  description = "Weights that share a scale. It must divide the sizes of all layers."
}

variable "window" {
  type        = number
  description = "Tokens the model sees at once when perplexity is measured."
}

variable "eval_tokens" {
  type        = number
  description = "Tokens of the held-out text that measure."
}

variable "max_loss" {
  type        = number
  description = "How much worse a quantized model's perplexity may be: 0.45 is 45 %."
}

variable "max_perplexity" {
  type        = number
  description = "What the model itself must reach: a model that does not work is neither compared with nor timed."
}

variable "memory_gib" {
  type        = object({ load = number, wide = number, check = number })
  description = "Memory of a stage that loads the model as it is stored, that runs it in float32, and that holds graph and checkpoint at once."
}

variable "check_tolerance" {
  type        = object({ float = number, int4 = number })
  description = "How far logits of a graph may be from those of the checkpoint that it was made from."
}

variable "loss_tolerance" {
  type        = object({ float = number, int4 = number })
  default     = { float = 0.01, int4 = 0.05 }
  description = "How far the perplexity of a graph may be from that of its checkpoint."
}

variable "benchmark" {
  type        = object({ batches = set(number), prompt = number, tokens = number, repeats = number })
  description = "What is timed: prompt tokens and new tokens of each sequence, for each batch size."
}

locals {
  weights = {
    rtn_symmetric  = rtn.int4["symmetric"].model
    rtn_asymmetric = rtn.int4["asymmetric"].model
    gptq           = gptq.int4.model
    awq            = awq.int4.model
  }
  exported = {
    fp32 = { model = var.model, precision = "float32", bound = "float", measured = perplexity.base }
    gptq = { model = gptq.int4.model, precision = "int4", bound = "int4", measured = perplexity.int4["gptq"] }
    awq  = { model = awq.int4.model, precision = "int4", bound = "int4", measured = perplexity.int4["awq"] }
  }
  timed = { for pair in setproduct(["fp32", "gptq", "awq"], [for b in var.benchmark.batches : tostring(b)]) :
    "${pair[0]}_b${pair[1]}" => { graph = pair[0], batch = tonumber(pair[1]) }
  }
}

# Quantize.

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

stage "rtn" "int4" {
  for_each   = { symmetric = true, asymmetric = false }
  model      = var.model
  group_size = var.group_size
  symmetric  = each.value

  needs {
    memory_gib = var.memory_gib.load
  }
}

stage "gptq" "int4" {
  model       = var.model
  calibration = calibrate.gptq.tokens
  group_size  = var.group_size
  observer    = "imatrix"

  needs {
    memory_gib = var.memory_gib.load
  }
}

stage "awq" "int4" {
  model       = var.model
  calibration = calibrate.awq.tokens
  group_size  = var.group_size
  duo_scaling = "off"

  needs {
    memory_gib = var.memory_gib.load
  }
}

# Measure the checkpoints, all under one protocol, and compare them token by token.

stage "perplexity" "base" {
  model      = var.model
  tokenizer  = var.tokenizer
  text       = var.heldout
  window     = var.window
  stride     = var.window
  max_tokens = var.eval_tokens

  require {
    condition = metrics.perplexity <= var.max_perplexity
    message   = format("The model itself does not work: perplexity %.1f.", metrics.perplexity)
  }

  needs {
    memory_gib = var.memory_gib.wide
  }
}

stage "perplexity" "int4" {
  for_each   = local.weights
  model      = each.value
  tokenizer  = var.tokenizer
  text       = var.heldout
  window     = var.window
  stride     = var.window
  max_tokens = var.eval_tokens

  require {
    condition = metrics.perplexity <= perplexity.base.metrics.perplexity * (1 + var.max_loss)
    message   = format("%s lost too much: perplexity %.2f against %.2f. Raise max_loss if that will do.", each.key, metrics.perplexity, perplexity.base.metrics.perplexity)
  }

  needs {
    memory_gib = var.memory_gib.wide
  }
}

stage "compare" "int4" {
  for_each  = perplexity.int4
  baseline  = perplexity.base.result
  candidate = each.value.result
}

# Export, and check each graph against the checkpoint that it was made from.

stage "onnx" "model" {
  for_each  = local.exported
  model     = each.value.model
  tokenizer = var.tokenizer
  precision = each.value.precision

  needs {
    memory_gib = var.memory_gib.wide
  }
}

stage "onnx_check" "model" {
  for_each  = local.exported
  model     = onnx.model[each.key].model
  reference = each.value.model

  require {
    condition = metrics.max_difference <= var.check_tolerance[each.value.bound]
    message   = format("The graph of %s is not its checkpoint: logits differ by %.4f.", each.key, metrics.max_difference)
  }

  needs {
    memory_gib = var.memory_gib.check
  }
}

stage "perplexity" "onnx" {
  for_each   = local.exported
  model      = onnx.model[each.key].model
  tokenizer  = var.tokenizer
  text       = var.heldout
  window     = var.window
  stride     = var.window
  max_tokens = var.eval_tokens

  require {
    condition = onnx_check.model[each.key].metrics.max_difference <= var.check_tolerance[each.value.bound]
    message   = "The graph of ${each.key} is not its checkpoint: its perplexity says nothing."
  }

  require {
    condition = abs(metrics.perplexity - each.value.measured.metrics.perplexity) <= var.loss_tolerance[each.value.bound]
    message   = format("The graph of %s lost what its checkpoint has: perplexity %.3f against %.3f.", each.key, metrics.perplexity, each.value.measured.metrics.perplexity)
  }

  needs {
    memory_gib = var.memory_gib.wide
  }
}

# Time what passed.

stage "benchmark" "transformers" {
  for_each = { for b in var.benchmark.batches : "b${b}" => b }
  model    = var.model
  verified = perplexity.base.result
  batch    = each.value
  prompt   = var.benchmark.prompt
  tokens   = var.benchmark.tokens
  repeats  = var.benchmark.repeats

  needs {
    memory_gib = var.memory_gib.wide
  }
}

stage "benchmark" "onnx" {
  for_each = local.timed
  model    = onnx.model[each.value.graph].model
  verified = perplexity.onnx[each.value.graph].result
  batch    = each.value.batch
  prompt   = var.benchmark.prompt
  tokens   = var.benchmark.tokens
  repeats  = var.benchmark.repeats

  needs {
    memory_gib = var.memory_gib.wide
  }
}

output "models" {
  value = local.weights
}

output "graphs" {
  value = { for name, graph in onnx.model : name => graph.model }
}

output "base" {
  value = perplexity.base
}

output "perplexity" {
  value = perplexity.int4
}

output "check" {
  value = onnx_check.model
}

output "onnx_perplexity" {
  value = perplexity.onnx
}

report "comparison" {
  title       = "Four INT4 schemes"
  description = "Checkpoints as transformers runs them, then ONNX graphs as onnxruntime runs them; all perplexities under one protocol."
  baseline    = "fp32"

  row "fp32" {
    stages = [perplexity.base, benchmark.transformers]
  }

  row "RTN symmetric" {
    stages = [rtn.int4["symmetric"], perplexity.int4["rtn_symmetric"], compare.int4["rtn_symmetric"]]
  }

  row "RTN asymmetric" {
    stages = [rtn.int4["asymmetric"], perplexity.int4["rtn_asymmetric"], compare.int4["rtn_asymmetric"]]
  }

  row "GPTQ symmetric" {
    stages = [gptq.int4, perplexity.int4["gptq"], compare.int4["gptq"]]
  }

  row "AWQ asymmetric" {
    stages = [awq.int4, perplexity.int4["awq"], compare.int4["awq"]]
  }

  row "ONNX fp32" {
    stages = [onnx.model["fp32"], onnx_check.model["fp32"], perplexity.onnx["fp32"], [for k, b in benchmark.onnx : b if startswith(k, "fp32")]]
  }

  row "ONNX GPTQ" {
    stages = [onnx.model["gptq"], onnx_check.model["gptq"], perplexity.onnx["gptq"], [for k, b in benchmark.onnx : b if startswith(k, "gptq")]]
  }

  row "ONNX AWQ" {
    stages = [onnx.model["awq"], onnx_check.model["awq"], perplexity.onnx["awq"], [for k, b in benchmark.onnx : b if startswith(k, "awq")]]
  }
}
