variable "hidden" {
  sensitive = true
  default   = 1
}

locals {
  typed  = tomap({ alpha = "x" })
  object = { alpha = "x", deep = { beta = 1 } }
  port   = download.base.model
  all    = [download.base.model, download.base.tokenizer]
  bad    = 1 + "x" # ERROR: Invalid operand
  worse  = local.bad + 1
  metric = perplexity.p.metrics.perplexity * 2
  also   = local.metric + local.worse
  gone   = upper(nosuch.thing) # ERROR: There is nothing called "nosuch".
  held   = { a = local.gone, b = 1 }
}

stage "download" "base" {
  source = local.typed.alpa # ERROR: There is no key "alpa" here. Did you mean alpha?
}

stage "download" "object" {
  source = local.object.deep.betta # ERROR: There is no "betta" here. Did you mean beta?
}

stage "download" "index" {
  source = local.object["alfa"] # ERROR: There is no "alfa" here. Did you mean alpha?
}

stage "download" "key" {
  for_each = toset(["alfa"])
  source   = local.object[each.key] # ERROR: There is no "alfa" here. Did you mean alpha?
}

stage "download" "held" {
  source = local.held.a
}

stage "download" "held_well" {
  source = local.held.b
}

stage "download" "metric" {
  source = "x${local.metric}" # ERROR: perplexity.p.metrics.perplexity is known only after a run
}

stage "download" "also" {
  source = "x${local.also}"
}

stage "download" "local_port" {
  source = local.port # ERROR: a port or path() is given to an input
}

stage "perplexity" "p" {
  model     = local.all # ERROR: model takes an artifact of type model/hf or model/onnx. Give it a port
  tokenizer = local.all[0] # ERROR: download.base.model is model/hf. download.base.tokenizer would fit.
  text      = { a = download.base.files } # ERROR: Give it one port, not an object.
}

stage "perplexity" "q" {
  model     = perplexity.r.metrics.perplexity > 10 ? download.base.model : gptq.g.model # ERROR: perplexity.r.metrics.perplexity is known only after a run
  tokenizer = download.base.tokenizer
  text      = calibrate.c # ERROR: This is a stage: say which port. There is only tokens.
}

stage "perplexity" "r" {
  model     = download.base.model
  tokenizer = download.base.tokenizer
  text      = download.base.files
  timeout   = "-1s" # ERROR: timeout is a duration
  retries   = "many" # ERROR: retries takes a number
  require {
    condition = metrics.perplexity < var.hidden # ERROR: A require must not use a sensitive variable
  }
  require {
    condition = null # ERROR: A condition must be true or false.
  }
  require {
    condition = local.worse < 1
    message   = nosuch.message # ERROR: There is nothing called "nosuch".
  }
}

stage "calibrate" "c" { # ERROR: calibrate needs text
  text      = null
  tokenizer = download.base.tokenizer
} # The missing text is told at the head.

stage "gptq" "g" {
  model = download.base.model
  skip  = [null] # ERROR: null
  bits  = 1e400 # ERROR: bits
  damping = true # ERROR: damping takes a number
  needs {
    gpus       = 1.5 # ERROR: gpus is a whole number
    cpus       = local.worse
    memory_gib = [] # ERROR: memory_gib is a number
    exclusive  = 3 # ERROR: exclusive is true or false.
  }
}

stage "exec" "a" {
  command = ["x"]
  inputs  = { a = perplexity.r, b = null } # ERROR: inputs["a"] takes an artifact of any type. This is a stage: say which port
}

stage "exec" "nulls" {
  for_each = toset(["a", null]) # ERROR: a set that holds a null
  command  = ["x"]
}

stage "exec" "wrong" {
  command = { a = 1 } # ERROR: command takes a list of string
  env     = "PATH" # ERROR: env takes a list of string
}

output "mixed" {
  value = { a = download.base.model, b = perplexity.r.metrics.perplexity } # ERROR: "b" is known only after a run
}

output "broken" {
  value = local.worse
}
