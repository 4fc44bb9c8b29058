kind        = "import_gguf"
doc         = "Turns a GGUF file into a Hugging Face folder: weights dequantized to a plain type, and the tokenizer rebuilt from what the file says, with its own pre-tokenizer."
env         = "torch"
determinism = "exact"

needs {
  cpus       = 2
  memory_gib = 3
}

param "file" {
  type    = string
  default = "**/*.gguf"
  doc     = "Which file of the input; a glob that matches one."
}

param "dtype" {
  type    = string
  default = "float32"
  one_of  = ["float32", "bfloat16", "float16"]
  doc     = "Type of the weights that are written."
}

input "files" {
  type = "files"
  doc  = "Holds the GGUF file."
}

output "model" {
  type = "model/hf"
}

output "tokenizer" {
  type = "tokenizer/hf"
}

metric "parameters" {
  unit = "1"
  doc  = "Weights of the model, tied ones counted once."
}
