stage "download" "base" {
  source = "https://example.org/base"
}

stage "perplexity" "base" {
  model     = download.base.model
  tokenizer = download.base.tokenizer
  text      = download.base.files
  require {
    condition = metrics.perplexty < 20 # ERROR: There is no "perplexty" here. Did you mean perplexity?
  }
  require { # ERROR: A require needs a condition
    message = "no"
  }
  require {
    condition = metrics.perplexity # ERROR: A condition must be true or false.
    error_message = "no" # ERROR: Did you mean message?
  }
  require {
    condition = perplexity.base.metrics.perplexty < 20 # ERROR: There is no "perplexty" here. Did you mean perplexity?
  }
  require {
    condition = gptq.none.metrics.bits_per_weight < 5 # ERROR: There is no stage gptq.none.
    message   = [] # ERROR: A message is a text.
  }
  require {
    enabled   = metrics.perplexity > 1 # ERROR: enabled decides before anything runs
    condition = metrics.perplexity < 20
  }
  require {
    enabled   = "perhaps" # ERROR: enabled must be true or false.
    condition = metrics.perplexity < 20
  }
  require {
    enabled   = null # ERROR: enabled must be true or false.
    condition = metrics.perplexity < 20
  }
  require {
    enabled   = var.quality # ERROR: There is no variable "quality".
    condition = metrics.perplexity < 20
  }
  requir { # ERROR: A stage has no "requir" block. Did you mean require?
  }
}

stage "gptq" "a" {
  model = download.base.model
  bits  = perplexity.base.metrics.perplexity # ERROR: perplexity.base.metrics.perplexity is known only after a run
  group_size = metrics.bits_per_weight # ERROR: metrics stands only in a require block
}

stage "gptq" "b" {
  model      = download.base.model
  bits       = floor(perplexity.base.metrics.perplexity) # ERROR: perplexity.base.metrics.perplexity is known only after a run
  group_size = perplexity.base.metrics.perplexity > 10 ? 64 : 128 # ERROR: perplexity.base.metrics.perplexity is known only after a run
}

stage "download" "c" {
  source = "about ${perplexity.base.metrics.perplexity}" # ERROR: perplexity.base.metrics.perplexity is known only after a run
}

stage "onnx" "silent" {
  model = download.base.model
  require {
    condition = metrics.size < 5 # ERROR: onnx reports no metrics.
  }
}

stage "download" "d" {
  source = download.base.metrics.speed # ERROR: download.base has no output port "metrics".
}

output "perplexity" {
  value = perplexity.base.metrics.perplexity # ERROR: An output is a port or a plain value
}
