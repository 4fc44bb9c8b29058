kind           = "tensorrt"
doc            = "Builds a TensorRT engine of a decoder graph, for the GPU that it runs on, strongly typed: what the graph says is what is computed. Each decode batch gets a profile of its own, or one together with the batches below it; prompts go through one of dynamic shapes. The timings of a build go into another's: what was timed once is not timed again."
env            = "gpu"
uses           = ["lib/llm", "lib/trt"]
determinism    = "statistical"
facts          = ["gpu.arch"]
optional_facts = ["gpu.driver.branch"]

needs {
  cpus       = 4
  memory_gib = 80
  gpus       = 1 # alone: tactics are timed on it
}

param "decode" {
  type = list(object({
    batch  = number
    length = number
  }))
  default = [
    { batch = 1, length = 512 },
    { batch = 8, length = 512 },
  ]
  doc = "Batches that are decoded, and the slots of a row's cache: the most tokens of its prompt and answer. Each becomes a profile of its own, and takes some of the build's time. Batches between them are run as well, by prefill's profile and slower unless `spans` is set."
}

param "spans" {
  type    = bool
  default = false
  doc     = "One profile for all batches up to each of decode's, tuned for it, in place of one for that batch alone: of 8 and 32, one from 1 to 8 and one from 9 to 32. Engines are smaller and built faster, steps of smaller batches a little slower."
}

param "prefill" {
  type    = number
  default = 512
  integer = true
  min     = 1
  max     = 65536
  doc     = "Tokens of a row in one pass over a prompt. A longer prompt goes in several."
}

param "score" {
  type    = number
  default = 0
  integer = true
  min     = 0
  max     = 65536
  doc     = "Tokens of a row in one pass that gives the logits of all of them, as onnx_check and perplexity may ask; 0 builds no profile for it."
}

param "optimization" {
  type    = number
  default = 3
  integer = true
  min     = 0
  max     = 5
  doc     = "TensorRT's builder level: higher ones try more ways to compute, and take longer."
}

param "inspect" {
  type    = bool
  default = true
  doc     = "Ask TensorRT's inspector for the kernel and the types of each layer, and so for limits that only those show: sums in float16, attention that was not fused. At 32 layers that takes half a minute; times of layers are taken in any case."
}

input "model" {
  type = "model/onnx-decoder"
  doc  = "The graph, from onnx_decoder."
}

input "timing" {
  type     = "engine/timing"
  optional = true
  doc      = "Timings of an earlier build on the same kind of GPU, of this graph or of another. Those that do not fit are left out."
}

output "engine" {
  type = "engine/tensorrt"
  doc  = "engine.plan; engine.json, which says its TensorRT, GPU and profiles; the graph's decoder.json, config.json and tokenizer files. It runs on GPUs of the same architecture only."
}

output "timing" {
  type = "engine/timing"
  doc  = "timing.cache, the timings given and those taken; tactics.json, what was chosen for each layer."
}

output "report" {
  type = "result/engine"
  doc  = "engine.md, the layers that take the most time; layers.json, what TensorRT's inspector says of each profile where it is asked; profile.json, microseconds of each layer; limits.json, what TensorRT did otherwise than the graph asks, and where looking at the engine crashed; build.log, what it said and the phases of the build, with their times."
}

metric "parse_seconds" {
  unit   = "s"
  better = "lower"
  doc    = "Time to read the graph and its weights."
}

metric "build_seconds" {
  unit   = "s"
  better = "lower"
  doc    = "Time to build the engine."
}

metric "size_bytes" {
  unit   = "byte"
  better = "lower"
  doc    = "engine.plan."
}

metric "weights_bytes_expected" {
  unit   = "byte"
  better = "lower"
  doc    = "What the graph's weights take in its own types. An engine that is much larger holds some in a wider one."
}

metric "layers" {
  unit   = "1"
  better = "lower"
  doc    = "Layers of the first decode profile, after TensorRT joined what it can."
}

metric "step_ms" {
  unit   = "ms"
  better = "lower"
  doc    = "A decode step of the first profile as a CUDA graph, choice of the token and cache included: median of 64, after a prompt that fills half of the cache."
}

metric "tactics_changed" {
  unit   = "1"
  better = "lower"
  doc    = "Layers for which another way was chosen than in the build that `timing` is of. Only where that was of the same graph, profiles and level, and the inspector tells."
}

metric "fallbacks" {
  unit   = "1"
  better = "lower"
  doc    = "Entries of limits.json that say that TensorRT left a type or a way that the graph asks for."
}
