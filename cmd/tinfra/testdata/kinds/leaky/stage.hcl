kind        = "leaky"
doc         = "Tries to give its secrets away."
determinism = "statistical"
command     = ["testworker"]

secret "token" {
  env = "LEAK_TOKEN"
  doc = "A password."
}
secret "other" {
  env = "LEAK_OTHER"
  doc = "Another one."
}
param "way" {
  type = string
  doc  = "Where, beside everywhere."
}
input "text" {
  type     = "*"
  optional = true
  doc      = "Anything."
}
output "files" {
  type = "files"
  doc  = "How long the secret was."
}
metric "score" {
  unit = "point"
  doc  = "A number."
}
