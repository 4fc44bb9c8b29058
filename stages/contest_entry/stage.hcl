kind        = "contest_entry"
doc         = "One entry of a contest at one batch size, as the result of a benchmark: for a report's row, and for conditions between entries."
env         = "fetch"
uses        = ["lib/gpu", "lib/speed"]
determinism = "exact"

needs {
  memory_gib = 1
}

param "entry" {
  type = string
  doc  = "Its name in the contest."
}

param "batch" {
  type    = string
  pattern = "^([1-9][0-9]{0,3}|saturation)$"
  doc     = "A batch size that it ran at, or \"saturation\": the one of its best throughput, where the contest drove it there."
}

input "contest" {
  type = "result/contest"
  doc  = "Its every run."
}

input "model" {
  types    = ["model/hf", "model/bnb", "engine/tensorrt"]
  optional = true
  doc      = "The model that the entry ran, so that a report knows whose figures these are. Another one is refused."
}

output "result" {
  type = "result/benchmark"
  doc  = "benchmark.json: the entry's runs at this batch size, what was asked, engine, the GPU, and the digest of the contest."
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
  doc    = "gpu_peak_bytes, by the name that benchmark has for it too. The process holds all entries, so there is no figure of the CPU's memory."
}

metric "size_bytes" {
  unit   = "byte"
  better = "lower"
  doc    = "The files of graph and weights."
}

metric "load_seconds" {
  unit   = "s"
  better = "lower"
  doc    = "Time until the engine has the model. Next to nothing where it shares the weights of an entry before it."
}

metric "batch" {
  unit = "sequence"
  doc  = "As asked; that of the best throughput where saturation was asked for."
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
  doc    = "The weights and the most that the entry took besides while nobody else ran: what every library allocated, torch or not. Weights that two entries share count for both."
}

metric "repeats" {
  unit   = "1"
  better = "higher"
  doc    = "Rounds that count: as many as the contest was asked for, unless its limit_seconds took some away."
}
