module "again" {
  source = "./self.hcl" # ERROR: a module cannot call itself: modules/self.hcl → modules/self.hcl.
}
