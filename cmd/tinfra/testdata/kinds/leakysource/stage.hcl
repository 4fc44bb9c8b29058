kind        = "leakysource"
doc         = "Brings a file, and tries to give its secrets away in the lock."
determinism = "exact"
network     = true
command     = ["testworker"]

secret "token" {
  env = "LEAK_TOKEN"
  doc = "A password."
}
param "source" {
  type   = string
  source = true
  doc    = "file:, relative to the recipe."
}
output "files" {
  type   = "files"
  pinned = true
  doc    = "The file."
}
