kind        = "join"
doc         = "Joins texts in the order of their keys."
determinism = "exact"
command     = ["testworker"]

input "parts" {
  type = "files"
  map  = true
  doc  = "The texts."
}
output "text" {
  type = "files"
  doc  = "joined.txt."
}
