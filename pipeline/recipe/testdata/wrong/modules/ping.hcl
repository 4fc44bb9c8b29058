module "pong" {
  source = "./pong.hcl"
}
