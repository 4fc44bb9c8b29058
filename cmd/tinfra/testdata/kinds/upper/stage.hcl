kind        = "upper"
doc         = "Turns texts to capitals."
determinism = "exact"
command     = ["testworker"]

param "suffix" {
  type    = string
  default = ""
  doc     = "Put after each text."
}
input "text" {
  type = "files"
  doc  = "The texts."
}
output "text" {
  type = "files"
  doc  = "The same in capitals."
}
