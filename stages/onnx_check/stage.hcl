kind        = "onnx_check"
doc         = "Runs an ONNX graph, or an engine built of one, beside the checkpoint that it came from and compares their logits, in shapes that the export did not see: a prefill, then tokens one at a time through the key-value cache, against PyTorch's pass over each row at once. What difference is too much, a require in the recipe says: 1e-4 of max_difference for float32, some 0.01 of relative_difference for float16 and 0.05 for deep models in half precision."
env         = "torch"
uses        = ["lib/llm", "lib/onnx", "lib/trt"]
determinism = "statistical"

needs {
  cpus       = 2
  memory_gib = 8
  gpus       = "0-1"
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
  doc = "What is run: rows at once, tokens of the prefill, and tokens after it, one at a time. Rows of a batch are of one length in a model/onnx; in the others each ends somewhere else, the first at `length`, the last near half of it."
}

param "seed" {
  type    = number
  default = 0
  integer = true
  min     = 0
  max     = 4294967295
  doc     = "Of the token ids, which are drawn evenly from the vocabulary."
}

param "prefill_logits" {
  type    = string
  default = "all"
  one_of  = ["all", "last"]
  doc     = "Whose logits of the prefill are compared: of all tokens, or of the last one, for an engine that was not built to score."
}

param "reference_dtype" {
  type    = string
  default = "float32"
  one_of  = ["float32", "bfloat16", "float16"]
  doc     = "Type that PyTorch computes in. Half types err by themselves: then the difference is that of two roundings."
}

input "model" {
  types = ["model/onnx", "model/onnx-decoder", "engine/tensorrt"]
  envs  = { "engine/tensorrt" = "gpu" }
  doc   = "The graph, run by onnxruntime on the CPU; or the engine, run by TensorRT."
}

input "reference" {
  type = "model/hf"
  doc  = "The checkpoint with the same weights; transformers runs it on the GPU that was granted, else the CPU. Packed 4-bit weights are unpacked."
}

output "result" {
  type = "result/check"
  doc  = "check.json: the digests of both inputs, what ran them, and the differences in each shape."
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

metric "relative_difference" {
  unit   = "1"
  better = "lower"
  doc    = "Root mean square of the differences over that of the reference's logits, in the worst prefill or decoding of a shape."
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

metric "same_top5" {
  unit   = "1"
  better = "higher"
  doc    = "The part of the positions whose likeliest token is among the reference's five likeliest."
}
