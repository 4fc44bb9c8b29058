kind        = "synthetic"
doc         = "Makes a model of a given shape with seeded random weights, a tokenizer and a text. For tests and for measuring speed; it says nothing about quality, and everything made from it carries the label synthetic."
env         = "torch"
uses        = ["lib/hf"]
determinism = "exact"

needs {
  memory_gib = 2
}

param "seed" {
  type    = number
  default = 0
  integer = true
  min     = 0
  max     = 4294967295
  doc     = "Another seed gives another model and another text."
}

param "shape" {
  type    = string
  default = "toy"
  one_of  = ["toy", "llama-3-8b"]
  doc     = "What the sizes are that are left out. toy: hidden 64, 2 layers, heads 4 and 2, intermediate 128, vocab 512, context 2048, float32, rope_theta 10000. llama-3-8b: hidden 4096, 32 layers, heads 32 and 8, intermediate 14336, vocab 128256, context 8192, bfloat16, rope_theta 500000; 16 GB."
}

param "hidden" {
  type     = number
  optional = true
  integer  = true
  min      = 8
  max      = 65536
  doc      = "Hidden size; a multiple of 2 × heads."
}

param "layers" {
  type     = number
  optional = true
  integer  = true
  min      = 1
  max      = 1024
  doc      = "Decoder layers."
}

param "heads" {
  type     = number
  optional = true
  integer  = true
  min      = 1
  max      = 1024
  doc      = "Attention heads."
}

param "kv_heads" {
  type     = number
  optional = true
  integer  = true
  min      = 1
  max      = 1024
  doc      = "Key and value heads; they divide heads."
}

param "intermediate" {
  type     = number
  optional = true
  integer  = true
  min      = 8
  max      = 262144
  doc      = "Inner size of the feed-forward part."
}

param "vocab" {
  type     = number
  optional = true
  integer  = true
  min      = 259
  max      = 1048576
  doc      = "Rows of the embedding. The tokenizer has 256 bytes, 3 special tokens and as many merges as its text gives."
}

param "context" {
  type     = number
  optional = true
  integer  = true
  min      = 8
  max      = 1048576
  doc      = "Positions the model says it can take."
}

param "tie_embeddings" {
  type    = bool
  default = false
  doc     = "Share the embedding with the head."
}

param "dtype" {
  type     = string
  optional = true
  one_of   = ["float32", "bfloat16", "float16"]
  doc      = "Type of the weights."
}

param "text_bytes" {
  type    = number
  default = 65536
  integer = true
  min     = 1024
  max     = 67108864
  doc     = "Least size of the text in bytes."
}

output "model" {
  type = "model/hf"
  doc  = "A Llama-shaped causal LM in safetensors, in files of 4 GiB at most."
}

output "tokenizer" {
  type = "tokenizer/hf"
  doc  = "A byte-level BPE tokenizer learnt from the text."
}

output "text" {
  type = "dataset/text"
  doc  = "Seeded words in sentences and paragraphs."
}

metric "parameters" {
  unit = "1"
  doc  = "Weights of the model."
}
