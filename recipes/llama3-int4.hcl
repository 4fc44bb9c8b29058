recipe {
  description = "Llama-3-8B in INT4 by four schemes, exported to ONNX, checked, measured and timed. It needs HF_TOKEN of someone who accepted the model's licence."
}

variable "model" {
  type        = string
  default     = "hf://meta-llama/Meta-Llama-3-8B"
  description = "The repository of the model."
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

module "int4" {
  source = "./modules/int4.hcl"

  model            = download.base.model
  tokenizer        = download.base.tokenizer
  calibration      = corpus.calibration.text
  heldout          = corpus.heldout.text
  gptq_calibration = { samples = 128, length = 2048 }
  awq_calibration  = { samples = 128, length = 2048 }
  group_size       = 128
  window           = 2048
  eval_tokens      = 262144
  max_loss         = var.max_loss
  max_perplexity   = 12
  memory_gib       = { load = 40, wide = 56, check = 96 } # 8 billion weights: 16 GB as stored, 32 GB in float32
  check_tolerance  = { float = 0.01, int4 = 0.05 }
  benchmark        = { batches = [1, 4], prompt = 128, tokens = 128, repeats = 5 }
}

output "models" {
  value       = module.int4.models
  description = "The quantized checkpoints by scheme, for transformers and vLLM."
}

output "graphs" {
  value       = module.int4.graphs
  description = "ONNX graphs for onnxruntime and onnxruntime-genai."
}
