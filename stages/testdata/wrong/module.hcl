kind        = "module" # ERROR: means something else than a stage of this kind
doc         = "A kind that no recipe could refer to."
determinism = "exact"
command     = ["x"]

output "files" {
  type = "files"
  doc  = "Files."
}
