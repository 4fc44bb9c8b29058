kind        = "graft"
doc         = "Puts a note beside texts, which it reuses as they are."
determinism = "exact"
command     = ["testworker"]

param "note" {
  type    = string
  default = ""
  doc     = "The note; without one the texts are all there is."
}
input "text" {
  type = "files"
  doc  = "The texts."
}
output "text" {
  type = "files"
  doc  = "The texts below kept/, and note.txt."
}
