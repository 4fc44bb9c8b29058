kind        = "python"
doc         = "Needs an environment."
determinism = "exact"
env         = "fetch"

output "files" {
  type = "files"
  doc  = "Nothing."
}
