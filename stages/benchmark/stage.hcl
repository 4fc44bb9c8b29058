kind        = "benchmark"
doc         = "Measures how fast one engine generates from one model at one batch size: transformers' generate for a checkpoint, or another backend of it, onnxruntime-genai for an ONNX graph, TensorRT for an engine. A process of its own, warm-up, repeats; greedy, with a key-value cache, and every run makes the same number of tokens. Before anything is timed, the engine's first logits are held against a reference run of the same files; of a TensorRT engine, whose checkpoint is not here, the proof given as verified is that comparison. On a GPU the device must be idle, and its clocks, heat, power and memory are recorded meanwhile."
env         = "torch"
uses        = ["lib/gpu", "lib/llm", "lib/speed", "lib/trt"]
determinism = "measured"
facts       = ["cpu.model", "cpu.count"]

optional_facts = ["gpu.0.name", "gpu.arch", "gpu.driver"]

needs {
  cpus       = 2
  memory_gib = 4
  exclusive  = true
}

param "batch" {
  type    = number
  default = 1
  integer = true
  min     = 1
  max     = 1024
  doc     = "Sequences generated side by side, all of one length."
}

param "prompt" {
  type    = number
  default = 128
  integer = true
  min     = 1
  max     = 1048576
  doc     = "Tokens of each sequence's prompt."
}

param "tokens" {
  type    = number
  default = 64
  integer = true
  min     = 2
  max     = 1048576
  doc     = "New tokens of each sequence. An end-of-text token is never chosen, so no run ends before."
}

param "warmup" {
  type    = number
  default = 1
  integer = true
  min     = 0
  max     = 1000
  doc     = "Runs before those that count, of the same size."
}

param "repeats" {
  type    = number
  default = 5
  integer = true
  min     = 1
  max     = 1000
  doc     = "Runs that count."
}

param "seed" {
  type    = number
  default = 0
  integer = true
  min     = 0
  max     = 4294967295
  doc     = "Of the prompt's tokens, drawn evenly from the vocabulary. With a text it decides nothing."
}

param "threads" {
  type    = number
  default = 2
  integer = true
  min     = 1
  max     = 1024
  doc     = "CPU threads of the engine. needs.cpus must be as many."
}

param "device" {
  type    = string
  default = "cpu"
  one_of  = ["cpu", "gpu"]
  doc     = "Where the engine computes. gpu is for checkpoints and TensorRT engines, and wants needs { gpus = 1 }."
}

param "dtype" {
  type    = string
  default = "float32"
  one_of  = ["float32", "bfloat16", "float16"]
  doc     = "Type that a checkpoint is computed in. A graph or an engine holds its own, so leave it out there."
}

param "backend" {
  type    = string
  default = "auto"
  one_of  = ["auto", "generate", "generate_static", "steady", "humming", "genai", "tensorrt"]
  doc     = "What runs the model. A checkpoint: generate (transformers, eager, a cache that grows; what auto takes), generate_static (transformers, a cache of fixed size, compiled), steady (this project's step, compiled, under a CUDA graph on a GPU), humming (the same with INT4 kernels, on a GPU). A graph: genai. An engine: tensorrt."
}

input "model" {
  types = ["model/hf", "model/onnx", "model/bnb", "engine/tensorrt"]
  envs  = { "model/bnb" = "gpu", "engine/tensorrt" = "gpu" }
  doc   = "The folder decides which backends can run it."
}

input "verified" {
  types = ["result/check", "result/perplexity", "result/compare"]
  doc   = "What was measured of this very model, by its digest. A result of another model is refused: no figure without a proof that the model works. Put the condition into a require of that stage; where it fails, this one does not run."
}

input "text" {
  types    = ["dataset/text", "files"]
  optional = true
  doc      = "The prompts are its first batch × prompt tokens, in place of drawn ones."
}

input "tokenizer" {
  type     = "tokenizer/hf"
  optional = true
  doc      = "Goes with text."
}

output "result" {
  type = "result/benchmark"
  doc  = "benchmark.json: every run's seconds, to the first token and of each further one; what was asked, engine, versions, machine, and what else the machine did meanwhile."
}

metric "decode_tokens_per_second" {
  unit   = "token/s"
  better = "higher"
  doc    = "batch × (tokens - 1), by the time from the first new token to the last. Median of the repeats."
}

metric "prefill_tokens_per_second" {
  unit   = "token/s"
  better = "higher"
  doc    = "batch × prompt, by the time from token ids to the first new token. Median of the repeats."
}

metric "first_token_ms" {
  unit   = "ms"
  better = "lower"
  doc    = "From token ids to the first new token. Median of the repeats."
}

metric "token_ms_p50" {
  unit   = "ms"
  better = "lower"
  doc    = "Time of one decode step, which gives each sequence a token: median of all steps of all repeats."
}

metric "token_ms_p90" {
  unit   = "ms"
  better = "lower"
  doc    = "90th percentile of the same."
}

metric "token_ms_p99" {
  unit   = "ms"
  better = "lower"
  doc    = "99th percentile of the same."
}

metric "peak_memory_bytes" {
  unit   = "byte"
  better = "lower"
  doc    = "The most that the process held from the load on, libraries included; on a GPU, the most that was allocated there."
}

metric "size_bytes" {
  unit   = "byte"
  better = "lower"
  doc    = "The files of graph and weights."
}

metric "load_seconds" {
  unit   = "s"
  better = "lower"
  doc    = "Time until the engine has the model, its files being in the system's cache. Libraries are loaded before."
}

metric "batch" {
  unit = "sequence"
  doc  = "As asked."
}

metric "decode_tokens_per_second_low" {
  unit   = "token/s"
  better = "higher"
  doc    = "The slowest repeat."
}

metric "decode_tokens_per_second_high" {
  unit   = "token/s"
  better = "higher"
  doc    = "The fastest repeat."
}

metric "prefill_tokens_per_second_low" {
  unit   = "token/s"
  better = "higher"
  doc    = "The slowest repeat."
}

metric "prefill_tokens_per_second_high" {
  unit   = "token/s"
  better = "higher"
  doc    = "The fastest repeat."
}

metric "joules_per_token" {
  unit   = "J/token"
  better = "lower"
  doc    = "Energy of the GPU during the runs that count, prefill included, by batch × tokens × repeats. By the GPU's own counter; where it has none, by its mean power, and benchmark.json then says joules_are estimated. Absent where it tells neither."
}

metric "bytes_per_step" {
  unit = "byte"
  doc  = "What a decode step must move at least: all weights but the embedding, and the keys and values of prompt + tokens / 2 tokens of each sequence. On a GPU only."
}

metric "roofline_share" {
  unit   = "1"
  better = "higher"
  doc    = "bytes_per_step by the median time of a step, as a part of what a copy of 4 GiB on this very GPU reads and writes in a second. Near 1 only memory limits it."
}

metric "gpu_clock_mhz" {
  unit = "MHz"
  doc  = "Clock of the GPU's processors, the median of ten samples a second."
}

metric "gpu_temperature_c" {
  unit   = "°C"
  better = "lower"
  doc    = "The greatest of the same samples."
}

metric "throttled" {
  unit   = "1"
  better = "lower"
  doc    = "1 if power, heat or a brake lowered the clocks in any of the samples, else 0. A figure with 1 is not the GPU's best."
}

metric "gpu_peak_bytes" {
  unit   = "byte"
  better = "lower"
  doc    = "Memory of the GPU that was free before the load and is not after the runs: what every library allocated, torch or not."
}
