kind        = "make"
doc         = "Writes a text to a file."
determinism = "exact"
command     = ["testworker"]

param "text" {
  type = string
  doc  = "What is written."
}
param "tag" {
  type     = string
  optional = true
  doc      = "Decides nothing but the key."
}
output "files" {
  type = "files"
  doc  = "text.txt."
}
metric "length" {
  unit = "byte"
  doc  = "Bytes of the text."
}
