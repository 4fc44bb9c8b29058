module "self" {
  source = "./modules/self.hcl"
}

module "pair" {
  source = "./modules/ping.hcl"
}

module "root" {
  source = "./module_cycles.hcl" # ERROR: a module cannot call itself: module_cycles.hcl → module_cycles.hcl.
}

module "left" {
  source = "./modules/pass.hcl"
  value  = module.right.value
}

module "right" {
  source = "./modules/pass.hcl"
  value  = module.left.value # ERROR: These need one another's values: module.right.value → module.right.var.value → module.left.value → module.left.var.value → module.right.value.
}

module "each" {
  for_each = toset([module.each["a"].value]) # ERROR: module.each → module.each
  source   = "./modules/pass.hcl"
  value    = "a"
}

module "crossed" {
  source = "./modules/pass.hcl"
  value  = "a"
  other  = module.back.value
}

module "back" {
  source = "./modules/pass.hcl"
  value  = module.crossed.value
}
