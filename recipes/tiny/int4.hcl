recipe {
  description = "The shape of smollm2-int4 on a synthetic model: seconds on any machine, no network. Its perplexity says nothing."
}

variable "bits" {
  type    = number
  default = 4

  validation {
    condition     = contains([2, 3, 4, 8], var.bits)
    error_message = "GPTQ packs 2, 3, 4 or 8 bits."
  }
}

stage "synthetic" "base" {
  seed         = 1
  hidden       = 64
  layers       = 2
  heads        = 4
  kv_heads     = 2
  intermediate = 128
  vocab        = 512
  context      = 512
}

stage "calibrate" "text" {
  text      = synthetic.base.text
  tokenizer = synthetic.base.tokenizer
  samples   = 8
  length    = 64
}

stage "gptq" "int4" {
  model       = synthetic.base.model
  calibration = calibrate.text.tokens
  bits        = var.bits
  group_size  = 32

  require {
    condition = metrics.bits_per_weight <= var.bits + 1
    message   = "Scales of 32 bits for 32 weights add one bit each; ${metrics.bits_per_weight} bits per weight are more."
  }
}

stage "perplexity" "base" {
  model      = synthetic.base.model
  tokenizer  = synthetic.base.tokenizer
  text       = synthetic.base.text
  window     = 256
  stride     = 256
  max_tokens = 1024
}

stage "perplexity" "int4" {
  model      = gptq.int4.model
  tokenizer  = synthetic.base.tokenizer
  text       = synthetic.base.text
  window     = 256
  stride     = 256
  max_tokens = 1024
}

stage "compare" "int4" {
  baseline  = perplexity.base.result
  candidate = perplexity.int4.result
}

output "model" {
  value = gptq.int4.model
}

output "result" {
  value = perplexity.int4.result
}

output "difference" {
  value = compare.int4.result
}
