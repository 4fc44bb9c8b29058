kind        = "compare"
doc         = "Compares two perplexity results token by token. Both models saw the same text, so what the text does to both cancels out: a difference shows that the intervals of the two perplexities would hide."
env         = "torch"
uses        = ["lib/score"]
determinism = "statistical"

needs {
  memory_gib = 2
}

input "baseline" {
  type = "result/perplexity"
  doc  = "The model that is measured against. Its perplexity stage must keep distributions."
}

input "candidate" {
  type = "result/perplexity"
  doc  = "The model in question, measured by the same text, tokenizer, window, stride, max_tokens and distributions."
}

output "result" {
  type = "result/compare"
  doc  = "compare.json: the metrics, the protocol, and which model and engine each side was. differences.safetensors: difference, float32, candidate less baseline in nats, same_top1, bool, and position, int64, all [scored]; kl, float32, and kl_position, int64, [kept]."
}

metric "nll_difference" {
  unit    = "nat"
  better  = "lower"
  quality = true
  doc     = "Mean negative log likelihood of the candidate less the baseline's."
}

metric "nll_difference_low" {
  unit    = "nat"
  better  = "lower"
  quality = true
  doc     = "Lower bound of the difference's 95 % interval: block bootstrap over pairs, as in `perplexity`. Where 0 lies between the bounds, the text does not tell the two apart."
}

metric "nll_difference_high" {
  unit    = "nat"
  better  = "lower"
  quality = true
  doc     = "Upper bound of the same interval."
}

metric "perplexity_ratio" {
  unit    = "1"
  better  = "lower"
  quality = true
  doc     = "Perplexity of the candidate over the baseline's: exp of nll_difference. 1.05 is 5 % worse."
}

metric "perplexity_difference" {
  unit    = "1"
  better  = "lower"
  quality = true
  doc     = "Perplexity of the candidate less the baseline's."
}

metric "kl_mean" {
  unit    = "nat"
  better  = "lower"
  quality = true
  doc     = "Mean of KL(baseline‖candidate) over the kept distributions. It sees changes that the scored tokens alone do not."
}

metric "kl_p99" {
  unit    = "nat"
  better  = "lower"
  quality = true
  doc     = "99th percentile of the same: how far the worst predictions moved."
}

metric "same_top1" {
  unit    = "1"
  better  = "higher"
  quality = true
  doc     = "Part of the scored tokens where both models hold the same token likeliest."
}

metric "tokens" {
  unit = "token"
  doc  = "Tokens compared."
}
