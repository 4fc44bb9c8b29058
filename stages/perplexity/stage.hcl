kind        = "perplexity"
doc         = "Measures the perplexity of a causal LM on a text. Windows of tokens go through the model one by one; each token is scored once, and the first of the text never. Logits are scored where they are computed: on a GPU they do not leave it."
env         = "torch"
uses        = ["lib/llm", "lib/score", "lib/trt"]
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
  doc     = "Type that the model computes in. A graph and an engine have their own: this must say the same."
}

param "distributions" {
  type    = number
  default = 1024
  integer = true
  min     = 0
  max     = 1048576
  doc     = "Of how many scored tokens, spread evenly over the text, the whole distribution is kept for `compare`. Each takes 2 bytes for each token of the vocabulary; 0 keeps none."
}

input "model" {
  types = ["model/hf", "model/bnb", "model/onnx", "model/onnx-decoder", "engine/tensorrt"]
  envs  = { "engine/tensorrt" = "gpu", "model/bnb" = "gpu" }
  doc   = "A checkpoint, plain or quantized, run by transformers; a graph, run by onnxruntime on the CPU; or an engine, run by TensorRT, which must have been built to score: a window's logits come in passes of so many tokens."
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
  doc  = "nll.safetensors: nll, float32, position, int64, and top, int32, the likeliest token, all [scored]. distributions.safetensors: logprobs, float16 [kept, vocabulary], and position, int64 [kept]. protocol.json: what was asked. measured.json: the model's digest, the engine and the type. No time and no host."
}

metric "perplexity" {
  unit    = "1"
  better  = "lower"
  quality = true
  doc     = "exp of the mean negative log likelihood. Comparable under one protocol only."
}

metric "perplexity_low" {
  unit    = "1"
  better  = "lower"
  quality = true
  doc     = "Lower bound of the perplexity's 95 % interval: block bootstrap over windows, or shorter pieces where there are fewer than 64. It tells how far the number depends on which text was chosen; for the difference of two models, which share the text, see `compare`."
}

metric "perplexity_high" {
  unit    = "1"
  better  = "lower"
  quality = true
  doc     = "Upper bound of the same interval."
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
