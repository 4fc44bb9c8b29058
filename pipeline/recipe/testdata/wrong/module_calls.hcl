variable "where" {
  default = "./modules/quantize.hcl"
}

stage "download" "base" {
  source = "https://example.org/base"
}

module "fine" {
  source = "./modules/quantize.hcl"
  model  = download.base.model
}

module "twice" {
  source = "./modules/quantize.hcl"
  model  = download.base.model
}

module "twice" { # ERROR: module.twice stands already in line
  source = "./modules/quantize.hcl"
  model  = download.base.model
}

module "none" { # ERROR: A module needs source
  model = download.base.modle # ERROR: Did you mean model?
}

module "computed" {
  source = var.where # ERROR: The source of a module must be written out
}

module "number" {
  source = 1 # ERROR: source is the path of a module's file.
}

module "empty" {
  source = "" # ERROR: it is empty
}

module "absolute" {
  source = "/etc/int4.hcl" # ERROR: it is absolute
}

module "outside" {
  source = "../llama3-int4.hcl" # ERROR: it leads out of the recipe's folder
}

module "outside_below" {
  source = "./modules/../../../int4.hcl" # ERROR: it leads out of the recipe's folder
}

module "registry" {
  source = "hashicorp/consul/aws" # ERROR: a module is one .hcl file
}

module "git" {
  source = "git::https://example.org/int4.hcl" # ERROR: nothing is fetched from elsewhere
}

module "absent" {
  source = "./modules/quantise.hcl" # ERROR: there is no such file. Did you mean modules/quantize.hcl?
}

module "folder" {
  source = "./modules/folder.hcl" # ERROR: it is a folder
}

module "names" {
  source     = "./modules/quantize.hcl"
  model      = download.base.model
  bit        = 4               # ERROR: modules/quantize.hcl has no variable "bit". Did you mean bits?
  depends_on = [download.base] # ERROR: A reference to a port is the edge
  count      = 2               # ERROR: Use for_each
  version    = "1.0"           # ERROR: A module is a file beside the recipe
  providers = {                # ERROR: Stage kinds are the same in all files.
  }
  lifecycle { # ERROR: There is no lifecycle block in a module block.
  }
}

module "missing" { # ERROR: modules/quantize.hcl needs model. The checkpoint.
  source = "./modules/quantize.hcl"
}

module "types" {
  source = "./modules/quantize.hcl"
  model  = download.base.model
  bits   = "four" # ERROR: The value of variable "bits" does not fit its type
}

module "port" {
  source = "./modules/quantize.hcl"
  model  = download.base.model
  bits   = download.base.model # ERROR: The value of variable "bits" does not fit its type
}

module "secret" {
  source = "./modules/quantize.hcl"
  model  = download.base.model
  note   = secret("HF_TOKEN") # ERROR: A secret can be given to a variable of type any only
}

module "null" {
  source = "./modules/quantize.hcl"
  model  = null # ERROR: The value of variable "model" is null
}

module "validation" {
  source = "./modules/quantize.hcl"
  model  = download.base.model
  bits   = 8 # ERROR: bits is at most 4, not 8 (variable "bits")
}

module "measured" {
  source = "./modules/checked.hcl"
  bits   = module.fine.all.metrics.bits_per_weight # ERROR: variable "bits" is checked before
}

module "wrong" {
  source = "./modules/quantize.hcl"
  model  = download.bas.model # ERROR: There is no stage download.bas. Did you mean download.base?
}

module "each" {
  source = "./modules/quantize.hcl"
  model  = each.value # ERROR: each.key and each.value stand only in a stage that has for_each
}

module "list" {
  source   = "./modules/quantize.hcl"
  for_each = [1, 2] # ERROR: for_each takes a map or a set of strings
  model    = download.base.model
  bits     = var.bitz # ERROR: There is no variable "bitz"
}

module "label" "two" { # ERROR: Write it as module "NAME" { … }.
  source = "./modules/quantize.hcl"
}
