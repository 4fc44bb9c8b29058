# One broken stage does not hide the others, and what refers to it is not complained of.
stage "download" "base" {
  source = "https://example.org/base"
}

stage "gptqq" "int4" { # ERROR: There is no stage kind "gptqq". Did you mean gptq?
  model = download.base.model
  bits  = var.missing # ERROR: There is no variable "missing".
  count = 2           # ERROR: Use for_each
}

stage "onnx" "int4" {
  model = gptq.int4.model
}

stage "onnx" "second" {
  model = gptqq.int4.model
}

stage "gptq" "a" {
  model      = download.base.modle # ERROR: download.base has no output port "modle". Did you mean model?
  bits       = "four"              # ERROR: bits takes a number
  group_sice = 64                  # ERROR: gptq has no attribute "group_sice". Did you mean group_size?
}

stage "gptq" "b" {
  model       = download.base.tokenizer # ERROR: model takes an artifact of type model/hf, and download.base.tokenizer is tokenizer. download.base.model would fit.
  bits        = 5                       # ERROR: bits
  calibration = "tokens"                # ERROR: calibration takes an artifact of type dataset/tokens
  depends_on  = [download.base]         # ERROR: A reference to a port is the edge
}

stage "gptq" "c" { # ERROR: gptq needs model, an artifact of type model/hf.
}

stage "gptq" "c" { # ERROR: gptq.c stands already in line ;; gptq needs model
}

stage "gptq" "d" {
  model = download.bass.model # ERROR: There is no stage download.bass. Did you mean download.base?
}

stage "gptq" "e" {
  model = downlaod.base.model # ERROR: There is no stage downlaod.base. Did you mean download.base?
}

stage "gptq" "f" {
  model = download.base # ERROR: This is a stage: say which port, download.base.model.
}

stage "gptq" "g" {
  model = gptq.g.model # ERROR: gptq.g cannot take its own output.
}

stage "gptq" "h" {
  model = download # ERROR: Write download.NAME.PORT.
}

stage "gptq" "i" {
  model = nothing # ERROR: There is nothing called "nothing".
  bits  = null
}

stage "gptq" "j" {
  model = download.base.model
  bits  = download.base.model # ERROR: bits is a param and takes a number
  model_out { # ERROR: A stage has no "model_out" block.
  }
  damping {} # ERROR: It is an attribute: damping = { … }.
}

stage "download" "none" { # ERROR: download needs source, a string. What to download.
}

stage "exec" "list" {
  command = ["cat"]
  inputs  = [download.base.files] # ERROR: inputs takes a map of artifacts
}

stage "exec" "dots" {
  command = ["cat"]
  inputs  = { ".." = download.base.files } # ERROR: names a folder
}

stage "exec" "element" {
  command = ["cat"]
  inputs  = { a = 1 } # ERROR: inputs["a"] takes an artifact of any type
}

stage "tensorrt" "engine" {
  model = onnx.int4.model
  max_batch = 65 # ERROR: max_batch
}

stage "perplexity" "path" {
  model     = path("*.hcl") # ERROR: model takes an artifact of type model/hf or model/onnx, and path("*.hcl") is files.
  tokenizer = download.base.tokenizer
  text      = path("*.none") # ERROR: "*.none" matches no file below the recipe's folder
}

stage "perplexity" "out" {
  model     = download.base.model
  tokenizer = download.base.tokenizer
  text      = path("../*") # ERROR: it leads out of the recipe's folder
}

stage "perplexity" "deep" {
  model     = download.base.model.config # ERROR: A port holds an artifact
  tokenizer = download.base.tokenizer
  text      = download.base.files
}
