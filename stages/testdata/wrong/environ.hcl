# ERROR: Only a native kind
kind        = "environ"
doc         = "x"
determinism = "exact"
param "env" {
  type    = number
  environ = true # ERROR: a set(string) or a list(string)
  doc     = "x"
}
