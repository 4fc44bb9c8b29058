kind        = "model"
doc         = "Makes something of another type."
determinism = "exact"
command     = ["testworker"]

output "model" {
  type = "model/hf"
  doc  = "Not a model at all."
}
