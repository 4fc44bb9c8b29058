recipe {
  description = "Llama-3-8B, INT4, validated and benchmarked"
}

variable "model" {
  type    = string
  default = "hf://meta-llama/Meta-Llama-3-8B"
}

stage "download" "base" {
  source = var.model
}

stage "download" "c4" {
  source = "https://example.org/c4"
}

stage "download" "wikitext" {
  source = "https://example.org/wikitext"
}

stage "calibrate" "c4" {
  text      = download.c4.files
  tokenizer = download.base.tokenizer
  samples   = 128
  length    = 2048
}

stage "gptq" "int4" {
  for_each    = { g128 = 128, g32 = 32 }
  model       = download.base.model
  calibration = calibrate.c4.tokens
  bits        = 4
  group_size  = each.value
}

stage "onnx" "int4" {
  for_each = gptq.int4
  model    = each.value.model
}

stage "tensorrt" "int4" {
  for_each  = onnx.int4
  model     = each.value.model
  max_batch = 8
}

stage "perplexity" "base" {
  model     = download.base.model
  tokenizer = download.base.tokenizer
  text      = download.wikitext.files
}

stage "perplexity" "int4" {
  for_each  = gptq.int4
  model     = each.value.model
  tokenizer = download.base.tokenizer
  text      = download.wikitext.files
  require {
    condition = metrics.perplexity <= perplexity.base.metrics.perplexity + 0.45
    message   = "INT4 lost too much: ${metrics.perplexity} against ${perplexity.base.metrics.perplexity}"
  }
}

output "engine" {
  value = tensorrt.int4["g128"].engine
}
