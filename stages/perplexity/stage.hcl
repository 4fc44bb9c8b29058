kind        = "perplexity"
doc         = "Measures the perplexity of a causal LM on a text. Windows of tokens go through the model one by one; each token is scored once, and the first of the text never."
env         = "torch"
uses        = ["lib/llm"]
determinism = "statistical"

needs {
  cpus       = 2
  memory_gib = 4
  gpus       = "0-1"
}

param "window" {
  type    = number
  default = 1024
  integer = true
  min     = 2
  max     = 1048576
  doc     = "Tokens the model sees at once."
}

param "stride" {
  type    = number
  default = 1024
  integer = true
  min     = 1
  max     = 1048576
  doc     = "Tokens from one window's begin to the next; at most window. Less gives each token more context and takes longer."
}

param "max_tokens" {
  type    = number
  default = 16384
  integer = true
  min     = 2
  doc     = "How much of the text is used, from its begin."
}

param "dtype" {
  type    = string
  default = "float32"
  one_of  = ["float32", "bfloat16", "float16"]
  doc     = "Type that the model computes in."
}

input "model" {
  type = "model/hf"
  doc  = "Plain or quantized by compressed-tensors."
}

input "tokenizer" {
  type = "tokenizer/hf"
}

input "text" {
  types = ["dataset/text", "files"]
  doc   = "All its .txt files in the order of their paths."
}

output "result" {
  type = "result/perplexity"
  doc  = "nll.safetensors: nll, float32 [scored], and position, int64 [scored], of each scored token; protocol.json: how it was measured. No time and no host."
}

metric "perplexity" {
  unit    = "1"
  better  = "lower"
  quality = true
  doc     = "exp of the mean negative log likelihood. Comparable under one protocol only."
}

metric "nll" {
  unit    = "nat"
  better  = "lower"
  quality = true
  doc     = "Mean negative log likelihood of a token."
}

metric "tokens" {
  unit = "token"
  doc  = "Tokens scored."
}
