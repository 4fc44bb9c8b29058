kind        = "pinned"
doc         = "Brings a file by its source, without Python."
determinism = "exact"
network     = true
command     = ["testworker"]

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
