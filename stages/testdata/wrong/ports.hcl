kind        = "ports"
doc         = "x"
determinism = "exact"

param "model" {
  type = string
  doc  = "x"
}
input "model" { # ERROR: "model" is declared at line 5 already
  type = "model/hf"
  doc  = "x"
}
secret "token" { # ERROR: must have env
  doc = "x"
}
secret "model" { # ERROR: declared at line 5
  env = "A-B" # ERROR: letters, digits and _ only
  doc = "x"
}
input "neither" { # ERROR: either type, or types
  doc = "x"
}
input "both" { # ERROR: either type, or types
  type  = "a"
  types = ["b"]
  doc   = "x"
}
input "capital" {
  type = "Model/HF" # ERROR: "Model/HF" is not a type of artifact
  doc  = "x"
}
input "elsewhere" {
  types = ["a", "b"]
  envs  = { c = "gpu", a = "no name" } # ERROR: envs has "c", which the input does not take # ERROR: envs names folders
  doc   = "x"
}
input "empty" {
  types = [] # ERROR: types is empty
  doc   = "x"
}
output "model" { # the name of an input: fine
  type = "model/hf"
  doc  = "x"
}
output "model" { # ERROR: declared at line 41
  type = "model/hf"
  doc  = "x"
}
output "metrics" { # ERROR: "metrics" means something
  type = "files"
  doc  = "x"
}
output "wild" {
  type = "*" # ERROR: "*" is not a type
  doc  = "x"
}
metric "m" {
  better = "less" # ERROR: must be one of lower, higher
  doc    = "x"
}
metric "m" { # ERROR: declared at line 57
  doc    = "x"
  qualty = true # ERROR: Did you mean "quality"?
}
