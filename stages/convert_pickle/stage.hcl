kind        = "convert_pickle"
doc         = "Turns a Hugging Face folder whose weights are pickles (pytorch_model*.bin) into one with safetensors. Only tensors are read: a pickle that asks for anything else is refused, and none of its code is run. The types of the weights stay."
env         = "torch"
determinism = "exact"
uses        = ["lib/hf"]

needs {
  memory_gib = 4
}

input "files" {
  type = "files"
  doc  = "A folder with config.json and pytorch_model.bin, or its shards. A download brings one with allow_pickle = true."
}

output "model" {
  type = "model/hf"
}

output "tokenizer" {
  type     = "tokenizer/hf"
  optional = true
  doc      = "The tokenizer's files, where there is a tokenizer.json beside the weights."
}

metric "parameters" {
  unit = "1"
  doc  = "Weights of the model, tied ones counted once."
}
