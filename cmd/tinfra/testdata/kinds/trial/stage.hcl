kind        = "trial"
doc         = "A worker with a fault."
determinism = "statistical"
command     = ["testworker"]

param "mode" {
  type = string
  one_of = [
    "ok", "crash", "nan", "hang", "stubborn", "rubbish", "no-result", "late-exit", "outside", "escape", "change-input",
    "bad-param", "bad-input", "machine", "memory", "flaky", "spawn", "slow", "gated", "fill", "synthetic", "fake-metric",
    "special", "undeclared", "half-result", "deep", "odd-names", "bad-name", "many", "sparse", "flood", "scribble",
    "unfit",
  ]
  doc = "The fault."
}
param "amount" {
  type    = number
  integer = true
  default = 2
  doc     = "How often, how many, how much."
}
input "text" {
  type     = "*"
  optional = true
  doc      = "Anything."
}
output "files" {
  type = "files"
  doc  = "done.txt."
}
metric "score" {
  unit = "point"
  doc  = "A number."
}
