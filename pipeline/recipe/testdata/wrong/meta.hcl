stage "download" "base" {
  source  = "https://example.org/base"
  timeout = "30 minutes" # ERROR: timeout is a duration
  retries = 1.5          # ERROR: retries is a whole number from 0 to 100.
  salt    = ["a"]        # ERROR: salt takes a string
  needs {
    cpus       = 0         # ERROR: cpus is a number of cores above 0.
    memory_gib = "plenty"  # ERROR: memory_gib is a number from 0.
    gpu_memory_gib = -1    # ERROR: gpu_memory_gib is a number from 0.
    gpus       = "1-0"     # ERROR: gpus is a whole number, or a range
    exclusive  = "perhaps" # ERROR: exclusive is true or false.
    gpu        = 1         # ERROR: needs has no "gpu". Did you mean gpus?
  }
  needs { # ERROR: A stage has one needs block.
  }
}

stage "download" "right" {
  source  = "https://example.org/base"
  timeout = "2h30m"
  retries = 3
  needs {
    cpus = 0.5
    gpus = "0-1"
  }
}

stage "download" "attribute" {
  source = "https://example.org/base"
  needs  = { cpus = 1 } # ERROR: It is a block: needs { … }.
}
