kind        = "score"
doc         = "Reports the number it is given."
determinism = "statistical"
command     = ["testworker"]

param "value" {
  type    = number
  default = 1
  doc     = "The score."
}
param "protocol" {
  type     = string
  optional = true
  doc      = "How it was measured."
}
input "text" {
  type     = "files"
  optional = true
  doc      = "What is scored."
}
output "result" {
  type = "result"
  doc  = "score.json."
}
metric "score" {
  unit    = "point"
  better  = "lower"
  quality = true
  doc     = "The score."
}
