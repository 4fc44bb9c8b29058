kind        = "contest"
doc         = "Measures several engines side by side in one process. All models are loaded first and stay loaded; then, for each batch size, all are warmed up, and in each round everyone generates once, in an order that moves on by one from round to round: what the machine does meanwhile meets all of them. Greedy, with a key-value cache, every run makes the same number of tokens. Nobody takes part whose model was not verified, and before anything is timed each backend's first logits are held against those of transformers' plain generate for the same checkpoint. contest_entry makes a benchmark's result of one entry at one batch size."
env         = "gpu"
uses        = ["lib/gpu", "lib/llm", "lib/speed", "lib/trt"]
determinism = "measured"
facts       = ["gpu.0.name", "gpu.arch", "gpu.driver", "cpu.model"]

needs {
  cpus       = 4
  memory_gib = 32
  gpus       = 1
  exclusive  = true
}

param "entries" {
  type = list(object({
    name    = string
    model   = string
    backend = string
    dtype   = string
  }))
  doc = "Who takes part. model is a key of models. A checkpoint is run by generate (transformers, eager, a cache that grows), generate_static (transformers, a cache of fixed size, compiled; the two share one load of the weights), steady (this project's step, compiled, under a CUDA graph) or humming (the same with INT4 kernels), in dtype float32, float16 or bfloat16. An engine is run by tensorrt, in its own dtype: auto."
}

param "batches" {
  type    = list(number)
  default = [1, 8, 32]
  doc     = "Sequences generated side by side, all of one length. An entry that cannot run one of them, for want of memory or because its engine was not built for it, is left out there, with the reason in contest.json."
}

param "only" {
  type    = map(list(number))
  default = {}
  doc     = "The batches that an entry takes part at, by its name, where not at all of them: generate_static compiles anew for each."
}

param "prompt" {
  type    = number
  default = 32
  integer = true
  min     = 1
  max     = 1048576
  doc     = "Tokens of each sequence's prompt, drawn evenly from the vocabulary that all models have."
}

param "tokens" {
  type    = number
  default = 256
  integer = true
  min     = 2
  max     = 1048576
  doc     = "New tokens of each sequence. An end-of-text token is never chosen, so no run ends before."
}

param "warmup" {
  type    = number
  default = 1
  integer = true
  min     = 1
  max     = 1000
  doc     = "Runs of each entry at each batch size before those that count."
}

param "repeats" {
  type    = number
  default = 5
  integer = true
  min     = 1
  max     = 1000
  doc     = "Rounds that count at each batch size."
}

param "seed" {
  type    = number
  default = 0
  integer = true
  min     = 0
  max     = 4294967295
  doc     = "Of the prompt's tokens."
}

param "saturation" {
  type    = number
  default = 256
  integer = true
  min     = 0
  max     = 4096
  doc     = "After the batches the largest is doubled, up to this size, for entries by steady, humming and tensorrt: each goes on until a doubled batch brings less than 5 % more tokens a second, or memory is full. 0 leaves it out."
}

param "tolerance" {
  type    = number
  default = 0.25
  min     = 0
  doc     = "How far the first logits of two backends of one checkpoint may lie apart: root mean square of the difference, by that of the reference. It tells a wrong computation, at about 1.4, from another rounding; the nearer look is onnx_check's and perplexity's."
}

param "limit_seconds" {
  type    = number
  default = 0
  min     = 0
  doc     = "Time for all of it, from the start, loading included. Where it does not suffice rounds are dropped, for all entries alike and as evenly over the batches as can be told beforehand, then saturation; one round is always made. How many were made is the metric repeats, and contest.json has those of each batch. 0 is no limit."
}

input "models" {
  types = ["model/hf", "model/bnb", "engine/tensorrt"]
  map   = true
  doc   = "By keys that entries name."
}

input "verified" {
  types = ["result/check", "result/perplexity", "result/compare"]
  map   = true
  doc   = "By the same keys: what was measured of this very model, by its digest; of a comparison, its candidate. A model without one, or with one of another model, is refused."
}

output "result" {
  type = "result/contest"
  doc  = "contest.json: every run's seconds, to the first token and of each further one, by batch size and entry; the order of each round; who was out, and why; how far first logits lay apart; memory, clocks, heat and energy of the GPU."
}

metric "entries" {
  unit = "1"
  doc  = "Who took part."
}

metric "repeats" {
  unit   = "1"
  better = "higher"
  doc    = "Rounds at the batch size that had the fewest of them."
}

metric "copy_bytes_per_second" {
  unit   = "byte/s"
  better = "higher"
  doc    = "What a copy of 4 GiB on this GPU reads and writes, the median of 20: the roofline of a decode step."
}

metric "gpu_clock_mhz" {
  unit = "MHz"
  doc  = "Clock of the GPU's processors during the runs that count, the median of ten samples a second."
}

metric "gpu_temperature_c" {
  unit   = "°C"
  better = "lower"
  doc    = "The greatest of the same samples."
}

metric "throttled" {
  unit   = "1"
  better = "lower"
  doc    = "1 if power, heat or a brake lowered the clocks in any of the samples, else 0."
}

metric "gpu_idle" {
  unit   = "1"
  better = "higher"
  doc    = "1 if nothing else used the GPU before anything was loaded, as far as the driver tells, else 0."
}
