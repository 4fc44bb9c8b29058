kind        = "download"
doc         = "Brings files from elsewhere, each checked against the lock. Sources: pypi:NAME==VERSION#path=GLOB (files inside a wheel), https://… (one file), file:PATH (a file or a folder below the recipe's folder, or an absolute path)."
env         = "fetch"
network     = true
determinism = "exact"

needs {
  memory_gib = 1
}

param "source" {
  type   = string
  source = true
  doc    = "What to bring. #sha256=HEX after it says what must come: of the file, or for pypi: (&sha256=HEX) of the wheel."
}

param "allow_pickle" {
  type    = bool
  default = false
  doc     = "Take .bin, .pt, .pth, .pkl, .pickle and .ckpt files too. Whoever loads a pickle runs its author's code."
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
