kind        = "calibrate"
doc         = "Cuts calibration samples from a text: evenly spaced runs of tokens, in the order of the text, with no special token added."
env         = "torch"
uses        = ["lib/llm"]
determinism = "exact"

needs {
  memory_gib = 2
}

param "samples" {
  type    = number
  default = 128
  integer = true
  min     = 1
  max     = 1048576
  doc     = "How many samples."
}

param "length" {
  type    = number
  default = 2048
  integer = true
  min     = 2
  max     = 1048576
  doc     = "Tokens of each sample."
}

input "text" {
  types = ["dataset/text", "files"]
  doc   = "All its .txt files in the order of their paths."
}

input "tokenizer" {
  type = "tokenizer/hf"
  doc  = "A folder with a tokenizer.json."
}

output "tokens" {
  type = "dataset/tokens"
  doc  = "tokens.safetensors with input_ids, int64 [samples, length]."
}

metric "samples" {
  unit = "1"
}

metric "tokens" {
  unit = "token"
  doc  = "samples × length."
}
