kind        = "other"   # ERROR: so kind must be "top"
determinsm  = "exact"   # ERROR: Did you mean "determinism"?
determinism = "statistcal" # ERROR: Did you mean "statistical"?
doc         = ""        # ERROR: doc must not be empty
env         = "../torch" # ERROR: env names a folder
facts       = ["a", "a"] # ERROR: facts names "a" twice
optional_facts = ["b", "a"] # ERROR: facts names "a" already
network     = "yes"     # ERROR: network must be true or false
command     = []        # ERROR: a program and its arguments
uses        = ["../x"]  # ERROR: must be a folder beside the kind's
native      = var.x     # ERROR: Variables not allowed

parm "x" { # ERROR: Did you mean "param"?
}
needs "gpu" { # ERROR: A needs block has 0 name(s)
}
needs { # a second one follows
  cpus = 2
}
needs { # ERROR: A kind has one needs block
}
