kind        = "measured"
doc         = "x"
determinism = "measured" # ERROR: name the facts
needs {
  cpus       = 0      # ERROR: cpus must be more than 0
  memory_gib = "4 GB" # ERROR: memory_gib must be a number
  gpus       = "1-0"  # ERROR: a range such as "0-1"
  exclusiv   = true   # ERROR: Did you mean "exclusive"?
}
