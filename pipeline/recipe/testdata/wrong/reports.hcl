variable "hidden" {
  default   = "a"
  sensitive = true
}

stage "download" "base" {
  source = "https://example.org/base"
}

stage "gptq" "int4" {
  for_each   = { g128 = 128, g32 = 32 }
  model      = download.base.model
  group_size = each.value
}

module "one" {
  source = "./modules/quantize.hcl"
  model  = download.base.model
}

report "fine" {
  title    = "Four bits"
  baseline = "base"
  row "base" {
    stages = [download.base]
  }
  row "int4, both" {
    stages = [gptq.int4, module.one.all]
  }
}

report "fine" { # ERROR: report "fine" stands already in line
}

report "empty" { # ERROR: A report needs rows
  titel = "x" # ERROR: Did you mean title?
}

report "wrong" {
  title       = ["a"]                          # ERROR: title is a text.
  description = var.hidden                     # ERROR: A report is shown
  baseline    = "bsae"                         # ERROR: The report has no row "bsae". Did you mean base?
  row "base" {
    stages = [download.base]
  }
  row "base" { # ERROR: row "base" stands already in line
    stages = [download.base]
  }
  row "unknown" {
    stages = [
      gptq.int5,        # ERROR: There is no stage gptq.int5. Did you mean gptq.int4?
      gptq.int4["g64"], # ERROR: gptq.int4 has no instance "g64".
    ]
  }
  row "others" {
    stages = [
      download.base.model,                       # ERROR: This is a port of download.base.
      path("module_*.hcl"),                      # ERROR: These are files.
      "gptq.int4",                               # ERROR: A row takes stages
      gptq.int4["g32"].metrics.bits_per_weight,  # ERROR: A row takes stages
    ]
  }
  row "alone" {
    stages = download.base # ERROR: stages takes a list of stages
  }
  row "void" {
    stages = [] # ERROR: a row needs one stage at least
  }
  row "without" { # ERROR: A row needs stages
    stage = download.base # ERROR: Did you mean stages?
  }
  row "a" "b" { # ERROR: Write it as row
    stages = [download.base]
  }
  row " " { # ERROR: A row needs a name
    stages = [download.base]
  }
  column "x" { # ERROR: A report has row blocks only
  }
}

report "metric" {
  title = "bits: ${gptq.int4["g32"].metrics.bits_per_weight}" # ERROR: is known only after a run
  row "base" {
    stages = [download.base]
  }
}
