# ERROR: this one has 1 and 0
kind        = "download"
doc         = "x"
determinism = "exact"
param "source" {
  type    = string
  source  = true
  default = "x" # ERROR: A recipe must say what to download
  doc     = "x"
}
