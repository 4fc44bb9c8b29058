# ERROR: one param with source = true and one output with pinned = true
kind        = "native"
doc         = "x"
determinism = "exact"
native      = true # ERROR: Leave out env, envs, command and uses # ERROR: Declare param "command"
env         = "torch"
output "files" {
  type   = "files"
  pinned = true
  doc    = "x"
}
