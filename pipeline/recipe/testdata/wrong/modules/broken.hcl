top = 1 # ERROR: Put top into locals { … }.

variable "model" {
  type = any
}

variable "source" { # ERROR: a variable of a module cannot be called "source"
  default = "x"
}

variable "wrong" {
  type    = number
  default = "x" # ERROR: The default of "wrong" does not fit its type
}

locals {
  lost = local.none # ERROR: There is no local "none".
}

stage "gptq" "int4" {
  model = var.model # ERROR: Wrong port type: model takes an artifact of type model/hf, and download.base.files is files. download.base.model would fit.
  bits  = 5         # ERROR: bits
  bitz  = 4         # ERROR: Did you mean bits?
}

stage "gptq" "outer" {
  model = download.base.model # ERROR: There is no stage download.base.
}

stage "onnx" "own" {
  model = gptq.int4 # ERROR: This is a stage: say which port, gptq.int4.model.
}

module "inner" {
  source = "./deep/leaf.hcl"
  bits   = 3
}

resource "x" "y" { # ERROR: A recipe is made of stage blocks
}

output "model" {
  value = gptq.int4.model
  vlaue = 1 # ERROR: Did you mean value?
}

output "lost" { # ERROR: An output needs a value
}

output "unused" {
  value = gptq.int3.model # ERROR: There is no stage gptq.int3. Did you mean gptq.int4?
}
