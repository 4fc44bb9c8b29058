kind        = "onnx_check"
doc         = "Runs an ONNX graph beside the checkpoint that it came from and compares their logits, in shapes that the export did not see: a prefill, then tokens one at a time through the key-value cache, against PyTorch's pass over all of them at once. What difference is too much, a require in the recipe says."
env         = "torch"
uses        = ["lib/llm", "lib/onnx"]
determinism = "statistical"

needs {
  cpus       = 2
  memory_gib = 8
}

param "shapes" {
  type = list(object({
    batch  = number
    length = number
    steps  = number
  }))
  default = [
    { batch = 1, length = 37, steps = 11 },
    { batch = 3, length = 16, steps = 8 },
    { batch = 2, length = 129, steps = 5 },
  ]
  doc = "What is run: rows at once, tokens of the prefill, and tokens after it, one at a time. Rows of a batch are of one length."
}

param "seed" {
  type    = number
  default = 0
  integer = true
  min     = 0
  max     = 4294967295
  doc     = "Of the token ids, which are drawn evenly from the vocabulary."
}

input "model" {
  type = "model/onnx"
  doc  = "The graph."
}

input "reference" {
  type = "model/hf"
  doc  = "The checkpoint with the same weights; transformers runs it in float32."
}

output "result" {
  type = "result/check"
  doc  = "check.json: the digests of both inputs, and the differences in each shape."
}

metric "max_difference" {
  unit   = "1"
  better = "lower"
  doc    = "Largest difference of a logit, in prefill and decoding."
}

metric "mean_difference" {
  unit   = "1"
  better = "lower"
  doc    = "Mean difference of a logit, regardless of its sign."
}

metric "prefill_max_difference" {
  unit   = "1"
  better = "lower"
  doc    = "Largest difference in the prefill."
}

metric "decode_max_difference" {
  unit   = "1"
  better = "lower"
  doc    = "Largest difference of tokens that went through the cache, from PyTorch's pass over the whole row."
}

metric "same_top1" {
  unit   = "1"
  better = "higher"
  doc    = "The part of the positions whose likeliest token is the same."
}
